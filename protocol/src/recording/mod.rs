//! Recordings: what went over the wire, one JSON object a line, without the secrets and, unless asked for, without data.
//!
//! [`Redactor`] puts stand-ins of the same length into each frame, so that what depends on sizes stays as it was; [`Header`]
//! and [`Record`] are the lines. `docs/recording.md` says what an operator has to know of them.

mod format;
mod redact;
mod stand_in;

pub use self::format::{
    CLOSED_BY_WORKER, Header, LineError, Loss, Message, Record, Recording, RecordingError, VERSION,
    What, read,
};
pub use self::redact::{Direction, Redactor};
