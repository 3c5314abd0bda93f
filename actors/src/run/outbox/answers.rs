//! What an answer means for a report: it is delivered, said again, repaired, dropped, or the end of the run.

use protocol::ids::DataclipId;

use super::super::report::Report;
use super::super::verdict::{self, Verdict};
use super::{ASSUMED, CRASHES_BEFORE_REFUSAL, Delivery, Entry, Outbox, Outcome};
use crate::lightning::Ticket;

impl Outbox {
    /// Lightning answered a report: `None` is ok, else the words of its error reply.
    pub(in crate::run) fn answered(&mut self, ticket: Ticket, error: Option<&str>) -> Outcome {
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
            if entry.state == Delivery::Waiting {
                entry.report.withhold(dataclip);
            }
        }
    }

    pub(super) fn index_of(&self, wanted: Ticket) -> Option<usize> {
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

    pub(super) fn assume_delivered(&mut self, index: usize) -> Outcome {
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

    pub(super) fn settle(&mut self, index: usize) {
        if index < self.unsettled {
            self.unsettled -= 1;
        }
    }

    pub(super) fn refused(&mut self, index: usize, words: &str) -> Outcome {
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
