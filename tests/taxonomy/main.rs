//! Every way a run can go wrong, through the real program: what Lightning is told of steps and runs (engine spec,
//! section 7.4).

#[path = "../support/mod.rs"]
mod support;

mod jobs;
mod limits;
mod plans;
mod platform;
mod written;

use lightning_mock::MockServer;

use support::rows::{Row, chain, error, one};
use support::{MONOREPO, Worker};

fn worker(lightning: &MockServer, further: &[&str]) -> Worker {
    let mut arguments = vec!["--monorepo-dir", MONOREPO, "--capacity", "3"];
    arguments.extend(further);
    Worker::with_engine(lightning, &arguments)
}

/// A row of a job that fails: the step and the run end the same way, and the error is in the state.
fn fails(what: &'static str, body: &str, error_type: &'static str, message: &'static str) -> Row {
    fails_saying(what, body, error_type, message, &[])
}

/// The same, with these lines of the runtime about the error.
fn fails_saying(
    what: &'static str,
    body: &str,
    error_type: &'static str,
    message: &'static str,
    lines: &[&'static str],
) -> Row {
    let row = Row::new(what, one(body))
        .both("a", error("fail", error_type, message))
        .line("R/T", "error", "Job a aborted with error (*)");
    lines
        .iter()
        .fold(row, |row, text| row.line("R/T", "error", text))
        .line("R/T", "error", "Check state.errors.a for details")
        .line("R/T", "info", "Run complete with status: fail")
        .no_line("CRITICAL ERROR! Aborting execution")
}

/// A row of a job that crashes: the step names the finer type, and nothing follows it.
fn crashes(
    what: &'static str,
    body: &str,
    types: (&'static str, &'static str),
    message: &'static str,
) -> Row {
    Row::new(
        what,
        chain(
            &[("a", body), ("b", "fn(s => s)")],
            &[("a", "b", "on_job_failure")],
        ),
    )
    .step("a", error("crash", types.0, message))
    .run(error("crash", types.1, message))
    .line("R/T", "error", "Job a aborted with error (*)")
    .line("R/T", "error", "CRITICAL ERROR! Aborting execution")
    .line("R/T", "info", "Run complete with status: crash")
    .no_line("Check state.errors.a for details")
}
