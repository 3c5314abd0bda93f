//! Messages that are larger than Lightning takes.

use lightning_mock::{MockLightning, MockServer, RunState, RunView};
use serde_json::json;

use crate::support::{DEADLINE, SECRET, Worker};

/// A mock Lightning whose largest frame has so many bytes.
fn narrow(bytes: usize) -> MockServer {
    MockLightning::builder()
        .secret(Some(SECRET))
        .max_frame_bytes(bytes)
        .spawn_thread()
        .expect("the mock starts on a free port")
}

/// Runs a job and then one that shows that its state was passed on.
fn run(lightning: &MockServer, body: &str) -> RunView {
    let plan = json!({
        "triggers": [{"id": "t"}],
        "jobs": [
            {"id": "a", "body": body},
            {"id": "b", "body": "fn(s => ({ length: (s.text || '').length }))"},
        ],
        "edges": [
            {"source_trigger_id": "t", "target_job_id": "a"},
            {"source_job_id": "a", "target_job_id": "b"},
        ],
        "starting_node_id": "t",
    });
    let id = lightning.enqueue(plan).expect("the plan is right");
    lightning.wait_for(&id, DEADLINE).expect("the run ends")
}

/// How often a worker has connected.
fn sockets(lightning: &MockServer) -> usize {
    let events = lightning.events();
    events
        .iter()
        .filter(|event| event.event == "connected")
        .count()
}

fn assert_withheld(run: &RunView) {
    assert_eq!(run.state, RunState::Success, "{:?}", run.error_message);
    let first = run.steps.values().next().expect("a step has begun");
    assert_eq!(first.output_dataclip, None);
    assert_eq!(
        first.output_dataclip_error.as_deref(),
        Some("DATACLIP_TOO_LARGE")
    );
    let texts = run.log_texts();
    let line = "Dataclip exceeds payload limit: output will not be sent back to the app.";
    assert!(texts.contains(&line), "{texts:?}");
    let second = run.steps.values().nth(1).expect("another has begun");
    assert_eq!(second.input_dataclip_id, None);
    assert!(second.output_dataclip.is_some());
}

#[test]
fn a_dataclip_that_does_not_fit_is_withheld_before_it_is_sent() {
    // Nine million quotes: below the payload limit as they are, above the frame limit as JSON in JSON.
    let lightning = narrow(11_000_000);
    let _worker = Worker::with_mock_engine(&lightning, &[]);
    let run = run(&lightning, r#"fn(s => ({ text: '"'.repeat(4000000) }))"#);
    assert_withheld(&run);
    assert_eq!(sockets(&lightning), 1, "the connection was never closed");
    assert!(lightning.refusals().is_empty());
    assert_eq!(run.final_state.unwrap()["length"], 4_000_000);
}

#[test]
fn where_the_limit_is_not_known_the_largest_report_is_the_culprit_at_once() {
    let lightning = narrow(100_000);
    let _worker = Worker::with_mock_engine(&lightning, &["--max-frame-mb", "0"]);
    let run = run(&lightning, "fn(s => ({ text: 'x'.repeat(200000) }))");
    assert_withheld(&run);
    assert_eq!(sockets(&lightning), 2, "one connection was lost");
}

#[test]
fn a_final_state_that_does_not_fit_is_left_out() {
    for arguments in [["--max-frame-mb", "0.09"], ["--max-frame-mb", "0"]] {
        let lightning = narrow(100_000);
        let _worker = Worker::with_mock_engine(&lightning, &arguments);
        let plan = json!({
            "triggers": [{"id": "t"}],
            "jobs": [{"id": "a", "body": "fn(s => ({ text: 'x'.repeat(200000) }))"}],
            "edges": [{"source_trigger_id": "t", "target_job_id": "a"}],
            "starting_node_id": "t",
        });
        let id = lightning.enqueue(plan).unwrap();
        let run = lightning.wait_for(&id, DEADLINE).unwrap();
        assert_eq!(run.state, RunState::Success, "{:?}", run.error_message);
        assert_eq!(run.final_state, None);
    }
}

#[test]
fn long_lines_are_redacted_and_batches_are_halved_until_they_fit() {
    for arguments in [
        &["--max-frame-mb", "0.09"][..],
        &["--max-frame-mb", "0.09", "--batch-logs"],
        &["--max-frame-mb", "0", "--batch-logs"],
    ] {
        let lightning = narrow(100_000);
        let _worker = Worker::with_mock_engine(&lightning, arguments);
        let run = run(
            &lightning,
            "fn(s => { for (let i = 0; i < 20; i++) console.log('line ' + i + 'x'.repeat(20000)); \
             console.log('y'.repeat(300000)); console.log('last'); return s; })",
        );
        assert_eq!(run.state, RunState::Success, "{:?}", run.error_message);
        let texts = run.log_texts();
        let lines = texts
            .iter()
            .filter(|text| text.starts_with("line "))
            .count();
        assert_eq!(lines, 20, "{arguments:?}");
        assert!(texts.contains(&"last"));
        assert!(
            texts.iter().any(|text| text.starts_with("[REDACTED")),
            "{arguments:?}"
        );
    }
}

#[test]
fn an_error_whose_message_does_not_fit_is_told_in_short() {
    let lightning = narrow(100_000);
    let _worker = Worker::with_mock_engine(&lightning, &["--max-frame-mb", "0.09"]);
    let plan = json!({
        "triggers": [{"id": "t"}],
        "jobs": [{"id": "a", "body": "fn(s => { throw new Error('x'.repeat(200000)); })"}],
        "edges": [{"source_trigger_id": "t", "target_job_id": "a"}],
        "starting_node_id": "t",
    });
    let id = lightning.enqueue(plan).unwrap();
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Failed, "{:?}", run.error_message);
    let message = run.error_message.unwrap();
    assert!(message.ends_with("xxx…"), "{} bytes", message.len());
}
