//! The lines of the worker's log that something may be built upon: alerts, counts, a page at night.
//!
//! Each has an event, whose name, level and fields are an interface: they change with a new major version only, while the text
//! of a line may change with any. [`table::ALL`] has all of them, and `docs/log-events.md` is made from it. Nothing of the
//! project logs at info or above by other means (`tests/tidy.rs`).
//!
//! ```
//! use log_events::{event, table};
//!
//! let (run, workloop) = ("run-1", "manual>*");
//! event!(table::RUN_CLAIMED, run_id = run, workloop = workloop; "run {run} claimed by workloop {workloop}");
//! ```
//!
//! A field that the event does not have is an error of the compiler:
//!
//! ```compile_fail
//! use log_events::{event, table};
//!
//! event!(table::RUN_CLAIMED, colour = "red"; "run claimed");
//! ```

pub mod fields;
pub mod table;

use std::time::Duration;

use log::kv::{ToValue, Value};
use log::{Level, Record};

#[doc(hidden)]
pub use log;

/// The key under which a line's event stands.
pub const EVENT: &str = "event";

/// The key of [`LogEvent::mark`].
pub const MARK: &str = "mark";

/// An event of the log.
///
/// Its level follows from a rule:
///
/// - error: a run or what it said is lost, or the worker cannot do its work until somebody acts;
/// - warn: something went wrong that the worker mends by itself, or that makes it weaker than it should be;
/// - info: the worker's own life, and one line for each run;
/// - debug: all on the way.
#[derive(Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// What it is called: the thing, a full stop, and what happened to it.
    pub name: &'static str,
    /// The level of its lines.
    pub level: Level,
    /// Makes an info line seen at the reference's levels `success` or `always`, which stand above `info`.
    pub mark: Option<&'static str>,
    /// What has happened.
    pub meaning: &'static str,
    /// What an operator can do about it; empty when there is nothing to do.
    pub action: &'static str,
    /// The fields that its lines may have, out of [`fields::ALL`].
    pub fields: &'static [&'static str],
}

impl LogEvent {
    /// Whether its lines may have this field.
    #[must_use]
    pub const fn has(&self, field: &str) -> bool {
        let mut at = 0;
        while at < self.fields.len() {
            if same(self.fields[at], field) {
                return true;
            }
            at += 1;
        }
        false
    }

    /// Logs a line with fields that are known only when the program runs; [`event!`] is for all others. An absent value, as
    /// of an empty option, is left out of the line.
    pub fn log(&'static self, target: &str, fields: &[(&'static str, Detail)], text: &str) {
        if self.level > log::max_level() {
            return;
        }
        let mut all = vec![(EVENT, self.name.to_value()), (MARK, self.mark.to_value())];
        for (field, value) in fields {
            debug_assert!(self.has(field), "{} has no field {field}", self.name);
            all.push((*field, value.to_value()));
        }
        log::logger().log(
            &Record::builder()
                .level(self.level)
                .target(target)
                .key_values(&all.as_slice())
                .args(format_args!("{text}"))
                .build(),
        );
    }
}

/// The value of a field that is made in one place and logged in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// A [`fields::Kind::Text`].
    Text(String),
    /// A [`fields::Kind::Number`].
    Number(u64),
    /// The field is left out.
    Absent,
}

impl ToValue for Detail {
    fn to_value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => text.to_value(),
            Self::Number(number) => number.to_value(),
            Self::Absent => Value::null(),
        }
    }
}

impl From<&str> for Detail {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Detail {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Detail {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Detail {
    fn from(number: usize) -> Self {
        Self::Number(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl<T: Into<Self>> From<Option<T>> for Detail {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

/// A duration as the fields that end in `_ms` have it.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The event of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static LogEvent> {
    table::ALL.iter().copied().find(|event| event.name == name)
}

/// Compares texts where the compiler can; `==` cannot be used there.
const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Logs a line of an event, with fields of it: `event!(table::RUN_CLAIMED, run_id = run; "run {run} claimed")`.
///
/// A field is followed by `:%` or `:?` where its value is to be shown by `Display` or `Debug`, as in the `log` crate.
#[macro_export]
macro_rules! event {
    ($event:expr $(, $field:ident $(:$how:tt)? = $value:expr)* ; $($text:tt)+) => {{
        const {
            $( assert!($event.has(stringify!($field)), concat!("the event has no field ", stringify!($field))); )*
        }
        $crate::log::log!(
            $event.level,
            event = $event.name,
            mark = $event.mark
            $(, $field $(:$how)? = $value)*
            ; $($text)+
        );
    }};
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_event_has_a_name_of_its_own_made_of_two_parts() {
        let mut seen = HashSet::new();
        for event in table::ALL {
            let shaped = |part: &str| {
                !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            };
            let parts: Vec<&str> = event.name.split('.').collect();
            assert!(
                parts.len() == 2 && parts.into_iter().all(shaped),
                "{}",
                event.name
            );
            assert!(seen.insert(event.name), "{} stands twice", event.name);
        }
    }

    #[test]
    fn every_field_of_an_event_is_described_and_every_described_field_is_used() {
        let used: HashSet<&str> = table::ALL
            .iter()
            .flat_map(|event| event.fields.iter().copied())
            .collect();
        let described: HashSet<&str> = fields::ALL.iter().map(|field| field.name).collect();
        assert_eq!(used, described);
        assert_eq!(described.len(), fields::ALL.len(), "a field stands twice");
    }

    #[test]
    fn what_somebody_must_act_upon_says_how() {
        for event in table::ALL {
            assert!(!event.meaning.is_empty(), "{}", event.name);
            if event.level == Level::Error {
                assert!(!event.action.is_empty(), "{}", event.name);
            }
            assert!(
                event.mark.is_none() || event.level == Level::Info,
                "{}",
                event.name
            );
        }
    }

    #[test]
    fn an_event_is_found_by_its_name() {
        assert_eq!(named("run.claimed"), Some(&table::RUN_CLAIMED));
        assert_eq!(named("run.forgotten"), None);
    }
}
