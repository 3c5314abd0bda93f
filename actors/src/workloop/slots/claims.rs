//! Claims and their answers: which are sent, what the runs that they bring become, and what follows when they bring none.

use std::time::Duration;

use protocol::ids::RunId;
use protocol::lightning::ClaimedRun;

use super::events::Effect;
use super::{Cause, Pending, Phase, Slots};
use crate::lightning::Ticket;

impl Slots {
    pub(super) fn claim(&mut self, cause: Cause, effects: &mut Vec<Effect>) {
        if self.may_claim() {
            let free = self.slots.min(self.allowed) - self.used();
            let demand = match cause {
                Cause::WorkAvailable => free.min(self.demand),
                Cause::Loop | Cause::Manual => 1,
            };
            self.next += 1;
            let ticket = Ticket(self.next);
            self.pending.insert(ticket, Pending { cause, demand });
            effects.push(Effect::Claim { ticket, demand });
        }
    }

    pub(super) fn claim_in_loop(&mut self, effects: &mut Vec<Effect>) {
        if !self.online {
            self.phase = Phase::Offline;
        } else if !self.looping {
            self.phase = Phase::Paused;
        } else if !self.free() {
            self.phase = Phase::Full;
        } else if self.fits() {
            self.phase = Phase::Claiming;
            self.claim(Cause::Loop, effects);
        } else {
            // Nobody says when another group's run gives memory back, so it is looked for.
            self.back_off(effects);
        }
    }

    pub(super) fn back_off(&mut self, effects: &mut Vec<Effect>) {
        let wait = self.backoff.next();
        self.wait(wait, effects);
    }

    pub(super) fn wait(&mut self, wait: Duration, effects: &mut Vec<Effect>) {
        self.next += 1;
        let timer = self.next;
        self.phase = Phase::Backoff { timer };
        let wait = self.throttle.wait(wait);
        effects.push(Effect::Arm { timer, wait });
    }

    /// Claims again without a wait, unless Lightning is slow.
    pub(super) fn claim_on(&mut self, effects: &mut Vec<Effect>) {
        if self.throttle.is_slow() && self.looping && self.online && self.free() {
            self.wait(Duration::ZERO, effects);
        } else {
            self.claim_in_loop(effects);
        }
    }

    pub(super) fn answered(
        &mut self,
        ticket: Ticket,
        runs: Option<Vec<ClaimedRun>>,
        effects: &mut Vec<Effect>,
    ) {
        let pending = self.pending.remove(&ticket);
        if pending.is_none() && !self.late.remove(&ticket) {
            return;
        }
        let claimed = self.take(runs.unwrap_or_default(), effects);
        let Some(Pending { cause, .. }) = pending else {
            return;
        };
        if !claimed {
            self.brought_nothing(cause, ticket, effects);
            return;
        }
        match cause {
            Cause::Manual => effects.push(Effect::Manual {
                ticket: Some(ticket),
                claimed,
            }),
            // Where one run was there may be more: the queue is asked until it is empty or the slots are full.
            Cause::Loop if self.phase == Phase::Claiming => {
                self.backoff.reset();
                self.claim_on(effects);
            }
            Cause::WorkAvailable if self.looping => self.claim(Cause::WorkAvailable, effects),
            Cause::Loop | Cause::WorkAvailable => {}
        }
    }

    /// Starts runs that are ours, or lets them wait for a slot; whether there was one that is not in hand already.
    pub(super) fn take(&mut self, runs: Vec<ClaimedRun>, effects: &mut Vec<Effect>) -> bool {
        let mut claimed = false;
        for run in runs {
            // A server may hand out a run that is in hand, or name one twice in an answer: it is executed once. One that it
            // has put back into its queue meanwhile refuses to be started under the first claim, though.
            if self.active.contains(&run.id) {
                self.again.insert(run.id.clone(), run);
                continue;
            }
            if self.waiting.iter().any(|waiting| waiting.id == run.id) {
                continue;
            }
            claimed = true;
            if self.active.len() < self.slots {
                self.active.insert(run.id.clone());
                effects.push(Effect::Start(run));
            } else {
                self.waiting.push_back(run);
            }
        }
        claimed
    }

    pub(super) fn brought_nothing(
        &mut self,
        cause: Cause,
        ticket: Ticket,
        effects: &mut Vec<Effect>,
    ) {
        if cause == Cause::Manual {
            effects.push(Effect::Manual {
                ticket: Some(ticket),
                claimed: false,
            });
        }
        // A claim of another cause may have been what filled the group: its slot is free again, so the loop goes on.
        let loop_stands = matches!(
            (cause, self.phase),
            (Cause::Loop, Phase::Claiming) | (_, Phase::Full)
        );
        if self.online && self.looping && loop_stands {
            self.back_off(effects);
        }
    }

    /// Waits for no claim any more. Runs of a later answer are ours all the same.
    pub(super) fn give_up_claims(&mut self, effects: &mut Vec<Effect>) {
        for (ticket, Pending { cause, .. }) in std::mem::take(&mut self.pending) {
            self.late.insert(ticket);
            self.brought_nothing(cause, ticket, effects);
        }
    }

    pub(super) fn slot_freed(&mut self, run: &RunId, taken_away: bool, effects: &mut Vec<Effect>) {
        let again = self.again.remove(run);
        if let Some(run) = again.filter(|_| taken_away) {
            effects.push(Effect::Start(run));
            return;
        }
        self.active.remove(run);
        if let Some(run) = self.waiting.pop_front() {
            self.active.insert(run.id.clone());
            effects.push(Effect::Start(run));
            return;
        }
        self.backoff.reset();
        match self.phase {
            Phase::Full => self.claim_on(effects),
            // A wait for a slow Lightning goes on.
            Phase::Backoff { .. } if !self.throttle.is_slow() => self.claim_in_loop(effects),
            Phase::Backoff { .. }
            | Phase::Offline
            | Phase::Claiming
            | Phase::Paused
            | Phase::Draining { .. } => {}
        }
    }
}
