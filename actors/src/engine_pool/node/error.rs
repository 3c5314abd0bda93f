//! Why a Node engine cannot execute runs, and why one of its children cannot be started.

use std::io;
use std::path::PathBuf;

use adaptors::EngineFolderError;

/// What helps where there is no Node.
const NODE_HINT: &str = "install Node.js 20 or newer, or name its file with --node / WORKER_NODE";

/// Why a Node engine will never execute a run.
#[derive(Debug, thiserror::Error)]
pub(super) enum NodeEngineError {
    /// The operator wants the whole sandbox; what is missing of it.
    #[error("the sandbox is not whole; missing: {0}")]
    Sandbox(String),
    /// The operator wants memory to be limited by the kernel.
    #[error("{}", .0.why)]
    Cgroup(sandbox::Missing),
    /// The operator wants the whole sandbox, to which that belongs.
    #[error("{}; --sandbox strict needs one, unless --memory-enforcement heap says that a watch will do", .0.why)]
    StrictCgroup(sandbox::Missing),
    /// The temporary folder is full or not writable.
    #[error("engine children need the temporary folder {}: {error}", folder.display())]
    TemporaryFolder {
        folder: PathBuf,
        #[source]
        error: io::Error,
    },
    /// There is no program for the children.
    #[error(transparent)]
    Program(#[from] EngineFolderError),
    /// A child ended before it had answered; why.
    #[error("{0}")]
    Child(String),
}

/// Why a child cannot be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    /// Node is nowhere.
    #[error("{}: {error}; {NODE_HINT}", node.display())]
    NoNode {
        /// As it is configured.
        node: PathBuf,
        #[source]
        error: sandbox::NotFound,
    },
    /// The system or the sandbox refuses.
    #[error("an engine child: {0}")]
    Spawn(#[from] sandbox::Error),
    /// It was started, and cannot be spoken to.
    #[error("an engine child has no sockets")]
    NoSockets,
}
