//! The faults that are recorded, and how.

use std::path::Path;

use lightning_mock::{MockLightning, MockServer, Rule};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{DEADLINE, SECRET, Worker};

/// Texts that must not be in a recording: a credential's, and a dataclip's.
pub(crate) const PASSWORD: &str = "open sesame";
pub(crate) const NAME: &str = "Amina Diallo";

/// What is recorded.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// Arguments of the worker.
    arguments: &'static [&'static str],
    /// What goes wrong at Lightning, see lightning-mock/README.md.
    rules: &'static [&'static str],
    /// The end of the second job, after its log lines.
    end: &'static str,
}

const fn fault(name: &'static str, rules: &'static [&'static str]) -> Fault {
    Fault {
        name,
        arguments: &[],
        rules,
        end: "return { ...s, x: 2 };",
    }
}

impl Fault {
    const fn with(mut self, arguments: &'static [&'static str]) -> Self {
        self.arguments = arguments;
        self
    }

    const fn ending(mut self, end: &'static str) -> Self {
        self.end = end;
        self
    }
}

const BATCHES: &[&str] = &["--batch-logs"];

/// Each with two runs of two jobs at a time.
pub(crate) const FAULTS: &[Fault] = &[
    fault("plain", &[]),
    fault("batches", &[]).with(BATCHES),
    fault("lock-step", &[]).with(&["--event-window", "1"]),
    fault("one-slot", &[]).with(&["--capacity", "1"]),
    fault("fails", &[]).ending("throw new Error(s.data.name);"),
    fault("webhook", &[])
        .ending("return { ...s, webhookResponse: { status: 201, body: { name: s.data.name } } };"),
    fault("too-large", &[])
        .with(&["--payload-memory", "0.001"])
        .ending("return { ...s, large: s.data.name.repeat(200) };"),
    fault("cut-before", &["step:complete@1=cut-before"]),
    fault("cut-after", &["step:complete@1=cut-after"]),
    fault("cut-in-log", &["run:log@12=cut-before"]),
    fault("cut-in-batch", &["run:batch_logs@8=cut-after"]).with(BATCHES),
    fault("crash", &["step:start@2=crash"]),
    fault(
        "crash-in-batch",
        &["run:batch_logs@8=crash", "run:batch_logs@9=crash"],
    )
    .with(BATCHES),
    fault("crash-each-time", &["run:start=crash"]).with(&["--timeout-retry-delay", "300"]),
    fault("bad-line-in-batch", &["run:batch_logs~job 1 line 3=crash"]).with(BATCHES),
    fault("over-frame", &[])
        .with(&["--max-frame-mb", "0.005"])
        .ending("return { ...s, large: s.data.name.repeat(1000) };"),
    fault("close", &["run:complete@1=close"]),
    fault(
        "refused-end",
        &[r#"run:complete@1=error:{"errors":{"final_dataclip_id":["does not exist"]}}"#],
    ),
    fault(
        "refused-step",
        &[r#"step:start@1=error:{"errors":{"job_id":["does not exist"]}}"#],
    ),
    fault(
        "unknown-words",
        &[r#"step:complete@1=error:{"reason":"something new"}"#],
    ),
    fault("lost-reply", &["step:start@1=lose-reply"]),
    fault("ignored", &["step:start@1=ignore"]),
    fault("twice", &["run:log/3=duplicate", "step:complete@1=garbage"]),
    fault("late-plan", &["fetch:plan@1=delay:2500"]),
    fault("lost-queue", &["claim@2=crash"]),
    fault("away", &["step:complete@2=away:1500"]).with(BATCHES),
];

fn lightning() -> MockServer {
    MockLightning::builder()
        .secret(Some(SECRET))
        .credential("cred", json!({ "password": PASSWORD }))
        .spawn_thread()
        .expect("the mock starts on a free port")
}

/// Two jobs in a row with lines, an input and a credential. Its ids are the same each time, so that recordings made anew
/// differ little.
pub(crate) fn plan(number: u32, end: &str) -> Value {
    let body = |job: u32, end: &str| {
        let lines: String = (1..=4)
            .map(|line| format!("console.log(s.data.name + ' job {job} line {line}'); "))
            .collect();
        format!("fn(s => {{ {lines} {end} }})")
    };
    let id = |part: u32| format!("{number:08}-0000-4000-8000-{part:012}");
    json!({
        "id": id(0),
        "triggers": [{"id": "t"}],
        "jobs": [
            {"id": id(1), "body": body(1, "return { ...s, x: 1 };"), "credential_id": "cred"},
            {"id": id(2), "body": body(2, end)},
        ],
        "edges": [
            {"source_trigger_id": "t", "target_job_id": id(1)},
            {"source_job_id": id(1), "target_job_id": id(2)},
        ],
        "starting_node_id": "t",
        "dataclip": {"data": {"a": 1, "name": NAME}},
    })
}

/// Records two runs under a fault; what the server heard meanwhile is in the handle.
pub(crate) fn record(file: &Path, fault: &Fault, further: &[&str]) -> MockServer {
    let lightning = lightning();
    let rules = fault.rules.iter().map(|rule| rule.parse::<Rule>());
    let rules = rules.map(|rule| rule.expect("the rule is right")).collect();
    lightning.chaos(rules, 0);
    let path = file.to_str().expect("the path is text");
    let recording = ["--message-timeout", "1", "--log", "info", "--record", path];
    let arguments = [&recording[..], fault.arguments, further].concat();
    let worker = Worker::with_mock_engine(&lightning, &arguments);
    let runs = [1, 2].map(|number| {
        let plan = plan(number, fault.end);
        lightning.enqueue(plan).expect("the plan is right")
    });
    for run in &runs {
        lightning.wait_for(run, DEADLINE).expect("the run ends");
    }
    assert_eq!(worker.ends_after(Signal::SIGTERM), Some(0));
    lightning
}
