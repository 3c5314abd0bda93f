//! From the runs' times to the numbers of the result.

use serde_json::{Value, json};

use crate::lightning::Run;

/// `{"p50": …, "p90": …, "p99": …}` in milliseconds; null where there is nothing to tell.
pub(crate) fn percentiles(mut times: Vec<f64>) -> Value {
    if times.is_empty() {
        return Value::Null;
    }
    times.sort_by(f64::total_cmp);
    // The smallest time that so many percent of the runs do not exceed.
    let at = |percent: usize| {
        let rank = (times.len() * percent).div_ceil(100).max(1);
        round(times[rank - 1], 1)
    };
    json!({ "p50": at(50), "p90": at(90), "p99": at(99) })
}

/// Milliseconds from being enqueued until `run:complete` was accepted.
pub(crate) fn enqueue_to_complete(run: &Run) -> Option<f64> {
    Some(ms(run.inserted_at, run.complete_heard_at?))
}

/// Milliseconds from the claim until `run:start` was accepted.
pub(crate) fn claim_to_start(run: &Run) -> Option<f64> {
    Some(ms(run.claimed_at?, run.start_heard_at?))
}

/// Milliseconds from the acceptance of `run:start` to that of `run:complete`.
pub(crate) fn start_to_complete(run: &Run) -> Option<f64> {
    Some(ms(run.start_heard_at?, run.complete_heard_at?))
}

/// Milliseconds from the first run's being enqueued to the last one's end.
pub(crate) fn whole(runs: &[Run]) -> f64 {
    let first = runs.iter().map(|run| run.inserted_at).min();
    let last = runs.iter().filter_map(|run| run.complete_heard_at).max();
    ms(first.unwrap_or_default(), last.unwrap_or_default())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a test of 285 years would be too long"
)]
fn ms(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1000.0
}

/// Rounded to so many digits behind the point: what is behind them is noise.
pub(crate) fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_the_lower_middle() {
        assert_eq!(
            percentiles(vec![4.0, 1.0, 3.0, 2.0]),
            json!({ "p50": 2.0, "p90": 4.0, "p99": 4.0 })
        );
    }

    #[test]
    fn no_runs_have_no_percentiles() {
        assert_eq!(percentiles(Vec::new()), Value::Null);
    }
}
