//! How many crashes of the channel or the socket are borne under a report before it is held to be at fault.

use crate::run::report::Report;

/// Crashes under one report after which its payload is held to be at fault. Not fewer: a database that is away for some
/// seconds crashes the channel under everything; with the waits between the joins these are 16 seconds.
pub(in crate::run) const CRASHES_BEFORE_REFUSAL: u8 = 8;

/// The same for a line of the log, where other reports are accepted.
const CRASHES_OF_A_LINE: u8 = 3;

/// The same for one that is followed by no other: 4 to 8 seconds. Its run must not be held up for longer than that.
const CRASHES_OF_A_LONE_LINE: u8 = 7;

/// Crashes under a batch of lines after which it is sent in halves. The second is the first that tells: a single one may
/// have another cause.
const CRASHES_BEFORE_SPLIT: u8 = 2;

/// Crashes under a report after which it is held to be at fault. `proven`: something else was accepted between them
/// again and again, so it is not Lightning that fails. `None` for the barest end of a run: it is tried until its
/// deadline.
pub(super) fn borne(report: &Report, proven: bool) -> Option<u8> {
    match report {
        // Sent in parts it loses nothing.
        Report::Logs(lines) if lines.lines.len() > 1 => Some(CRASHES_BEFORE_SPLIT),
        Report::Logs(_) if proven => Some(CRASHES_OF_A_LINE),
        Report::Logs(_) => Some(CRASHES_OF_A_LONE_LINE),
        Report::RunComplete(end) if end.is_bare() => None,
        Report::RunComplete(_)
        | Report::StepComplete(_)
        | Report::RunStart(_)
        | Report::StepStart(_) => Some(CRASHES_BEFORE_REFUSAL),
    }
}
