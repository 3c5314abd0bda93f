//! The load driver: starts a mock Lightning and a worker, each as a process of its own, runs one scenario and prints
//! one line of JSON. `benches/README.md` says how to read it.

mod clip;
mod lightning;
mod measure;
mod plans;
mod process;
mod proxy;
mod scenario;
mod service;
mod worker;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::clip::Clip;
use crate::lightning::Lightning;
use crate::scenario::{Scenario, Setting};

/// Start a mock Lightning and a worker, run a scenario, print what it cost as one line of JSON
#[derive(Debug, Parser)]
struct Flags {
    /// What to do
    #[arg(value_enum)]
    scenario: Scenario,
    /// Runs; log lines a run for the scenarios logs and logs-batched; seconds for idle
    #[arg(short, long)]
    number: Option<usize>,
    /// Runs that the worker may have at a time
    #[arg(long)]
    capacity: Option<usize>,
    /// Runs before those that are measured
    #[arg(long)]
    warm_ups: Option<usize>,
    /// Time on the way from worker to Lightning, and the same back; the scenario rtt has 20
    #[arg(long, value_name = "MS")]
    delay: Option<u64>,
    /// Bandwidth to Lightning and back, each; unlimited if absent
    #[arg(long, value_name = "MBIT/S")]
    mbit: Option<u64>,
    /// Lightning takes offers of permessage-deflate
    #[arg(long)]
    compression: bool,
    /// What the dataclip of bigstate is made of
    #[arg(long, value_enum, default_value_t = Clip::Fill)]
    clip: Clip,
    /// Pause between the runs of a serial scenario
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pause: u64,
    /// Adaptor of the jobs; the scenario's if absent, which is language-common for most
    #[arg(long)]
    adaptor: Option<String>,
    /// Adaptor repository; a temporary one if absent
    #[arg(long, value_name = "DIR")]
    repo_dir: Option<PathBuf>,
    /// Where the worker's output goes; nowhere if absent
    #[arg(long, value_name = "FILE")]
    worker_log: Option<PathBuf>,
    /// The worker: a command that takes ws-worker's flags
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("cannot {what}")]
    System { what: String, source: io::Error },
    #[error("the mock Lightning did not answer {0}")]
    Lightning(String),
    #[error("waited {waited:?} for {what}")]
    TooSlow { what: String, waited: Duration },
    #[error("the worker ended: {0}")]
    WorkerEnded(String),
}

impl LoadError {
    fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |source| Self::System {
            what: what.into(),
            source,
        }
    }
}

fn main() -> ExitCode {
    // The mock is this same program, so that there is one thing to build and to find.
    if std::env::args().nth(1).as_deref() == Some(lightning::SUBCOMMAND) {
        return lightning::serve(
            std::env::args().any(|argument| argument == lightning::COMPRESSION),
        );
    }
    let flags = Flags::parse();
    match actix_rt::System::new().block_on(run(flags)) {
        Ok(line) => {
            let written = writeln!(io::stdout(), "{line}");
            ExitCode::from(u8::from(written.is_err()))
        }
        Err(error) => complain(&error),
    }
}

fn complain(error: &dyn std::error::Error) -> ExitCode {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    // Nobody is left to tell when stderr is closed; the exit code says it as well.
    writeln!(io::stderr(), "load: {text}").ok();
    ExitCode::FAILURE
}

async fn run(flags: Flags) -> Result<serde_json::Value, LoadError> {
    let scratch = tempfile::tempdir().map_err(LoadError::system("make a temporary folder"))?;
    let setting = Setting {
        number: flags.number.unwrap_or(flags.scenario.number()),
        warm_ups: flags.warm_ups.unwrap_or(flags.scenario.warm_ups()),
        pause: Duration::from_millis(flags.pause),
        adaptor: flags.adaptor,
        clip: flags.clip,
    };
    let capacity = flags.capacity.unwrap_or(flags.scenario.capacity());
    let delay = Duration::from_millis(flags.delay.unwrap_or(flags.scenario.delay_ms()));
    let lightning = Lightning::start(flags.compression).await?;
    let mut port = lightning.port();
    if !delay.is_zero() || flags.mbit.is_some() {
        port = proxy::start(port, delay, flags.mbit).await?;
    }
    let mut worker = worker::Worker::start(&worker::Start {
        command: &flags.command,
        lightning_port: port,
        capacity,
        repo_dir: &flags
            .repo_dir
            .unwrap_or_else(|| scratch.path().join("repo")),
        extra: flags.scenario.worker_flags(),
        log: flags.worker_log.as_deref(),
    })?;
    let mut result = scenario::run(flags.scenario, &setting, &lightning, &mut worker).await?;
    if let Some(fields) = result.as_object_mut() {
        fields.insert("capacity".to_owned(), capacity.into());
        fields.insert("command".to_owned(), flags.command.join(" ").into());
    }
    Ok(result)
}
