//! Log lines (protocol spec, section 5).

use std::borrow::Cow;

use serde::ser::{SerializeMap as _, SerializeStruct as _};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::{Timestamp, readable};
use crate::ids::{RunId, StepId};

/// The longest source that Lightning stores, in characters.
const LONGEST_SOURCE: usize = 8;

const LEVELS: [&str; 6] = ["debug", "info", "success", "always", "warn", "error"];

/// One line of a run's log.
#[derive(Debug, Clone, Deserialize)]
pub struct LogLine {
    /// The logger's arguments: a JSON array, never empty.
    pub message: Box<RawValue>,
    /// `JOB`, `ADA`, `R/T`, `RTE` or `VER`.
    pub source: String,
    /// One of `debug info success always warn error`.
    pub level: String,
    /// When it was logged; required, and what lines are shown in the order of.
    pub timestamp: Timestamp,
    /// The step that was active.
    #[serde(default)]
    pub step_id: Option<StepId>,
}

/// A message that cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LineError(#[from] serde_json::Error);

impl LogLine {
    /// A line of the worker's own: one text.
    pub fn text(source: &str, level: &str, text: &str, timestamp: Timestamp) -> Self {
        // An array of one string can always be written.
        let message = to_raw_value(&[text]).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self {
            message,
            source: source.to_owned(),
            level: level.to_owned(),
            timestamp,
            step_id: None,
        }
    }

    /// A line whose message is JSON from an engine child. A message that is no array becomes the only item of one; an
    /// empty array is no line. Without a level it is `info`, as Lightning's own default.
    ///
    /// # Errors
    /// [`LineError`] when the message is not JSON.
    pub fn from_json(
        source: String,
        level: Option<String>,
        message: &[u8],
        timestamp: Timestamp,
        step_id: Option<StepId>,
    ) -> Result<Option<Self>, LineError> {
        let raw: &RawValue = serde_json::from_slice(message)?;
        let text = raw.get();
        let inside = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        let message = match inside {
            Some(inside) if inside.trim().is_empty() => return Ok(None),
            Some(_) => match readable(text) {
                Cow::Borrowed(_) => raw.to_owned(),
                Cow::Owned(mended) => RawValue::from_string(mended)?,
            },
            None => RawValue::from_string(format!("[{}]", readable(text)))?,
        };
        let level = level
            .filter(|level| LEVELS.contains(&level.as_str()))
            .unwrap_or_else(|| "info".to_owned());
        let source = match source.char_indices().nth(LONGEST_SOURCE) {
            Some((end, _)) => source[..end].to_owned(),
            None => source,
        };
        Ok(Some(Self {
            message,
            source,
            level,
            timestamp,
            step_id,
        }))
    }

    fn len(&self) -> usize {
        4 + usize::from(self.step_id.is_some())
    }

    fn entries<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("message", &self.message)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("level", &self.level)?;
        map.serialize_entry("timestamp", &self.timestamp)?;
        if let Some(step_id) = &self.step_id {
            map.serialize_entry("step_id", step_id)?;
        }
        Ok(())
    }
}

impl Serialize for LogLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        self.entries(&mut map)?;
        map.end()
    }
}

/// The payload of `run:log`.
#[derive(Debug)]
pub struct RunLog<'a> {
    /// The run, which the npm mock goes by and the server ignores.
    pub run_id: &'a RunId,
    /// The line, whose fields stand beside the run's id.
    pub line: &'a LogLine,
}

// By hand: serde's `flatten` buffers, and this is the payload that is written most.
impl Serialize for RunLog<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + self.line.len()))?;
        map.serialize_entry("run_id", self.run_id)?;
        self.line.entries(&mut map)?;
        map.end()
    }
}

/// The payload of `run:batch_logs`.
#[derive(Debug)]
pub struct BatchLogs<'a> {
    /// The run, which the npm mock goes by and the server ignores.
    pub run_id: &'a RunId,
    /// The lines, in order.
    pub logs: &'a [LogLine],
}

impl Serialize for BatchLogs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_struct("BatchLogs", 2)?;
        body.serialize_field("run_id", self.run_id)?;
        body.serialize_field("logs", self.logs)?;
        body.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time() -> Timestamp {
        Timestamp::from_micros(1_767_225_600_200_000)
    }

    fn line(message: &str) -> Option<LogLine> {
        LogLine::from_json(
            "JOB".to_owned(),
            Some("info".to_owned()),
            message.as_bytes(),
            time(),
            None,
        )
        .unwrap()
    }

    #[test]
    fn a_line_is_written_like_the_reference_writes_it() {
        let mut line = line(r#"["hi",{"n":1}]"#).unwrap();
        line.step_id = Some(StepId::new("s1"));
        assert_eq!(
            serde_json::to_string(&RunLog {
                run_id: &RunId::new("r1"),
                line: &line
            })
            .unwrap(),
            r#"{"run_id":"r1","message":["hi",{"n":1}],"source":"JOB","level":"info","timestamp":"1767225600200000","step_id":"s1"}"#
        );
    }

    #[test]
    fn a_batch_keeps_the_order() {
        let lines = [line("[1]").unwrap(), line("[2]").unwrap()];
        let text = serde_json::to_string(&BatchLogs {
            run_id: &RunId::new("r1"),
            logs: &lines,
        })
        .unwrap();
        assert!(
            text.starts_with(r#"{"run_id":"r1","logs":[{"message":[1],"#),
            "{text}"
        );
    }

    #[test]
    fn messages_that_are_no_arrays_become_one_and_empty_ones_are_no_lines() {
        assert_eq!(line("\"x\"").unwrap().message.get(), "[\"x\"]");
        assert!(line("[ ]").is_none());
        assert_eq!(line("[null]").unwrap().message.get(), "[null]");
        assert!(LogLine::from_json("JOB".into(), None, b"[1", time(), None).is_err());
    }

    #[test]
    fn half_a_surrogate_pair_does_not_reach_the_wire() {
        assert_eq!(
            line(r#"["\ud800"]"#).unwrap().message.get(),
            r#"["\ufffd"]"#
        );
        assert_eq!(line(r#""\ud800""#).unwrap().message.get(), r#"["\ufffd"]"#);
    }

    #[test]
    fn sources_and_levels_that_lightning_refuses_are_made_to_fit() {
        let line = LogLine::from_json(
            "ABCDEFGHIJ".into(),
            Some("loud".into()),
            b"[1]",
            time(),
            None,
        )
        .unwrap()
        .unwrap();
        assert_eq!(
            (line.source.as_str(), line.level.as_str()),
            ("ABCDEFGH", "info")
        );
    }
}
