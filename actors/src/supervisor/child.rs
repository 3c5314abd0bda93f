//! Whether a child that has died may be started again, and when.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protocol::backoff::{Backoff, Retries};

pub(super) use crate::watched::{ActorEnd, start_watched};

/// How long a death is remembered.
const WITHIN: Duration = Duration::from_secs(60);

/// The waits before a restart double with each death that is still remembered; after the last one the supervisor gives up
/// (architecture, Supervision).
const RESTARTS: Retries = Retries::new(5, Backoff::new(Duration::from_millis(100), 2.0, WITHIN));

/// The deaths of one child, and what they allow.
#[derive(Debug, Default)]
pub(super) struct Intensity {
    deaths: VecDeque<Instant>,
}

impl Intensity {
    /// Notes a death: how long to wait before the restart, `None` when there were too many.
    pub(super) fn died(&mut self, now: Instant) -> Option<Duration> {
        while self
            .deaths
            .front()
            .is_some_and(|death| now.duration_since(*death) > WITHIN)
        {
            self.deaths.pop_front();
        }
        let before = u32::try_from(self.deaths.len()).unwrap_or(u32::MAX);
        self.deaths.push_back(now);
        RESTARTS.after(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_wait_longer_each_time_and_end_after_five_deaths_in_a_minute() {
        let mut intensity = Intensity::default();
        let start = Instant::now();
        let waits: Vec<_> = (0..6)
            .map(|second| {
                intensity
                    .died(start + Duration::from_secs(second))
                    .map(|wait| wait.as_millis())
            })
            .collect();
        assert_eq!(
            waits,
            [Some(100), Some(200), Some(400), Some(800), Some(1600), None]
        );
    }

    #[test]
    fn deaths_of_more_than_a_minute_ago_are_forgotten() {
        let mut intensity = Intensity::default();
        let start = Instant::now();
        for number in 0..20 {
            let wait = intensity.died(start + Duration::from_secs(61) * number);
            assert_eq!(wait, Some(Duration::from_millis(100)));
        }
    }
}
