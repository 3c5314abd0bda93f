//! What a run's thread tells of the run, within its budget and payload limits.

use std::sync::Arc;

use bytes::Bytes;
use protocol::engine::{ExecuteOptions, RunProgress, Shape};
use protocol::lightning::Timestamp;
use protocol::size::Mebibytes;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use crate::control::Control;
use crate::{Clock, Events};

const LINE_TOO_LARGE: &str = r#"["[REDACTED: Message length exceeds payload limit]"]"#;

/// Sends the events of one run, in order.
#[derive(Clone)]
pub(crate) struct Emitter {
    events: Events,
    budget: Arc<Semaphore>,
    /// More permits than there were at the start would never be had.
    most: usize,
    control: Control,
    clock: Clock,
}

impl Emitter {
    pub(crate) fn new(
        events: Events,
        budget: Arc<Semaphore>,
        control: Control,
        clock: Clock,
    ) -> Self {
        let most = budget.available_permits();
        Self {
            events,
            budget,
            most,
            control,
            clock,
        }
    }

    /// Sends an event with a body of this many bytes. While the run's outbox is full the job waits here; its time goes
    /// on. A run that is halted meanwhile says this one thing beyond its budget.
    pub(crate) fn send(&self, progress: RunProgress, bytes: usize) {
        let permits = u32::try_from(bytes.min(self.most)).unwrap_or(u32::MAX);
        let permit = if permits == 0 {
            None
        } else {
            let acquire = Arc::clone(&self.budget).acquire_many_owned(permits);
            self.control.block_on(acquire).ok().and_then(Result::ok)
        };
        (self.events)(progress, permit);
    }

    /// The present time.
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

/// The lines of a job on their way out: `console.log` is the only console that the mock engine has.
pub(crate) struct JobLog {
    emitter: Emitter,
    limit: Option<u64>,
    silent: bool,
}

impl JobLog {
    pub(crate) fn new(emitter: Emitter, options: &ExecuteOptions) -> Self {
        let silent = !matches!(options.job_log_level.as_str(), "debug" | "info" | "log");
        Self {
            emitter,
            limit: limit_bytes(options.log_payload_limit_mb),
            silent,
        }
    }

    /// A line, which is a JSON array.
    pub(crate) fn line(&self, message: &str) {
        // An empty text is a call that leaves no line.
        if self.silent || message.is_empty() {
            return;
        }
        let time = self.emitter.now();
        let redacted = self.limit.is_some_and(|limit| entry_size(message) > limit);
        let message = if redacted { LINE_TOO_LARGE } else { message };
        let bytes = message.len();
        let progress = RunProgress::Log {
            level: Some("info".to_owned()),
            name: "JOB".to_owned(),
            time,
            message: Bytes::copy_from_slice(message.as_bytes()),
        };
        self.emitter.send(progress, bytes);
    }
}

/// The size of the reference's log entry, whose message is a string of JSON (engine spec, section 6.4).
fn entry_size(message: &str) -> u64 {
    const AROUND: usize =
        r#"{"level":"info","name":"JOB","message":"","time":"1767225600000000000"}"#.len();
    let escapes = message
        .bytes()
        .filter(|byte| matches!(byte, b'"' | b'\\'))
        .count();
    (AROUND + message.len() + escapes) as u64
}

/// MiB as bytes; a negative limit is none.
pub(crate) fn limit_bytes(mb: f64) -> Option<u64> {
    (mb.is_finite() && mb >= 0.0).then(|| Mebibytes::new(mb).bytes())
}

/// Whether so many bytes are more than this limit allows.
pub(crate) fn exceeds(size: Option<u64>, limit_mb: f64) -> bool {
    size.zip(limit_bytes(limit_mb))
        .is_some_and(|(size, limit)| size > limit)
}

/// What JSON a state is.
pub(crate) fn shape_of(state: Option<&str>) -> Shape {
    match state {
        None => Shape::None,
        Some(text) if text.starts_with('{') => Shape::Object,
        Some(_) => Shape::Other,
    }
}

/// The final state without its `data`, which is too large to send.
pub(crate) fn redacted(state: &str) -> String {
    let Ok(mut keys) = serde_json::from_str::<indexmap::IndexMap<String, Box<RawValue>>>(state)
    else {
        return state.to_owned();
    };
    let text = Value::from("[REDACTED]").to_string();
    match RawValue::from_string(text).map(|data| keys.insert("data".to_owned(), data)) {
        Ok(_) => serde_json::to_string(&keys).unwrap_or_else(|_| "{}".to_owned()),
        Err(_) => "{}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redacted_state_keeps_its_other_keys() {
        assert_eq!(
            redacted(r#"{"a":1,"data":{"x":2}}"#),
            r#"{"a":1,"data":"[REDACTED]"}"#
        );
        assert_eq!(redacted("[1]"), "[1]");
    }

    #[test]
    fn limits_are_in_mebibytes_and_zero_is_one_of_them() {
        assert_eq!(limit_bytes(1.5), Some(1_572_864));
        assert_eq!(limit_bytes(0.0), Some(0));
        assert_eq!(limit_bytes(-1.0), None);
    }
}
