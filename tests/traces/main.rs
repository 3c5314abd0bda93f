//! Traces of the real program, as a collector gets them.

#[path = "../support/mod.rs"]
mod support;

mod collector;
mod trouble;

use std::process::Command;

use flate2::read::GzDecoder;
use lightning_mock::{MockLightning, MockServer, RunState};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use self::collector::{Collector, Tree};
use crate::support::{DEADLINE, MONOREPO, SECRET, Worker, command, command_with_engine};

const PASSWORD: &str = "correct horse battery staple";
const WORDS: &str = "a patient's name";

/// A Lightning with the credential and the dataclip that [`two_steps`] names.
fn lightning() -> MockServer {
    MockLightning::builder()
        .secret(Some(SECRET))
        .credential("c-1", json!({"password": PASSWORD}))
        .dataclip("d-1", json!({"data": {"name": WORDS}}))
        .spawn_thread()
        .expect("the mock starts on a free port")
}

/// Two jobs, one after the other.
fn two_steps(first: &str, second: &str) -> Value {
    let job = |id: &str, name: &str, body: &str| {
        json!({
            "id": id, "name": name, "body": body, "credential_id": "c-1",
            "adaptor": "@openfn/language-test@local",
        })
    };
    json!({
        "queue": "manual",
        "dataclip_id": "d-1",
        "project_id": "p-1",
        "triggers": [{"id": "t"}],
        "jobs": [job("a", "First", first), job("b", "Second", second)],
        "edges": [
            {"source_trigger_id": "t", "target_job_id": "a"},
            {"source_job_id": "a", "target_job_id": "b", "condition": "always"},
        ],
    })
}

/// One job for the mock engine.
fn one_step(body: &str) -> Value {
    support::plan(body, "manual")
}

/// Sends traces to this collector, at short intervals.
fn traced<'c>(command: &'c mut Command, endpoint: &str) -> &'c mut Command {
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_BSP_SCHEDULE_DELAY", "20")
}

fn with_engine(lightning: &MockServer, collector: &Collector) -> Worker {
    let mut command = command_with_engine(lightning);
    command.args([
        "--monorepo-dir",
        MONOREPO,
        "--log",
        "debug",
        "--log-format",
        "json",
    ]);
    Worker::start(traced(&mut command, &collector.url()))
}

fn with_mock_engine(lightning: &MockServer, collector: &Collector) -> Worker {
    let mut command = command(lightning);
    command.arg("--mock");
    Worker::start(traced(&mut command, &collector.url()))
}

#[test]
fn a_run_of_two_steps_is_one_trace_that_is_found_by_its_id() {
    let lightning = lightning();
    let collector = Collector::start();
    let worker = with_engine(&lightning, &collector);
    let id = lightning
        .enqueue(two_steps("fn(s => s)", "fn(s => s)"))
        .expect("the plan is one");
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Success, "{:?}", run.log_texts());

    let tree = collector.trace_of(&id);
    assert_eq!(
        tree.shape(),
        [
            "run",
            "  claim",
            "  load",
            "    fetch:plan",
            "    fetch:credential",
            "    fetch:dataclip",
            "  install",
            "  compile",
            "  start",
            "  step",
            "  step",
            "  delivery",
        ]
    );
    let root = tree.the("run");
    assert_eq!(root.text("run_id"), id);
    assert_eq!(root.text("workloop"), "manual>*:5");
    assert_eq!(root.text("project_id"), "p-1");
    assert_eq!(root.text("reason"), "success");
    assert_eq!(root.text("adaptors"), "@openfn/language-test@local");
    assert_eq!(root.number("steps"), 2);
    assert_eq!(root.failure(), None);
    assert_eq!(tree.the("fetch:dataclip").text("dataclip_id"), "d-1");
    assert_eq!(tree.the("fetch:credential").text("credential_id"), "c-1");
    let steps = tree.all("step");
    for (step, (job, name)) in steps.iter().zip([("a", "First"), ("b", "Second")]) {
        assert_eq!(step.text("job_id"), job);
        assert_eq!(step.text("job"), name);
        assert_eq!(step.text("adaptor"), "@openfn/language-test@local");
        assert_eq!(step.text("reason"), "success");
        let told = lightning.events().iter().any(|event| {
            event.is_from(&id, "step:start") && event.payload["step_id"] == step.text("step_id")
        });
        assert!(told, "Lightning knows the step by the same id");
    }
    assert_eq!(collector.resource("service.name"), "ws-worker");
    assert_eq!(
        collector.resource("service.version"),
        env!("CARGO_PKG_VERSION")
    );
    assert_within_the_run(&tree);

    // Lines of the log say where they belong.
    let started = worker.first_lines().concat();
    assert!(started.contains("traces.started"), "{started}");
    worker.signal(Signal::SIGTERM);
    let lines = worker.until_ended();
    let line = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"))
        .find(|line| line["event"] == "run.ended")
        .expect("the end of the run is logged");
    assert_eq!(line["trace_id"], id.replace('-', ""));
    assert_eq!(line["span_id"], root.id());
    collector.holds_none_of(&[PASSWORD, WORDS, "fn(s => s)", SECRET, "eyJ"]);
}

/// Every span begins and ends within the run, and none ends before it begins.
fn assert_within_the_run(tree: &Tree) {
    let (began, ended) = tree.the("run").time();
    for span in tree.spans() {
        let (from, to) = span.time();
        assert!(began <= from && from <= to && to <= ended, "{span:?}");
    }
}

#[test]
fn a_failed_step_and_its_run_have_their_status_and_nothing_that_the_job_said() {
    let lightning = lightning();
    let collector = Collector::start();
    let _worker = with_engine(&lightning, &collector);
    let throws = format!("fn(() => {{ throw new TypeError('{}'); }})", "no such name");
    let id = lightning
        .enqueue(two_steps("fn(s => s)", &throws))
        .expect("the plan is one");
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Failed, "{:?}", run.log_texts());

    let tree = collector.trace_of(&id);
    let steps = tree.all("step");
    assert_eq!(steps[0].failure(), None);
    for failed in [steps[1], tree.the("run")] {
        assert_eq!(failed.text("reason"), "fail");
        assert_eq!(failed.text("error_type"), run.error_type.clone().unwrap());
        assert_eq!(failed.failure(), run.error_type);
    }
    collector.holds_none_of(&["no such name", PASSWORD]);
}

#[test]
fn a_job_that_does_not_compile_shows_where_its_run_ended() {
    let lightning = lightning();
    let collector = Collector::start();
    let _worker = with_engine(&lightning, &collector);
    let id = lightning
        .enqueue(two_steps("fn(s => ", "fn(s => s)"))
        .expect("the plan is one");
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Crashed);

    let tree = collector.trace_of(&id);
    assert_eq!(tree.the("compile").failure(), run.error_type);
    assert_eq!(tree.the("run").failure(), run.error_type);
    assert!(tree.all("step").is_empty());
}

#[test]
fn headers_and_the_service_s_name_go_along_and_json_is_spoken_and_compressed_where_it_is_asked_for()
{
    let lightning = lightning();
    let collector = Collector::start();
    let worker = Worker::start(
        traced(
            command(&lightning).args(["--mock", "--log", "trace"]),
            &collector.url(),
        )
        .env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20tell-nobody",
        )
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        .env("OTEL_SERVICE_NAME", "my-worker")
        .env(
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        ),
    );
    let id = lightning.enqueue(one_step("fn(s => s)")).unwrap();
    lightning.wait_for(&id, DEADLINE).unwrap();
    let (head, body) = collector.first_request();
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("post /v1/traces "), "{head}");
    assert!(head.contains("authorization: bearer tell-nobody"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let body: Value = serde_json::from_reader(GzDecoder::new(&body[..])).expect("the body is JSON");
    let text = body.to_string();
    for part in [
        "my-worker",
        "deployment.environment.name",
        &id.replace('-', ""),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    worker.signal(Signal::SIGTERM);
    let said = worker.until_ended().concat();
    assert!(said.contains("ended: success"), "{said}");
    assert!(!said.contains("tell-nobody") && !said.contains("Bearer%20"));
}

#[test]
fn nothing_is_sent_where_the_sampler_takes_no_run_and_no_line_names_a_trace() {
    let lightning = lightning();
    let collector = Collector::start();
    let worker = Worker::start(
        traced(
            command(&lightning).args(["--mock", "--log-format", "json"]),
            &collector.url(),
        )
        .env("OTEL_TRACES_SAMPLER", "always_off"),
    );
    let id = lightning.enqueue(one_step("fn(s => s)")).unwrap();
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Success);
    worker.signal(Signal::SIGTERM);
    assert!(!worker.until_ended().concat().contains("trace_id"));
    assert_eq!(collector.requests(), 0);
}

#[test]
fn a_worker_without_a_collector_has_no_thread_for_traces() {
    let lightning = lightning();
    let collector = Collector::start();
    let threads = |worker: &Worker| -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", worker.pid()));
        let tasks = tasks.expect("the worker is there").flatten();
        tasks
            .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
            .filter(|name| name.starts_with("traces") || name.starts_with("OpenTelemetry"))
            .collect()
    };
    let traced = with_mock_engine(&lightning, &collector);
    assert_eq!(threads(&traced).len(), 2, "{:?}", threads(&traced));
    let plain = Worker::with_mock_engine(&lightning, &[]);
    assert!(threads(&plain).is_empty());
}
