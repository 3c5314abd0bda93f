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

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protocol::ids::DataclipId;
use tokio::sync::OwnedSemaphorePermit;

use super::report::{LogLines, Report};
use super::verdict::{self, Verdict};
use crate::lightning::Ticket;

/// Crashes of the channel under one report after which its payload is held to be at fault.
const CRASHES_BEFORE_REFUSAL: u8 = 2;

#[derive(Debug)]
struct Entry {
    report: Report,
    state: Delivery,
    /// It was on a socket or channel that was lost: the server may have processed it.
    resent: bool,
    crashes: u8,
    /// Taken as delivered because its repetition crashed the channel; a later event said that it was not.
    contradicted: bool,
    /// An open batch takes further lines.
    open: bool,
    permits: Vec<OwnedSemaphorePermit>,
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
    /// The run cannot be reported as it is: stop the job, end it as `exception` with these words.
    Refused { event: &'static str, why: String },
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
    /// The last report that was taken as delivered on the evidence of a crash.
    assumed: Option<Entry>,
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
            assumed: None,
        }
    }

    /// Adds a report behind the others; an open batch goes out before it.
    pub(super) fn push(&mut self, report: Report, permits: Vec<OwnedSemaphorePermit>) {
        self.close_batch();
        self.entries.push_back(Entry::new(report, permits));
    }

    /// Adds lines of the job's log. Whether a batch was opened, which goes out after the batch interval at the latest.
    pub(super) fn push_log(
        &mut self,
        lines: LogLines,
        permit: Option<OwnedSemaphorePermit>,
    ) -> bool {
        let Some(limit) = self.batch_limit else {
            self.entries.push_back(Entry::new(
                Report::Logs(lines),
                permit.into_iter().collect(),
            ));
            return false;
        };
        if let Some(Entry {
            report: Report::Logs(batch),
            state: Delivery::Waiting,
            permits,
            open,
            resent: false,
            ..
        }) = self.entries.back_mut()
            && batch.batched
            && batch.lines.len() < limit
        {
            batch.lines.extend(lines.lines);
            permits.extend(permit);
            if batch.lines.len() >= limit {
                *open = false;
            }
            return false;
        }
        let mut entry = Entry::new(
            Report::Logs(LogLines {
                batched: true,
                ..lines
            }),
            permit.into_iter().collect(),
        );
        entry.open = limit > 1;
        self.entries.push_back(entry);
        true
    }

    /// The batch interval is over: an open batch may be sent. It still takes lines until it is.
    pub(super) fn close_batch(&mut self) {
        if let Some(entry) = self.entries.back_mut() {
            entry.open = false;
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
        let behind_barrier = index > 0
            && (self
                .entries
                .iter()
                .take(index)
                .any(|entry| matches!(entry.report, Report::RunStart(_)))
                || matches!(self.entries[index].report, Report::RunComplete(_)));
        let entry = &mut self.entries[index];
        if behind_barrier || entry.open {
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
            }
        }
    }

    /// The channel crashed under what was in flight: the first of it is the suspect (protocol spec, section 10.3).
    pub(super) fn channel_crashed(&mut self) -> Outcome {
        let first = self
            .entries
            .iter()
            .position(|entry| matches!(entry.state, Delivery::InFlight { .. }));
        let alone = self.in_flight == 1;
        self.unsettled = self.unsettled.max(self.in_flight);
        self.in_flight = 0;
        for entry in &mut self.entries {
            entry.state = Delivery::Waiting;
        }
        let Some(index) = first else {
            return Outcome::Resend;
        };
        let entry = &mut self.entries[index];
        if alone && entry.resent && entry.report.is_step_event() && !entry.contradicted {
            return self.assume_delivered(index);
        }
        entry.resent = true;
        if alone {
            entry.crashes += 1;
        }
        if entry.crashes >= CRASHES_BEFORE_REFUSAL {
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

    fn index_of(&self, wanted: Ticket) -> Option<usize> {
        self.entries.iter().position(
            |entry| matches!(entry.state, Delivery::InFlight { ticket, .. } if ticket == wanted),
        )
    }

    fn delivered(&mut self, index: usize) -> Outcome {
        self.settle(index);
        let kind = self
            .entries
            .remove(index)
            .map_or(Kind::Other, |entry| entry.report.kind());
        Outcome::Delivered(kind)
    }

    fn assume_delivered(&mut self, index: usize) -> Outcome {
        self.settle(index);
        if let Some(mut entry) = self.entries.remove(index) {
            // What it says is kept in case it has to be said again, the job need not wait for that.
            entry.permits.clear();
            self.assumed = Some(entry);
        }
        Outcome::Rejoin
    }

    fn settle(&mut self, index: usize) {
        if index < self.unsettled {
            self.unsettled -= 1;
        }
    }

    fn refused(&mut self, index: usize, words: &str) -> Outcome {
        if verdict::contradicts_assumption(words)
            && let Some(mut assumed) = self.assumed.take()
        {
            assumed.contradicted = true;
            assumed.crashes = CRASHES_BEFORE_REFUSAL - 1;
            self.entries.insert(index, assumed);
            self.unsettled += 2;
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
                withheld.map_or(Outcome::Resend, Outcome::Withheld)
            }
            Verdict::Split(first, second) => {
                let permits = std::mem::take(&mut entry.permits);
                *entry = Entry::new(Report::Logs(second), permits);
                self.entries
                    .insert(index, Entry::new(Report::Logs(first), Vec::new()));
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
            },
            Verdict::GiveUp => Outcome::GaveUp(words.to_owned()),
        }
    }
}

impl Entry {
    fn new(report: Report, permits: Vec<OwnedSemaphorePermit>) -> Self {
        Self {
            report,
            state: Delivery::Waiting,
            resent: false,
            crashes: 0,
            contradicted: false,
            open: false,
            permits,
        }
    }

    fn repaired(&mut self, report: Report) -> Self {
        Self::new(report, std::mem::take(&mut self.permits))
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;
    use protocol::ids::{JobId, RunId, StepId};
    use protocol::lightning::{LogLine, RunComplete, RunStart, StepStart, Timestamp};
    use protocol::reasons::Outcome as Ended;

    use super::super::report::{Repairs, RunEnd};
    use super::*;

    fn start() -> Report {
        Report::RunStart(RunStart {
            versions: IndexMap::new(),
            timestamp: None,
        })
    }

    fn step() -> Report {
        Report::StepStart(StepStart {
            step_id: StepId::new("s"),
            job_id: JobId::new("a"),
            timestamp: None,
            input_dataclip_id: Some(DataclipId::new("d")),
        })
    }

    fn end() -> Report {
        let event = RunComplete::new(&Ended::success());
        Report::RunComplete(Box::new(RunEnd {
            event,
            repairs: Repairs::None,
        }))
    }

    fn lines(count: usize) -> LogLines {
        let line = LogLine::text(
            "JOB",
            "info",
            "x",
            Timestamp::from_micros(1_767_225_600_000_000),
        );
        LogLines {
            run_id: RunId::new("r"),
            batched: false,
            lines: vec![line; count],
        }
    }

    fn outbox(reports: Vec<Report>) -> Outbox {
        let mut outbox = Outbox::new(32, None);
        for report in reports {
            outbox.push(report, Vec::new());
        }
        outbox
    }

    /// Sends whatever may be sent now, with tickets from `from` on; the events.
    fn send(outbox: &mut Outbox, from: u64) -> Vec<&'static str> {
        let mut sent = Vec::new();
        while let Some(report) = outbox.next(Ticket(from + sent.len() as u64), Instant::now()) {
            sent.push(report.event());
        }
        sent
    }

    #[test]
    fn nothing_overtakes_the_start_and_the_end_comes_last() {
        let mut outbox = outbox(vec![start(), step(), Report::Logs(lines(1)), end()]);
        assert_eq!(send(&mut outbox, 1), ["run:start"]);
        assert_eq!(
            outbox.answered(Ticket(1), None),
            Outcome::Delivered(Kind::RunStart)
        );
        assert_eq!(send(&mut outbox, 2), ["step:start", "run:log"]);
        outbox.answered(Ticket(2), None);
        assert!(send(&mut outbox, 4).is_empty());
        outbox.answered(Ticket(3), None);
        assert_eq!(send(&mut outbox, 4), ["run:complete"]);
        assert_eq!(
            outbox.answered(Ticket(4), None),
            Outcome::Delivered(Kind::RunComplete)
        );
    }

    #[test]
    fn what_was_in_flight_is_sent_again_one_at_a_time() {
        let mut outbox = outbox(vec![step(), Report::Logs(lines(1)), Report::Logs(lines(1))]);
        assert_eq!(send(&mut outbox, 1).len(), 3);
        outbox.link_lost();
        assert_eq!(send(&mut outbox, 10), ["step:start"]);
        outbox.answered(Ticket(10), None);
        assert_eq!(send(&mut outbox, 11), ["run:log"]);
    }

    #[test]
    fn an_answer_from_before_the_loss_is_to_nothing() {
        let mut outbox = outbox(vec![step()]);
        send(&mut outbox, 1);
        outbox.link_lost();
        assert_eq!(outbox.answered(Ticket(1), None), Outcome::Unknown);
    }

    #[test]
    fn a_repeated_step_event_that_crashes_the_channel_was_there() {
        let mut outbox = outbox(vec![step(), Report::Logs(lines(1))]);
        send(&mut outbox, 1);
        outbox.link_lost();
        assert_eq!(send(&mut outbox, 10), ["step:start"]);
        assert_eq!(outbox.channel_crashed(), Outcome::Rejoin);
        assert_eq!(send(&mut outbox, 20), ["run:log"]);
    }

    #[test]
    fn a_step_that_was_not_there_after_all_is_said_again() {
        let mut outbox = outbox(vec![step(), Report::Logs(lines(1))]);
        send(&mut outbox, 1);
        outbox.link_lost();
        send(&mut outbox, 10);
        outbox.channel_crashed();
        send(&mut outbox, 20);
        let words = r#"{"errors":{"step_id":["must be associated with the run"]}}"#;
        assert_eq!(outbox.answered(Ticket(20), Some(words)), Outcome::Resend);
        assert_eq!(send(&mut outbox, 30), ["step:start"]);
    }

    #[test]
    fn an_input_that_lightning_does_not_know_is_left_out() {
        let mut outbox = outbox(vec![step()]);
        send(&mut outbox, 1);
        let words = r#"{"errors":{"input_dataclip_id":["is not known"]}}"#;
        assert_eq!(outbox.answered(Ticket(1), Some(words)), Outcome::Resend);
        let Some(Report::StepStart(step)) = outbox.next(Ticket(2), Instant::now()) else {
            panic!()
        };
        assert_eq!(step.input_dataclip_id, None);
    }

    #[test]
    fn only_the_bad_line_of_a_batch_is_lost() {
        let batch = LogLines {
            batched: true,
            ..lines(2)
        };
        let mut outbox = outbox(vec![Report::Logs(batch)]);
        send(&mut outbox, 1);
        assert_eq!(outbox.answered(Ticket(1), Some("bad")), Outcome::Resend);
        assert_eq!(send(&mut outbox, 2).len(), 2);
        assert!(matches!(
            outbox.answered(Ticket(2), Some("bad")),
            Outcome::LinesDropped(1, _)
        ));
        assert_eq!(
            outbox.answered(Ticket(3), None),
            Outcome::Delivered(Kind::Other)
        );
    }

    #[test]
    fn a_run_that_is_somebody_elses_is_abandoned_and_other_refusals_end_it() {
        let mut taken = outbox(vec![start()]);
        send(&mut taken, 1);
        let words = "cannot mark run started that has not been claimed by a worker";
        assert!(matches!(
            taken.answered(Ticket(1), Some(words)),
            Outcome::Abandoned(_)
        ));
        let mut refused = outbox(vec![start()]);
        send(&mut refused, 1);
        assert!(matches!(
            refused.answered(Ticket(1), Some("no")),
            Outcome::Refused {
                event: "run:start",
                ..
            }
        ));
    }

    #[test]
    fn an_end_that_is_there_already_is_done_and_a_refused_one_is_tried_in_other_forms() {
        let mut there = outbox(vec![end()]);
        send(&mut there, 1);
        let words = r#"{"errors":{"state":["already in completed state"]}}"#;
        assert_eq!(
            there.answered(Ticket(1), Some(words)),
            Outcome::Delivered(Kind::RunComplete)
        );
        let mut refused = outbox(vec![end()]);
        send(&mut refused, 1);
        assert_eq!(refused.answered(Ticket(1), Some("no")), Outcome::Resend);
        let Some(Report::RunComplete(end)) = refused.next(Ticket(2), Instant::now()) else {
            panic!()
        };
        assert_eq!(end.repairs, Repairs::AsException);
        assert!(matches!(
            refused.answered(Ticket(2), Some("no")),
            Outcome::GaveUp(_)
        ));
    }

    #[test]
    fn lines_gather_in_a_batch_until_it_is_full_or_something_else_follows() {
        let mut outbox = Outbox::new(32, Some(3));
        assert!(outbox.push_log(lines(1), None));
        assert!(!outbox.push_log(lines(1), None));
        assert!(
            send(&mut outbox, 1).is_empty(),
            "an open batch waits for its interval"
        );
        outbox.push_log(lines(1), None);
        assert_eq!(send(&mut outbox, 1), ["run:batch_logs"]);
        assert!(outbox.push_log(lines(1), None));
        outbox.push(step(), Vec::new());
        assert_eq!(send(&mut outbox, 5), ["run:batch_logs", "step:start"]);
    }

    #[test]
    fn silence_is_first_told_and_later_ends_in_a_rejoin() {
        let mut outbox = outbox(vec![step()]);
        let sent = Instant::now();
        outbox.next(Ticket(1), sent);
        let (late, too_long) = (Duration::from_secs(30), Duration::from_secs(60));
        assert_eq!(
            outbox.silence(sent + Duration::from_secs(29), late, too_long),
            Silence::None
        );
        let event = "step:start";
        assert_eq!(
            outbox.silence(sent + Duration::from_secs(31), late, too_long),
            Silence::Late { event }
        );
        assert_eq!(
            outbox.silence(sent + Duration::from_secs(32), late, too_long),
            Silence::None
        );
        assert_eq!(
            outbox.silence(sent + Duration::from_secs(61), late, too_long),
            Silence::TooLong { event }
        );
    }
}
