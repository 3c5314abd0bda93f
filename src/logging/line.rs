//! What a line of the log says: the parts of a text line, or a JSON object.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};

use actors::log_context::run_at_work;
use log::kv::{Key, Value, VisitSource, VisitValue};
use log::{Level, Record};
use log_events::{EVENT, MARK};
use serde_json::Map;

use super::scrub::Scrubber;
use super::traced::TracedRuns;

/// The field that names a run.
const RUN_ID: &str = "run_id";

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `[RUN] ℹ <run id> message`.
    Text,
    /// One object a line, with the names of OpenTelemetry's log data model in lower case: `timestamp`, `severity_text`,
    /// `severity_number`, `scope`, `event`, `body`; and the fields that apply, beside them.
    Json,
    /// One object a line as Google Cloud's logging agent takes it: `time`, `severity`, `message`; else as `Json`.
    Gcp,
}

/// Targets and the component that a text line names, the first that fits counts. `SRV` and `ENG` are the reference's.
const COMPONENTS: [(&str, &str); 15] = [
    ("actors::run", "RUN"),
    ("actors::workloop", "CLM"),
    ("actors::lightning", "NET"),
    ("actors::engine_pool", "ENG"),
    ("adaptors", "ENG"),
    ("sandbox", "ENG"),
    ("mock_engine", "ENG"),
    ("engine", "ENG"),
    ("compiler", "CMP"),
    ("ws_worker::http", "WEB"),
    ("lightning_mock", "MCK"),
    ("traces", "TRC"),
    ("actors", "SRV"),
    ("ws_worker", "SRV"),
    ("", "LIB"),
];

/// A text line in parts, so that the caller can colour the glyph.
pub(super) struct TextLine {
    pub(super) component: &'static str,
    pub(super) glyph: &'static str,
    pub(super) message: String,
}

/// The parts of a text line. The run's id comes first unless the message names it; other fields follow as `key=value`.
pub(super) fn text(record: &Record<'_>, scrubber: &Scrubber) -> TextLine {
    let fields = fields(record);
    let mut message = record.args().to_string();
    if let Some((_, run)) = fields.iter().find(|(key, _)| key == RUN_ID) {
        let run = plain(run);
        if !mentions(&message, &run) {
            message.insert_str(0, &format!("{run} "));
        }
    }
    // The event is for machines, and says what the message says.
    for (key, value) in fields
        .iter()
        .filter(|(key, _)| key != RUN_ID && key != EVENT)
    {
        let value = plain(value);
        if !mentions(&message, &value) {
            write!(message, " {key}={value}").expect("writing to a String does not fail");
        }
    }
    let success = record
        .key_values()
        .get(MARK.into())
        .is_some_and(|mark| mark.to_string() == "success");
    let glyph = match record.level() {
        Level::Error => "✘",
        Level::Warn => "⚠",
        Level::Info if success => "✔",
        Level::Info => "ℹ",
        Level::Debug => "◦",
        Level::Trace => "·",
    };
    TextLine {
        component: component(record.target()),
        glyph,
        message: printable(&scrubber.clean(&message)),
    }
}

/// A line as a JSON object without a line break, in the names of OpenTelemetry.
pub(super) fn json(
    record: &Record<'_>,
    ts: &impl Display,
    scrubber: &Scrubber,
    traces: &TracedRuns,
) -> String {
    let mut line = Map::new();
    line.insert("timestamp".to_owned(), ts.to_string().into());
    line.insert("severity_text".to_owned(), record.level().as_str().into());
    line.insert(
        "severity_number".to_owned(),
        severity_number(record.level()).into(),
    );
    complete(line, "body", record, scrubber, traces)
}

/// A line as a JSON object without a line break, in the names of Google Cloud.
pub(super) fn gcp(
    record: &Record<'_>,
    ts: &impl Display,
    scrubber: &Scrubber,
    traces: &TracedRuns,
) -> String {
    let severity = match record.level() {
        Level::Error => "ERROR",
        Level::Warn => "WARNING",
        Level::Info => "INFO",
        Level::Debug | Level::Trace => "DEBUG",
    };
    let mut line = Map::new();
    line.insert("time".to_owned(), ts.to_string().into());
    line.insert("severity".to_owned(), severity.into());
    complete(line, "message", record, scrubber, traces)
}

/// OpenTelemetry's number of a level.
fn severity_number(level: Level) -> u8 {
    match level {
        Level::Error => 17,
        Level::Warn => 13,
        Level::Info => 9,
        Level::Debug => 5,
        Level::Trace => 1,
    }
}

/// Adds what both forms have in common; the text goes under `text_key`.
fn complete(
    mut line: Map<String, serde_json::Value>,
    text_key: &str,
    record: &Record<'_>,
    scrubber: &Scrubber,
    traces: &TracedRuns,
) -> String {
    line.insert("scope".to_owned(), record.target().into());
    let event = record.key_values().get(EVENT.into());
    if let Some(event) = event {
        line.insert(EVENT.to_owned(), event.to_string().into());
    }
    line.insert(
        text_key.to_owned(),
        scrubber.clean(&record.args().to_string()).into(),
    );
    for (key, value) in fields(record) {
        if key == RUN_ID
            && let Some(ids) = traces.ids(&plain(&value))
        {
            line.insert("trace_id".to_owned(), ids.trace_id().to_string().into());
            line.insert("span_id".to_owned(), ids.span_id().to_string().into());
        }
        let value = match value {
            serde_json::Value::String(text) => scrubber.clean(&text).into(),
            other => other,
        };
        line.entry(key).or_insert(value);
    }
    serde_json::Value::Object(line).to_string()
}

/// The run that a line is about.
pub(super) fn run_id(record: &Record<'_>) -> Option<String> {
    let (_, run) = fields(record).into_iter().find(|(key, _)| key == RUN_ID)?;
    Some(plain(&run).into_owned())
}

fn component(target: &str) -> &'static str {
    COMPONENTS
        .iter()
        .find(|(prefix, _)| target.starts_with(prefix))
        .map_or("LIB", |(_, component)| component)
}

/// Whether a value stands in a message as a word of its own.
fn mentions(message: &str, value: &str) -> bool {
    let part_of_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    message.match_indices(value).any(|(at, _)| {
        !part_of_word(message[..at].chars().next_back())
            && !part_of_word(message[at + value.len()..].chars().next())
    })
}

/// Control characters shown as escapes, so that what a job or a peer wrote cannot move the cursor; further lines indented,
/// so that none can pass for a line of ours.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\n      "),
            '\t' => shown.push(c),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

fn plain(value: &serde_json::Value) -> Cow<'_, str> {
    match value {
        serde_json::Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// The fields of a record but for its mark and those without a value; the run for which the present task works is one.
fn fields(record: &Record<'_>) -> Vec<(String, serde_json::Value)> {
    let mut fields = Fields(Vec::new());
    // The visitor below never fails, and a source that does has at worst fewer fields to show.
    if record.key_values().visit(&mut fields).is_err() {
        fields.0.push(("incomplete".to_owned(), true.into()));
    }
    let named = fields.0.iter().any(|(key, _)| key == RUN_ID);
    if !named && let Some(run) = run_at_work() {
        fields.0.push((RUN_ID.to_owned(), run.as_str().into()));
    }
    fields.0
}

struct Fields(Vec<(String, serde_json::Value)>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        if key.as_str() != MARK && !is_absent(&value) {
            self.0.push((key.as_str().to_owned(), json_value(&value)));
        }
        Ok(())
    }
}

/// Whether a value is the `None` of an option.
fn is_absent(value: &Value<'_>) -> bool {
    struct Absent(bool);

    impl<'v> VisitValue<'v> for Absent {
        fn visit_any(&mut self, _: Value<'_>) -> Result<(), log::kv::Error> {
            Ok(())
        }

        fn visit_null(&mut self) -> Result<(), log::kv::Error> {
            self.0 = true;
            Ok(())
        }
    }

    let mut absent = Absent(false);
    value.visit(&mut absent).is_ok() && absent.0
}

fn json_value(value: &Value<'_>) -> serde_json::Value {
    if let Some(number) = value.to_i64() {
        return number.into();
    }
    if let Some(number) = value.to_u64() {
        return number.into();
    }
    if let Some(on) = value.to_bool() {
        return on.into();
    }
    match value.to_f64() {
        Some(number) => number.into(),
        None => value.to_string().into(),
    }
}

#[cfg(test)]
mod tests;
