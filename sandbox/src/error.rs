//! What can go wrong, each named with the thing it is about.

use std::io;
use std::path::PathBuf;

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The temporary folder is full or not writable.
    #[error("no private folder: {0}")]
    PrivateFolder(#[source] io::Error),
    /// No descriptors are left.
    #[error("no socket pair: {0}")]
    Sockets(#[source] io::Error),
    /// The mode is strict.
    #[error("the sandbox needs {0}")]
    Incomplete(#[from] Missing),
    /// The file is not there or cannot be executed, or a limit of the machine is reached.
    #[error("{} cannot be started: {error}", program.display())]
    Start {
        /// Its file.
        program: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// Its output could not be read.
    #[error("the output of {} cannot be read: {error}", program.display())]
    Read {
        /// Its file.
        program: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

/// A part of the sandbox that this machine does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{layer}: {why}")]
pub struct Missing {
    /// The part, as operators know it: `Landlock`, `seccomp`.
    pub layer: &'static str,
    /// What the kernel says.
    pub why: String,
}

/// A program that is nowhere.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// In none of the folders.
    #[error("not found on PATH ({0})")]
    OnPath(String),
    /// In none of the folders that are looked through without `PATH`.
    #[error("not found: PATH is not set, and it is not in {0}")]
    WithoutPath(&'static str),
}
