//! Lightning is restarted, moved, or goes silent while runs are in progress.

mod support;

use std::time::{Duration, Instant};

use lightning_mock::{MockLightning, MockServer, RunState, RunView};

use support::proxy::Proxy;
use support::{DEADLINE, Worker, command_at, lightning, plan};

fn worker(proxy: &Proxy) -> Worker {
    let mut command = command_at(&proxy.ws_url());
    let arguments = ["--mock", "--capacity", "3", "--log", "info"];
    Worker::start(command.args(arguments).env_clear())
}

/// A second node of the same Lightning.
fn another_node(lightning: &MockServer) -> MockServer {
    MockLightning::builder()
        .node_of(lightning)
        .spawn_thread()
        .expect("the mock starts on a free port")
}

fn started(lightning: &MockServer, run: &str) {
    lightning
        .wait_event(DEADLINE, |event| event.is_from(run, "step:start"))
        .expect("the run starts its step");
}

#[test]
fn runs_in_progress_survive_a_move_to_another_node_of_the_same_lightning() {
    let first = lightning();
    let second = another_node(&first);
    let proxy = Proxy::to(first.port());
    let runs: Vec<_> = (0..3)
        .map(|_| first.enqueue(plan("wait(1500)", "manual")).unwrap())
        .collect();
    let _worker = worker(&proxy);
    for run in &runs {
        started(&first, run);
    }
    proxy.moves_to(second.port());
    let later = first.enqueue(plan("fn(s => s)", "manual")).unwrap();
    for run in runs.iter().chain([&later]) {
        let run = second.wait_for(run, DEADLINE).unwrap();
        assert_eq!(
            (run.state, run.claims, run.steps.len()),
            (RunState::Success, 1, 1)
        );
    }
}

#[test]
fn runs_that_the_new_lightning_does_not_know_end_with_one_line_and_free_their_slots() {
    let first = lightning();
    let stranger = lightning();
    let proxy = Proxy::to(first.port());
    let runs: Vec<_> = (0..3)
        .map(|_| first.enqueue(plan("wait(60000)", "manual")).unwrap())
        .collect();
    let worker = worker(&proxy);
    for run in &runs {
        started(&first, run);
    }
    worker.log();
    proxy.moves_to(stranger.port());
    let later: Vec<_> = (0..3)
        .map(|_| stranger.enqueue(plan("wait(500)", "manual")).unwrap())
        .collect();
    for run in &later {
        assert_eq!(
            stranger.wait_for(run, DEADLINE).unwrap().state,
            RunState::Success
        );
    }
    let log = worker.log();
    for run in &runs {
        let told: Vec<_> = log
            .iter()
            .filter(|line| line.contains(&format!("run {run} is given up")))
            .collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("not_found"), "{told:?}");
    }
}

#[test]
fn a_server_that_is_restarted_at_every_moment_loses_no_run() {
    let first = lightning();
    let second = another_node(&first);
    let proxy = Proxy::to(first.port());
    let _worker = worker(&proxy);
    let runs: Vec<_> = (0..30)
        .map(|_| first.enqueue(plan("wait(300)", "manual")).unwrap())
        .collect();
    // Each time that some more have ended is a moment, in whatever phase the others are.
    for (moment, node) in [&second, &first].into_iter().cycle().take(6).enumerate() {
        first.wait_for_finished(moment * 4, DEADLINE).unwrap();
        proxy.moves_to(node.port());
    }
    for run in &runs {
        let ended = ended(&first, run);
        assert_eq!((ended.state, ended.steps.len()), (RunState::Success, 1));
    }
}

/// The run when it has ended. What a cut claim took goes back into the queue, as the server does with runs that nobody
/// starts (protocol spec, section 3.5).
fn ended(lightning: &MockServer, run: &str) -> RunView {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match lightning.wait_for(run, Duration::from_secs(2)) {
            Ok(run) => return run,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        lightning.roll_back(run);
    }
}

#[test]
fn a_connection_that_is_dead_without_saying_so_is_given_up_and_replaced() {
    let lightning = lightning();
    let proxy = Proxy::to(lightning.port());
    let run = lightning.enqueue(plan("wait(1000)", "manual")).unwrap();
    let _worker = worker(&proxy);
    started(&lightning, &run);
    proxy.holds();
    let run = lightning
        .wait_for(&run, DEADLINE + Duration::from_secs(15))
        .expect("the run starts its step");
    assert_eq!((run.state, run.claims), (RunState::Success, 1));
}
