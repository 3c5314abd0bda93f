//! What to start, and what it is confined to.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use crate::egress::Egress;
use crate::platform::Cgroups;
use crate::private_folder::Root;

/// Whether programs are put into the OS sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxMode {
    /// As far as the kernel allows.
    Auto,
    /// Refuse to start without it.
    Strict,
    /// No sandbox.
    Off,
}

/// How memory is limited beyond the V8 heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryEnforcement {
    /// V8 limits and the watch on resident size.
    Heap,
    /// A cgroup per child; an error where none is writable.
    Cgroup,
    /// A cgroup where one is writable, else as `Heap`.
    Auto,
}

/// A program to start.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its file, as [`crate::locate`] finds it.
    pub program: PathBuf,
    /// What follows the name of the program.
    pub args: Vec<OsString>,
    /// Its whole environment, besides `TMPDIR` and `HOME`: these name its private folder unless they are given here.
    pub env: Vec<(OsString, OsString)>,
    /// Where it is started.
    pub current_dir: PathBuf,
    /// Whether it gets a socket for commands and one for events, as descriptors 3 and 4.
    pub sockets: bool,
    /// Where its private folder is made.
    pub root: Arc<Root>,
    /// What it may do.
    pub confinement: Confinement,
    /// Where it may not connect to, if that is judged.
    pub egress: Option<Egress>,
}

/// What a program may do.
#[derive(Debug, Clone)]
pub struct Confinement {
    /// Whether the rest of this applies. Without it the program still has its own environment, group and descriptors, and
    /// dies with the worker.
    pub mode: SandboxMode,
    /// Files and folders that it may read, besides system libraries, certificates and what the resolver needs.
    pub readable: Vec<PathBuf>,
    /// Files and folders that it may read and change, besides its private folder.
    pub writable: Vec<PathBuf>,
    /// Files, or folders of files, that it may read and execute, besides its own and the ELF loaders.
    pub executable: Vec<PathBuf>,
    /// Whether it may start others.
    pub processes: Processes,
    /// Whom it may speak to.
    pub network: Network,
    /// How much of the machine it may take.
    pub limits: Limits,
    /// The cgroup that it is started in, if there are any.
    pub memory: Option<MemoryGroup>,
}

/// Whether a program may start other programs. They are confined as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processes {
    /// Threads only.
    Forbidden,
    /// Any that it may execute.
    Allowed,
}

/// Whom a program may speak to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Whomever the machine reaches by IP.
    Internet,
    /// Nobody.
    Nobody,
}

/// How much of the machine a program may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Descriptors that it can have open.
    pub descriptors: u64,
    /// Bytes of the largest file that it can write.
    pub file_bytes: u64,
}

impl Default for Limits {
    /// Far above what adaptors use, and far below what would hurt the machine.
    fn default() -> Self {
        Self {
            descriptors: 1024,
            file_bytes: 256 << 20,
        }
    }
}

/// A limit that the kernel keeps, by a cgroup of the program's own.
#[derive(Debug, Clone)]
pub struct MemoryGroup {
    /// Where the group is made.
    pub cgroups: Cgroups,
    /// What all its memory may come to, bytes.
    pub bytes: u64,
    /// How many threads it may have.
    pub threads: u64,
}
