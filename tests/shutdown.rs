//! How the worker ends, in every phase of a run, and what Lightning hears of it.

mod support;

use std::time::Duration;

use lightning_mock::{Direction, Fault, MockServer, RecordedEvent, RunState};
use nix::sys::signal::Signal;

use support::{DEADLINE, Worker, lightning, plan};

/// Long enough for a signal to arrive meanwhile.
const WHILE: Duration = Duration::from_millis(800);

/// The first such event, which may still be on its way when the worker has ended.
fn wait_for(lightning: &MockServer, event: &str) -> RecordedEvent {
    lightning
        .wait_event(DEADLINE, |heard| {
            heard.direction == Direction::FromWorker && heard.event == event
        })
        .expect("the worker says so")
}

fn wait_for_leave(lightning: &MockServer, topic: &str) {
    lightning
        .wait_event(DEADLINE, |heard| {
            heard.topic == topic && heard.event == "phx_leave"
        })
        .expect("the worker leaves");
}

#[test]
fn an_idle_worker_ends_with_zero_on_sigterm_and_on_sigint_and_leaves_the_queue() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let lightning = lightning();
        let worker = Worker::with_mock_engine(&lightning, &[]);
        wait_for(&lightning, "claim");
        assert_eq!(worker.ends_after(signal), Some(0));
        wait_for_leave(&lightning, "worker:queue");
    }
}

#[test]
fn a_worker_that_never_reached_lightning_ends_with_zero() {
    let lightning = lightning();
    lightning.refuse_connections(DEADLINE);
    let worker = Worker::with_mock_engine(&lightning, &[]);
    assert_eq!(worker.ends_after(Signal::SIGTERM), Some(0));
}

#[test]
fn a_run_in_any_phase_is_finished_and_no_other_is_begun() {
    for phase in [
        "phx_join",
        "fetch:plan",
        "run:start",
        "step:start",
        "step:complete",
        "run:complete",
    ] {
        let lightning = lightning();
        // The first join is that of the queue.
        if phase == "phx_join" {
            lightning.fault(phase, Fault::Delay(Duration::ZERO));
        }
        lightning.fault(phase, Fault::Delay(WHILE));
        let running = lightning.enqueue(plan("wait(50)", "manual")).unwrap();
        let worker = Worker::with_mock_engine(&lightning, &["--capacity", "1"]);
        lightning
            .wait_event(DEADLINE, |event| event.is_from(&running, phase))
            .unwrap();
        let waiting = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
        assert_eq!(worker.ends_after(Signal::SIGTERM), Some(0), "{phase}");
        assert_eq!(
            lightning.run(&running).unwrap().state,
            RunState::Success,
            "{phase}"
        );
        assert_eq!(
            lightning.run(&waiting).unwrap().state,
            RunState::Available,
            "{phase}"
        );
        wait_for_leave(&lightning, &format!("run:{running}"));
    }
}

#[test]
fn a_run_that_a_claim_under_way_brings_is_executed() {
    let lightning = lightning();
    lightning.fault("claim", Fault::Delay(WHILE));
    let run = lightning.enqueue(plan("wait(50)", "manual")).unwrap();
    let worker = Worker::with_mock_engine(&lightning, &[]);
    let claim = wait_for(&lightning, "claim");
    assert_eq!(worker.ends_after(Signal::SIGTERM), Some(0));
    assert_eq!(lightning.run(&run).unwrap().state, RunState::Success);
    wait_for_leave(&lightning, "worker:queue");
    let claims =
        |event: &RecordedEvent| event.direction == Direction::FromWorker && event.event == "claim";
    let last = lightning.events().into_iter().rfind(claims).unwrap();
    assert_eq!(last.seq, claim.seq, "no claim follows");
}

#[test]
fn a_claim_that_nobody_answers_does_not_hold_the_end_up() {
    let lightning = lightning();
    lightning.fault("claim", Fault::Ignore);
    let worker = Worker::with_mock_engine(&lightning, &["--message-timeout", "1"]);
    wait_for(&lightning, "claim");
    assert_eq!(worker.ends_after(Signal::SIGTERM), Some(0));
}

#[test]
fn a_worker_that_is_offline_waits_for_the_reconnect_to_report_its_run() {
    let lightning = lightning();
    let run = lightning.enqueue(plan("wait(300)", "manual")).unwrap();
    let worker = Worker::with_mock_engine(&lightning, &[]);
    wait_for(&lightning, "step:start");
    lightning.refuse_connections(Duration::from_secs(2));
    lightning.disconnect_all();
    assert_eq!(worker.ends_after(Signal::SIGTERM), Some(0));
    assert_eq!(lightning.run(&run).unwrap().state, RunState::Success);
}

#[test]
fn a_run_that_outlasts_the_grace_is_ended_and_reported() {
    let lightning = lightning();
    let run = lightning.enqueue(plan("wait(60000)", "manual")).unwrap();
    let worker = Worker::with_mock_engine(&lightning, &["--shutdown-grace-seconds", "1"]);
    wait_for(&lightning, "step:start");
    assert_eq!(worker.ends_after(Signal::SIGTERM), Some(0));
    let run = lightning.run(&run).unwrap();
    assert_eq!(
        (run.state, run.error_type.as_deref()),
        (RunState::Exception, Some("WorkerShutdown"))
    );
    assert_eq!(run.steps[0].reason.as_deref(), Some("exception"));
}

#[test]
fn a_grace_that_ends_while_lightning_is_away_names_the_runs_that_are_left() {
    let lightning = lightning();
    let run = lightning.enqueue(plan("wait(60000)", "manual")).unwrap();
    let grace = ["--shutdown-grace-seconds", "0.5"];
    let mut worker = Worker::with_mock_engine(&lightning, &grace);
    wait_for(&lightning, "step:start");
    lightning.refuse_connections(DEADLINE);
    lightning.disconnect_all();
    worker.signal(Signal::SIGTERM);
    worker.waits_for_line(&format!("run {run} is left unreported"));
    assert_eq!(worker.exit_code(), Some(70));
}

#[test]
fn a_second_signal_ends_the_runs_in_hand_and_lightning_hears_of_it() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let lightning = lightning();
        let run = lightning.enqueue(plan("wait(60000)", "manual")).unwrap();
        let worker = Worker::with_mock_engine(&lightning, &[]);
        wait_for(&lightning, "step:start");
        worker.signal(signal);
        worker.waits_for_line("CLOSING SERVER");
        assert_eq!(worker.ends_after(signal), Some(code));
        let run = lightning.run(&run).unwrap();
        assert_eq!(
            (run.state, run.error_type.as_deref()),
            (RunState::Exception, Some("WorkerShutdown"))
        );
    }
}

#[test]
fn a_second_signal_while_lightning_is_away_names_the_runs_that_are_left() {
    let lightning = lightning();
    let run = lightning.enqueue(plan("wait(60000)", "manual")).unwrap();
    let mut worker = Worker::with_mock_engine(&lightning, &[]);
    wait_for(&lightning, "step:start");
    lightning.refuse_connections(DEADLINE);
    lightning.disconnect_all();
    worker.signal(Signal::SIGTERM);
    worker.waits_for_line("CLOSING SERVER");
    worker.signal(Signal::SIGTERM);
    worker.waits_for_line(&format!("run {run} is left unreported"));
    assert_eq!(worker.exit_code(), Some(143));
}
