//! The join of `worker:queue`, and the claims on it.

use std::time::Instant;

use protocol::ids::{MessageRef, WorkloopId};

use super::{Channels, Claimant, Waiting, is_current};
use crate::lightning::messages::Ticket;

impl Channels {
    pub(in crate::lightning) fn joining_queue(&mut self) -> MessageRef {
        let join_ref = self.next_ref();
        self.queue_join = Some(join_ref);
        self.waiting
            .retain(|_, waiting| *waiting != Waiting::QueueJoin);
        self.waiting.insert(join_ref, Waiting::QueueJoin);
        join_ref
    }

    pub(in crate::lightning) fn queue_join_ref(&self) -> Option<MessageRef> {
        self.queue_join
    }

    pub(in crate::lightning) fn claiming(
        &mut self,
        workloop: WorkloopId,
        ticket: Ticket,
    ) -> Option<(MessageRef, MessageRef)> {
        let join_ref = self.queue_join?;
        let reference = self.next_ref();
        self.waiting.insert(
            reference,
            Waiting::Claim {
                workloop,
                claimant: Claimant::Present(ticket),
                sent: Instant::now(),
            },
        );
        Some((join_ref, reference))
    }

    /// Whether a message of `worker:queue` with this join ref is about the present join.
    pub(in crate::lightning) fn is_current_queue(&self, join_ref: Option<&str>) -> bool {
        self.queue_join
            .is_some_and(|current| is_current(current, join_ref))
    }

    /// The queue is not joined any more; the claims that were outstanding.
    pub(in crate::lightning) fn queue_ended(&mut self) -> Vec<(WorkloopId, Ticket)> {
        self.queue_join = None;
        let mut claims = Vec::new();
        self.waiting.retain(|_, waiting| match waiting {
            Waiting::Claim {
                workloop, claimant, ..
            } => {
                if let Claimant::Present(ticket) = claimant {
                    claims.push((workloop.clone(), *ticket));
                }
                false
            }
            Waiting::QueueJoin => false,
            Waiting::Run { .. } => true,
        });
        claims
    }
}
