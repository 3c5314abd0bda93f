//! The last fifteen minutes, as bars of text.

use ratatui::text::{Line, Span};

use super::page::{BUSY, labelled};
use crate::remote::Sample;

/// Samples that a worker keeps: fifteen minutes of five seconds.
const SAMPLES: usize = 180;

/// Runs a minute, by what ended in a sample.
pub(super) fn per_minute(sample: &Sample) -> u64 {
    sample.runs * 12
}

/// What the last fifteen minutes were like, in a line of bars each.
pub(super) fn plots(history: &[Sample], columns: usize) -> Vec<Line<'static>> {
    // Numbers that divide the samples, so that each bar stands for as many.
    let bars = if columns >= 110 { 60 } else { 30 };
    let plot = |label: &str, values: Vec<Option<f64>>, unit: &str| {
        let highest = values.iter().flatten().copied().fold(0.0, f64::max);
        let last = values.iter().rev().flatten().next();
        let words = last.map_or_else(
            || "  no data".to_owned(),
            |last| {
                format!(
                    "  last {}, highest {}{unit}",
                    number(*last),
                    number(highest)
                )
            },
        );
        labelled(
            label,
            vec![
                Span::styled(bars_of(&values, bars, highest), BUSY),
                Span::raw(words),
            ],
        )
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "a worker ends no 2^52 runs a minute"
    )]
    let rates = history
        .iter()
        .map(|sample| Some(per_minute(sample) as f64))
        .collect();
    vec![
        plot("Runs/min", rates, ""),
        plot(
            "Start",
            history.iter().map(|sample| sample.start_ms).collect(),
            " ms from claim to start",
        ),
        plot(
            "Round trip",
            history.iter().map(|sample| sample.round_trip_ms).collect(),
            " ms from event to answer",
        ),
    ]
}

fn number(value: f64) -> String {
    if value < 10.0 && value.fract() != 0.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// The highest of several samples a bar, the newest at the right; a dot where there is none.
fn bars_of(values: &[Option<f64>], bars: usize, highest: f64) -> String {
    const HEIGHTS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
    let bar = |values: &[Option<f64>]| {
        let value = values.iter().flatten().copied().fold(0.0, f64::max);
        if value <= 0.0 {
            return "·";
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of 1, times seven"
        )]
        let height = (value / highest * 7.0).round() as usize;
        HEIGHTS[height.min(7)]
    };
    let drawn: Vec<&str> = values.rchunks(SAMPLES / bars).take(bars).map(bar).collect();
    let missing = bars - drawn.len();
    "·".repeat(missing) + &drawn.into_iter().rev().collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_highest_sample_and_the_newest_is_at_the_right() {
        let mut values = vec![None; 12];
        values.extend([Some(1.0), Some(8.0), Some(0.0), None, None, None]);
        assert_eq!(bars_of(&values, 60, 8.0), "·".repeat(58) + "█·");
        values.extend([Some(4.0)]);
        assert_eq!(bars_of(&values, 60, 8.0).chars().next_back(), Some('▅'));
        assert_eq!(bars_of(&[], 30, 0.0), "·".repeat(30));
        assert_eq!(bars_of(&vec![Some(1.0); 500], 30, 1.0), "█".repeat(30));
    }
}
