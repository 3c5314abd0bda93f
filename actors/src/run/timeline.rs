//! The times of a run's reports. Lightning shows lines by their time, so they grow strictly, in the order in which the
//! reports are sent, whatever the clocks of worker and engine say. No clock of its own.

use protocol::lightning::Timestamp;

/// The last time that was given.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    last: Option<Timestamp>,
}

impl Timeline {
    /// This time, or the first one after everything that was said before.
    pub(super) fn at(&mut self, wanted: Timestamp) -> Timestamp {
        let earliest = self.last.map(|last| last.plus_micros(1));
        let time = earliest.map_or(wanted, |earliest| earliest.max(wanted));
        self.last = Some(time);
        time
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_grow_strictly_and_are_never_early(wanted in prop::collection::vec(0_u64..1_000, 1..50)) {
            let mut timeline = Timeline::default();
            let given: Vec<_> = wanted
                .iter()
                .map(|micros| timeline.at(Timestamp::from_micros(*micros)).as_micros())
                .collect();
            prop_assert!(given.windows(2).all(|pair| pair[0] < pair[1]), "{given:?}");
            prop_assert!(given.iter().zip(&wanted).all(|(given, wanted)| given >= wanted));
        }
    }
}
