//! What a workloop accepts, answers and tells.

use actix::prelude::*;
use protocol::ids::{RunId, WorkloopId};
use protocol::lightning::ClaimedRun;
use serde::Serialize;
use strum::{Display, IntoStaticStr, VariantArray};

/// A run of this group has ended, however it did.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SlotFreed {
    /// The run.
    pub(crate) run_id: RunId,
    /// Whether Lightning had taken it away before it was executed.
    pub(crate) taken_away: bool,
}

/// One claim now, whatever the loop does; whether it brought a run.
#[derive(Message)]
#[rtype(result = "bool")]
pub(crate) struct ClaimNow;

/// Claim no more; [`WorkloopEvent::Drained`] follows when no run is active and no claim outstanding.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Drain;

/// Asks for the state of the group.
#[derive(Message)]
#[rtype(result = "WorkloopStatus")]
pub(crate) struct GetWorkloopStatus;

/// What a workloop is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, IntoStaticStr, VariantArray, Serialize)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "lowercase")]
pub enum WorkloopState {
    /// `worker:queue` is not joined.
    Offline,
    /// The loop's claim is without an answer.
    Claiming,
    /// The loop waits before its next claim.
    Backoff,
    /// No slot is free.
    Full,
    /// The loop is switched off (`--no-loop`).
    Paused,
    /// It claims no more, and waits for the runs in hand.
    Draining,
}

/// Why fewer runs are claimed than there are slots for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray, Serialize)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "lowercase")]
pub enum HoldCause {
    /// One more run with its limit does not fit below the memory ceiling.
    Memory,
    /// Lightning answers slowly.
    Latency,
}

/// The state of one group, for status pages.
#[derive(Debug, Clone, Serialize)]
pub struct WorkloopStatus {
    /// The group's token.
    pub id: WorkloopId,
    /// What it is doing.
    pub state: WorkloopState,
    /// Seconds in this state.
    pub seconds: u64,
    /// Slots of the group.
    pub slots: u32,
    /// Runs in progress.
    pub active: usize,
    /// Runs asked for by claims without an answer.
    pub pending: usize,
    /// Why fewer runs are claimed than there are slots for; empty when they are not.
    pub held_by: Vec<HoldCause>,
}

/// What a workloop tells the supervisor.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) enum WorkloopEvent {
    /// Lightning handed out a run, and a slot is kept for it.
    Claimed {
        run: ClaimedRun,
        workloop: WorkloopId,
    },
    /// The token of a claimed run is not Lightning's: the worker takes no more work (command line spec, section 3).
    TokenRefused { run_id: RunId, why: String },
    /// It drains, and has no run and no claim left.
    Drained { workloop: WorkloopId },
}
