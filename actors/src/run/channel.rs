//! The state of a run's channel, and how long silence on it is borne. No actor, no clock, no I/O.

use std::time::{Duration, Instant};

use protocol::backoff::Backoff;

use crate::lightning::Ticket;

/// The waits before a channel is joined again after two losses in a row begin with this; the first rejoin is immediate, as
/// Phoenix allows (protocol spec, section 2.1).
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Silence shorter than this never makes the run join its channel anew, however small the message timeout is: a rejoin
/// kills what the server was doing (protocol spec, section 10.3).
const SHORTEST_PATIENCE: Duration = Duration::from_secs(3);

/// The longest silence that is borne, in parts of the first.
const MOST_GROWTH: u32 = 64;

/// A join keeps nothing busy that a second one would kill, so it is repeated soon.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not asked for.
    Down,
    /// The join waits for its turn, or for a socket.
    Asked {
        ticket: Ticket,
    },
    /// The join is on its way.
    Joining {
        ticket: Ticket,
        sent: Instant,
    },
    Up,
    /// The channel is to be joined again when the timer of this number fires.
    Waiting {
        timer: u64,
    },
}

/// Whether a run's channel was open before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joined {
    /// Never.
    First,
    /// What the server kept of it may be lost.
    Again,
}

/// How a join stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joining {
    /// There is none under way yet, or it has time.
    Ahead,
    /// It is not answered for so long that it should be sent again.
    Overdue,
    /// The channel is open.
    Over,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Channel {
    state: State,
    /// Joins since something was last delivered.
    joins: u32,
    /// What the next join is that is accepted.
    next: Joined,
    message_timeout: Duration,
    /// Before a rejoin, from the second on.
    waits: Backoff,
}

impl Channel {
    /// `longest_wait` is the most between two joins.
    pub(super) fn new(message_timeout: Duration, longest_wait: Duration) -> Self {
        Self {
            state: State::Down,
            joins: 0,
            next: Joined::First,
            message_timeout,
            waits: Backoff::new(FIRST_WAIT, 2.0, longest_wait),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Whether this is the ticket of the join that is under way.
    pub(super) fn is_joined_by(&self, wanted: Ticket) -> bool {
        matches!(self.state, State::Joining { ticket, .. } if ticket == wanted)
    }

    /// Whether the next join waits for this timer.
    pub(super) fn is_waiting_for(&self, timer: u64) -> bool {
        self.state == (State::Waiting { timer })
    }

    pub(super) fn lost(&mut self) {
        self.state = State::Down;
    }

    pub(super) fn waits_for(&mut self, timer: u64) {
        self.state = State::Waiting { timer };
    }

    /// The connection is asked to join, when its turn comes.
    pub(super) fn asked(&mut self, ticket: Ticket) {
        self.state = State::Asked { ticket };
    }

    /// A join is on its way; whether it is the one that was asked for.
    pub(super) fn sent(&mut self, sent: Ticket, now: Instant) -> bool {
        let State::Asked { ticket } = self.state else {
            return false;
        };
        if ticket == sent {
            self.joins = self.joins.saturating_add(1);
            self.state = State::Joining { ticket, sent: now };
        }
        ticket == sent
    }

    /// The join was accepted.
    pub(super) fn joined(&mut self) -> Joined {
        self.state = State::Up;
        std::mem::replace(&mut self.next, Joined::Again)
    }

    /// Something was delivered: the channel works.
    pub(super) fn works(&mut self) {
        self.joins = 0;
    }

    /// How long to wait before the next join: not at all after a single loss, then longer each time.
    pub(super) fn rejoin_delay(&self) -> Duration {
        match self.joins {
            0 | 1 => Duration::ZERO,
            joins => self.waits.after(joins - 2),
        }
    }

    pub(super) fn join(&self, now: Instant) -> Joining {
        match self.state {
            State::Joining { sent, .. }
                if now.saturating_duration_since(sent) >= self.join_too_long() =>
            {
                Joining::Overdue
            }
            State::Joining { .. } | State::Asked { .. } | State::Down | State::Waiting { .. } => {
                Joining::Ahead
            }
            State::Up => Joining::Over,
        }
    }

    /// Silence after which an operator hears of it.
    pub(super) fn late(&self) -> Duration {
        self.message_timeout
    }

    /// Silence after which the channel is joined anew; it grows from join to join, else an answer that takes longer than
    /// the first patience would never arrive.
    pub(super) fn too_long(&self) -> Duration {
        self.growing(self.message_timeout.saturating_mul(3) / 2)
    }

    /// Silence after which the join is sent again.
    fn join_too_long(&self) -> Duration {
        self.growing(self.message_timeout.min(JOIN_PATIENCE))
    }

    fn growing(&self, first: Duration) -> Duration {
        let first = first.max(SHORTEST_PATIENCE);
        let longest = first.saturating_mul(MOST_GROWTH);
        Backoff::new(first, 2.0, longest).after(self.joins.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel() -> Channel {
        Channel::new(Duration::from_secs(30), Duration::from_secs(30))
    }

    #[test]
    fn the_first_rejoin_is_immediate_and_later_ones_wait_longer_up_to_the_ceiling() {
        let mut channel = channel();
        let mut delays = Vec::new();
        for number in 1..=12 {
            channel.asked(Ticket(number));
            assert!(channel.sent(Ticket(number), Instant::now()));
            delays.push(channel.rejoin_delay().as_millis());
        }
        assert_eq!(delays[..5], [0, 250, 500, 1000, 2000]);
        assert_eq!(delays[11], 30_000);
    }

    #[test]
    fn patience_grows_with_each_join_and_starts_over_when_something_is_delivered() {
        let mut channel = channel();
        channel.asked(Ticket(1));
        assert!(channel.sent(Ticket(1), Instant::now()));
        assert_eq!(channel.too_long(), Duration::from_secs(45));
        channel.asked(Ticket(2));
        assert!(!channel.sent(Ticket(1), Instant::now()), "it is outdated");
        assert!(channel.sent(Ticket(2), Instant::now()));
        assert_eq!(channel.too_long(), Duration::from_secs(90));
        channel.works();
        assert_eq!(channel.too_long(), Duration::from_secs(45));
    }

    #[test]
    fn a_tiny_message_timeout_does_not_make_the_run_rejoin_all_the_time() {
        let channel = Channel::new(Duration::from_millis(10), Duration::from_secs(30));
        assert_eq!(channel.too_long(), Duration::from_secs(3));
    }
}
