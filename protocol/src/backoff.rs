//! How long to wait before the next claim, and before the next connection.

use std::time::Duration;

/// How much longer each wait for a claim is than the one before (protocol spec, section 8.4).
const GROWTH: f64 = 1.15;

/// A wait that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackoffError {
    /// Not `min/max`.
    #[error("\"{0}\" is not of the form min/max")]
    Form(String),
    /// Zero, negative or no number.
    #[error("{0} is not a positive number of seconds")]
    Number(String),
    /// min > max.
    #[error("the minimum ({min} s) is larger than the maximum ({max} s)")]
    Order {
        /// The minimum as given.
        min: String,
        /// The maximum as given.
        max: String,
    },
}

fn check_order(min: Duration, max: Duration) -> Result<(), BackoffError> {
    if min.is_zero() {
        return Err(BackoffError::Number("0".to_owned()));
    }
    if min > max {
        return Err(BackoffError::Order {
            min: min.as_secs_f64().to_string(),
            max: max.as_secs_f64().to_string(),
        });
    }
    Ok(())
}

/// The waits of a claim loop: starts at `min`, grows by 15 % per empty claim up to `max` (protocol spec, section 8.4).
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimBackoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl ClaimBackoff {
    /// A backoff between two waits.
    ///
    /// # Errors
    /// [`BackoffError`] when `min` is zero or larger than `max`.
    pub fn try_new(min: Duration, max: Duration) -> Result<Self, BackoffError> {
        check_order(min, max)?;
        Ok(Self {
            min,
            max,
            next: min,
        })
    }

    /// Reads `min/max` in seconds, decimals allowed.
    ///
    /// # Errors
    /// [`BackoffError`] for anything else, zero and negative numbers, and min > max.
    pub fn parse(text: &str) -> Result<Self, BackoffError> {
        let (min, max) = text
            .split_once('/')
            .ok_or_else(|| BackoffError::Form(text.to_owned()))?;
        let seconds = |part: &str| {
            let part = part.trim();
            part.parse::<f64>()
                .ok()
                .filter(|number| *number > 0.0)
                .and_then(|number| Duration::try_from_secs_f64(number).ok())
                .filter(|wait| !wait.is_zero())
                .ok_or_else(|| BackoffError::Number(format!("\"{part}\"")))
        };
        Self::try_new(seconds(min)?, seconds(max)?)
    }

    /// The shortest wait.
    pub fn min(&self) -> Duration {
        self.min
    }

    /// The longest wait.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The wait before the next claim; the one after it will be longer.
    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends, so it is no iterator"
    )]
    pub fn next(&mut self) -> Duration {
        let wait = self.next;
        // Too long for a `Duration` is too long for the maximum.
        let longer = Duration::try_from_secs_f64(wait.as_secs_f64() * GROWTH);
        self.next = longer.map_or(self.max, |longer| longer.min(self.max));
        wait
    }

    /// Starts over at the shortest wait.
    pub fn reset(&mut self) {
        self.next = self.min;
    }
}

/// The waits between attempts to connect: 1 s doubling to 30 s, each drawn at random from zero up to that, so that many
/// workers do not come back at the same moment.
#[derive(Debug, Clone)]
pub struct ReconnectBackoff {
    min: Duration,
    max: Duration,
    ceiling: Duration,
}

impl Default for ReconnectBackoff {
    fn default() -> Self {
        let min = Duration::from_secs(1);
        Self {
            min,
            max: Duration::from_secs(30),
            ceiling: min,
        }
    }
}

impl ReconnectBackoff {
    /// A backoff whose ceiling starts at `min` and doubles up to `max`.
    ///
    /// # Errors
    /// [`BackoffError`] when `min` is zero or larger than `max`.
    pub fn try_new(min: Duration, max: Duration) -> Result<Self, BackoffError> {
        check_order(min, max)?;
        Ok(Self {
            min,
            max,
            ceiling: min,
        })
    }

    /// The next wait; `random` is in `0..1` and decides how much of the ceiling it is.
    pub fn next(&mut self, random: f64) -> Duration {
        // A number that is none counts as the whole ceiling: waiting too long is the safe side.
        let share = if random.is_nan() {
            1.0
        } else {
            random.clamp(0.0, 1.0)
        };
        let wait = self.ceiling.mul_f64(share);
        self.ceiling = self.ceiling.saturating_mul(2).min(self.max);
        wait
    }

    /// Starts over: the connection works.
    pub fn reset(&mut self) {
        self.ceiling = self.min;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_claim_sequence_is_that_of_the_reference() {
        let mut backoff = ClaimBackoff::parse("1/10").unwrap();
        let waits: Vec<_> = (0..20)
            .map(|_| (backoff.next().as_secs_f64() * 1000.0).round())
            .collect();
        assert_eq!(waits[..6], [1000.0, 1150.0, 1323.0, 1521.0, 1749.0, 2011.0]);
        assert_eq!(waits[16..19], [9358.0, 10_000.0, 10_000.0]);
        backoff.reset();
        assert_eq!(backoff.next(), Duration::from_secs(1));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (text, error) in [
            ("5", "\"5\" is not of the form min/max"),
            ("0/1", "\"0\" is not a positive number of seconds"),
            ("-1/1", "\"-1\" is not a positive number of seconds"),
            ("1/NaN", "\"NaN\" is not a positive number of seconds"),
            ("1/inf", "\"inf\" is not a positive number of seconds"),
            ("2/1", "the minimum (2 s) is larger than the maximum (1 s)"),
        ] {
            assert_eq!(ClaimBackoff::parse(text).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn reconnecting_doubles_to_thirty_seconds_with_full_jitter() {
        let mut backoff = ReconnectBackoff::default();
        let ceilings: Vec<_> = (0..7).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff.next(0.0), Duration::ZERO);
        backoff.reset();
        assert_eq!(backoff.next(0.5), Duration::from_millis(500));
    }

    #[test]
    fn nonsense_is_no_backoff() {
        let second = Duration::from_secs(1);
        assert!(ReconnectBackoff::try_new(Duration::ZERO, second).is_err());
        assert!(ReconnectBackoff::try_new(2 * second, second).is_err());
        let mut backoff = ReconnectBackoff::try_new(second, second).unwrap();
        assert_eq!(backoff.next(f64::NAN), second);
        assert!(ClaimBackoff::try_new(Duration::ZERO, second).is_err());
    }

    #[test]
    fn the_longest_waits_do_not_overflow() {
        let mut backoff = ClaimBackoff::parse("1.7e19/1.8e19").unwrap();
        backoff.next();
        assert_eq!(backoff.next(), backoff.max());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in ".*") {
            if let Ok(mut backoff) = ClaimBackoff::parse(&text) {
                prop_assert!(backoff.next() >= backoff.min());
                prop_assert!(backoff.next() <= backoff.max());
            }
        }
    }
}
