//! The fields that lines of the log may have: one name, type and meaning each, whatever the event.

/// What a field's value is in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A whole number.
    Number,
}

impl Kind {
    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Number => "number",
        }
    }
}

/// A field of the log.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Its key in JSON.
    pub name: &'static str,
    /// The type of its values.
    pub kind: Kind,
    /// What it says, with the unit.
    pub meaning: &'static str,
}

/// The field of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Field> {
    ALL.iter().find(|field| field.name == name)
}

const fn text(name: &'static str, meaning: &'static str) -> Field {
    Field {
        name,
        kind: Kind::Text,
        meaning,
    }
}

const fn number(name: &'static str, meaning: &'static str) -> Field {
    Field {
        name,
        kind: Kind::Number,
        meaning,
    }
}

/// All of them.
pub const ALL: &[Field] = &[
    text("run_id", "the run; also on lines of work done for it"),
    text("project_id", "the project of the run"),
    text("workloop", "the queue group, as `--workloops` has it"),
    text(
        "reason",
        "how the run ended: `success`, `fail`, `crash`, `cancel`, `kill`, `exception`",
    ),
    text(
        "error_type",
        "the type of the error that ended the run, as Lightning shows it",
    ),
    text(
        "adaptors",
        "the adaptors of the run with their versions, separated by commas",
    ),
    text("adaptor", "the adaptor, as `name@version`"),
    text(
        "report",
        "the event that goes to Lightning, such as `run:log`",
    ),
    text("dataclip_id", "the dataclip"),
    text("job_id", "the job of the step"),
    text("error", "what went wrong, in words"),
    text("cause", "why, in one word or a few that do not change"),
    text(
        "actor",
        "the part of the worker: an actor, or `engine child`",
    ),
    text("thread", "the thread's name"),
    text("address", "the address or URL"),
    text("worker_name", "the worker's id, which Lightning shows"),
    text("version", "a version"),
    text("node", "the version of Node"),
    text("runtime", "the version of @openfn/runtime"),
    text("file", "the file or folder"),
    text(
        "missing",
        "the layers of the sandbox that are missing, and why",
    ),
    text("signal", "the signal"),
    text("level", "the log's filter from now on"),
    number("duration_ms", "how long it took, ms"),
    number("retry_ms", "when it is tried again, ms"),
    number("round_trip_ms", "how long Lightning took to answer, ms"),
    number("steps", "steps that were completed"),
    number("resent", "reports that are sent again"),
    number("lost", "reports that Lightning will not get"),
    number("lines", "log lines of the run"),
    number("bytes", "the size in bytes"),
    number("runs", "runs in hand"),
    number("slots", "runs that the group executes at once"),
    number("workers", "workers that were killed"),
    number("processes", "processes that a killed worker had left"),
    number(
        "connection",
        "the number of the connection to Lightning, from 1",
    ),
    number("pid", "the process"),
    number("exit_code", "the code that the worker ends with"),
    number("ceiling_mib", "the memory that all runs may use, MiB"),
    number("spans", "spans of traces"),
    number("records", "records of the recording"),
];
