//! What a run accepts besides the events of its channel and of the engine.

use actix::prelude::*;
use protocol::ids::{JobId, RunId, WorkloopId};
use serde::Serialize;
use strum::{Display, IntoStaticStr, VariantArray};

/// Stops the job and ends the run.
#[derive(Debug, Message, Clone, Copy)]
#[rtype(result = "()")]
pub(crate) enum StopRun {
    /// Somebody asked for it: the run ends with reason `cancel`.
    Cancel,
    /// The worker is shutting down: the run ends as `exception`, `WorkerShutdown`.
    Shutdown,
}

/// Asks for the state of the run.
#[derive(Message)]
#[rtype(result = "RunStatus")]
pub(crate) struct GetRunStatus;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, IntoStaticStr, VariantArray, Serialize)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "lowercase")]
pub enum RunPhase {
    /// Its channel is joined and its plan fetched.
    Joining,
    /// Its input, its credentials and what the engine prepares are waited for.
    Loading,
    /// The engine loads the run; the job begins when Lightning has accepted `run:start`.
    Starting,
    /// The job runs.
    Executing,
    /// The job is being stopped.
    Stopping,
    /// The job is over; reports wait for their answers.
    Settling,
    /// Nothing is left to do. Nobody sees a run in it: its actor stops at once.
    Done,
}

impl RunPhase {
    /// Whether a run in it is in hand, and so may be seen in it.
    pub fn is_in_hand(self) -> bool {
        self != Self::Done
    }
}

/// The state of one run, for status pages.
#[derive(Debug, Clone, Serialize)]
pub struct RunStatus {
    /// The run.
    pub id: RunId,
    /// The group whose slot it uses.
    pub workloop: WorkloopId,
    /// What it is doing.
    pub phase: RunPhase,
    /// Seconds in this phase.
    pub phase_seconds: u64,
    /// Seconds since it was claimed.
    pub age_seconds: u64,
    /// The job whose step is active.
    pub job: Option<JobId>,
}
