//! The command line: what may be given, and the commands that only look.

pub mod check;
pub mod compile;
#[cfg(feature = "demo")]
pub mod demo;
#[cfg(not(feature = "demo"))]
#[path = "no_demo.rs"]
pub mod demo;
mod flags;
pub mod replay;
pub mod show_config;
pub mod top;
pub mod version;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use flags::Flags;

/// Claims OpenFn runs from Lightning and executes them
#[derive(Debug, Parser)]
#[command(
    name = "ws-worker",
    version = crate::VERSION,
    args_conflicts_with_subcommands = true,
    args_override_self = true,
    max_term_width = 100,
    next_line_help = true,
    after_help = "A setting is looked for on the command line, in the environment, in the file of --config, and then has its default. `--version --verbose` says what this program was built from."
)]
pub struct Cli {
    /// What to do; the worker runs when nothing is named.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings of the worker.
    #[command(flatten)]
    pub flags: Flags,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the worker until SIGTERM or SIGINT (as without a command)
    #[command(alias = "server")]
    Start(Flags),
    /// Run a sample workflow here and now: mock Lightning, worker and engine in one process
    #[cfg_attr(not(feature = "demo"), command(hide = true))]
    Demo(demo::DemoArgs),
    /// Play a recording (`start --record`) to this worker and show where it answers otherwise
    Replay(replay::ReplayArgs),
    /// Look at configuration and environment; with --connect, ask Lightning and the npm registry too
    Check(check::CheckArgs),
    /// Print the effective configuration and where each value comes from
    Config(Flags),
    /// Show what workers do, in this terminal
    Top(top::TopArgs),
    /// Compile a job and print the result
    Compile(compile::CompileArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// The command that was named, or the one that runs the worker.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Start(self.flags))
    }
}

/// A workflow or an input that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct FileError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Reads a file that the command line names.
pub(crate) fn read(path: &std::path::Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|source| FileError {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
