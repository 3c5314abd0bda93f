//! Programs of this machine that are run to their end: npm and Node. Confined, and never through a shell.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use sandbox::{Root, Spec};

use crate::files::FileError;

/// Why a program has no output.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It ran for longer than it may, and was killed.
    #[error("no end after {}s", .0.as_secs())]
    TimedOut(Duration),
    /// It is not there, or cannot be executed.
    #[error("{program} cannot be started: {source}")]
    NotStarted {
        /// Its name, without the path.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be looked for.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no place for it, or no sandbox where the configuration demands one.
    #[error("{program} cannot be started: {source}")]
    NotConfined {
        /// Its name, without the path.
        program: &'static str,
        /// What is missing.
        source: sandbox::Error,
    },
}

impl CommandError {
    /// A program that is nowhere.
    pub(crate) fn not_found(program: &'static str) -> Self {
        Self::NotStarted {
            program,
            source: io::ErrorKind::NotFound.into(),
        }
    }

    fn of(program: &'static str, error: sandbox::Error) -> Self {
        match error {
            sandbox::Error::Start { error, .. } => Self::NotStarted {
                program,
                source: error,
            },
            source => Self::NotConfined { program, source },
        }
    }
}

/// What came of a program.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program to its end, without input. It is killed when it takes longer than `patience`, and when the future is
/// dropped. `name` is its name for errors.
///
/// # Errors
/// When it has no end of its own; one with a failure is none.
pub(crate) async fn run_to_end(
    name: &'static str,
    spec: &Spec,
    patience: Duration,
) -> Result<Ended, CommandError> {
    let output = sandbox::output(spec, patience)
        .await
        .map_err(|error| CommandError::of(name, error))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ended {
        status: output.status.ok_or(CommandError::TimedOut(patience))?,
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    })
}

/// Where the private folder of one program goes.
///
/// # Errors
/// When the temporary folder cannot be written.
pub(crate) fn private_root(name: &'static str) -> Result<Arc<Root>, CommandError> {
    Root::create().map_err(|error| CommandError::of(name, sandbox::Error::PrivateFolder(error)))
}
