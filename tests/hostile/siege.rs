//! Bad runs one after the other, and what is left behind at the end: nothing.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::MOST_RESIDENT_KB;
use crate::jobs::{self, hostile};
use crate::support::http::get;
use crate::support::random::Random;
use crate::support::rows::{Row, SUCCESS, check};
use crate::support::{MONOREPO, Worker, eventually, is_alive, lightning};

const CAPACITY: usize = 5;
/// Children that wait for a run.
const SPARES: usize = 2;

/// What the runs are drawn from; good ones among them.
const KINDS: [fn() -> Row; 24] = [
    jobs::good,
    jobs::good,
    jobs::busy_loop,
    jobs::loop_of_requests,
    jobs::heap_bomb,
    jobs::growing_map,
    jobs::bomb_of_buffers,
    jobs::huge_buffer,
    jobs::deep_recursion,
    jobs::text_of_a_gigabyte,
    jobs::huge_line,
    jobs::flood_of_lines,
    jobs::polluted_host,
    jobs::broken_json,
    jobs::exit,
    jobs::abort,
    jobs::signal_to_the_worker,
    jobs::own_death,
    jobs::closed_commands,
    jobs::closed_events,
    jobs::garbage_in_commands,
    jobs::garbage_in_events,
    jobs::event_of_900_mb,
    jobs::event_of_another_run,
];

/// What a worker holds.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    processes: usize,
    descriptors: usize,
    folders: usize,
}

fn holdings(worker: &Worker) -> Holdings {
    Holdings {
        processes: worker.children_and_zombies().len(),
        descriptors: worker.descriptors(),
        folders: folders(worker.temporary()),
    }
}

/// The folders in the worker's root, of which each child has one.
fn folders(temporary: &Path) -> usize {
    let below = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_dir())
            .collect::<Vec<_>>()
    };
    below(temporary).iter().map(|root| below(root).len()).sum()
}

/// Runs that all wait, so that the worker has had all the children that it may have.
fn fill(lightning: &lightning_mock::MockServer) {
    let waits = "return new Promise((done) => host('return setTimeout')(() => done({}), 1500));";
    let row = || hostile("a run that waits", waits, json!({})).step("a", SUCCESS);
    check(lightning, (0..CAPACITY).map(|_| row()).collect());
}

fn withstands(count: usize, seed: u64) {
    let lightning = lightning();
    let spares = SPARES.to_string();
    let mut arguments = vec!["--monorepo-dir", MONOREPO, "--capacity", "5"];
    arguments.extend(["--engine-spares", &spares]);
    let worker = Worker::with_engine(&lightning, &arguments);
    fill(&lightning);
    eventually("two children wait, and no other is left", || {
        let status: Value = serde_json::from_str(&get(worker.url(), "/status").body).expect("JSON");
        let children = status["engine"]["children"].as_array().expect("a list");
        children.len() == SPARES && children.iter().all(|child| child["warm"] == true)
    });
    let before = holdings(&worker);

    let mut random = Random(seed);
    let rows = (0..count).map(|_| random.of(&KINDS)()).collect();
    check(&lightning, rows);

    fill(&lightning);
    let mut after = holdings(&worker);
    eventually(&format!("{after:?} become {before:?}"), || {
        after = holdings(&worker);
        after == before
    });
    let most = worker.peak_resident_kb();
    println!("{count} runs; before {before:?}, after {after:?}; resident at most {most} kB");
    assert!(most < MOST_RESIDENT_KB, "the worker grew to {most} kB");
    assert!(
        lightning.refusals().is_empty(),
        "{:?}",
        lightning.refusals()
    );

    let children = worker.children();
    worker.signal(Signal::SIGTERM);
    eventually("its children have ended", || {
        !children.iter().any(|child| is_alive(*child))
    });
    eventually("its folders are removed", || {
        fs::read_dir(worker.temporary()).is_ok_and(|mut left| left.next().is_none())
    });
}

#[test]
fn bad_runs_leave_nothing_behind() {
    withstands(30, 2026);
}

/// `cargo test --test hostile -- --ignored --nocapture two_hundred`.
#[test]
#[ignore = "takes minutes"]
fn two_hundred_bad_runs_leave_nothing_behind() {
    withstands(200, 4);
}
