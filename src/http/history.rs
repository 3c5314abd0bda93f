//! What the last fifteen minutes looked like, for the plots of the status page. A page that is opened when something is
//! wrong has to show what came before.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actors::metrics::{Metrics, Timed, Totals};
use serde::Serialize;

/// How often a sample is taken.
pub(super) const EVERY: Duration = Duration::from_secs(5);

/// Samples of fifteen minutes.
const KEPT: usize = 180;

/// What happened since the sample before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// When it was taken, in milliseconds since the epoch.
    at_ms: u64,
    /// Runs that ended.
    runs: u64,
    /// Mean time from claim to start in milliseconds; absent when no run was started.
    start_ms: Option<f64>,
    /// Mean round trip of an event in milliseconds; absent when there was none.
    round_trip_ms: Option<f64>,
}

#[derive(Debug, Default)]
struct Samples {
    before: Totals,
    kept: VecDeque<Sample>,
}

/// The samples, oldest first; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct History(Arc<Mutex<Samples>>);

impl History {
    /// Takes a sample every few seconds, for as long as the present arbiter lives.
    pub(super) fn follow(&self, metrics: Metrics) {
        let history = self.clone();
        actix_rt::spawn(async move {
            let mut ticks = actix_rt::time::interval(EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                history.take(metrics.totals(), since.unwrap_or_default());
            }
        });
    }

    fn take(&self, now: Totals, at: Duration) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut samples.before, now);
        let sample = Sample {
            at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            runs: now.runs_ended.saturating_sub(before.runs_ended),
            start_ms: mean_ms(before.claim_to_start, now.claim_to_start),
            round_trip_ms: mean_ms(before.round_trip, now.round_trip),
        };
        if samples.kept.len() == KEPT {
            samples.kept.pop_front();
        }
        samples.kept.push_back(sample);
    }

    pub(super) fn samples(&self) -> Vec<Sample> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.kept.iter().copied().collect()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a few seconds are far below 2^52"
)]
fn mean_ms(before: Timed, now: Timed) -> Option<f64> {
    let count = now.count.saturating_sub(before.count);
    (count > 0).then(|| (now.seconds - before.seconds) * 1000.0 / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(runs_ended: u64, seconds: f64) -> Totals {
        let timed = Timed {
            count: runs_ended,
            seconds,
        };
        Totals {
            runs_ended,
            claim_to_start: timed,
            round_trip: Timed::default(),
        }
    }

    #[test]
    fn a_sample_is_the_difference_to_the_one_before() {
        let history = History::default();
        history.take(totals(2, 0.2), Duration::from_secs(1));
        history.take(totals(6, 1.0), Duration::from_secs(6));
        let last = history.samples()[1];
        assert_eq!((last.at_ms, last.runs, last.round_trip_ms), (6000, 4, None));
        assert!(last.start_ms.is_some_and(|ms| (ms - 200.0).abs() < 1e-6));
    }

    #[test]
    fn fifteen_minutes_are_kept() {
        let history = History::default();
        for number in 0..200 {
            history.take(totals(number, 0.0), Duration::from_secs(number));
        }
        let samples = history.samples();
        assert_eq!((samples.len(), samples[0].at_ms), (KEPT, 20_000));
    }
}
