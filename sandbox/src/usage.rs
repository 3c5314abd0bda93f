//! What a process takes.

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
