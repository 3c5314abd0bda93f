//! The pool with real processes: children of a small program that misbehaves on request.

mod failing;
mod installer;
mod placing;
mod running;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use protocol::engine::{ExecuteOptions, RunProgress};
use protocol::ids::{ProjectId, RunId, WorkloopId};
use protocol::plan::{ConvertOptions, LightningPlan, convert};
use protocol::size::Mebibytes;
use protocol::workloop::Workloop;
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc};

use super::child::EngineChild;
use crate::config::{
    AllowedSources, EgressRules, EngineConfig, MemoryEnforcement, NodeConfig, SandboxMode, Spares,
};
use crate::engine_pool::messages::{
    EngineEvent, Execute, GetEngineStatus, Prepare, PrepareError, Prepared, Proceed, StopEngine,
    StopJob,
};
use crate::engine_pool::{EngineFailed, EnginePool, EngineState};
use crate::events::Panic;
use crate::metrics::Metrics;
use crate::tell::Tell as _;

const FAKE_ENGINE: &str = include_str!("fake_engine.mjs");

/// Long enough for a slow machine; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    home: TempDir,
    pool: Addr<EnginePool>,
    failures: mpsc::UnboundedReceiver<String>,
}

/// Passes on what a run, or the supervisor, would hear.
struct Ear<T>(mpsc::UnboundedSender<T>);

impl<T: Unpin + 'static> Actor for Ear<T> {
    type Context = Context<Self>;
}

impl Handler<EngineEvent> for Ear<EngineEvent> {
    type Result = ();

    fn handle(&mut self, event: EngineEvent, _: &mut Self::Context) {
        self.0.send(event).unwrap();
    }
}

impl Handler<EngineFailed> for Ear<String> {
    type Result = ();

    fn handle(&mut self, event: EngineFailed, _: &mut Self::Context) {
        self.0.send(event.why.to_string()).unwrap();
    }
}

struct Heard {
    events: mpsc::UnboundedReceiver<EngineEvent>,
    budget: Arc<Semaphore>,
}

impl Heard {
    async fn next(&mut self) -> EngineEvent {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event in time")
            .expect("an open channel")
    }

    /// Everything up to the end of the run, each in one word or as its error's type and message.
    async fn all(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let word = match self.next().await.progress {
                RunProgress::WorkflowStart { .. } => "started".to_owned(),
                RunProgress::Log { message, .. } => String::from_utf8(message.to_vec()).unwrap(),
                RunProgress::JobStart { job, .. } => format!("start {job}"),
                RunProgress::JobComplete { step, .. } => format!("complete {}", step.job),
                RunProgress::JobError { step, .. } => format!("error {}", step.job),
                RunProgress::WorkflowComplete { .. } => "over".to_owned(),
                RunProgress::WorkflowError { error } => {
                    format!(
                        "{}: {}",
                        error.error_type.unwrap_or_default(),
                        error.message.unwrap_or_default()
                    )
                }
                RunProgress::Ended => {
                    assert!(self.events.try_recv().is_err(), "nothing follows the end");
                    return told;
                }
            };
            told.push(word);
        }
    }
}

fn node_config(home: &Path) -> NodeConfig {
    NodeConfig {
        node: "node".into(),
        engine_dir: Some(home.to_owned()),
        cache_dir: home.join("cache"),
        repo_dir: home.join("repo"),
        repo_lock: true,
        adaptor_sources: AllowedSources::default(),
        monorepo_dir: None,
        preload: Vec::new(),
        spares: Spares::Exactly(1),
        sandbox: SandboxMode::Auto,
        memory_enforcement: MemoryEnforcement::Heap,
        files: Mebibytes::new(1024.0),
        validation_timeout: PATIENCE,
        validation_retries: 0,
        egress: EgressRules::default(),
        state_props_to_remove: vec!["configuration".to_owned()],
        profile: None,
    }
}

impl World {
    fn new() -> Self {
        Self::with(FAKE_ENGINE, |_| {})
    }

    fn with(program: &str, change: impl FnOnce(&mut NodeConfig)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let runtime = home.path().join("node_modules/@openfn/runtime");
        std::fs::create_dir_all(&runtime).unwrap();
        std::fs::create_dir_all(home.path().join("repo")).unwrap();
        std::fs::write(runtime.join("package.json"), "{}").unwrap();
        let entry = "import('./fake.mjs');";
        std::fs::write(home.path().join("main.cjs"), entry).unwrap();
        std::fs::write(home.path().join("fake.mjs"), program).unwrap();
        let mut node = node_config(home.path());
        change(&mut node);
        let (sender, failures) = mpsc::unbounded_channel();
        let failed = Ear(sender).start().recipient();
        let capacity = Workloop::from_capacity(2).slots;
        let pool = EnginePool::with_engine(EngineConfig::Node(node), capacity, Metrics::default())
            .reporting_to(failed)
            .start();
        Self {
            home,
            pool,
            failures,
        }
    }

    fn execute(&self, run: &str, project: &str, change: impl FnOnce(&mut ExecuteOptions)) -> Heard {
        let (sender, events) = mpsc::unbounded_channel();
        let plan = LightningPlan::from_json(
            r#"{"id":"w","jobs":[{"id":"a","body":"x"},{"id":"b","body":"x"}]}"#,
        )
        .unwrap();
        let plan = convert(plan, &ConvertOptions::default(), &mut String::new)
            .unwrap()
            .plan;
        let mut options = ExecuteOptions {
            timeout: None,
            memory_limit_mb: 500.0,
            state_limit_mb: 500.0,
            payload_limit_mb: 10.0,
            log_payload_limit_mb: 1.0,
            job_log_level: "debug".to_owned(),
            sanitize: "none".to_owned(),
            output_dataclips: true,
        };
        change(&mut options);
        let budget = Arc::new(Semaphore::new(64 * 1024));
        self.pool.tell(Execute {
            run_id: RunId::new(run),
            workloop: WorkloopId::new("w"),
            project_id: Some(ProjectId::new(project)),
            plan: plan.into(),
            input: Bytes::new(),
            options,
            events: Ear(sender).start().recipient(),
            budget: Arc::clone(&budget),
        });
        self.pool.tell(Proceed {
            run_id: RunId::new(run),
        });
        Heard { events, budget }
    }

    /// What a run without adaptors gets before it is executed.
    async fn prepare(&self, run: &str) -> Result<Prepared, PrepareError> {
        let plan = LightningPlan::from_json(r#"{"id":"w","jobs":[{"id":"a","body":"x"}]}"#);
        let plan = convert(plan.unwrap(), &ConvertOptions::default(), &mut String::new)
            .unwrap()
            .plan;
        let run_id = RunId::new(run);
        self.pool
            .send(Prepare {
                run_id,
                plan: plan.into(),
                traces: crate::traces::Traces::default(),
            })
            .await
            .unwrap()
    }

    async fn told(&self, run: &str) -> Vec<String> {
        self.execute(run, "p", |_| {}).all().await
    }

    /// A good run comes to its end.
    async fn works(&self) {
        let told = self.told("good").await;
        assert!(told.contains(&"over".to_owned()), "{told:?}");
    }

    /// Waits until the first child has answered.
    async fn ready(&self) {
        let poll = async {
            while self.pool.send(GetEngineStatus).await.unwrap().state != EngineState::Ready {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, poll)
            .await
            .expect("an engine in time");
    }

    /// Waits until a child has loaded what it is to load, and has no run.
    async fn idle(&self) {
        let poll = async {
            loop {
                let status = self.pool.send(GetEngineStatus).await.unwrap();
                if status.children.iter().any(|child| child.warm) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, poll)
            .await
            .expect("a child that waits");
    }

    async fn stop(self) {
        tokio::time::timeout(PATIENCE, self.pool.send(StopEngine))
            .await
            .expect("children end")
            .unwrap();
        assert_eq!(
            self.pool
                .send(GetEngineStatus)
                .await
                .unwrap()
                .children
                .len(),
            0
        );
        drop(self.home);
    }
}

fn pid(told: &[String]) -> &str {
    told.iter()
        .find(|word| word.starts_with("[\"pid\""))
        .unwrap()
}
