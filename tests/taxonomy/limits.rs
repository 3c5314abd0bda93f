//! Runs that take too much.

use std::ffi::OsStr;

use serde_json::json;

use crate::support::rows::{Row, check, error, one, with_options};
use crate::support::{MONOREPO, Worker, command_with_engine, lightning, output_of, said};
use crate::worker;

#[test]
fn runs_over_their_limits_are_killed() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    let over = "Run exceeded maximum memory usage";
    check(
        &lightning,
        vec![
            Row::new(
                "a busy loop",
                with_options(
                    one("fn(() => { console.log('here'); while (true); })"),
                    json!({"run_timeout_ms": 1000}),
                ),
            )
            .both("a", error("kill", "TimeoutError", "Workflow failed to return within 1000ms"))
            .line("RTE", "info", "Timeout: 1s")
            .line("JOB", "info", "here")
            .line("RTE", "warn", "This run has used 90% of its time limit of 1s"),
            Row::new(
                "a promise that never settles",
                with_options(one("fn(() => new Promise(() => {}))"), json!({"run_timeout_ms": 500})),
            )
            .both("a", error("kill", "TimeoutError", "Workflow failed to return within 500ms"))
            .line("RTE", "info", "Timeout: 0.5s"),
            Row::new(
                "a heap that grows",
                with_options(
                    one("fn(() => { const all = []; while (true) all.push({}); })"),
                    json!({"run_memory_limit_mb": 64}),
                ),
            )
            .both("a", error("kill", "OOMError", over))
            .line("RTE", "info", "Memory limit: 64mb"),
            Row::new(
                "one allocation larger than the heap",
                with_options(
                    one("fn(() => { const all = new Array(1e8).fill(0).map(() => ({})); return all; })"),
                    json!({"run_memory_limit_mb": 64}),
                ),
            )
            .both("a", error("kill", "OOMError", over)),
            Row::new(
                "a state over its limit",
                with_options(
                    one("fn(s => ({...s, x: 'x'.repeat(2 * 1024 * 1024)}))"),
                    json!({"state_limit_mb": 1}),
                ),
            )
            .both("a", error("kill", "StateTooLargeError", "State exceeds the limit of 1mb"))
            .line("R/T", "info", "state object exceeds limit 1 (*mb)")
            .line("R/T", "error", "Critical error processing state:*"),
        ],
    );
}

/// By the kernel, where this machine lets it; elsewhere by the watch on the resident size, see `tests/hostile`.
#[test]
fn a_run_over_the_limit_of_its_cgroup_is_killed() {
    let lightning = lightning();
    let mut given = command_with_engine(&lightning);
    given.args(["--memory-enforcement", "cgroup", "--monorepo-dir", MONOREPO]);
    let checked = output_of(
        std::process::Command::new(given.get_program()).args(
            ["check"]
                .into_iter()
                .map(OsStr::new)
                .chain(given.get_args().skip(1)),
        ),
    );
    let checked = said(&checked);
    if let Some(line) = checked.lines().find(|line| line.starts_with("✘ memory")) {
        println!("skipped: {line}");
        return;
    }
    let _worker = Worker::start(&mut given);
    let bomb = "fn(() => { const all = []; while (true) all.push(Buffer.alloc(1 << 26, 1)); })";
    let limits = json!({"run_memory_limit_mb": 64});
    check(
        &lightning,
        vec![
            Row::new("a bomb of Buffers", with_options(one(bomb), limits)).both(
                "a",
                error("kill", "OOMError", "Run exceeded maximum memory usage"),
            ),
        ],
    );
}
