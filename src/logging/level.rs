//! What is logged while the program runs: as set, or for a while as somebody asked.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use log::{LevelFilter, Metadata, Record};
use log_events::{event, millis, table};
use serde::Serialize;

use super::filter::LogFilter;

/// How long a filter counts that was set without saying for how long.
pub(crate) const DEFAULT_STAY: Duration = Duration::from_secs(600);

/// What is logged; clones share it.
#[derive(Debug, Clone)]
pub struct LogLevel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    configured: LogFilter,
    /// What must reach the logger even if it is not shown.
    least: LevelFilter,
    asked: RwLock<Option<Asked>>,
}

/// A filter that counts for a while.
#[derive(Debug, Clone)]
struct Asked {
    filter: LogFilter,
    until: Option<Instant>,
}

impl Asked {
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }
}

/// What is logged, as `GET /log` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The filter that counts.
    pub filter: String,
    /// The filter of the settings.
    pub configured: String,
    /// For how much longer the first one counts, s; absent when it counts until the worker ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u64>,
}

/// As without settings, for a worker inside a program that has a log of its own.
impl Default for LogLevel {
    fn default() -> Self {
        Self::new(LogFilter::default(), LevelFilter::Warn)
    }
}

impl LogLevel {
    pub(crate) fn new(configured: LogFilter, least: LevelFilter) -> Self {
        Self(Arc::new(Inner {
            configured,
            least,
            asked: RwLock::new(None),
        }))
    }

    /// What is logged now.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let asked = self.asked();
        let until = asked.as_ref().and_then(|asked| asked.until);
        Shown {
            filter: self.now().as_str().to_owned(),
            configured: self.0.configured.as_str().to_owned(),
            for_s: until.map(|until| until.saturating_duration_since(Instant::now()).as_secs()),
        }
    }

    /// Logs by another filter for so long, or until the worker ends. `cause` says on whose behalf. Needs a runtime.
    pub fn set(&self, filter: LogFilter, stay: Option<Duration>, cause: &str) {
        let level = filter.as_str().to_owned();
        self.replace(Some(Asked {
            filter,
            until: stay.map(|stay| Instant::now() + stay),
        }));
        match stay {
            Some(stay) => {
                event!(table::LOG_LEVEL, level = level, duration_ms = millis(stay), cause = cause; "the log has the filter {level} for {} s", stay.as_secs());
                let this = self.clone();
                actix_rt::spawn(async move {
                    tokio::time::sleep(stay).await;
                    this.expire();
                });
            }
            None => {
                event!(table::LOG_LEVEL, level = level, cause = cause; "the log has the filter {level} from now on");
            }
        }
    }

    /// One step louder for a while, and back to the settings' filter from the loudest one. Needs a runtime.
    pub fn louder(&self, cause: &str) {
        match self.now().louder() {
            Some(filter) => self.set(filter, Some(DEFAULT_STAY), cause),
            None => self.reset(cause),
        }
    }

    /// Back to the filter of the settings.
    pub fn reset(&self, cause: &str) {
        if self.asked().is_some() {
            self.replace(None);
            let level = self.0.configured.as_str();
            event!(table::LOG_LEVEL, level = level, cause = cause; "the log has the filter {level} of the settings again");
        }
    }

    /// Back to the filter of the settings if the time of the present one is over; another may have been set meanwhile, which
    /// has its own.
    fn expire(&self) {
        if self.asked().is_some_and(|asked| asked.is_over()) {
            self.reset("time");
        }
    }

    pub(super) fn may_show(&self, metadata: &Metadata<'_>) -> bool {
        self.with(|filter| filter.may_show(metadata))
    }

    pub(super) fn shows(&self, record: &Record<'_>) -> bool {
        self.with(|filter| filter.shows(record))
    }

    /// Tells the `log` crate what need not be made at all.
    pub(super) fn apply(&self) {
        log::set_max_level(self.with(LogFilter::most).max(self.0.least));
    }

    fn replace(&self, asked: Option<Asked>) {
        *self.0.asked.write().unwrap_or_else(PoisonError::into_inner) = asked;
        self.apply();
    }

    fn asked(&self) -> Option<Asked> {
        let asked = self.0.asked.read().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }

    fn now(&self) -> LogFilter {
        self.with(Clone::clone)
    }

    fn with<T>(&self, look: impl FnOnce(&LogFilter) -> T) -> T {
        let asked = self.0.asked.read().unwrap_or_else(PoisonError::into_inner);
        look(
            asked
                .as_ref()
                .map_or(&self.0.configured, |asked| &asked.filter),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(configured: &str) -> LogLevel {
        LogLevel::new(LogFilter::parse(configured).unwrap(), LevelFilter::Warn)
    }

    #[actix_rt::test]
    async fn another_filter_counts_until_it_is_taken_back() {
        let level = level("info");
        level.set(LogFilter::parse("debug").unwrap(), None, "http");
        assert_eq!(level.shown().filter, "debug");
        assert_eq!(level.shown().configured, "info");
        assert_eq!(level.shown().for_s, None);
        level.reset("http");
        assert_eq!(level.shown().filter, "info");
    }

    #[actix_rt::test]
    async fn a_filter_that_was_set_for_a_while_goes_by_itself() {
        let level = level("info");
        level.set(
            LogFilter::parse("trace").unwrap(),
            Some(Duration::from_millis(1)),
            "http",
        );
        while level.shown().filter != "info" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[actix_rt::test]
    async fn a_later_filter_outlives_the_time_of_an_earlier_one() {
        let level = level("info");
        level.set(LogFilter::parse("debug").unwrap(), None, "http");
        level.expire();
        assert_eq!(level.shown().filter, "debug");
    }

    #[actix_rt::test]
    async fn each_step_is_louder_and_the_loudest_goes_back() {
        let level = level("warn,adaptors=error");
        let mut seen = Vec::new();
        for _ in 0..4 {
            level.louder("signal");
            seen.push(level.shown().filter);
        }
        assert_eq!(
            seen,
            [
                "info,adaptors=error",
                "debug,adaptors=error",
                "trace,adaptors=error",
                "warn,adaptors=error"
            ]
        );
    }
}
