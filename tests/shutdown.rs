//! How the worker ends.

mod support;

use lightning_mock::RunState;
use nix::sys::signal::Signal;
use support::{DEADLINE, Worker, lightning, plan};

#[test]
fn an_idle_worker_ends_with_zero_on_sigterm_and_on_sigint() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let lightning = lightning();
        let worker = Worker::with_mock_engine(&lightning, &[]);
        assert_eq!(worker.ends_after(signal), Some(0));
    }
}

#[test]
fn a_run_in_progress_is_finished_and_no_other_is_begun() {
    let lightning = lightning();
    let running = lightning.enqueue(plan("wait(500)", "manual")).unwrap();
    let worker = Worker::with_mock_engine(&lightning, &["--capacity", "1"]);
    lightning
        .wait_event(DEADLINE, |event| event.is_from(&running, "step:start"))
        .unwrap();
    let waiting = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    assert_eq!(worker.ends_after(Signal::SIGTERM), Some(0));
    assert_eq!(lightning.run(&running).unwrap().state, RunState::Success);
    assert_eq!(lightning.run(&waiting).unwrap().state, RunState::Available);
}
