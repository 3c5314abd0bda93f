//! The decisions of a workloop, without actor, clock or socket.
//!
//! ```text
//!            Joined                     answered with runs, slot free
//! Offline ───────────▶ Claiming ◀──────────────────────────────┐
//!    ▲                  │  │  └─ with runs, no slot ─▶ Full ───┤ slot freed
//!    │ Lost (any)       │  └─ nothing, error, late ─▶ Backoff ─┘ timer, or slot freed
//!    └──────────────────┘          Drain (any) ─▶ Draining       --no-loop: Paused instead of Claiming
//! ```

mod claims;
mod events;
mod table;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use protocol::backoff::ClaimBackoff;
use protocol::ids::RunId;
use protocol::lightning::ClaimedRun;

use self::events::EventKind;
pub(super) use self::events::{Effect, Event};
use super::claim_throttle::ClaimThrottle;
use super::messages::WorkloopState;
use crate::config::ClaimConfig;
use crate::lightning::Ticket;
use crate::transitions::took;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// `worker:queue` is not joined.
    Offline,
    /// The loop's claim is outstanding.
    Claiming,
    /// The loop waits for the timer of this number.
    Backoff { timer: u64 },
    /// No slot is free.
    Full,
    /// The loop is switched off (`--no-loop`).
    Paused,
    /// No claim is sent any more.
    Draining {
        /// Whether it was told that nothing is left.
        told: bool,
    },
}

impl Phase {
    pub(super) fn shown(self) -> WorkloopState {
        match self {
            Self::Offline => WorkloopState::Offline,
            Self::Claiming => WorkloopState::Claiming,
            Self::Backoff { .. } => WorkloopState::Backoff,
            Self::Full => WorkloopState::Full,
            Self::Paused => WorkloopState::Paused,
            Self::Draining { .. } => WorkloopState::Draining,
        }
    }
}

/// Why a claim was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Loop,
    WorkAvailable,
    Manual,
}

/// A claim without an answer; it uses as many slots as it asks for runs.
#[derive(Debug, Clone, Copy)]
struct Pending {
    cause: Cause,
    demand: usize,
}

/// The slots of one group: who uses them, which claims may still fill them.
#[derive(Debug)]
pub(super) struct Slots {
    slots: usize,
    looping: bool,
    /// Most runs that a claim asks for after a hint.
    demand: usize,
    backoff: ClaimBackoff,
    phase: Phase,
    active: HashSet<RunId>,
    pending: HashMap<Ticket, Pending>,
    /// Claims whose patience is over; a late answer is still honoured, for its runs are ours.
    late: HashSet<Ticket>,
    /// Runs that are ours without a free slot: from late answers, or from a server that gives more than was asked for.
    waiting: VecDeque<ClaimedRun>,
    /// Runs in hand that were handed out again: where the first claim comes to nothing, the second counts.
    again: HashMap<RunId, ClaimedRun>,
    next: u64,
    online: bool,
    /// Runs and claims that the memory ceiling allows.
    allowed: usize,
    throttle: ClaimThrottle,
}

impl Slots {
    pub(super) fn new(slots: u32, claims: &ClaimConfig, active: HashSet<RunId>) -> Self {
        Self {
            slots: usize::try_from(slots).unwrap_or(usize::MAX),
            looping: claims.looping,
            demand: claims.demand,
            backoff: claims.backoff.clone(),
            phase: Phase::Offline,
            active,
            pending: HashMap::new(),
            late: HashSet::new(),
            waiting: VecDeque::new(),
            again: HashMap::new(),
            next: 0,
            online: false,
            allowed: usize::MAX,
            throttle: ClaimThrottle::default(),
        }
    }

    /// Takes in how many runs and claims the memory ceiling allows. One is always allowed: a ceiling that is lower than a
    /// single limit must not stop the group for ever.
    pub(super) fn allow(&mut self, runs: usize) {
        self.allowed = runs.max(1);
    }

    /// Takes in the smoothed round trip at the answer to a claim.
    pub(super) fn answered_in(&mut self, round_trip: Duration) {
        self.throttle.answered_in(round_trip);
    }

    /// Runs and claims: what uses slots, and memory before long.
    pub(super) fn used(&self) -> usize {
        self.active.len() + self.pending() + self.waiting.len()
    }

    /// Whether there are slots, but no memory for one more run.
    pub(super) fn lacks_memory(&self) -> bool {
        self.used() < self.slots && !self.fits()
    }

    /// Whether claims are slowed down because Lightning is slow.
    pub(super) fn is_slowed(&self) -> bool {
        self.throttle.is_slow()
    }

    fn fits(&self) -> bool {
        self.used() < self.allowed
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn active(&self) -> usize {
        self.active.len()
    }

    /// Runs asked for by claims without an answer.
    pub(super) fn pending(&self) -> usize {
        self.pending.values().map(|pending| pending.demand).sum()
    }

    /// The claims that were sent and not answered.
    pub(super) fn outstanding(&self) -> Vec<Ticket> {
        self.pending.keys().copied().collect()
    }

    /// Whether a claim is still waited for.
    pub(super) fn is_outstanding(&self, ticket: Ticket) -> bool {
        self.pending.contains_key(&ticket)
    }

    fn free(&self) -> bool {
        self.used() < self.slots
    }

    pub(super) fn on(&mut self, event: Event) -> Vec<Effect> {
        let (kind, from) = (EventKind::from(&event), self.phase.shown());
        let mut effects = Vec::new();
        self.apply(event, &mut effects);
        if self.phase == (Phase::Draining { told: false })
            && self.active.is_empty()
            && self.pending.is_empty()
            && self.waiting.is_empty()
        {
            self.phase = Phase::Draining { told: true };
            effects.push(Effect::Drained);
        }
        let to = self.phase.shown();
        if from != to || !effects.is_empty() {
            took::<Self>(from, kind, to);
        }
        effects
    }

    fn apply(&mut self, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Joined => {
                self.online = true;
                if !self.is_draining() {
                    self.backoff.reset();
                    self.claim_in_loop(effects);
                }
            }
            Event::Lost => {
                self.online = false;
                self.late.clear();
                if !self.is_draining() {
                    self.phase = Phase::Offline;
                }
            }
            // While Lightning is slow the loop alone claims, at its rate.
            Event::WorkAvailable if self.throttle.is_slow() && self.looping => {}
            Event::WorkAvailable => self.claim(Cause::WorkAvailable, effects),
            Event::Answered { ticket, runs } => self.answered(ticket, runs, effects),
            Event::Inherited { runs } => {
                self.take(runs, effects);
            }
            Event::ClaimLate { ticket } => {
                if let Some(Pending { cause, .. }) = self.pending.remove(&ticket) {
                    self.late.insert(ticket);
                    self.brought_nothing(cause, ticket, effects);
                }
            }
            Event::TimerFired { timer } => {
                if self.phase == (Phase::Backoff { timer }) {
                    self.claim_in_loop(effects);
                }
            }
            Event::SlotFreed { run, taken_away } => {
                self.slot_freed(&run, taken_away, effects);
            }
            Event::ClaimNow => {
                if self.may_claim() {
                    self.claim(Cause::Manual, effects);
                } else {
                    effects.push(Effect::Manual {
                        ticket: None,
                        claimed: false,
                    });
                }
            }
            Event::Drain => {
                if !self.is_draining() {
                    self.phase = Phase::Draining { told: false };
                }
            }
            Event::DrainLate => self.give_up_claims(effects),
        }
    }

    fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    fn may_claim(&self) -> bool {
        self.online && !self.is_draining() && self.free() && self.fits()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
