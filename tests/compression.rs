//! permessage-deflate (RFC 7692), with a Lightning that takes the offer and compresses everything that it says.

mod support;

use lightning_mock::{MockLightning, MockServer, RunState};
use serde_json::json;

use support::{DEADLINE, SECRET, Worker, plan};

fn lightning(rules: &[&str]) -> MockServer {
    let rules = rules
        .iter()
        .map(|rule| rule.parse().expect("a chaos rule"))
        .collect();
    MockLightning::builder()
        .secret(Some(SECRET))
        .compression(true)
        .chaos(rules, 1)
        .spawn_thread()
        .expect("the mock starts on a free port")
}

/// A state of some megabytes, in JavaScript and as it arrives: with characters of every length, and too large for one frame.
const STATE: &str = r#"({ text: '"a"\\\n\u0001é😀'.repeat(200000) })"#;

fn state() -> serde_json::Value {
    json!({ "text": "\"a\"\\\n\u{1}é😀".repeat(200_000) })
}

#[test]
fn a_state_of_megabytes_arrives_as_it_is_and_took_a_fraction_of_its_bytes() {
    let lightning = lightning(&[]);
    let body = format!("fn(s => {STATE})");
    let id = lightning.enqueue(plan(&body, "manual")).unwrap();
    let _worker = Worker::with_mock_engine(&lightning, &[]);
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert!(run.final_state == Some(state()), "another final state");
    let step = run.steps.values().next().unwrap();
    assert!(step.output_dataclip == Some(state()), "another dataclip");
    assert!(lightning.refusals().is_empty());
    let inflated = lightning.inflated();
    assert!(
        inflated.bytes > 4_000_000 && inflated.sent_bytes < inflated.bytes / 10,
        "{inflated:?}"
    );
}

#[test]
fn an_input_of_megabytes_is_read_as_it_is() {
    let lightning = lightning(&[]);
    let mut plan = plan(
        "fn(s => ({ same: s.text === s.copy, text: s.text }))",
        "manual",
    );
    let mut input = state();
    input["copy"] = input["text"].clone();
    plan["dataclip"] = input;
    let id = lightning.enqueue(plan).unwrap();
    let _worker = Worker::with_mock_engine(&lightning, &[]);
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    let mut wanted = state();
    wanted["same"] = json!(true);
    assert!(run.final_state == Some(wanted), "another state");
}

#[test]
fn small_messages_go_as_they_are() {
    let lightning = lightning(&[]);
    let id = lightning
        .enqueue(plan(
            "fn(s => { console.log('hello'); return s; })",
            "manual",
        ))
        .unwrap();
    let _worker = Worker::with_mock_engine(&lightning, &[]);
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Success);
    assert_eq!(lightning.inflated().messages, 0);
}

#[test]
fn nothing_is_compressed_where_it_is_switched_off() {
    let lightning = lightning(&[]);
    let body = format!("fn(s => {STATE})");
    let id = lightning.enqueue(plan(&body, "manual")).unwrap();
    let _worker = Worker::with_mock_engine(&lightning, &["--no-compression"]);
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert!(run.final_state == Some(state()), "another final state");
    assert_eq!(lightning.inflated().messages, 0);
}

#[test]
fn runs_survive_cut_sockets_in_the_middle_of_compressed_messages() {
    let lightning = lightning(&["step:complete/4=cut-after", "run:complete/5=cut-before"]);
    let body = "fn(s => ({ text: 'record '.repeat(100000) }))";
    let ids: Vec<_> = (0..12)
        .map(|_| lightning.enqueue(plan(body, "manual")).unwrap())
        .collect();
    let _worker = Worker::with_mock_engine(&lightning, &["--capacity", "2"]);
    let wanted = json!({ "text": "record ".repeat(100_000) });
    for id in &ids {
        let run = lightning
            .wait_for(id, DEADLINE)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((run.state, run.steps.len()), (RunState::Success, 1));
        assert!(run.final_state.as_ref() == Some(&wanted), "another state");
    }
}
