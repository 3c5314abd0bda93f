//! The reports of one run that Lightning has not answered yet, in order. No actor, no clock, no I/O.
//!
//! An entry is fixed when it is pushed (ids, timestamps) and kept until it is answered; the recipe and what the server does
//! to each repeated event is section 10 of the protocol spec.
//!
//! ```text
//! Waiting ──next──▶ InFlight ──ok──▶ gone
//!    ▲                 │ refused ─▶ repaired and Waiting, dropped, or the run ends (see `verdict`)
//!    └─ link lost, channel crashed, silence: resent, one at a time until what was in flight is settled
//! ```

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protocol::ids::{DataclipId, JobId, StepId};
use tokio::sync::OwnedSemaphorePermit;

use super::report::{LogLines, Report};
use super::verdict::{self, Verdict};
use crate::lightning::Ticket;

/// Crashes of the channel under one report after which its payload is held to be at fault. Not fewer: a database that is
/// away for some seconds crashes the channel under everything; with the waits between the joins these are 16 seconds.
const CRASHES_BEFORE_REFUSAL: u8 = 8;

/// The same where the payload holds what is the likely cause, and the report can do without it.
const CRASHES_BEFORE_REPAIR: u8 = 3;

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
    InFlight {
        ticket: Ticket,
        sent: Instant,
        warned: bool,
    },
}

/// What the run has to do after an answer or a crash.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The report was accepted, or was there already.
    Delivered(Kind),
    /// Nothing but sending what waits.
    Resend,
    /// Lightning does not take this dataclip: its step is completed without it, and nothing may name it.
    Withheld(DataclipId),
    /// The channel is gone: join it again.
    Rejoin,
    /// A log line was refused and is lost; how many lines and the server's words.
    LinesDropped(usize, String),
    /// The run belongs to somebody else: stop the job, report nothing more.
    Abandoned(String),
    /// The run cannot be reported as it is: stop the job, end it as `exception` with these words. `open` is the step
    /// whose end was refused: Lightning knows it.
    Refused {
        event: &'static str,
        why: String,
        open: Option<(StepId, JobId)>,
    },
    /// Even its end was refused.
    GaveUp(String),
    /// An answer to nothing that is outstanding.
    Unknown,
}

/// The kinds of reports that the run acts on when they are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    RunStart,
    RunComplete,
    Other,
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
        let index = self
            .entries
            .iter()
            .position(|entry| entry.state == Delivery::Waiting)?;
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

    /// Lightning answered a report: `None` is ok, else the words of its error reply.
    pub(super) fn answered(&mut self, ticket: Ticket, error: Option<&str>) -> Outcome {
        let Some(index) = self.index_of(ticket) else {
            return Outcome::Unknown;
        };
        self.in_flight -= 1;
        self.entries[index].state = Delivery::Waiting;
        match error {
            None => self.delivered(index),
            Some(words) => self.refused(index, words),
        }
    }

    /// The link is gone: whatever was in flight may or may not have been processed.
    pub(super) fn link_lost(&mut self) {
        self.unsettled = self.unsettled.max(self.in_flight);
        self.in_flight = 0;
        for entry in &mut self.entries {
            if matches!(entry.state, Delivery::InFlight { .. }) {
                entry.state = Delivery::Waiting;
                entry.resent = true;
                // Whatever its crashes have said: it may be there by now.
                entry.contradicted = false;
                entry.crashes = 0;
            }
        }
    }

    /// Lightning closed the socket over a frame, which may have been ours.
    pub(super) fn socket_crashed(&mut self) -> Outcome {
        let is_in_flight = |entry: &Entry| matches!(entry.state, Delivery::InFlight { .. });
        let suspect = self.entries.iter().position(is_in_flight);
        let alone = self.in_flight == 1;
        self.link_lost();
        let Some(index) = suspect.filter(|_| alone) else {
            return Outcome::Resend;
        };
        let entry = &mut self.entries[index];
        entry.sockets = entry.sockets.saturating_add(1);
        let enough = entry
            .report
            .crashes_borne(CRASHES_BEFORE_REFUSAL, CRASHES_BEFORE_REFUSAL);
        if enough.is_some_and(|enough| entry.sockets >= enough) {
            return self.refused(index, "the connection crashed each time it was sent");
        }
        Outcome::Resend
    }

    /// Whether more than one socket was closed over what may have been a report of this run.
    pub(super) fn is_suspected(&self) -> bool {
        self.entries.iter().any(|entry| entry.sockets > 1)
    }

    /// The channel crashed with these pushes unanswered: the first of them is the suspect (protocol spec, section 10.3),
    /// unless it is none of ours.
    pub(super) fn channel_crashed(&mut self, unanswered: &[Ticket]) -> Outcome {
        let suspect = unanswered.first().and_then(|ticket| self.index_of(*ticket));
        self.unsettled = self.unsettled.max(self.in_flight);
        self.in_flight = 0;
        for entry in &mut self.entries {
            entry.state = Delivery::Waiting;
        }
        let Some(index) = suspect else {
            return Outcome::Resend;
        };
        let entry = &mut self.entries[index];
        let alone = unanswered.len() == 1;
        if alone && entry.resent && entry.report.is_step_event() && !entry.contradicted {
            return self.assume_delivered(index);
        }
        entry.resent = true;
        if alone {
            entry.crashes = entry.crashes.saturating_add(1);
        }
        let enough = entry
            .report
            .crashes_borne(CRASHES_BEFORE_REPAIR, CRASHES_BEFORE_REFUSAL);
        if enough.is_some_and(|enough| entry.crashes >= enough) {
            return self.refused(index, "the channel crashed each time it was sent");
        }
        Outcome::Resend
    }

    /// Whether the oldest report in flight has been unanswered for too long. A busy server is waited for: only much
    /// later is the channel joined anew, which kills what the server was doing.
    pub(super) fn silence(&mut self, now: Instant, late: Duration, too_long: Duration) -> Silence {
        for entry in &mut self.entries {
            if let Delivery::InFlight { sent, warned, .. } = &mut entry.state {
                let age = now.saturating_duration_since(*sent);
                if age >= too_long {
                    return Silence::TooLong {
                        event: entry.report.event(),
                    };
                }
                if age >= late && !*warned {
                    *warned = true;
                    return Silence::Late {
                        event: entry.report.event(),
                    };
                }
                return Silence::None;
            }
        }
        Silence::None
    }

    /// Forgets every report: the run is not ours, or its deadline is over. How many were lost.
    pub(super) fn clear(&mut self) -> usize {
        let lost = self.entries.len();
        self.entries.clear();
        self.in_flight = 0;
        self.unsettled = 0;
        lost
    }

    /// The unanswered report before this one that is not there, as these words about this one say: the server passed over
    /// it, else it would have handled it first.
    fn missing_for(&self, index: usize, words: &str) -> Option<usize> {
        let refused = &self.entries[index].report;
        self.entries
            .iter()
            .take(index)
            .position(|earlier| verdict::denies(words, refused, &earlier.report))
    }

    /// Sends a report again whose answer is not waited for any longer.
    fn say_again(&mut self, index: usize) {
        let entry = &mut self.entries[index];
        if matches!(entry.state, Delivery::InFlight { .. }) {
            entry.state = Delivery::Waiting;
            entry.resent = true;
            self.in_flight -= 1;
        }
    }

    /// What waits names this dataclip no more.
    fn withhold(&mut self, dataclip: &DataclipId) {
        for entry in &mut self.entries {
            if entry.state == Delivery::Waiting {
                entry.report.withhold(dataclip);
            }
        }
    }

    fn index_of(&self, wanted: Ticket) -> Option<usize> {
        self.entries.iter().position(
            |entry| matches!(entry.state, Delivery::InFlight { ticket, .. } if ticket == wanted),
        )
    }

    fn delivered(&mut self, index: usize) -> Outcome {
        self.settle(index);
        let Some(entry) = self.entries.remove(index) else {
            return Outcome::Unknown;
        };
        self.assumed
            .retain(|assumed| !verdict::proves(&entry.report, &assumed.report));
        Outcome::Delivered(entry.report.kind())
    }

    fn assume_delivered(&mut self, index: usize) -> Outcome {
        self.settle(index);
        if let Some(mut entry) = self.entries.remove(index) {
            // What it says is kept in case it has to be said again, the job need not wait for that.
            entry.permits.clear();
            self.assumed.push_back(entry);
            if self.assumed.len() > ASSUMED {
                self.assumed.pop_front();
            }
        }
        Outcome::Rejoin
    }

    fn settle(&mut self, index: usize) {
        if index < self.unsettled {
            self.unsettled -= 1;
        }
    }

    fn refused(&mut self, index: usize, words: &str) -> Outcome {
        if let Some(missing) = self.missing_for(index, words) {
            self.say_again(missing);
            self.unsettled = self.unsettled.max(index + 1);
            return Outcome::Resend;
        }
        let denied = self.assumed.iter().position(|assumed| {
            verdict::denies(words, &self.entries[index].report, &assumed.report)
        });
        if let Some(mut assumed) = denied.and_then(|denied| self.assumed.remove(denied)) {
            // Once more; a further crash is the payload's.
            assumed.contradicted = true;
            assumed.crashes = CRASHES_BEFORE_REFUSAL - 1;
            // Ahead of everything that was said after it, an unanswered report perhaps among that.
            let place = self
                .entries
                .partition_point(|entry| entry.place < assumed.place);
            self.entries.insert(place, assumed);
            self.unsettled = self.unsettled.max(index + 2);
            return Outcome::Resend;
        }
        let entry = &mut self.entries[index];
        match verdict::judge(&entry.report, entry.resent, words) {
            Verdict::Delivered => self.delivered(index),
            Verdict::ChannelGone => {
                self.link_lost();
                Outcome::Rejoin
            }
            Verdict::Repaired(report) => {
                let withheld = match &entry.report {
                    Report::StepComplete(step) => step.event.output_dataclip_id.clone(),
                    _ => None,
                };
                *entry = entry.repaired(report);
                match withheld {
                    Some(dataclip) => {
                        self.withhold(&dataclip);
                        Outcome::Withheld(dataclip)
                    }
                    None => Outcome::Resend,
                }
            }
            Verdict::Split(first, second) => {
                let permits = std::mem::take(&mut entry.permits);
                let place = entry.place;
                *entry = Entry::new(place, Report::Logs(second), permits);
                self.entries
                    .insert(index, Entry::new(place, Report::Logs(first), Vec::new()));
                if index < self.unsettled {
                    self.unsettled += 1;
                }
                Outcome::Resend
            }
            Verdict::Drop(lines) => {
                self.settle(index);
                self.entries.remove(index);
                Outcome::LinesDropped(lines, words.to_owned())
            }
            Verdict::NotOurs => Outcome::Abandoned(words.to_owned()),
            Verdict::EndRun => Outcome::Refused {
                event: entry.report.event(),
                why: words.to_owned(),
                open: entry.report.open_step(),
            },
            Verdict::GiveUp => Outcome::GaveUp(words.to_owned()),
        }
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
            sockets: 0,
            contradicted: false,
            batch: Batch::Closed,
            permits,
        }
    }

    fn repaired(&mut self, report: Report) -> Self {
        Self::new(self.place, report, std::mem::take(&mut self.permits))
    }
}
