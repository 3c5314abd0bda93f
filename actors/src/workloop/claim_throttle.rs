//! How fast a group claims: a Lightning that answers slowly has enough to do.

use std::time::Duration;

/// A smoothed round trip above this is slow: it is many times what a loaded Lightning needs.
const SLOW: Duration = Duration::from_secs(2);

/// Steps between half the rate and the whole, one for each claim that is answered in time.
const STEPS: u32 = 4;

/// The rate of a group's claims; no clock, no I/O.
#[derive(Debug, Default)]
pub(super) struct ClaimThrottle {
    /// 0 is the whole rate, [`STEPS`] half of it.
    slowed: u32,
    /// The smoothed round trip that was last heard of.
    round_trip: Duration,
}

impl ClaimThrottle {
    /// Takes in the smoothed round trip at the answer to a claim.
    pub(super) fn answered_in(&mut self, round_trip: Duration) {
        self.round_trip = round_trip;
        self.slowed = if round_trip > SLOW {
            STEPS
        } else {
            self.slowed.saturating_sub(1)
        };
    }

    /// Whether claims are slowed down.
    pub(super) fn is_slow(&self) -> bool {
        self.slowed > 0
    }

    /// The wait before the next claim of the loop, where `wait` is the one at the whole rate: at half of it a claim, its
    /// answer and the wait take twice as long together.
    pub(super) fn wait(&self, wait: Duration) -> Duration {
        wait + (wait + self.round_trip) * self.slowed / STEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_slow_lightning_is_asked_half_as_often() {
        let mut throttle = ClaimThrottle::default();
        throttle.answered_in(SECOND);
        assert_eq!((throttle.is_slow(), throttle.wait(SECOND)), (false, SECOND));
        throttle.answered_in(3 * SECOND);
        assert!(throttle.is_slow());
        // 1 s and 3 s to the answer were 4 s a claim; 5 s and 3 s are 8.
        assert_eq!(throttle.wait(SECOND), 5 * SECOND);
        assert_eq!(throttle.wait(Duration::ZERO), 3 * SECOND);
    }

    #[test]
    fn the_rate_recovers_step_by_step() {
        let mut throttle = ClaimThrottle::default();
        throttle.answered_in(3 * SECOND);
        let waits: Vec<_> = (0..5)
            .map(|_| {
                throttle.answered_in(SECOND);
                throttle.wait(SECOND).as_millis()
            })
            .collect();
        assert_eq!(waits, [2500, 2000, 1500, 1000, 1000]);
    }
}
