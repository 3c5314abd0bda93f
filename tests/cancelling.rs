//! Runs that somebody ends, and what a worker that is killed leaves behind.

#![expect(
    clippy::print_stdout,
    reason = "figures for whoever runs it with --nocapture"
)]

mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lightning_mock::{Fault, MockServer, RunView};
use nix::sys::signal::Signal;
use serde_json::json;

use support::rows::{Row, SUCCESS, chain, check, ended, enqueue, one};
use support::{DEADLINE, MONOREPO, Worker, command_with_engine, eventually, is_alive, lightning};

/// What a job may take to stop.
const STOPPING: Duration = Duration::from_secs(1);
/// What a loaded machine may add to it.
const PATIENCE: Duration = Duration::from_secs(2);

fn worker(lightning: &MockServer) -> Worker {
    Worker::with_engine(lightning, &["--monorepo-dir", MONOREPO, "--capacity", "1"])
}

/// Executes a job until it says that it has begun, ends it by `cancel`, and gives the run when it was reported.
fn cancelled(body: &str, cancel: impl FnOnce(&MockServer, &Worker, &str)) -> RunView {
    let lightning = lightning();
    let worker = worker(&lightning);
    let plan = chain(&[("a", body), ("b", "fn(s => s)")], &[("a", "b", "always")]);
    let id = enqueue(&lightning, &plan);
    eventually("the job has begun", || {
        let run = lightning.run(&id).expect("it was stored");
        run.log_texts().contains(&"begun")
    });
    let asked = SystemTime::now();
    cancel(&lightning, &worker, &id);
    let run = ended(&lightning, &id);
    let mut events = lightning.events().into_iter();
    let stopped = events.find(|event| event.is_from(&id, "step:complete"));
    // The step is reported when its thread or its process is gone, so it has stopped by then.
    let stopped = UNIX_EPOCH + Duration::from_micros(stopped.expect("its step has begun").time);
    let took = stopped.duration_since(asked).unwrap_or_default();
    println!(
        "{} ms from the cancel to step:complete: {body}",
        took.as_millis()
    );
    assert!(took < STOPPING + PATIENCE, "{took:?}");
    check(
        &lightning,
        vec![Row::new("the next run", one("fn(s => s)")).step("a", SUCCESS)],
    );
    run
}

fn is_cancelled(run: &RunView) {
    assert_eq!(run.reason.as_deref(), Some("cancel"));
    let steps: Vec<_> = run
        .steps
        .values()
        .map(|step| (step.job_id.as_str(), step.reason.as_deref()))
        .collect();
    assert_eq!(steps, [("a", Some("cancel"))]);
}

fn by_lightning(lightning: &MockServer, _: &Worker, run: &str) {
    lightning.push(&format!("run:{run}"), "run:cancel", json!({}));
}

fn by_an_operator(_: &MockServer, worker: &Worker, run: &str) {
    let url = format!("{}/runs/{run}", worker.url());
    let status = actix_rt::System::new().block_on(async move {
        let response = awc::Client::default().delete(url).send().await;
        response.expect("the worker answers").status().as_u16()
    });
    assert_eq!(status, 202);
}

#[test]
fn a_cancel_that_comes_after_the_end_does_not_change_how_the_run_ended() {
    let lightning = lightning();
    let worker = Worker::with_mock_engine(&lightning, &[]);
    lightning.fault("run:complete", Fault::Delay(Duration::from_millis(500)));
    let id = enqueue(&lightning, &one("fn(s => s)"));
    lightning
        .wait_event(DEADLINE, |event| event.is_from(&id, "run:complete"))
        .unwrap_or_else(|error| panic!("{error}"));
    by_lightning(&lightning, &worker, &id);
    worker.waits_for_line(&format!("run {id} ended: success"));
}

#[test]
fn lightning_cancels_a_job_that_waits() {
    is_cancelled(&cancelled(
        "fn(() => { console.log('begun'); return new Promise(() => {}); })",
        by_lightning,
    ));
}

#[test]
fn lightning_cancels_a_busy_loop() {
    is_cancelled(&cancelled(
        "fn(() => { console.log('begun'); while (true); })",
        by_lightning,
    ));
}

#[test]
fn an_operator_cancels_a_flood_of_lines() {
    let flood = "fn(() => { console.log('begun'); while (true) console.log('line'); })";
    is_cancelled(&cancelled(flood, by_an_operator));
}

#[test]
fn a_job_in_one_long_native_call_is_killed_with_its_child() {
    let native = "fn(() => { const process = console.log.constructor('return process')();
        console.log('begun');
        process.getBuiltinModule('crypto').pbkdf2Sync('x', 'y', 2 ** 30, 64, 'sha512'); })";
    is_cancelled(&cancelled(native, by_an_operator));
}

#[test]
fn a_worker_that_is_killed_takes_its_children_with_it_and_its_files_go_with_the_next() {
    let temporary = tempfile::tempdir().unwrap();
    let roots = || {
        let entries = std::fs::read_dir(temporary.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let lightning = lightning();
    let start = || {
        Worker::start(
            command_with_engine(&lightning)
                .args(["--monorepo-dir", MONOREPO, "--capacity", "1"])
                .env("TMPDIR", temporary.path()),
        )
    };
    let worker = start();
    let body = "fn(() => { const process = console.log.constructor('return process')();
        const use = process.getBuiltinModule;
        use('fs').writeFileSync(use('os').tmpdir() + '/secret', 'x'); console.log('left'); while (true); })";
    let id = enqueue(&lightning, &one(body));
    eventually("the job has written its file", || {
        let run = lightning.run(&id).expect("it was stored");
        run.log_texts().contains(&"left")
    });
    let children = worker.children();
    assert!(!children.is_empty());
    let left = roots();
    assert_eq!(left.len(), 1);
    worker.ends_after(Signal::SIGKILL);
    eventually("the children die", || {
        !children.iter().any(|child| is_alive(*child))
    });
    assert_eq!(roots(), left);
    let next = start();
    eventually("what was left is removed", || !left[0].exists());
    assert_eq!(next.ends_after(Signal::SIGTERM), Some(0));
    eventually("nothing is left", || roots().is_empty());
}
