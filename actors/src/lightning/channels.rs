//! What is open and outstanding on one socket: refs, join refs, subscribers. No I/O.

mod queue;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use actix::Recipient;
use bytes::Bytes;
use protocol::ids::{MessageRef, Topic, WorkloopId};

use super::messages::{ChannelEvent, Join, JoinTurn, QueueEvent, Ticket};

/// What each further run without a channel adds to the time over which all of them spread their joins: 99 runs take half a
/// second, two a few milliseconds, a single one none.
const SPREAD: Duration = Duration::from_millis(5);

/// The time over which those joins spread that let others go first.
const LATE: Duration = Duration::from_secs(1);

/// The event that joins a channel.
pub(super) const JOIN: &str = "phx_join";

/// Who waits for the answer to a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Waiting {
    /// The join of `worker:queue`.
    QueueJoin,
    /// A claim of a group.
    Claim {
        workloop: WorkloopId,
        claimant: Claimant,
        sent: Instant,
    },
    /// A join or push of a run topic.
    Run {
        topic: Topic,
        ticket: Ticket,
        event: &'static str,
        /// Of its payload.
        bytes: usize,
        sent: Instant,
    },
}

/// Which workloop of a group sent a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimant {
    /// The present one, with this ticket.
    Present(Ticket),
    /// One that has died since.
    Earlier,
}

/// The subscriptions, which outlive a socket, and what is open on the present one.
#[derive(Default)]
pub(super) struct Channels {
    next_ref: u64,
    queue_join: Option<MessageRef>,
    runs: HashMap<Topic, RunChannel>,
    workloops: HashMap<WorkloopId, Recipient<QueueEvent>>,
    waiting: HashMap<MessageRef, Waiting>,
}

struct RunChannel {
    subscriber: Recipient<ChannelEvent>,
    state: RunState,
}

enum RunState {
    /// Lost; its subscriber joins it again.
    Lost,
    /// A join waits for its turn, or for a socket.
    Waiting {
        ticket: Ticket,
        payload: Bytes,
        turn: JoinTurn,
        /// The join before, whose channel may still be open.
        before: Option<MessageRef>,
    },
    /// Joined, or being joined, by this ref.
    Joined(MessageRef),
}

impl RunChannel {
    fn join_ref(&self) -> Option<MessageRef> {
        match self.state {
            RunState::Joined(join_ref) => Some(join_ref),
            RunState::Lost | RunState::Waiting { .. } => None,
        }
    }

    /// The join of the channel that Lightning may hold to be open.
    fn last_join_ref(&self) -> Option<MessageRef> {
        match self.state {
            RunState::Joined(join_ref) => Some(join_ref),
            RunState::Waiting { before, .. } => before,
            RunState::Lost => None,
        }
    }
}

impl Channels {
    /// A ref that no earlier frame of this process had.
    pub(super) fn next_ref(&mut self) -> MessageRef {
        self.next_ref += 1;
        MessageRef(self.next_ref)
    }

    /// A run's topic is to be joined, for this subscriber.
    pub(super) fn wait_to_join(&mut self, join: Join) {
        let Join {
            topic,
            ticket,
            payload,
            turn,
            subscriber,
        } = join;
        // What was open before is not listened to any more.
        self.forget_waiting_of(&topic);
        let before = self.runs.get(&topic).and_then(RunChannel::last_join_ref);
        self.runs.insert(
            topic,
            RunChannel {
                subscriber,
                state: RunState::Waiting {
                    ticket,
                    payload,
                    turn,
                    before,
                },
            },
        );
    }

    /// The topics whose joins wait, and how soon each wants to be joined.
    pub(super) fn waiting_to_join(&self) -> Vec<(Topic, JoinTurn)> {
        let waiting = |(topic, channel): (&Topic, &RunChannel)| match channel.state {
            RunState::Waiting { turn, .. } => Some((topic.clone(), turn)),
            RunState::Lost | RunState::Joined(_) => None,
        };
        self.runs.iter().filter_map(waiting).collect()
    }

    /// The ticket of a topic's join that waits, and the time over which it and the others spread.
    pub(super) fn turn(&self, topic: &Topic, turn: JoinTurn) -> Option<(Ticket, Duration)> {
        let RunState::Waiting { ticket, .. } = self.runs.get(topic)?.state else {
            return None;
        };
        let spread = match turn {
            JoinTurn::First => Duration::ZERO,
            JoinTurn::Among => {
                let closed = self.runs.values();
                let closed = closed
                    .filter(|channel| channel.join_ref().is_none())
                    .count();
                SPREAD.saturating_mul(u32::try_from(closed).unwrap_or(u32::MAX).saturating_sub(1))
            }
            JoinTurn::Late => LATE,
        };
        Some((ticket, spread))
    }

    pub(super) fn subscribe_workloop(
        &mut self,
        workloop: WorkloopId,
        subscriber: Recipient<QueueEvent>,
    ) {
        for waiting in self.waiting.values_mut() {
            if let Waiting::Claim {
                workloop: of,
                claimant,
                ..
            } = waiting
                && *of == workloop
            {
                *claimant = Claimant::Earlier;
            }
        }
        self.workloops.insert(workloop, subscriber);
    }

    /// Notes that a topic's join goes out, if it is this one that waits; its ref and payload.
    pub(super) fn joining_run(
        &mut self,
        topic: &Topic,
        ticket: Ticket,
    ) -> Option<(MessageRef, Bytes)> {
        let join_ref = self.next_ref();
        let channel = self.runs.get_mut(topic)?;
        let payload = match &mut channel.state {
            RunState::Waiting {
                ticket: waiting,
                payload,
                ..
            } if *waiting == ticket => std::mem::take(payload),
            _ => return None,
        };
        channel.state = RunState::Joined(join_ref);
        self.waiting.insert(
            join_ref,
            Waiting::Run {
                topic: topic.clone(),
                ticket,
                event: JOIN,
                bytes: 0,
                sent: Instant::now(),
            },
        );
        Some((join_ref, payload))
    }

    /// Refs for a push on a topic with a join on this socket: its join ref and its own.
    pub(super) fn pushing_run(
        &mut self,
        topic: &Topic,
        ticket: Ticket,
        event: &'static str,
        bytes: usize,
    ) -> Option<(MessageRef, MessageRef)> {
        let join_ref = self.runs.get(topic)?.join_ref()?;
        let reference = self.next_ref();
        self.waiting.insert(
            reference,
            Waiting::Run {
                topic: topic.clone(),
                ticket,
                event,
                bytes,
                sent: Instant::now(),
            },
        );
        Some((join_ref, reference))
    }

    /// Forgets a run topic; its join ref, if it is joined.
    pub(super) fn leave_run(&mut self, topic: &Topic) -> Option<MessageRef> {
        let channel = self.runs.remove(topic)?;
        self.forget_waiting_of(topic);
        channel.last_join_ref()
    }

    /// The channel of a topic is gone on the server: the subscriber, if this concerns it, and its unanswered pushes in
    /// the order in which they were sent.
    pub(super) fn run_ended(
        &mut self,
        topic: &Topic,
        join_ref: Option<&str>,
    ) -> Option<(&Recipient<ChannelEvent>, Vec<Ticket>)> {
        let channel = self.runs.get_mut(topic)?;
        let current = channel.join_ref()?;
        if !is_current(current, join_ref) {
            return None;
        }
        channel.state = RunState::Lost;
        let mut unanswered: Vec<_> = self
            .waiting
            .iter()
            .filter_map(|(reference, waiting)| match waiting {
                Waiting::Run {
                    topic: of, ticket, ..
                } if of == topic => Some((reference.0, *ticket)),
                _ => None,
            })
            .collect();
        unanswered.sort_unstable();
        self.forget_waiting_of(topic);
        let unanswered = unanswered.into_iter().map(|(_, ticket)| ticket).collect();
        self.runs
            .get(topic)
            .map(|channel| (&channel.subscriber, unanswered))
    }

    /// Who waits for this answer; `None` for unknown, repeated and outdated refs, which are ignored.
    pub(super) fn answered(
        &mut self,
        topic: &Topic,
        reference: &str,
        join_ref: Option<&str>,
    ) -> Option<Waiting> {
        let reference: MessageRef = reference.parse().ok()?;
        let waiting = self.waiting.get(&reference)?;
        let current = match waiting {
            Waiting::QueueJoin | Waiting::Claim { .. } if *topic == Topic::queue() => {
                self.queue_join
            }
            Waiting::Run { topic: of, .. } if of == topic => {
                self.runs.get(topic).and_then(RunChannel::join_ref)
            }
            _ => None,
        };
        if !current.is_some_and(|current| is_current(current, join_ref)) {
            return None;
        }
        self.waiting.remove(&reference)
    }

    pub(super) fn run(&self, topic: &Topic) -> Option<&Recipient<ChannelEvent>> {
        self.runs.get(topic).map(|channel| &channel.subscriber)
    }

    /// Whether a run topic's message with this join ref is about its present join; broadcasts have none.
    pub(super) fn is_current_run(&self, topic: &Topic, join_ref: Option<&str>) -> bool {
        self.runs
            .get(topic)
            .and_then(RunChannel::join_ref)
            .is_some_and(|current| is_current(current, join_ref))
    }

    /// The largest push of a run that is not answered.
    pub(super) fn largest_push(&self) -> Option<(Topic, Ticket)> {
        let pushes = self.waiting.values().filter_map(|waiting| match waiting {
            Waiting::Run {
                topic,
                ticket,
                bytes,
                ..
            } => Some((*bytes, topic, *ticket)),
            Waiting::QueueJoin | Waiting::Claim { .. } => None,
        });
        let (_, topic, ticket) = pushes.max_by_key(|(bytes, ..)| *bytes)?;
        Some((topic.clone(), ticket))
    }

    pub(super) fn run_topics(&self) -> impl Iterator<Item = (&Topic, &Recipient<ChannelEvent>)> {
        self.runs
            .iter()
            .map(|(topic, channel)| (topic, &channel.subscriber))
    }

    pub(super) fn workloops(&self) -> impl Iterator<Item = &Recipient<QueueEvent>> {
        self.workloops.values()
    }

    pub(super) fn workloop(&self, workloop: &WorkloopId) -> Option<&Recipient<QueueEvent>> {
        self.workloops.get(workloop)
    }

    /// The socket is gone, and with it everything that was open on it.
    pub(super) fn reset(&mut self) {
        self.waiting.clear();
        self.queue_join = None;
        for channel in self.runs.values_mut() {
            channel.state = RunState::Lost;
        }
    }

    fn forget_waiting_of(&mut self, gone: &Topic) {
        self.waiting
            .retain(|_, waiting| !matches!(waiting, Waiting::Run { topic, .. } if topic == gone));
    }
}

/// A message without join ref (a broadcast, or a mock that fills none in) is about whatever is open now.
fn is_current(current: MessageRef, join_ref: Option<&str>) -> bool {
    join_ref.is_none_or(|join_ref| join_ref.is_empty() || join_ref.parse() == Ok(current))
}

#[cfg(test)]
mod tests;
