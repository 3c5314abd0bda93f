//! Several workers share one Lightning: every run is executed once, by some worker, also while all of them are replaced.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lightning_mock::{MockLightning, MockServer, RunState};
use nix::sys::signal::Signal;

use support::{DEADLINE, SECRET, Worker, lightning, plan};

const CAPACITY: usize = 5;

/// Starts one of several workers; its name is what the shares are counted by.
fn worker(lightning: &MockServer, number: usize) -> Worker {
    let name = format!("worker-{number}");
    let capacity = CAPACITY.to_string();
    Worker::with_mock_engine(
        lightning,
        &["--name", &name, "--capacity", &capacity, "--log", "info"],
    )
}

fn workers(lightning: &MockServer, count: usize) -> Vec<Worker> {
    (0..count).map(|number| worker(lightning, number)).collect()
}

fn enqueue(lightning: &MockServer, runs: usize, body: &str) {
    for _ in 0..runs {
        lightning.enqueue(plan(body, "manual")).unwrap();
    }
}

/// How many runs each worker claimed, once all have succeeded with one claim and one step each.
fn shares(lightning: &MockServer, runs: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    let all = lightning.runs();
    assert_eq!(all.len(), runs);
    for run in all {
        assert_eq!(
            (run.state, run.claims, run.steps.len()),
            (RunState::Success, 1, 1),
            "{}: {:?}",
            run.id,
            run.error_message
        );
        *shares
            .entry(run.worker_name.expect("a claim has a name"))
            .or_default() += 1;
    }
    shares
}

/// Every worker has taken part: none has less than a third of what an even split would give it.
fn assert_fair(shares: &BTreeMap<String, usize>, workers: usize, runs: usize) {
    assert_eq!(shares.len(), workers, "{shares:?}");
    assert!(
        shares.values().all(|share| share * workers * 3 >= runs),
        "{shares:?}"
    );
}

/// Replaces one worker after the other, each as soon as the one before is back, with runs in hand all the time.
fn replace_all(lightning: &MockServer, workers: Vec<Worker>) -> Vec<Worker> {
    let count = workers.len();
    for number in 0..count {
        lightning
            .wait_event(DEADLINE, |event| {
                event.event == "claim" && event.payload["worker_name"] == format!("worker-{number}")
            })
            .unwrap();
    }
    let mut fresh = Vec::new();
    for (number, old) in workers.into_iter().enumerate() {
        assert_eq!(old.ends_after(Signal::SIGTERM), Some(0));
        fresh.push(worker(lightning, count + number));
    }
    fresh
}

#[test]
fn three_workers_share_the_runs_and_none_is_executed_twice() {
    let lightning = lightning();
    let _workers = workers(&lightning, 3);
    enqueue(&lightning, 300, "wait(50)");
    lightning.wait_for_finished(300, DEADLINE * 2).unwrap();
    assert_fair(&shares(&lightning, 300), 3, 300);
    assert!(
        lightning.refusals().is_empty(),
        "{:?}",
        lightning.refusals()
    );
}

#[test]
fn a_rolling_restart_of_all_workers_loses_no_run() {
    let lightning = lightning();
    enqueue(&lightning, 300, "wait(200)");
    let old = workers(&lightning, 3);
    let _fresh = replace_all(&lightning, old);
    lightning.wait_for_finished(300, DEADLINE * 2).unwrap();
    let shares = shares(&lightning, 300);
    let replaced = (0..3).filter(|number| shares.contains_key(&format!("worker-{number}")));
    assert_eq!(replaced.count(), 3, "{shares:?}");
    assert!(
        lightning.refusals().is_empty(),
        "{:?}",
        lightning.refusals()
    );
}

/// Prints the table of docs/scale-out.md:
/// `cargo test --release --test scale_out -- --ignored --nocapture --test-threads 1`
#[test]
#[ignore = "takes minutes, and its figures need a quiet machine"]
fn ten_workers_share_five_thousand_runs() {
    const RUNS: usize = 5000;
    println!("| workers | runs/s | smallest share | largest share |");
    println!("| --- | --- | --- | --- |");
    for count in [1, 2, 5, 10] {
        let lightning = crowd();
        let _workers = workers(&lightning, count);
        let begun = Instant::now();
        enqueue(&lightning, RUNS, "wait(50)");
        lightning
            .wait_for_finished(RUNS, Duration::from_secs(600))
            .unwrap();
        let seconds = begun.elapsed().as_secs_f64();
        let shares = shares(&lightning, RUNS);
        assert_fair(&shares, count, RUNS);
        let rate = f64::from(u32::try_from(RUNS).expect("a small number")) / seconds;
        println!(
            "| {count} | {rate:.0} | {} | {} |",
            shares.values().min().expect("somebody had a share"),
            shares.values().max().expect("somebody had a share"),
        );
    }
}

#[test]
#[ignore = "takes a minute: cargo test --release --test scale_out -- --ignored --test-threads 1"]
fn a_rolling_restart_of_ten_workers_under_load_loses_no_run() {
    const RUNS: usize = 5000;
    let lightning = lightning();
    enqueue(&lightning, RUNS, "wait(200)");
    let old = workers(&lightning, 10);
    let _fresh = replace_all(&lightning, old);
    lightning
        .wait_for_finished(RUNS, Duration::from_secs(600))
        .unwrap();
    let shares = shares(&lightning, RUNS);
    assert_eq!(shares.len(), 20, "{shares:?}");
}

/// A mock that keeps no frames, so that its memory is not what is measured.
fn crowd() -> MockServer {
    MockLightning::builder()
        .secret(Some(SECRET))
        .record(false)
        .spawn_thread()
        .expect("the mock starts on a free port")
}
