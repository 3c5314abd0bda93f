//! What a workloop hears, and what it is to do.

use std::time::Duration;

use protocol::ids::RunId;
use protocol::lightning::ClaimedRun;
use strum::EnumDiscriminants;

use crate::lightning::Ticket;

#[derive(Debug, EnumDiscriminants)]
#[strum_discriminants(name(EventKind), vis(pub(in crate::workloop)))]
pub(in crate::workloop) enum Event {
    Joined,
    Lost,
    WorkAvailable,
    /// `None`: the claim failed.
    Answered {
        ticket: Ticket,
        runs: Option<Vec<ClaimedRun>>,
    },
    /// Runs that an earlier workloop of the group has claimed and not started.
    Inherited {
        runs: Vec<ClaimedRun>,
    },
    ClaimLate {
        ticket: Ticket,
    },
    TimerFired {
        timer: u64,
    },
    SlotFreed {
        run: RunId,
        /// Lightning had taken it away before it was executed.
        taken_away: bool,
    },
    ClaimNow,
    Drain,
    /// The patience for claims outstanding at the drain is over.
    DrainLate,
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::workloop) enum Effect {
    /// Ask for so many runs.
    Claim {
        ticket: Ticket,
        demand: usize,
    },
    Arm {
        timer: u64,
        wait: Duration,
    },
    Start(ClaimedRun),
    /// The answer to `ClaimNow`, by its ticket, or at once without one.
    Manual {
        ticket: Option<Ticket>,
        claimed: bool,
    },
    Drained,
}
