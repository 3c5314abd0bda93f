//! How long to wait before the next claim, the next join, and the next connection.

use std::time::Duration;

/// Waits that grow: each is longer than the one before by a factor, up to the longest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    first: Duration,
    factor: f64,
    longest: Duration,
}

impl Backoff {
    /// Waits from `first` on; `factor` is not below 1.
    pub const fn new(first: Duration, factor: f64, longest: Duration) -> Self {
        Self {
            first,
            factor,
            longest,
        }
    }

    /// The wait after so many others.
    pub fn after(self, waits: u32) -> Duration {
        let factor = self.factor.powf(f64::from(waits));
        self.capped(self.first.as_secs_f64() * factor)
    }

    /// The wait after this one.
    pub fn longer(self, wait: Duration) -> Duration {
        self.capped(wait.as_secs_f64() * self.factor)
    }

    /// Too long for a `Duration` is too long for the longest.
    fn capped(self, seconds: f64) -> Duration {
        let wait = Duration::try_from_secs_f64(seconds);
        wait.map_or(self.longest, |wait| wait.min(self.longest))
    }
}

/// Waits that end: so many, each as long as the backoff says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retries {
    most: u32,
    waits: Backoff,
}

impl Retries {
    /// Up to `most` of these waits.
    pub const fn new(most: u32, waits: Backoff) -> Self {
        Self { most, waits }
    }

    /// The wait before the next try, after so many retries; `None` when there were enough.
    pub fn after(self, retries: u32) -> Option<Duration> {
        (retries < self.most).then(|| self.waits.after(retries))
    }

    /// All waits, in their order.
    pub fn waits(self) -> impl Iterator<Item = Duration> {
        (0..self.most).map(move |retries| self.waits.after(retries))
    }
}

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
        /// The minimum, as it was written.
        min: String,
        /// The maximum, as it was written.
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
    waits: Backoff,
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
            waits: Backoff::new(min, 1.15, max),
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
        self.waits.first
    }

    /// The longest wait.
    pub fn max(&self) -> Duration {
        self.waits.longest
    }

    /// The wait before the next claim; the one after it will be longer.
    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends, so it is no iterator"
    )]
    pub fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = self.waits.longer(wait);
        wait
    }

    /// Starts over at the shortest wait.
    pub fn reset(&mut self) {
        self.next = self.waits.first;
    }
}

/// Half of a wait up to all of it; `random` is in `0..1`. For those who would otherwise all come back at the same moment.
pub fn jittered(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(0.5 + share(random) / 2.0)
}

/// A number that is none counts as 1: waiting too long is the safe side.
fn share(random: f64) -> f64 {
    if random.is_nan() {
        1.0
    } else {
        random.clamp(0.0, 1.0)
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Nobody answers. An attempt costs the server nothing.
    Unreachable,
    /// Somebody answers and does not let us in, or not for long: an attempt costs a server that may be overloaded.
    TurnedAway,
}

impl Obstacle {
    /// The longest wait: with it an outage of minutes does not end in another minute's wait.
    fn longest(self) -> Duration {
        match self {
            Self::Unreachable => Duration::from_secs(5),
            Self::TurnedAway => Duration::from_secs(10),
        }
    }
}

/// The waits between attempts to connect. The first is anything up to 1 s, so that many workers which have lost the same
/// server are spread at once; the next ones are half of 1 s to all of it, then 10 % longer each time up to 5 s or 10 s. A
/// server that was away for seconds is found within a second, in the median.
#[derive(Debug, Clone, Default)]
pub struct ReconnectBackoff {
    /// The longest that the last wait could be; zero after the first one, which is drawn from all of its time, and `None`
    /// before it.
    last: Option<Duration>,
}

impl ReconnectBackoff {
    /// From 1 s to 5 s in half a minute.
    fn waits(obstacle: Obstacle) -> Backoff {
        Backoff::new(Duration::from_secs(1), 1.1, obstacle.longest())
    }

    /// The next wait; `random` is in `0..1`.
    pub fn next(&mut self, obstacle: Obstacle, random: f64) -> Duration {
        let waits = Self::waits(obstacle);
        let Some(last) = self.last else {
            self.last = Some(Duration::ZERO);
            return waits.first.mul_f64(share(random));
        };
        let wait = if last.is_zero() {
            waits.first
        } else {
            waits.longer(last)
        };
        self.last = Some(wait);
        jittered(wait, random)
    }

    /// Starts over: the connection works.
    pub fn reset(&mut self) {
        self.last = None;
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
    fn waits_grow_up_to_the_longest() {
        let second = Duration::from_secs(1);
        let waits = Backoff::new(second, 2.0, 5 * second);
        let seconds: Vec<_> = (0..5).map(|number| waits.after(number).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 5, 5]);
        assert_eq!(waits.after(u32::MAX), 5 * second);
        assert_eq!(Backoff::new(2 * second, 2.0, second).after(0), second);
    }

    #[test]
    fn retries_end() {
        let second = Duration::from_secs(1);
        let retries = Retries::new(2, Backoff::new(second, 2.0, 5 * second));
        assert_eq!(retries.after(1), Some(2 * second));
        assert_eq!(retries.after(2), None);
        assert_eq!(retries.waits().collect::<Vec<_>>(), [second, 2 * second]);
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
    fn reconnecting_begins_within_a_second_and_slows_down_to_five_or_ten() {
        for (obstacle, longest) in [
            (Obstacle::Unreachable, 5000),
            (Obstacle::TurnedAway, 10_000),
        ] {
            let mut backoff = ReconnectBackoff::default();
            let waits: Vec<_> = (0..30)
                .map(|_| backoff.next(obstacle, 1.0).as_millis())
                .collect();
            assert_eq!(waits[..5], [1000, 1000, 1100, 1210, 1331]);
            assert_eq!(waits[29], longest);
            assert_eq!(backoff.next(obstacle, 0.0).as_millis(), longest / 2);
            backoff.reset();
            assert_eq!(backoff.next(obstacle, 0.0), Duration::ZERO);
        }
    }

    #[test]
    fn nonsense_is_no_backoff() {
        let second = Duration::from_secs(1);
        assert!(ClaimBackoff::try_new(Duration::ZERO, second).is_err());
        assert_eq!(jittered(second, f64::NAN), second);
        assert_eq!(jittered(second, -1.0), second / 2);
    }

    /// Steele, Lea and Flood's generator, so that the outages are the same each time.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let top = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap();
            f64::from(top) / (f64::from(u32::MAX) + 1.0)
        }
    }

    /// How long after its return so many workers find a server that was away for so long, sorted.
    fn found(
        workers: usize,
        away: Duration,
        obstacle: Obstacle,
        random: &mut Random,
    ) -> Vec<Duration> {
        let mut found: Vec<_> = (0..workers)
            .map(|_| {
                let mut backoff = ReconnectBackoff::default();
                let mut now = Duration::ZERO;
                while now < away {
                    now += backoff.next(obstacle, random.next());
                }
                now - away
            })
            .collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn a_server_that_was_away_for_five_seconds_is_found_within_a_second() {
        for obstacle in [Obstacle::Unreachable, Obstacle::TurnedAway] {
            let found = found(1000, Duration::from_secs(5), obstacle, &mut Random(1));
            let (median, p90) = (found[500], found[900]);
            assert!(median < Duration::from_millis(700), "median {median:?}");
            assert!(p90 < Duration::from_millis(1200), "p90 {p90:?}");
        }
    }

    #[test]
    fn a_hundred_workers_that_lost_the_same_server_do_not_come_back_in_one_instant() {
        const WINDOW: Duration = Duration::from_millis(100);
        let mut random = Random(2);
        let crowd = |away: Duration, random: &mut Random| {
            let found = found(100, away, Obstacle::Unreachable, random);
            let within = |from: Duration| {
                let window = from..from + WINDOW;
                found
                    .iter()
                    .copied()
                    .filter(|at| window.contains(at))
                    .count()
            };
            found.iter().copied().map(within).max().unwrap_or_default()
        };
        // A connection that was cut, a restart, outages of seconds and of minutes.
        for away in [1, 200, 1000, 5000, 60_000, 600_000] {
            let most = (0..50)
                .map(|_| crowd(Duration::from_millis(away), &mut random))
                .max()
                .unwrap_or_default();
            assert!(
                most <= 30,
                "{most} of 100 within {WINDOW:?} after {away} ms"
            );
        }
    }

    #[test]
    fn an_outage_of_minutes_does_not_end_in_a_long_wait() {
        let mut random = Random(3);
        for (obstacle, longest) in [(Obstacle::Unreachable, 5), (Obstacle::TurnedAway, 10)] {
            for minutes in [2, 10, 30] {
                let away = Duration::from_secs(60 * minutes);
                let worst = found(1000, away, obstacle, &mut random)[999];
                assert!(worst <= Duration::from_secs(longest), "{worst:?}");
            }
        }
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
