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
mod tests;
