//! Claims whose reply is lost with the socket, on servers that put their runs back into the queue and on those that do not
//! (protocol spec, sections 3.5 and 10.2).

mod support;

use std::collections::HashSet;
use std::time::Duration;

use lightning_mock::{Fault, MockLightning, MockServer, RollBack, RunState, RunView};
use serde_json::json;

use support::{DEADLINE, SECRET, Worker, eventually, plan};

/// How long a run of [`RollBack::Unjoined`] may wait for its channel; the server's own default is 30 s.
const LIMIT: Duration = Duration::from_secs(1);

fn lightning(roll_back: RollBack) -> MockServer {
    MockLightning::builder()
        .secret(Some(SECRET))
        .roll_back(roll_back)
        .spawn_thread()
        .expect("the mock starts on a free port")
}

/// How often a run was executed: each execution names its step anew, one that is only reported again does not.
fn executions(lightning: &MockServer, run: &str) -> usize {
    let events = lightning.events();
    let starts = events
        .iter()
        .filter(|event| event.is_from(run, "step:start"));
    let steps: HashSet<_> = starts
        .map(|event| event.payload["step_id"].as_str())
        .collect();
    steps.len()
}

fn is_executed_once(lightning: &MockServer, run: &RunView) {
    assert_eq!(
        (run.state, run.steps.len(), executions(lightning, &run.id)),
        (RunState::Success, 1, 1),
        "run {} was claimed {} times",
        run.id,
        run.claims
    );
}

#[test]
fn a_run_whose_claim_reply_was_lost_is_executed_once_by_a_server_that_sees_the_dead_socket() {
    let lightning = lightning(RollBack::DeadSocket);
    let id = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    lightning.fault("claim", Fault::CutAfter);
    let _worker = Worker::with_mock_engine(&lightning, &[]);
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    is_executed_once(&lightning, &run);
    assert_eq!(run.claims, 2);
}

#[test]
fn a_run_whose_claim_reply_was_lost_on_the_way_is_executed_once_when_its_channel_was_not_joined() {
    let lightning = lightning(RollBack::Unjoined(LIMIT));
    let id = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    lightning.fault("claim", Fault::LoseReply);
    let _worker = Worker::with_mock_engine(&lightning, &["--capacity", "2"]);
    lightning
        .wait_event(DEADLINE, |event| event.event == "claim")
        .unwrap();
    lightning.disconnect_all();
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    is_executed_once(&lightning, &run);
    assert_eq!(run.claims, 2);
}

#[test]
fn a_run_that_an_older_server_keeps_claimed_is_lost_at_its_deadline_and_holds_nobody_up() {
    let lightning = MockLightning::builder()
        .secret(Some(SECRET))
        .roll_back(RollBack::Never)
        .grace_seconds(0)
        .spawn_thread()
        .unwrap();
    let mut short = plan("fn(s => s)", "manual");
    short["options"] = json!({"run_timeout_ms": 1000});
    let held = lightning.enqueue(short).unwrap();
    lightning.fault("claim", Fault::CutAfter);
    let _worker = Worker::with_mock_engine(&lightning, &["--capacity", "1"]);
    let other = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    let other = lightning.wait_for(&other, DEADLINE).unwrap();
    is_executed_once(&lightning, &other);
    eventually("the server loses the run", || {
        !lightning.lose_expired().is_empty()
    });
    let held = lightning.run(&held).unwrap();
    assert_eq!(
        (held.state, held.claims, executions(&lightning, &held.id)),
        (RunState::Lost, 1, 0)
    );
}

#[test]
fn a_worker_that_comes_too_late_does_not_execute_and_the_run_is_executed_by_its_next_claim() {
    let lightning = lightning(RollBack::Never);
    let late = Fault::Delay(Duration::from_millis(500));
    lightning.fault("fetch:plan", late);
    let id = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    // Neither loop nor a second slot: nobody claims it again before `run:start` was refused.
    let worker = Worker::with_mock_engine(
        &lightning,
        &["--no-loop", "--capacity", "1", "--log", "info"],
    );
    eventually("the run is claimed", || {
        lightning.work_available();
        lightning.run(&id).unwrap().state == RunState::Claimed
    });
    lightning
        .wait_event(DEADLINE, |event| event.is_from(&id, "fetch:plan"))
        .unwrap();
    assert!(lightning.roll_back(&id));
    worker.waits_for_line("is given up");
    assert_eq!(executions(&lightning, &id), 0);
    assert_eq!(lightning.run(&id).unwrap().state, RunState::Available);
    eventually("the run is claimed and executed", || {
        lightning.work_available();
        lightning.run(&id).unwrap().state == RunState::Success
    });
    is_executed_once(&lightning, &lightning.run(&id).unwrap());
}

#[test]
fn a_run_that_is_handed_out_again_while_its_first_claim_is_being_refused_is_not_forgotten() {
    let lightning = lightning(RollBack::Never);
    let id = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    // The refusal of the start is on its way while the same worker claims the run again.
    lightning.fault(
        "run:start",
        Fault::Refuse(json!({"errors": {"state":
        ["cannot mark run started that has not been claimed by a worker"]}})),
    );
    lightning.fault("fetch:plan", Fault::Delay(Duration::from_millis(500)));
    let _worker = Worker::with_mock_engine(&lightning, &["--capacity", "2"]);
    lightning
        .wait_event(DEADLINE, |event| event.is_from(&id, "fetch:plan"))
        .unwrap();
    assert!(lightning.roll_back(&id));
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    is_executed_once(&lightning, &run);
    assert_eq!(run.claims, 2);
}

#[test]
fn two_workers_execute_each_run_once_while_claim_replies_are_lost() {
    // With the socket, and on the way, when the server learns of it only by the channel that is not joined.
    for (roll_back, fault) in [
        (RollBack::DeadSocket, "cut-after"),
        (RollBack::Unjoined(LIMIT), "lose-reply"),
    ] {
        let rules = [3, 8, 13, 21].map(|nth| format!("claim@{nth}={fault}").parse().unwrap());
        let lightning = MockLightning::builder()
            .secret(Some(SECRET))
            .roll_back(roll_back)
            .chaos(rules.to_vec(), 1)
            .spawn_thread()
            .unwrap();
        let ids: Vec<_> = (0..40)
            .map(|_| lightning.enqueue(plan("wait(50)", "manual")).unwrap())
            .collect();
        // The slot of a claim without an answer is claimed for again after 3 s.
        let arguments = ["--capacity", "3", "--message-timeout", "1"];
        let _first = Worker::with_mock_engine(&lightning, &arguments);
        let _second = Worker::with_mock_engine(&lightning, &arguments);
        for id in &ids {
            let run = lightning.wait_for(id, DEADLINE).unwrap();
            is_executed_once(&lightning, &run);
        }
        let again = lightning.runs().iter().filter(|run| run.claims > 1).count();
        assert!(again > 0, "no reply was lost: {roll_back:?}");
    }
}
