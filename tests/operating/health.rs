//! `/livez`, `/readyz`, and the requests that steer a worker.

use std::time::Duration;

use lightning_mock::{MockServer, RunState};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::http::{Answer, ask, get};
use crate::support::{DEADLINE, Worker, command, lightning, plan, until};

/// Asks for `/readyz` until the answer is as wanted.
fn until_ready_says(worker: &Worker, wanted: impl Fn(&Answer) -> bool) -> Answer {
    until("/readyz says what is wanted", || {
        Some(get(worker.url(), "/readyz")).filter(|answer| wanted(answer))
    })
}

fn until_ready(worker: &Worker) {
    until_ready_says(worker, |answer| answer.status == 200);
}

fn status(worker: &Worker) -> Value {
    serde_json::from_str(&get(worker.url(), "/status").body).expect("the status is JSON")
}

/// A run that is at work, in a worker that is ready.
fn with_a_run(lightning: &MockServer, arguments: &[&str]) -> (Worker, String) {
    let id = lightning
        .enqueue(plan("wait(60000)", "manual"))
        .expect("the plan is one");
    let worker = Worker::with_mock_engine(lightning, arguments);
    lightning
        .wait_event(DEADLINE, |event| event.event == "step:start")
        .expect("the step begins");
    (worker, id)
}

#[test]
fn a_worker_is_ready_while_it_is_joined_and_only_then() {
    let lightning = lightning();
    lightning.refuse_connections(Duration::from_secs(3));
    let worker = Worker::with_mock_engine(&lightning, &[]);
    assert_eq!(get(worker.url(), "/livez").status, 200);
    let before = get(worker.url(), "/readyz");
    assert_eq!(before.status, 503, "{before:?}");
    assert!(
        before.body.contains("not connected to Lightning"),
        "{before:?}"
    );

    until_ready(&worker);
    assert_eq!(status(&worker)["connection"]["last_error"], Value::Null);

    lightning.refuse_connections(Duration::from_secs(3));
    lightning.disconnect_all();
    let lost = until_ready_says(&worker, |answer| answer.status == 503);
    assert!(lost.body.contains("not connected to Lightning"), "{lost:?}");
    assert!(status(&worker)["connection"]["last_error"].is_string());
    assert_eq!(get(worker.url(), "/livez").status, 200);

    until_ready(&worker);
    assert_eq!(status(&worker)["connection"]["last_error"], Value::Null);
}

#[test]
fn a_draining_worker_is_not_ready_and_ends_when_its_runs_have() {
    let lightning = lightning();
    let (mut worker, id) = with_a_run(&lightning, &[]);
    assert_eq!(ask(worker.url(), "POST", "/drain", &[]).status, 202);
    let draining = until_ready_says(&worker, |answer| answer.status == 503);
    assert_eq!(draining.body, "the worker is draining");
    assert_eq!(status(&worker)["state"], "draining");

    let path = format!("/runs/{id}");
    assert_eq!(ask(worker.url(), "DELETE", &path, &[]).status, 202);
    assert_eq!(
        lightning.wait_for(&id, DEADLINE).unwrap().state,
        RunState::Cancelled
    );
    assert_eq!(worker.exit_code(), Some(0));
}

#[test]
fn a_worker_that_finishes_its_runs_after_sigterm_lives_is_not_ready_and_tells_its_state() {
    let lightning = lightning();
    let (mut worker, id) = with_a_run(&lightning, &[]);
    worker.signal(Signal::SIGTERM);
    let draining = until_ready_says(&worker, |answer| answer.status == 503);
    assert_eq!(draining.body, "the worker is draining");
    assert_eq!(get(worker.url(), "/livez").status, 200);
    assert_eq!(status(&worker)["state"], "draining");
    let metrics = get(worker.url(), "/metrics").body;
    assert!(metrics.contains(r#"openfn_worker_state{state="draining"} 1"#));
    assert_eq!(ask(worker.url(), "POST", "/claim", &[]).status, 204);

    let path = format!("/runs/{id}");
    assert_eq!(ask(worker.url(), "DELETE", &path, &[]).status, 202);
    assert_eq!(worker.exit_code(), Some(0));
}

#[test]
fn a_page_of_another_site_cannot_drain_a_worker_that_has_no_token() {
    let lightning = lightning();
    let worker = Worker::with_mock_engine(&lightning, &[]);
    let page = "Origin: https://example.com";
    for (method, path) in [
        ("POST", "/drain"),
        ("POST", "/claim"),
        ("DELETE", "/runs/x"),
    ] {
        assert_eq!(
            ask(worker.url(), method, path, &[page]).status,
            403,
            "{path}"
        );
    }
    assert_eq!(status(&worker)["state"], "running");
}

#[test]
fn a_run_that_is_not_active_cannot_be_ended() {
    let lightning = lightning();
    let worker = Worker::with_mock_engine(&lightning, &[]);
    assert_eq!(ask(worker.url(), "DELETE", "/runs/none", &[]).status, 404);
}

#[test]
fn a_token_is_asked_for_by_everything_but_health() {
    let lightning = lightning();
    let worker = Worker::start(
        command(&lightning)
            .arg("--mock")
            .env_clear()
            .env("WORKER_HTTP_TOKEN", "a-token-for-operators"),
    );
    for path in ["/", "/livez"] {
        assert_eq!(get(worker.url(), path).status, 200, "{path}");
    }
    until_ready(&worker);
    for (method, path) in [
        ("GET", "/status"),
        ("GET", "/metrics"),
        ("POST", "/claim"),
        ("POST", "/drain"),
        ("DELETE", "/runs/x"),
    ] {
        assert_eq!(ask(worker.url(), method, path, &[]).status, 401, "{path}");
    }
    let bearer = "Authorization: Bearer a-token-for-operators";
    assert_eq!(ask(worker.url(), "GET", "/status", &[bearer]).status, 200);
    assert_eq!(ask(worker.url(), "GET", "/metrics", &[bearer]).status, 200);
    assert_eq!(worker.ends_after(Signal::SIGTERM), Some(0));
}

#[test]
fn a_worker_without_a_loop_claims_when_it_is_asked_to() {
    let lightning = lightning();
    let id = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    let worker = Worker::with_mock_engine(&lightning, &["--no-loop"]);
    worker.waits_for_line("curl -X POST http://localhost:");
    until_ready(&worker);
    let claim = || ask(worker.url(), "POST", "/claim", &[]);
    let answer = claim();
    assert_eq!((answer.status, answer.body.as_str()), (200, "complete"));
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Success);
    assert_eq!(claim().status, 204);
    let claims = lightning.events();
    let claims = claims.iter().filter(|event| event.event == "claim").count();
    assert_eq!(claims, 2, "nothing is claimed unasked");
}
