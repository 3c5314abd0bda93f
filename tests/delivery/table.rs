//! Runs under one fault at one event, and what became of them on the server's side.

use std::fmt;
use std::time::{Duration, Instant};

use lightning_mock::{LogView, MockLightning, MockServer, Rule, RunState, RunView};
use serde_json::{Value, json};

use crate::support::{DEADLINE, SECRET, Worker};

/// Everything that a worker says in the life of a run, but for the leave, which nobody waits for.
pub(crate) const EVENTS: [&str; 12] = [
    "phx_join",
    "claim",
    "fetch:plan",
    "fetch:dataclip",
    "fetch:credential",
    "run:start",
    "run:log",
    "run:batch_logs",
    "step:start",
    "step:complete",
    "run:complete",
    "phx_leave",
];

/// A mock Lightning and a worker with short timeouts, so that silence is soon too long.
pub(crate) struct Bench {
    pub(crate) lightning: MockServer,
    pub(crate) worker: Worker,
}

impl Bench {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let lightning = MockLightning::builder()
            .secret(Some(SECRET))
            .credential("cred", json!({ "password": "open sesame" }))
            .spawn_thread()
            .expect("the mock starts on a free port");
        let quick = ["--message-timeout", "1", "--log", "info"];
        let worker = Worker::with_mock_engine(&lightning, &[&quick[..], arguments].concat());
        Self { lightning, worker }
    }

    /// `count` runs, each with something going wrong at its `nth` such event; what became of them.
    pub(crate) fn cell(&self, event: &str, when: &str, fault: &str, count: usize) -> Cell {
        let rule = format!("{event}{when}={fault}");
        let rule: Rule = rule.parse().expect("the table's rules are right");
        self.lightning.chaos(vec![rule], 0);
        let ids: Vec<String> = (0..count)
            .map(|_| self.lightning.enqueue(plan()).expect("the plan is right"))
            .collect();
        let deadline = Instant::now() + DEADLINE;
        let mut cell = Cell::new(event, fault);
        for id in &ids {
            match self.end_of(id, deadline) {
                Some(run) => cell.judge(&run),
                None => cell.stuck.push(id.clone()),
            }
        }
        self.lightning.chaos(Vec::new(), 0);
        cell
    }

    /// How one run ends under this rule.
    pub(crate) fn ends_under(&self, rule: &str) -> RunView {
        let rule: Rule = rule.parse().expect("the rule is right");
        self.lightning.chaos(vec![rule], 0);
        let id = self.lightning.enqueue(plan()).expect("the plan is right");
        self.lightning
            .wait_for(&id, DEADLINE)
            .expect("the run ends")
    }

    /// The run when it has ended. A claim whose answer the worker never got is rolled back, as the server does for
    /// runs that nobody joins (protocol spec, section 3.5).
    fn end_of(&self, id: &str, deadline: Instant) -> Option<RunView> {
        while Instant::now() < deadline {
            if let Ok(run) = self.lightning.wait_for(id, Duration::from_secs(2)) {
                return Some(run);
            }
            let joined = self
                .lightning
                .wait_event(Duration::ZERO, |event| event.is_from(id, "phx_join"));
            if joined.is_err() {
                self.lightning.roll_back(id);
            }
        }
        None
    }
}

/// What became of the runs under one fault at one event.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) event: String,
    pub(crate) fault: String,
    /// Runs that were reported as they should be.
    pub(crate) whole: usize,
    /// Runs whose end did not come.
    pub(crate) stuck: Vec<String>,
    /// Runs that ended otherwise than in success, with their state and error.
    pub(crate) other: Vec<String>,
    /// Runs with a fault in what was stored: steps, lines, order, dataclips.
    pub(crate) wrong: Vec<String>,
    /// Log lines that were stored twice.
    pub(crate) doubled: usize,
}

impl Cell {
    fn new(event: &str, fault: &str) -> Self {
        Self {
            event: event.to_owned(),
            fault: fault.to_owned(),
            whole: 0,
            stuck: Vec::new(),
            other: Vec::new(),
            wrong: Vec::new(),
            doubled: 0,
        }
    }

    fn judge(&mut self, run: &RunView) {
        if run.state != RunState::Success {
            let error = run.error_message.clone().unwrap_or_default();
            self.other
                .push(format!("{}: {} ({error})", run.id, run.state));
            return;
        }
        let (lines, doubled) = distinct_lines(run);
        self.doubled += doubled;
        let expected: Vec<String> = [1, 2]
            .iter()
            .flat_map(|job| (1..=4).map(move |line| format!("job {job} line {line}")))
            .collect();
        let steps: Vec<_> = run.steps.values().collect();
        let fault = if lines != expected {
            Some(format!("its lines are {lines:?}"))
        } else if steps.len() != 2 {
            Some(format!("it has {} steps", steps.len()))
        } else if steps
            .iter()
            .any(|step| step.reason.as_deref() != Some("success"))
        {
            Some("a step is not complete".to_owned())
        } else if steps[0].output_dataclip_id != steps[1].input_dataclip_id {
            Some("its second step did not begin with what the first one made".to_owned())
        } else if steps[1].output_dataclip_id.is_none()
            || steps[1].output_dataclip_id != run.final_dataclip_id
        {
            Some("its final dataclip is not that of its last step".to_owned())
        } else if run.final_state.as_ref().is_none_or(|state| state["x"] != 2) {
            Some(format!("its final state is {:?}", run.final_state))
        } else {
            None
        };
        match fault {
            None => self.whole += 1,
            Some(fault) => self.wrong.push(format!("{}: {fault}", run.id)),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<12} {:<17} whole {:>3}  stuck {:>2}  otherwise {:>2}  wrong {:>2}  lines twice {:>3}",
            self.fault,
            self.event,
            self.whole,
            self.stuck.len(),
            self.other.len(),
            self.wrong.len(),
            self.doubled
        )?;
        for detail in self.stuck.iter().chain(&self.other).chain(&self.wrong) {
            write!(f, "\n    {detail}")?;
        }
        Ok(())
    }
}

/// The lines of the jobs, each once, in the order in which the server shows them, which is by time; and how many were
/// stored again.
fn distinct_lines(run: &RunView) -> (Vec<String>, usize) {
    let is_job = |line: &&LogView| line.source.as_deref() == Some("JOB");
    let mut stored: Vec<_> = run.logs.iter().filter(is_job).collect();
    stored.sort_by_key(|line| line.timestamp);
    let mut lines: Vec<String> = Vec::new();
    for line in &stored {
        if !lines.contains(&line.text) {
            lines.push(line.text.clone());
        }
    }
    let doubled = stored.len() - lines.len();
    (lines, doubled)
}

/// Two jobs in a row with lines, an input and a credential.
fn plan() -> Value {
    let body = |job: u32| {
        let lines: String = (1..=4)
            .map(|line| format!("console.log('job {job} line {line}'); "))
            .collect();
        format!("fn(s => {{ {lines} return {{ ...s, x: {job} }}; }})")
    };
    let jobs = [
        uuid::Uuid::new_v4().to_string(),
        uuid::Uuid::new_v4().to_string(),
    ];
    json!({
        "triggers": [{"id": "t"}],
        "jobs": [
            {"id": jobs[0], "body": body(1), "credential_id": "cred"},
            {"id": jobs[1], "body": body(2)},
        ],
        "edges": [
            {"source_trigger_id": "t", "target_job_id": jobs[0]},
            {"source_job_id": jobs[0], "target_job_id": jobs[1]},
        ],
        "starting_node_id": "t",
        "dataclip": {"data": {"a": 1}},
    })
}
