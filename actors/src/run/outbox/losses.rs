//! What a lost link, a crash and silence mean for the reports that were on their way.

use std::time::{Duration, Instant};

use super::super::cause::Cause;
use super::{Delivery, Entry, FollowUp, Outbox, Silence, crashes};
use crate::lightning::Ticket;

/// A second one, for a database that comes and goes may look like the first.
const PROOFS: u8 = 2;

impl Outbox {
    /// The link is gone: whatever was in flight may or may not have been processed.
    pub(in crate::run) fn link_lost(&mut self) {
        self.unsettled = self.unsettled.max(self.in_flight);
        self.in_flight = 0;
        for entry in &mut self.entries {
            if matches!(entry.state, Delivery::InFlight { .. }) {
                entry.state = Delivery::Waiting;
                entry.resent = true;
                // Whatever its crashes have said: it may be there by now.
                entry.contradicted = false;
                entry.crashes = 0;
                entry.crashed_after = None;
                entry.proofs = 0;
            }
        }
    }

    /// Lightning closed the socket over a frame, which may have been ours.
    pub(in crate::run) fn socket_crashed(&mut self) -> FollowUp {
        let is_in_flight = |entry: &Entry| matches!(entry.state, Delivery::InFlight { .. });
        let suspect = self.entries.iter().position(is_in_flight);
        let alone = self.in_flight == 1;
        self.link_lost();
        let Some(index) = suspect.filter(|_| alone) else {
            return FollowUp::Resend;
        };
        let entry = &mut self.entries[index];
        entry.sockets = entry.sockets.saturating_add(1);
        let crashes = entry.sockets;
        self.note_crash(index);
        self.borne(index, crashes, Cause::SocketClosed)
    }

    /// Lightning closed the socket because the frame of the report with this ticket was too large for it.
    pub(in crate::run) fn frame_too_large(&mut self, ticket: Ticket) -> FollowUp {
        let culprit = self.index_of(ticket);
        self.link_lost();
        match culprit {
            Some(index) => self.failed(index, Cause::FrameTooLarge),
            None => FollowUp::Resend,
        }
    }

    /// Whether more than one socket was closed over what may have been a report of this run.
    pub(in crate::run) fn is_suspected(&self) -> bool {
        self.entries.iter().any(|entry| entry.sockets > 1)
    }

    /// The channel crashed with these pushes unanswered: the first of them is the suspect (protocol spec, section 10.3),
    /// unless it is none of ours.
    pub(in crate::run) fn channel_crashed(&mut self, unanswered: &[Ticket]) -> FollowUp {
        let suspect = unanswered.first().and_then(|ticket| self.index_of(*ticket));
        self.unsettled = self.unsettled.max(self.in_flight);
        self.in_flight = 0;
        for entry in &mut self.entries {
            if matches!(entry.state, Delivery::InFlight { .. }) {
                entry.state = Delivery::Waiting;
            }
        }
        let Some(index) = suspect else {
            return FollowUp::Resend;
        };
        let entry = &mut self.entries[index];
        let alone = unanswered.len() == 1;
        if alone && entry.resent && entry.report.is_step_event() && !entry.contradicted {
            return self.assume_delivered(index);
        }
        entry.resent = true;
        if !alone {
            return FollowUp::Resend;
        }
        entry.crashes = entry.crashes.saturating_add(1);
        let crashes = entry.crashes;
        self.note_crash(index);
        self.borne(index, crashes, Cause::ChannelCrashed)
    }

    /// Holds a report to be at fault under which so much has crashed, else has it sent again.
    fn borne(&mut self, index: usize, crashes: u8, cause: Cause) -> FollowUp {
        let entry = &self.entries[index];
        let enough = crashes::borne(&entry.report, entry.proofs >= PROOFS);
        if enough.is_some_and(|enough| crashes >= enough) {
            return self.failed(index, cause);
        }
        FollowUp::Resend
    }

    /// Whether the oldest report in flight has been unanswered for too long. A busy server is waited for: only much
    /// later is the channel joined anew, which kills what the server was doing.
    pub(in crate::run) fn silence(
        &mut self,
        now: Instant,
        late: Duration,
        too_long: Duration,
    ) -> Silence {
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
}
