//! How often the files of a run are looked at: the more often, the less that costs.

use std::time::{Duration, Instant};

use sandbox::{Control, Files, Scope};

use super::machine::WATCH;

/// Files and folders that a run may have at one time: far above what jobs write, and little for any disk.
pub(super) const MOST_FILES: u64 = 10_000;

/// How often all of them are looked at, those without names as well.
const ALL: Duration = Duration::from_secs(1);
/// What passes between two looks at least, in times that the first of them took.
const PAUSE: u32 = 50;

/// Watches the files of the run in work.
#[derive(Debug)]
pub(super) struct FilesWatch {
    most: Files,
    /// What waited in its sockets when all was looked at.
    queued: u64,
    next: Option<Instant>,
    next_of_all: Option<Instant>,
}

impl FilesWatch {
    /// For runs that may have so many bytes in files.
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            most: Files {
                bytes,
                count: MOST_FILES,
                queued: 0,
            },
            queued: 0,
            next: None,
            next_of_all: None,
        }
    }

    /// The most that a run may have.
    pub(super) fn most(&self) -> Files {
        self.most
    }

    /// What the run has in the kernel's memory for its connections, bytes.
    pub(super) fn queued(&self) -> u64 {
        self.queued
    }

    /// A run begins, before which there was nothing to be seen.
    pub(super) fn begin(&mut self, now: Instant) {
        self.queued = 0;
        self.next = Some(now + WATCH);
        self.next_of_all = Some(now + ALL);
    }

    /// Whether the run has more than it may, if it is time to look.
    pub(super) fn is_over(&mut self, control: &Control, now: Instant) -> bool {
        let is_due = |next: Option<Instant>| next.is_none_or(|next| now >= next);
        let scope = if is_due(self.next_of_all) {
            Scope::All
        } else if is_due(self.next) {
            Scope::Named
        } else {
            return false;
        };
        let found = control.files(self.most, scope);
        let pause = now.elapsed().saturating_mul(PAUSE);
        self.next = Some(now + pause);
        if scope == Scope::All {
            self.next_of_all = Some(now + pause.max(ALL));
            self.queued = found.queued;
        }
        found.exceeds(self.most)
    }
}
