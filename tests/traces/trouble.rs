//! Traces when something goes wrong: with the collector, or with the run.

use std::net::TcpListener;

use lightning_mock::{Fault, RunState};
use nix::sys::signal::Signal;
use serde_json::json;

use super::collector::Collector;
use super::{lightning, one_step, traced, with_mock_engine};
use crate::support::{DEADLINE, Worker, command};

/// A collector that takes connections and never answers; and one that is not there.
fn dead() -> (TcpListener, [String; 2]) {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("a bound port").port();
    let gone = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let closed = gone.local_addr().expect("a bound port").port();
    let urls = [port, closed].map(|port| format!("http://127.0.0.1:{port}"));
    (silent, urls)
}

#[test]
fn a_dead_collector_fails_no_run_holds_no_drain_and_is_said_once() {
    let lightning = lightning();
    let (_silent, urls) = dead();
    for url in urls {
        let mut worker = Worker::start(
            traced(
                command(&lightning).args(["--mock", "--log-format", "json"]),
                &url,
            )
            // Longer than the end of the worker may take.
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"),
        );
        for _ in 0..3 {
            let id = lightning.enqueue(one_step("fn(s => s)")).unwrap();
            let run = lightning.wait_for(&id, DEADLINE).unwrap();
            assert_eq!(run.state, RunState::Success);
        }
        let mut lines = worker.until_line("traces.lost");
        worker.signal(Signal::SIGTERM);
        lines.extend(worker.until_ended());
        assert_eq!(worker.exit_code(), Some(0));
        let said = lines.iter().filter(|line| line.contains("traces.lost"));
        assert_eq!(said.count(), 1, "{lines:#?}");
    }
}

#[test]
fn the_end_of_the_worker_does_not_wait_for_a_collector_that_may_take_an_hour() {
    let lightning = lightning();
    let (_silent, [url, _]) = dead();
    let mut worker = Worker::start(
        traced(
            command(&lightning).args(["--mock", "--log-format", "json"]),
            &url,
        )
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000"),
    );
    let id = lightning.enqueue(one_step("fn(s => s)")).unwrap();
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Success);
    worker.signal(Signal::SIGTERM);
    let lines = worker.until_ended();
    assert_eq!(worker.exit_code(), Some(0));
    let lost: Vec<_> = lines
        .iter()
        .filter(|it| it.contains("traces.lost"))
        .collect();
    assert!(
        lost.len() == 1 && lost[0].contains("the worker has ended"),
        "{lines:#?}"
    );
}

#[test]
fn a_worker_that_shall_speak_grpc_says_what_to_set_and_works_without_traces() {
    let lightning = lightning();
    let collector = Collector::start();
    let worker = Worker::start(
        traced(command(&lightning).arg("--mock"), &collector.url())
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    );
    let said = worker.first_lines().join("\n");
    assert!(
        said.contains("http/protobuf") && said.contains("4318"),
        "{said}"
    );
    let id = lightning.enqueue(one_step("fn(s => s)")).unwrap();
    lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(worker.ends_after(Signal::SIGTERM), Some(0));
    assert_eq!(collector.requests(), 0);
}

#[test]
fn what_is_on_its_way_when_the_worker_ends_arrives() {
    let lightning = lightning();
    let collector = Collector::start();
    let worker = Worker::start(
        traced(command(&lightning).arg("--mock"), &collector.url())
            .env("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
    );
    let id = lightning.enqueue(one_step("fn(s => s)")).unwrap();
    lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(worker.ends_after(Signal::SIGTERM), Some(0));
    assert_eq!(collector.trace_of(&id).the("run").text("reason"), "success");
}

#[test]
fn the_trace_of_a_run_that_lightning_takes_away_ends_as_unreported() {
    let lightning = lightning();
    let collector = Collector::start();
    let _worker = with_mock_engine(&lightning, &collector);
    let state = "cannot mark run started that has not been claimed by a worker";
    lightning.fault(
        "run:start",
        Fault::Refuse(json!({"errors": {"state": [state]}})),
    );
    let id = lightning.enqueue(one_step("fn(s => s)")).unwrap();
    let tree = collector.trace_of(&id);
    let root = tree.the("run");
    assert_eq!(root.text("reason"), "unreported");
    assert_eq!(root.failure().as_deref(), Some("unreported"));
    assert!(tree.all("step").is_empty());
}

#[test]
fn the_trace_of_a_run_that_the_worker_leaves_ends_with_the_worker() {
    let lightning = lightning();
    let collector = Collector::start();
    let mut worker = with_mock_engine(&lightning, &collector);
    let id = lightning.enqueue(one_step("wait(60000)")).unwrap();
    lightning
        .wait_event(DEADLINE, |event| event.is_from(&id, "step:start"))
        .unwrap();
    lightning.refuse_connections(DEADLINE);
    lightning.disconnect_all();
    for said in ["CLOSING SERVER", "ending the runs in hand"] {
        worker.signal(Signal::SIGTERM);
        worker.waits_for_line(said);
    }
    worker.waits_for_line("-> settling");
    // Lightning cannot be told any more, and nobody wants to wait.
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.exit_code(), Some(143));
    let tree = collector.trace_of(&id);
    assert_eq!(tree.the("run").failure().as_deref(), Some("unreported"));
    let step = tree.the("step");
    assert_eq!(step.failure().as_deref(), Some("WorkerShutdown"));
    assert!(step.time().1 <= tree.the("delivery").time().1);
}

#[test]
fn a_request_that_is_made_again_is_a_span_each_time() {
    let lightning = lightning();
    let collector = Collector::start();
    let _worker = with_mock_engine(&lightning, &collector);
    lightning.fault("fetch:plan", Fault::CutBefore);
    let id = lightning.enqueue(one_step("fn(s => s)")).unwrap();
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Success);
    let tree = collector.trace_of(&id);
    let asked = tree.all("fetch:plan");
    let failures: Vec<_> = asked.iter().map(|span| span.failure()).collect();
    assert_eq!(failures, [Some("unanswered".to_owned()), None]);
    assert!(asked[0].time().0 < asked[1].time().0);
}
