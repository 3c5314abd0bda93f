//! What an answer means for a report: it is delivered, said again, repaired, dropped, or the end of the run.

use std::time::{Duration, Instant};

use protocol::ids::DataclipId;
use protocol::lightning::Refusal;

use super::super::cause::{Cause, RETRIES};
use super::super::report::Report;
use super::super::verdict::{self, Verdict};
use super::crashes::CRASHES_BEFORE_REFUSAL;
use super::{ASSUMED, Delivery, Entry, FollowUp, Outbox};
use crate::lightning::Ticket;

impl Outbox {
    /// Lightning answered a report at this time: `None` is ok, else its error reply.
    pub(in crate::run) fn answered(
        &mut self,
        ticket: Ticket,
        error: Option<Refusal>,
        now: Instant,
    ) -> FollowUp {
        let Some(index) = self.unsent(ticket) else {
            return FollowUp::Unknown;
        };
        match error {
            None => self.delivered(index),
            Some(refusal) => self.refused(index, refusal, now),
        }
    }

    /// The report with this ticket was not sent: its frame is larger than Lightning takes.
    pub(in crate::run) fn not_sent(&mut self, ticket: Ticket) -> FollowUp {
        match self.unsent(ticket) {
            Some(index) => self.failed(index, Cause::FrameTooLarge),
            None => FollowUp::Unknown,
        }
    }

    /// The report with this ticket is on its way no more.
    fn unsent(&mut self, ticket: Ticket) -> Option<usize> {
        let index = self.index_of(ticket)?;
        self.in_flight -= 1;
        self.entries[index].state = Delivery::Waiting;
        Some(index)
    }

    /// The unanswered report before this one that is not there, as the words about this one say: the server passed over it,
    /// else it would have handled it first.
    fn missing_for(&self, index: usize, cause: &Cause) -> Option<usize> {
        let refused = &self.entries[index].report;
        self.entries
            .iter()
            .take(index)
            .position(|earlier| verdict::denies(cause, refused, &earlier.report))
    }

    /// Whether a report may be refused only because one before it, which is not answered yet, is not there.
    fn may_miss_another(&self, index: usize, cause: &Cause) -> bool {
        let refused = &self.entries[index].report;
        let mut earlier = self.entries.iter().take(index);
        earlier.any(|earlier| verdict::may_miss(cause, refused, &earlier.report))
    }

    /// Holds a report that is sent again after a while; how long. `None` when it was sent often enough.
    fn hold(&mut self, index: usize, now: Instant) -> Option<Duration> {
        let entry = &mut self.entries[index];
        let is_line = matches!(entry.report, Report::Logs(_));
        if is_line {
            entry.retries = entry.retries.max(self.line_retries);
        }
        let wait = RETRIES.after(entry.retries)?;
        entry.retries += 1;
        entry.state = Delivery::Held { until: now + wait };
        if is_line {
            self.line_retries = entry.retries;
        }
        Some(wait)
    }

    /// Sends a report again whose answer is not waited for any longer.
    pub(super) fn say_again(&mut self, index: usize) {
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
            if !matches!(entry.state, Delivery::InFlight { .. }) {
                entry.report.withhold(dataclip);
            }
        }
    }

    pub(super) fn index_of(&self, wanted: Ticket) -> Option<usize> {
        self.entries.iter().position(
            |entry| matches!(entry.state, Delivery::InFlight { ticket, .. } if ticket == wanted),
        )
    }

    fn delivered(&mut self, index: usize) -> FollowUp {
        self.settle(index);
        let Some(entry) = self.entries.remove(index) else {
            return FollowUp::Unknown;
        };
        self.delivered += 1;
        if matches!(entry.report, Report::Logs(_)) {
            self.line_retries = 0;
        }
        self.assumed
            .retain(|assumed| !verdict::proves(&entry.report, &assumed.report));
        FollowUp::Delivered(entry.report.milestone())
    }

    pub(super) fn assume_delivered(&mut self, index: usize) -> FollowUp {
        self.settle(index);
        if let Some(mut entry) = self.entries.remove(index) {
            // What it says is kept in case it has to be said again, the job need not wait for that.
            entry.permits.clear();
            self.assumed.push_back(entry);
            if self.assumed.len() > ASSUMED {
                self.assumed.pop_front();
            }
        }
        FollowUp::Rejoin
    }

    pub(super) fn settle(&mut self, index: usize) {
        if index < self.unsettled {
            self.unsettled -= 1;
        }
    }

    fn refused(&mut self, index: usize, refusal: Refusal, now: Instant) -> FollowUp {
        let cause = Cause::Refused(refusal);
        if let Some(missing) = self.missing_for(index, &cause) {
            self.say_again(missing);
            self.unsettled = self.unsettled.max(index + 1);
            return FollowUp::Resend;
        }
        if self.may_miss_another(index, &cause) {
            self.unsettled = self.unsettled.max(index + 1);
            return FollowUp::Resend;
        }
        let denied = self.assumed.iter().position(|assumed| {
            verdict::denies(&cause, &self.entries[index].report, &assumed.report)
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
            return FollowUp::Resend;
        }
        if cause.may_pass()
            && let Some(wait) = self.hold(index, now)
        {
            return FollowUp::Retry(wait);
        }
        self.failed(index, cause)
    }

    /// Does with a report that is not there, and will not be as it is, what can be done.
    pub(super) fn failed(&mut self, index: usize, cause: Cause) -> FollowUp {
        let entry = &mut self.entries[index];
        match verdict::judge(&entry.report, entry.resent, &cause) {
            Verdict::Delivered => self.delivered(index),
            Verdict::ChannelGone => {
                self.link_lost();
                FollowUp::Rejoin
            }
            Verdict::Repaired(report) => {
                let named = |report: &Report| match report {
                    Report::StepComplete(step) => step.event.output_dataclip_id.clone(),
                    _ => None,
                };
                let withheld = named(&entry.report).filter(|_| named(&report).is_none());
                *entry = entry.repaired(report);
                match withheld {
                    Some(dataclip) => {
                        self.withhold(&dataclip);
                        FollowUp::Withheld {
                            dataclip,
                            too_large: cause.is_too_large(),
                        }
                    }
                    None => FollowUp::Resend,
                }
            }
            Verdict::Split(first, second) => {
                let first = entry.half(first);
                let second = Entry {
                    permits: std::mem::take(&mut entry.permits),
                    ..entry.half(second)
                };
                *entry = second;
                self.entries.insert(index, first);
                if index < self.unsettled {
                    self.unsettled += 1;
                }
                FollowUp::Split
            }
            Verdict::Drop(lines) => {
                self.settle(index);
                self.entries.remove(index);
                FollowUp::LinesDropped(lines, cause)
            }
            Verdict::NotOurs => FollowUp::Abandoned(cause),
            Verdict::EndRun => FollowUp::Refused {
                event: entry.report.event(),
                open: entry.report.open_step(),
                why: cause,
            },
            Verdict::GiveUp => FollowUp::GaveUp(cause),
        }
    }
}
