//! How often, and after which waits, an engine is tried before the worker gives up. No clock, no I/O.

use std::time::Duration;

use protocol::backoff::{Backoff, Retries};

/// The waits before the engine is tried again (engine spec, section 8.5).
const WAITS: Backoff = Backoff::new(Duration::from_secs(1), 2.0, Duration::from_secs(4));

/// The tries so far.
#[derive(Debug)]
pub(super) struct Validation {
    failures: u32,
    retries: Retries,
}

impl Validation {
    /// Before the first try, after which there are so many more.
    pub(super) fn new(retries: u32) -> Self {
        Self {
            failures: 0,
            retries: Retries::new(retries, WAITS),
        }
    }

    /// A try has failed: how long to wait before the next one, if there is one.
    pub(super) fn failed(&mut self) -> Option<Duration> {
        let wait = self.retries.after(self.failures)?;
        self.failures += 1;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_double_up_to_four_seconds_and_end_with_the_retries() {
        let mut validation = Validation::new(5);
        let waits: Vec<_> = std::iter::from_fn(|| validation.failed())
            .map(|wait| wait.as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 4, 4]);
    }
}
