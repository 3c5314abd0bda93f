//! What a run accepts besides the events of its channel and of the engine.

use actix::prelude::*;
use protocol::ids::{JobId, RunId, WorkloopId};
use serde::Serialize;

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

/// The state of one run, for status pages.
#[derive(Debug, Clone, Serialize)]
pub struct RunStatus {
    /// The run.
    pub id: RunId,
    /// The group whose slot it uses.
    pub workloop: WorkloopId,
    /// `joining`, `loading`, `starting`, `executing`, `stopping`, `settling` or `done`.
    pub phase: &'static str,
    /// Seconds in this phase.
    pub phase_seconds: u64,
    /// Seconds since it was claimed.
    pub age_seconds: u64,
    /// The job whose step is active.
    pub job: Option<JobId>,
}
