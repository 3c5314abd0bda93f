//! The reports of one run that Lightning has not answered yet, in order. No actor, no clock, no I/O.
//!
//! An entry is fixed when it is pushed (ids, timestamps) and kept until it is answered; the recipe and what the server does
//! to each repeated event are in the protocol spec, section 10.
//!
//! ```text
//! Waiting ──next──▶ InFlight ──ok──▶ gone
//!    ▲                 │ refused ─▶ repaired and Waiting, dropped, or the run ends (see `verdict`)
//!    │                 │ refused, which may pass ─▶ Held ──time──▶ InFlight
//!    └─ link lost, channel crashed, silence: resent, one at a time until what was in flight is settled
//! ```

mod answers;
mod crashes;
mod losses;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protocol::ids::{DataclipId, JobId, StepId};
use protocol::lightning::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use super::cause::Cause;
use super::report::{LogLines, Milestone, Report};
use crate::lightning::Ticket;

/// How many reports that were taken as delivered are kept in case they have to be said again.
const ASSUMED: usize = 4;

/// Bytes of states in flight at most, unless one alone is larger: on its way a state is there three times, as itself, as a
/// frame, and in the socket's buffer.
const STATES_IN_FLIGHT: usize = 4 << 20;

#[derive(Debug)]
struct Entry {
    /// Its place among all reports of the run.
    place: u64,
    report: Report,
    state: Delivery,
    /// It was on a socket or channel that was lost: the server may have processed it.
    resent: bool,
    crashes: u8,
    /// How many reports were delivered before the last of them.
    crashed_after: Option<u64>,
    /// Crashes before each of which something else was delivered since the one before.
    proofs: u8,
    /// Error replies that may pass, so far.
    retries: u32,
    /// Sockets that Lightning closed over a frame while this was on its way, and nothing else of the run.
    sockets: u8,
    /// Taken as delivered because its repetition crashed the channel; a later event said that it was not.
    contradicted: bool,
    batch: Batch,
    permits: Vec<OwnedSemaphorePermit>,
}

/// Whether lines of the log may join an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batch {
    /// None may: it is full, or no batch of the job's and engine's lines.
    Closed,
    /// It is held back for them.
    Open,
    /// It goes out as soon as its turn comes, and takes lines until then.
    Due,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Waiting,
    /// Waiting, and not to be sent before then.
    Held {
        until: Instant,
    },
    InFlight {
        ticket: Ticket,
        sent: Instant,
        warned: bool,
    },
}

/// What the run has to do after an answer or a crash.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FollowUp {
    /// The report was accepted, or was there already.
    Delivered(Milestone),
    /// Nothing but sending what waits.
    Resend,
    /// The same report is sent again after this time: what Lightning has said may pass.
    Retry(Duration),
    /// A batch of lines is sent in halves.
    Split,
    /// Lightning does not take this dataclip: its step is completed without it, and nothing may name it.
    Withheld {
        dataclip: DataclipId,
        too_large: bool,
    },
    /// The channel is gone: join it again.
    Rejoin,
    /// Lines of the log are lost: how many, and why.
    LinesDropped(usize, Cause),
    /// The run belongs to somebody else: stop the job, report nothing more.
    Abandoned(Cause),
    /// The run cannot be reported as it is: stop the job, end it as `exception` with these words. `open` is the step
    /// whose end was refused: Lightning knows it.
    Refused {
        event: &'static str,
        why: Cause,
        open: Option<(StepId, JobId)>,
    },
    /// Even its end was refused.
    GaveUp(Cause),
    /// An answer to nothing that is outstanding.
    Unknown,
}

/// Silence on a living link.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Silence {
    None,
    /// First noticed for this report.
    Late {
        event: &'static str,
    },
    /// So long that the channel should be joined anew.
    TooLong {
        event: &'static str,
    },
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Outbox {
    entries: VecDeque<Entry>,
    window: usize,
    batch_limit: Option<usize>,
    in_flight: usize,
    /// Entries at the front that were in flight when the link was lost: sent one at a time, so that a crash of the
    /// channel can be told apart.
    unsettled: usize,
    /// The last reports that were taken as delivered on the evidence of a crash, and not proven since.
    assumed: VecDeque<Entry>,
    /// The place of the next report.
    places: u64,
    /// Reports that Lightning has accepted.
    delivered: u64,
    /// Error replies to lines of the log that may pass, since a line was last accepted: a server that refuses every line
    /// must not hold up a run at each of them.
    line_retries: u32,
}

impl Outbox {
    /// An outbox with at most `window` reports in flight; `batch_limit` lines a batch when log lines are batched.
    pub(super) fn new(window: usize, batch_limit: Option<usize>) -> Self {
        Self {
            entries: VecDeque::new(),
            window: window.max(1),
            batch_limit,
            in_flight: 0,
            unsettled: 0,
            assumed: VecDeque::new(),
            places: 0,
            delivered: 0,
            line_retries: 0,
        }
    }

    /// Adds a report behind the others; an open batch goes out before it.
    pub(super) fn push(&mut self, report: Report, permits: Vec<OwnedSemaphorePermit>) {
        self.close_batch();
        let entry = self.entry(report, permits);
        self.entries.push_back(entry);
    }

    /// Adds lines of the job's log. Whether a batch was opened, which goes out after the batch interval at the latest.
    pub(super) fn push_log(
        &mut self,
        lines: LogLines,
        permit: Option<OwnedSemaphorePermit>,
    ) -> bool {
        let Some(limit) = self.batch_limit else {
            let entry = self.entry(Report::Logs(lines), permit.into_iter().collect());
            self.entries.push_back(entry);
            return false;
        };
        if let Some(Entry {
            report: Report::Logs(batch),
            state: Delivery::Waiting,
            permits,
            batch: state @ (Batch::Open | Batch::Due),
            resent: false,
            ..
        }) = self.entries.back_mut()
        {
            batch.lines.extend(lines.lines);
            permits.extend(permit);
            if batch.lines.len() >= limit {
                *state = Batch::Closed;
            }
            return false;
        }
        let lines = LogLines {
            batched: true,
            ..lines
        };
        let mut entry = self.entry(Report::Logs(lines), permit.into_iter().collect());
        if limit > 1 {
            entry.batch = Batch::Open;
        }
        self.entries.push_back(entry);
        true
    }

    /// Adds a report that has to be there before the run ends. `end` is when the run has ended then, if its end is waiting
    /// already.
    pub(super) fn push_before_end(&mut self, report: Report, end: Timestamp) {
        let Some(Entry {
            report: Report::RunComplete(last),
            ..
        }) = self.entries.back_mut()
        else {
            self.push(report, Vec::new());
            return;
        };
        if last.event.timestamp.is_some() {
            last.event.timestamp = Some(end);
        }
        let entry = self.entry(report, Vec::new());
        let place = self.entries.len() - 1;
        self.entries.insert(place, entry);
    }

    fn entry(&mut self, report: Report, permits: Vec<OwnedSemaphorePermit>) -> Entry {
        self.places += 1;
        Entry::new(self.places, report, permits)
    }

    /// The batch interval is over: an open batch may be sent. It still takes lines until it is.
    pub(super) fn close_batch(&mut self) {
        if let Some(entry) = self.entries.back_mut()
            && entry.batch == Batch::Open
        {
            entry.batch = Batch::Due;
        }
    }

    /// The next report to send now, if any; it counts as in flight from here on.
    pub(super) fn next(&mut self, ticket: Ticket, now: Instant) -> Option<&Report> {
        let window = if self.unsettled > 0 { 1 } else { self.window };
        if self.in_flight >= window {
            return None;
        }
        let index = self.first_to_send(now)?;
        let own = self.entries[index].report.state_bytes();
        if own > 0 {
            let ahead = self.entries.iter().take(index);
            let ahead: usize = ahead.map(|entry| entry.report.state_bytes()).sum();
            if ahead > 0 && ahead + own > STATES_IN_FLIGHT {
                return None;
            }
        }
        let behind_barrier = index > 0
            && (self
                .entries
                .iter()
                .take(index)
                .any(|entry| matches!(entry.report, Report::RunStart(_)))
                || matches!(self.entries[index].report, Report::RunComplete(_)));
        let entry = &mut self.entries[index];
        if behind_barrier || entry.batch == Batch::Open {
            return None;
        }
        entry.state = Delivery::InFlight {
            ticket,
            sent: now,
            warned: false,
        };
        self.in_flight += 1;
        Some(&entry.report)
    }

    /// The place of what is to be sent next. Nothing overtakes a report that is held, nor any other, except that a line of
    /// the log under which the channel crashes lets others of its kind go first: whether they are accepted tells whether it
    /// is the line or the server.
    fn first_to_send(&self, now: Instant) -> Option<usize> {
        let is_unsent = |entry: &Entry| !matches!(entry.state, Delivery::InFlight { .. });
        let index = self.entries.iter().position(is_unsent)?;
        let first = &self.entries[index];
        if matches!(first.state, Delivery::Held { until } if now < until) {
            return None;
        }
        if !first.is_suspected_line() || self.delivered_since_crash(first) {
            return Some(index);
        }
        let lines = self.entries.iter().enumerate().skip(index + 1);
        let witness = lines
            .take_while(|(_, entry)| matches!(entry.report, Report::Logs(_)))
            .find(|(_, entry)| {
                entry.state == Delivery::Waiting
                    && entry.batch != Batch::Open
                    && entry.crashes < first.crashes
            });
        Some(witness.map_or(index, |(witness, _)| witness))
    }

    /// Whether something else was accepted since there was last a crash under this report.
    fn delivered_since_crash(&self, entry: &Entry) -> bool {
        let crashed_after = entry.crashed_after;
        crashed_after.is_some_and(|crashed_after| self.delivered > crashed_after)
    }

    /// Notes a crash under a report that was alone on its way.
    fn note_crash(&mut self, index: usize) {
        let proof = self.delivered_since_crash(&self.entries[index]);
        let entry = &mut self.entries[index];
        entry.proofs = entry.proofs.saturating_add(u8::from(proof));
        entry.crashed_after = Some(self.delivered);
    }

    /// Whether the report that was sent with this ticket had been on its way before.
    pub(super) fn is_resent(&self, ticket: Ticket) -> bool {
        self.index_of(ticket)
            .is_some_and(|index| self.entries[index].resent)
    }

    /// Reports that were on their way when the link was lost, and are not settled since.
    pub(super) fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// The event of the report that was sent with this ticket.
    pub(super) fn event_of(&self, ticket: Ticket) -> Option<&'static str> {
        let index = self.index_of(ticket)?;
        Some(self.entries[index].report.event())
    }

    /// Forgets every report: the run is not ours, or its deadline is over. How many were lost.
    pub(super) fn clear(&mut self) -> usize {
        let lost = self.entries.len();
        self.entries.clear();
        self.in_flight = 0;
        self.unsettled = 0;
        lost
    }
}

impl Entry {
    fn new(place: u64, report: Report, permits: Vec<OwnedSemaphorePermit>) -> Self {
        Self {
            place,
            report,
            state: Delivery::Waiting,
            resent: false,
            crashes: 0,
            crashed_after: None,
            proofs: 0,
            retries: 0,
            sockets: 0,
            contradicted: false,
            batch: Batch::Closed,
            permits,
        }
    }

    /// Whether the channel has crashed more than once under a single line.
    fn is_suspected_line(&self) -> bool {
        self.crashes > 1 && matches!(&self.report, Report::Logs(lines) if lines.lines.len() == 1)
    }

    /// A half of a batch: it inherits what is known of the whole, so that it is halved at its first crash.
    fn half(&self, lines: LogLines) -> Self {
        Self {
            resent: self.resent,
            crashes: self.crashes.min(1),
            crashed_after: self.crashed_after,
            proofs: self.proofs,
            retries: self.retries,
            ..Self::new(self.place, Report::Logs(lines), Vec::new())
        }
    }

    fn repaired(&mut self, report: Report) -> Self {
        Self::new(self.place, report, std::mem::take(&mut self.permits))
    }
}
