//! One thing that is fetched from Lightning before a run may start. No actor, no clock, no I/O.

use std::time::{Duration, Instant};

use super::cause::RETRIES;
use crate::lightning::Ticket;

/// Crashes of the channel under one request after which it is not made any more. Not fewer: a database that is away for
/// some seconds crashes the channel under everything; with the waits between the joins these are 16 seconds.
const CRASHES: u32 = 8;

/// One thing that is fetched from Lightning.
#[derive(Debug)]
pub(super) enum Fetch<T> {
    /// To be asked for: never asked, not answered for too long, or the link was lost.
    Unasked(Asking),
    /// On the way since then.
    Asked {
        sent: Instant,
        asking: Asking,
    },
    Got(T),
    /// It cannot be had; in the words of the protocol spec, section 4.5.
    Failed(String),
}

/// What was tried to fetch one thing.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// The requests that the open channel may answer yet: where each answer takes longer than the patience, it is the
    /// first of them that brings it.
    tickets: Vec<Ticket>,
    tries: u32,
    crashes: u32,
    /// Error replies that may pass.
    refusals: u32,
    /// It is not asked for again before then.
    not_before: Option<Instant>,
}

impl<T> Fetch<T> {
    pub(super) fn new() -> Self {
        Self::Unasked(Asking::default())
    }

    pub(super) fn settled(&self) -> bool {
        matches!(self, Self::Got(_) | Self::Failed(_))
    }

    fn asking(&self) -> Option<&Asking> {
        match self {
            Self::Unasked(asking) | Self::Asked { asking, .. } => Some(asking),
            Self::Got(_) | Self::Failed(_) => None,
        }
    }

    /// How often it was asked for.
    pub(super) fn tries(&self) -> u32 {
        self.asking().map_or(0, |asking| asking.tries)
    }

    /// Notes a further request, unless it is on the way or settled.
    pub(super) fn ask(&mut self, ticket: Ticket, now: Instant) -> bool {
        let Self::Unasked(asking) = self else {
            return false;
        };
        if asking.not_before.is_some_and(|not_before| now < not_before) {
            return false;
        }
        let mut asking = std::mem::take(asking);
        asking.tickets.push(ticket);
        asking.tries += 1;
        *self = Self::Asked { sent: now, asking };
        true
    }

    pub(super) fn is_asked_by(&self, wanted: Ticket) -> bool {
        self.asking()
            .is_some_and(|asking| asking.tickets.contains(&wanted))
    }

    /// It has to be asked for again; an earlier request may still be answered.
    pub(super) fn again(&mut self) {
        if let Self::Asked { asking, .. } = self {
            *self = Self::Unasked(std::mem::take(asking));
        }
    }

    /// Lightning has answered with an error that may pass. Whether, and after which wait, it is asked for again; otherwise
    /// the error is for good.
    pub(super) fn refused(&mut self, now: Instant) -> Option<Duration> {
        let Self::Asked { asking, .. } = self else {
            return None;
        };
        let wait = RETRIES.after(asking.refusals)?;
        asking.refusals += 1;
        asking.not_before = Some(now + wait);
        // It was answered, so it is none of those that may have been handled unseen.
        asking.tries = asking.tries.saturating_sub(1);
        self.again();
        Some(wait)
    }

    /// What was on the way has to be asked again, and is not answered any more.
    pub(super) fn link_lost(&mut self) {
        self.again();
        if let Self::Unasked(asking) = self {
            asking.tickets.clear();
        }
    }

    /// The channel crashed with this request as the first that was unanswered.
    pub(super) fn crashed(&mut self, suspect: Ticket, event: &str) {
        if !self.is_asked_by(suspect) {
            return;
        }
        if let Self::Unasked(asking) | Self::Asked { asking, .. } = self {
            asking.crashes += 1;
            if asking.crashes >= CRASHES {
                *self = Self::Failed(format!(
                    "[{event}] the channel crashed each time it was asked for"
                ));
            }
        }
    }

    /// Whether it has been unanswered since before `since`.
    pub(super) fn is_overdue(&self, since: Instant) -> bool {
        matches!(self, Self::Asked { sent, .. } if *sent <= since)
    }

    /// A request that has been unanswered since before `since` is made again, or has failed after so many attempts.
    pub(super) fn expire(&mut self, since: Instant, attempts: u32, event: &str) -> bool {
        let overdue = self.is_overdue(since);
        if overdue && self.tries() < attempts {
            self.again();
        } else if overdue {
            *self = Self::Failed(format!("[{event}] timeout"));
        }
        overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = "fetch:dataclip";

    #[test]
    fn an_answer_that_comes_after_the_request_was_repeated_is_the_answer() {
        let mut fetch = Fetch::<()>::new();
        let now = Instant::now();
        for number in 1..=2 {
            assert!(fetch.ask(Ticket(number), now));
            assert!(fetch.expire(now, 3, EVENT));
        }
        assert!(fetch.is_asked_by(Ticket(1)));
        assert!(fetch.ask(Ticket(3), now));
        assert!(fetch.is_asked_by(Ticket(1)) && fetch.is_asked_by(Ticket(3)));
        fetch.link_lost();
        assert!(!fetch.is_asked_by(Ticket(3)), "its channel is gone");
        assert_eq!(fetch.tries(), 3);
    }

    #[test]
    fn a_request_that_is_never_answered_fails_after_all_its_attempts() {
        const ATTEMPTS: u32 = 4;
        let mut fetch = Fetch::<()>::new();
        let now = Instant::now();
        for number in 1..=u64::from(ATTEMPTS) {
            assert!(!fetch.settled());
            assert!(fetch.ask(Ticket(number), now));
            assert!(fetch.expire(now, ATTEMPTS, EVENT));
        }
        assert!(matches!(&fetch, Fetch::Failed(why) if why == "[fetch:dataclip] timeout"));
    }

    #[test]
    fn a_request_under_which_the_channel_crashes_each_time_is_given_up() {
        let mut fetch = Fetch::<()>::new();
        for number in 1..=u64::from(CRASHES) {
            assert!(!fetch.settled());
            assert!(fetch.ask(Ticket(number), Instant::now()));
            fetch.crashed(Ticket(1000), EVENT);
            fetch.crashed(Ticket(number), EVENT);
            fetch.link_lost();
        }
        assert!(fetch.settled(), "{fetch:?}");
    }
}
