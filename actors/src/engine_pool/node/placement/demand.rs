//! How many children are kept ready for a run.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::Spares;

/// How long the need of a moment is remembered.
pub(in crate::engine_pool::node) const REMEMBERED: Duration = Duration::from_mins(1);

/// What the start of a child takes on a machine that has work: runs that come within this time each need a child that was
/// started before.
const START: Duration = Duration::from_millis(250);

/// Moments that are remembered at most. More than `most` of them within a start change nothing.
const MOST_MOMENTS: usize = 256;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Demand {
    spares: Spares,
    /// When runs took children.
    taken: VecDeque<Instant>,
}

impl Demand {
    pub(super) fn new(spares: Spares) -> Self {
        Self {
            spares,
            taken: VecDeque::new(),
        }
    }

    /// A run has taken a child.
    pub(super) fn took(&mut self, now: Instant) {
        self.taken.push_back(now);
        if self.taken.len() > MOST_MOMENTS {
            self.taken.pop_front();
        }
    }

    /// How many children that have no run are to be there.
    pub(super) fn spares(&mut self, now: Instant) -> usize {
        let most = match self.spares {
            Spares::Exactly(count) => return count,
            Spares::UpTo(most) => most,
        };
        let is_old = |then: &Instant| now.saturating_duration_since(*then) > REMEMBERED;
        while self.taken.front().is_some_and(is_old) {
            self.taken.pop_front();
        }
        let at_once = |first: usize| {
            let from = self.taken[first];
            let with_it = self.taken.range(first..);
            with_it
                .take_while(|then| then.saturating_duration_since(from) <= START)
                .take(most)
                .count()
        };
        let need = (0..self.taken.len()).map(at_once).max();
        need.unwrap_or_default().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_spares_are_kept_as_were_taken_within_one_start_in_the_last_minute() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut demand = Demand::new(Spares::UpTo(3));
        assert_eq!(demand.spares(begin), 1);
        for ms in [0, 300, 400] {
            demand.took(at(ms));
        }
        assert_eq!(demand.spares(at(400)), 2);
        (0..9).for_each(|_| demand.took(at(500)));
        assert_eq!(demand.spares(at(500)), 3);
        assert_eq!(demand.spares(at(60_450)), 3);
        assert_eq!(demand.spares(at(60_600)), 1);
    }

    #[test]
    fn a_number_that_was_asked_for_holds_whatever_happens() {
        let now = Instant::now();
        let mut demand = Demand::new(Spares::Exactly(0));
        demand.took(now);
        assert_eq!(demand.spares(now), 0);
    }
}
