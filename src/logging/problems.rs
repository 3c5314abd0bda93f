//! The last warnings and errors, for the status page: what an operator asks for first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use log::{Level, Record};
use serde::Serialize;

use super::line;
use super::scrub::Scrubber;

/// How many are kept.
const KEPT: usize = 50;

/// Longest message, in characters; what Lightning or a job said may be of any length.
const LONGEST: usize = 500;

/// One line of the log that was a warning or an error.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// `warn` or `error`.
    pub level: &'static str,
    /// The run that it is about.
    pub run_id: Option<String>,
    /// The message, without secrets.
    pub message: String,
}

/// The last problems, newest first; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Problems(Arc<Mutex<VecDeque<Problem>>>);

impl Problems {
    /// Whether a line of this level is one.
    pub(super) fn takes(level: Level) -> bool {
        level <= Level::Warn
    }

    pub(super) fn note(&self, record: &Record<'_>, scrubber: &Scrubber) {
        let at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let level = if record.level() == Level::Error {
            "error"
        } else {
            "warn"
        };
        let text = record.args().to_string();
        let message: String = scrubber.clean(&text).chars().take(LONGEST).collect();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(KEPT - 1);
        kept.push_front(Problem {
            at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            level,
            run_id: line::run_id(record),
            message,
        });
    }

    /// The last ones, newest first.
    pub fn last(&self) -> Vec<Problem> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use actors::config::Secret;

    use super::*;

    fn note(problems: &Problems, message: &str) {
        let scrubber = Scrubber::new(&[Secret::new("open sesame")]);
        let run = [("run_id", "r-1")];
        problems.note(
            &Record::builder()
                .level(Level::Warn)
                .args(format_args!("{message}"))
                .key_values(&run)
                .build(),
            &scrubber,
        );
    }

    #[test]
    fn the_last_fifty_are_kept_newest_first() {
        let problems = Problems::default();
        for number in 0..60 {
            note(&problems, &format!("problem {number}"));
        }
        let last = problems.last();
        assert_eq!(last.len(), KEPT);
        assert_eq!(last[0].message, "problem 59");
        assert_eq!(last[0].run_id.as_deref(), Some("r-1"));
    }

    #[test]
    fn they_name_no_secret_and_have_an_end() {
        let problems = Problems::default();
        note(&problems, &format!("open sesame {}", "é".repeat(1000)));
        let message = &problems.last()[0].message;
        assert!(message.starts_with("*** é"));
        assert_eq!(message.chars().count(), LONGEST);
    }

    #[test]
    fn warnings_and_errors_are_problems() {
        assert!(Problems::takes(Level::Error) && Problems::takes(Level::Warn));
        assert!(!Problems::takes(Level::Info));
    }
}
