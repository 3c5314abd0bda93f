//! What was counted so far, read back: for `/status` and for the plots of the status page.

use std::collections::BTreeMap;

use prometheus::IntCounterVec;
use prometheus::core::Collector as _;

use super::Metrics;

/// How often something happened and how long it took, all in all.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Timed {
    /// How often.
    pub count: u64,
    /// All the times together, in seconds.
    pub seconds: f64,
}

/// Sums since the start of the worker, whatever their labels.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// Runs that have left the worker.
    pub runs_ended: u64,
    /// From the answers to claims to the runs' starts.
    pub claim_to_start: Timed,
    /// From events to Lightning's answers.
    pub round_trip: Timed,
}

impl Metrics {
    /// Sums over everything that was counted so far.
    pub fn totals(&self) -> Totals {
        let all = &*self.0;
        let mut round_trip = Timed::default();
        for family in all.round_trip.collect() {
            for metric in family.get_metric() {
                let histogram = metric.get_histogram();
                round_trip.count += histogram.get_sample_count();
                round_trip.seconds += histogram.get_sample_sum();
            }
        }
        Totals {
            runs_ended: self.runs_by_reason().values().sum(),
            claim_to_start: Timed {
                count: all.claim_to_start.get_sample_count(),
                seconds: all.claim_to_start.get_sample_sum(),
            },
            round_trip,
        }
    }

    /// Runs that have left the worker; reasons that there were none of are left out.
    pub(crate) fn runs_by_reason(&self) -> BTreeMap<String, u64> {
        sums_by(&self.0.runs, "reason")
    }

    /// Restarts of actors that died; those that never did are left out.
    pub(crate) fn restarts_by_actor(&self) -> BTreeMap<String, u64> {
        sums_by(&self.0.restarts, "actor")
    }
}

/// The counts of a family by one of its labels, without the zeros.
fn sums_by(counters: &IntCounterVec, label: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for family in counters.collect() {
        for metric in family.get_metric() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a counter of whole numbers"
            )]
            let count = metric.get_counter().get_value() as u64;
            let pair = metric.get_label().iter().find(|pair| pair.name() == label);
            if let Some(pair) = pair
                && count > 0
            {
                *sums.entry(pair.value().to_owned()).or_default() += count;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::ids::WorkloopId;

    use super::*;
    use crate::metrics::WatchedActor;

    #[test]
    fn totals_are_sums_over_all_labels() {
        let metrics = Metrics::default();
        let workloop = WorkloopId::new("manual>*:5");
        for reason in ["success", "fail"] {
            metrics.run_ended(&workloop, reason, Duration::from_secs(1));
        }
        for event in ["run:start", "run:log"] {
            metrics.answered(event, Duration::from_secs(2));
        }
        let totals = metrics.totals();
        assert_eq!(totals.runs_ended, 2);
        assert_eq!(
            totals.round_trip,
            Timed {
                count: 2,
                seconds: 4.0
            }
        );
    }

    #[test]
    fn runs_are_summed_by_reason_over_all_workloops() {
        let fast = WorkloopId::new("fast_lane:1");
        let slow = WorkloopId::new("manual>*:5");
        let metrics = Metrics::new(&[fast.clone(), slow.clone()]);
        for (workloop, reason) in [(&fast, "success"), (&slow, "success"), (&slow, "fail")] {
            metrics.run_ended(workloop, reason, Duration::ZERO);
        }
        metrics.restarted(WatchedActor::Run);
        let counts = [("fail".to_owned(), 1), ("success".to_owned(), 2)];
        assert_eq!(metrics.runs_by_reason(), BTreeMap::from(counts));
        assert_eq!(
            metrics.restarts_by_actor(),
            BTreeMap::from([("run".to_owned(), 1)])
        );
    }
}
