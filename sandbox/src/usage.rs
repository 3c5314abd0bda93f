//! What a process takes.

use std::time::Duration;

use crate::files::Files;

/// What a process takes at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory; `None` when it shows none.
    pub resident: Option<u64>,
    /// Threads, those that have ended and are not reaped among them.
    pub threads: u64,
}

impl Usage {
    /// Whether it goes on without showing its size, as a process does whose first thread has ended. Nothing that is meant well
    /// does that.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.resident.is_none() && self.threads > 1
    }
}

/// What a process takes and has open, looked at as closely as the system allows: too dear to be asked often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// Its size and threads.
    pub usage: Usage,
    /// CPU time of all threads that it has had.
    pub cpu: Duration,
    /// Open descriptors; `None` when it shows none, as one does that has made itself undumpable.
    pub descriptors: Option<u64>,
    /// What it has in files of its own.
    pub files: Files,
}
