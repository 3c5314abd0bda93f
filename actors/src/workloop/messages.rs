//! What a workloop accepts and answers.

use actix::prelude::*;
use protocol::ids::{RunId, WorkloopId};
use serde::Serialize;

use crate::supervisor::messages::{StartRun, TokenRefused, WorkloopDrained};

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

/// Claim no more; [`WorkloopDrained`] follows when no run is active and no claim outstanding.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Drain;

/// Asks for the state of the group.
#[derive(Message)]
#[rtype(result = "WorkloopStatus")]
pub(crate) struct GetWorkloopStatus;

/// The state of one group, for status pages.
#[derive(Debug, Clone, Serialize)]
pub struct WorkloopStatus {
    /// The group's token.
    pub id: WorkloopId,
    /// `offline`, `claiming`, `backoff`, `full`, `paused` or `draining`.
    pub state: &'static str,
    /// Seconds in this state.
    pub seconds: u64,
    /// Slots of the group.
    pub slots: u32,
    /// Runs in progress.
    pub active: usize,
    /// Runs asked for by claims without an answer.
    pub pending: usize,
    /// Why fewer runs are claimed than there are slots for: `memory`, `latency`, both or none.
    pub held_by: Vec<&'static str>,
}

/// Where a workloop reports to.
#[derive(Clone)]
pub(crate) struct WorkloopOwner {
    pub(crate) start: Recipient<StartRun>,
    pub(crate) refused: Recipient<TokenRefused>,
    pub(crate) drained: Recipient<WorkloopDrained>,
}
