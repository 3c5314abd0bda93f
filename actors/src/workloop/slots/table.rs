//! The transitions of a workloop: where each event leads that changes something or has an effect.
//!
//! Not in the table, and so without effect: hints and timers while the queue is not joined, whatever is repeated (a second
//! `Joined`, `Lost` or `Drain`), and answers to claims that nobody remembers.

use super::events::EventKind::{
    self, Answered, ClaimLate, ClaimNow, Drain, DrainLate, Inherited, Joined, Lost, SlotFreed,
    TimerFired, WorkAvailable,
};
use super::{Slots, WorkloopState};
use crate::transitions::Machine;
use crate::workloop::WorkloopState::{Backoff, Claiming, Draining, Full, Offline, Paused};

impl Machine for Slots {
    type State = WorkloopState;
    type Event = EventKind;

    const TRANSITIONS: &'static [(WorkloopState, EventKind, WorkloopState)] = &[
        // The loop begins, as far as slots and memory allow.
        (Offline, Joined, Claiming),
        (Offline, Joined, Full),
        (Offline, Joined, Backoff),
        (Offline, Joined, Paused),
        (Offline, Answered, Offline),
        (Offline, Inherited, Offline),
        (Offline, ClaimLate, Offline),
        (Offline, SlotFreed, Offline),
        (Offline, ClaimNow, Offline),
        (Offline, Drain, Draining),
        // Answered with runs: on at once; else after a wait.
        (Claiming, Answered, Claiming),
        (Claiming, Answered, Full),
        (Claiming, Answered, Backoff),
        (Claiming, ClaimLate, Claiming),
        (Claiming, ClaimLate, Backoff),
        (Claiming, WorkAvailable, Claiming),
        (Claiming, Inherited, Claiming),
        (Claiming, SlotFreed, Claiming),
        (Claiming, ClaimNow, Claiming),
        (Claiming, Lost, Offline),
        (Claiming, Drain, Draining),
        // The wait is over, or a slot is free.
        (Backoff, TimerFired, Claiming),
        (Backoff, TimerFired, Full),
        (Backoff, TimerFired, Backoff),
        (Backoff, SlotFreed, Claiming),
        (Backoff, SlotFreed, Full),
        (Backoff, SlotFreed, Backoff),
        (Backoff, WorkAvailable, Backoff),
        (Backoff, Answered, Backoff),
        (Backoff, ClaimLate, Backoff),
        (Backoff, Inherited, Backoff),
        (Backoff, ClaimNow, Backoff),
        (Backoff, Lost, Offline),
        (Backoff, Drain, Draining),
        // A slot is free, of a run or of a claim that brought nothing.
        (Full, SlotFreed, Claiming),
        (Full, SlotFreed, Backoff),
        (Full, SlotFreed, Full),
        (Full, Answered, Full),
        (Full, Answered, Backoff),
        (Full, ClaimLate, Backoff),
        (Full, WorkAvailable, Full),
        (Full, Inherited, Full),
        (Full, ClaimNow, Full),
        (Full, Lost, Offline),
        (Full, Drain, Draining),
        // Without a loop, only hints and people claim.
        (Paused, WorkAvailable, Paused),
        (Paused, ClaimNow, Paused),
        (Paused, Answered, Paused),
        (Paused, ClaimLate, Paused),
        (Paused, Inherited, Paused),
        (Paused, SlotFreed, Paused),
        (Paused, Lost, Offline),
        (Paused, Drain, Draining),
        // What is in hand is finished, what was asked for is taken.
        (Draining, Answered, Draining),
        (Draining, Inherited, Draining),
        (Draining, ClaimLate, Draining),
        (Draining, SlotFreed, Draining),
        (Draining, ClaimNow, Draining),
        (Draining, DrainLate, Draining),
    ];
}
