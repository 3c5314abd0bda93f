//! Programs of this machine that are run to their end: npm and Node. Never through a shell.

use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// Secrets of the worker that other programs have no business with.
const SECRETS: [&str; 4] = [
    "WORKER_SECRET",
    "WORKER_HTTP_TOKEN",
    "WORKER_LIGHTNING_PUBLIC_KEY",
    "WORKER_SENTRY_DSN",
];

/// Why a program has no output.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It ran for longer than it may, and was killed.
    #[error("no end after {}s", .0.as_secs())]
    TimedOut(Duration),
    /// It cannot be started.
    #[error("{program} cannot be started: {source}")]
    NotStarted {
        /// Its name, without the path.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Runs a program to its end, without input and without the worker's secrets. It is killed when it takes longer than
/// `patience`, and when the future is dropped. `program` is its name for errors.
///
/// # Errors
/// When it has no end of its own; one with a failure is none.
pub(crate) async fn run_to_end(
    program: &'static str,
    command: &mut Command,
    patience: Duration,
) -> Result<Output, CommandError> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    for secret in SECRETS {
        command.env_remove(secret);
    }
    match tokio::time::timeout(patience, command.output()).await {
        Err(_) => Err(CommandError::TimedOut(patience)),
        Ok(output) => output.map_err(|source| CommandError::NotStarted { program, source }),
    }
}
