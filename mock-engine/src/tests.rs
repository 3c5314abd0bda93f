//! Whole runs, as whoever has them executed sees them.

use std::time::Duration;

use protocol::ids::JobId;
use protocol::plan::{ConvertOptions, LightningPlan, convert};
use protocol::reasons::EngineError;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;

const PLENTY: usize = 10 << 20;

/// When everything happens.
const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_123_456);

/// What was said of a run.
struct Event {
    progress: RunProgress,
    /// Covers its bytes.
    _permit: Option<OwnedSemaphorePermit>,
}

/// Hands on what is said.
fn heard_by(sender: UnboundedSender<Event>) -> Events {
    Arc::new(move |progress, permit| {
        let event = Event {
            progress,
            _permit: permit,
        };
        if sender.send(event).is_err() {
            // The test has seen enough.
        }
    })
}

struct Started {
    engine: MockEngine,
    id: RunId,
    budget: Arc<Semaphore>,
    events: UnboundedReceiver<Event>,
}

/// One run to make.
struct Scenario {
    plan: Value,
    input: Value,
    options: ExecuteOptions,
    budget: usize,
}

fn plan_of(plan: &Value) -> ExecutionPlan {
    let plan = LightningPlan::from_json(&plan.to_string()).unwrap();
    convert(plan, &ConvertOptions::default(), &mut String::new)
        .unwrap()
        .plan
}

impl Scenario {
    fn new(plan: Value) -> Self {
        let options = ExecuteOptions {
            timeout: None,
            memory_limit_mb: 500.0,
            state_limit_mb: 100.0,
            payload_limit_mb: 10.0,
            log_payload_limit_mb: 1.0,
            job_log_level: "debug".to_owned(),
            sanitize: "none".to_owned(),
            output_dataclips: true,
        };
        Self {
            plan,
            input: json!({}),
            options,
            budget: PLENTY,
        }
    }

    fn of(job: &str) -> Self {
        Self::new(json!({"id": "w", "jobs": [{"id": "a", "body": job}]}))
    }

    /// Jobs `a`, `b`, … and edges of them: from, to, condition.
    fn flow(jobs: &[&str], edges: &[(&str, &str, Value)]) -> Self {
        let jobs: Vec<_> = jobs
            .iter()
            .zip('a'..)
            .map(|(body, id)| json!({"id": id.to_string(), "body": body}))
            .collect();
        let edges: Vec<_> = edges
            .iter()
            .map(|(from, to, condition)| json!({"source_job_id": from, "target_job_id": to, "condition": condition}))
            .collect();
        Self::new(json!({"id": "w", "jobs": jobs, "edges": edges}))
    }

    fn load(&self) -> Started {
        let engine = MockEngine::start(1, || NOW);
        let (sender, events) = unbounded_channel();
        let id = RunId::new("r1");
        let budget = Arc::new(Semaphore::new(self.budget));
        let request = Run {
            id: id.clone(),
            plan: plan_of(&self.plan).into(),
            input: Bytes::from(self.input.to_string()),
            options: self.options.clone(),
            events: heard_by(sender),
            budget: Arc::clone(&budget),
        };
        engine.execute(request);
        Started {
            engine,
            id,
            budget,
            events,
        }
    }

    async fn run(&self) -> Told {
        let started = self.load();
        started.engine.proceed(&started.id);
        started.told().await
    }
}

impl Started {
    async fn next(&mut self) -> Event {
        let event = tokio::time::timeout(Duration::from_secs(20), self.events.recv());
        event
            .await
            .expect("the engine says something")
            .expect("it ends with `Ended`")
    }

    async fn told(mut self) -> Told {
        let mut bodies = Vec::new();
        loop {
            match self.next().await.progress {
                RunProgress::Ended => break,
                body => bodies.push(body),
            }
        }
        assert!(self.events.is_empty(), "nothing follows the end");
        Told(bodies)
    }
}

/// What a run said, all but its end.
struct Told(Vec<RunProgress>);

fn json_of(state: Option<&Bytes>) -> Value {
    state.map_or(Value::Null, |state| serde_json::from_slice(state).unwrap())
}

impl Told {
    fn names(&self) -> Vec<String> {
        let name = |body: &RunProgress| match body {
            RunProgress::WorkflowStart { .. } => "started".to_owned(),
            RunProgress::Log { message, .. } => {
                format!("log {}", String::from_utf8_lossy(message))
            }
            RunProgress::JobStart { job, .. } => format!("start {job}"),
            RunProgress::JobComplete { step, .. } => format!("complete {}", step.job),
            RunProgress::JobError { step, .. } => format!("error {}", step.job),
            RunProgress::WorkflowComplete { .. } => "done".to_owned(),
            RunProgress::WorkflowError { .. } => "failed".to_owned(),
            RunProgress::Ended => "ended".to_owned(),
        };
        self.0.iter().map(name).collect()
    }

    fn logs(&self) -> Vec<String> {
        self.names()
            .iter()
            .filter_map(|name| name.strip_prefix("log "))
            .map(str::to_owned)
            .collect()
    }

    fn final_state(&self) -> Value {
        match self.0.last() {
            Some(RunProgress::WorkflowComplete { state, .. }) => json_of(state.as_ref()),
            other => panic!("not completed: {other:?}"),
        }
    }

    fn workflow_error(&self) -> (String, String, String) {
        match self.0.last() {
            Some(RunProgress::WorkflowError { error }) => {
                let EngineError {
                    error_type,
                    message,
                    severity,
                    ..
                } = error.clone();
                (error_type.unwrap(), message.unwrap(), severity.unwrap())
            }
            other => panic!("no error of the workflow: {other:?}"),
        }
    }

    fn error(&self, of: &str) -> EngineError {
        let error = |body: &RunProgress| match body {
            RunProgress::JobError { step, error, .. } if step.job.as_str() == of => {
                Some(error.clone())
            }
            _ => None,
        };
        self.0.iter().find_map(error).expect("an error of the step")
    }

    fn state(&self, of: &str) -> Value {
        let state = |body: &RunProgress| match body {
            RunProgress::JobComplete { step, state, .. }
            | RunProgress::JobError { step, state, .. }
                if step.job.as_str() == of =>
            {
                Some(json_of(state.as_ref()))
            }
            _ => None,
        };
        self.0.iter().find_map(state).expect("an end of the step")
    }

    fn next(&self, of: &str) -> Vec<JobId> {
        let next = |body: &RunProgress| match body {
            RunProgress::JobComplete { step, .. } | RunProgress::JobError { step, .. }
                if step.job.as_str() == of =>
            {
                Some(step.next.clone())
            }
            _ => None,
        };
        self.0.iter().find_map(next).expect("an end of the step")
    }
}

mod ends;
mod errors;
mod steps;
