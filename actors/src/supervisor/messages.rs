//! What the supervisor accepts from `src/`, and what it answers.

use std::collections::BTreeMap;

use actix::prelude::*;
use protocol::ids::RunId;
use serde::Serialize;
use strum::{Display, IntoStaticStr, VariantArray};

use crate::engine_pool::EngineStatus;
use crate::lightning::{ConnectionState, ConnectionStatus};
use crate::run::RunStatus;
use crate::workloop::WorkloopStatus;

/// One claim on every group with a free slot.
#[derive(Message)]
#[rtype(result = "ClaimOutcome")]
pub(crate) struct ClaimEverywhere;

/// Take no more work, finish what is in hand, then end.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Drain;

/// End the runs in hand as `exception`, `WorkerShutdown`, then end.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StopNow;

/// End one run with reason `cancel`; whether it was active.
#[derive(Message)]
#[rtype(result = "bool")]
pub(crate) struct CancelRun {
    pub(crate) run_id: RunId,
}

/// Asks for the state of the whole worker.
#[derive(Message)]
#[rtype(result = "WorkerStatus")]
pub(crate) struct GetStatus;

/// Whether a manual claim brought a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// At least one group got a run.
    Claimed,
    /// None did: no work, no free slot, no connection.
    Nothing,
}

impl<A, M> actix::dev::MessageResponse<A, M> for ClaimOutcome
where
    A: Actor,
    M: Message<Result = Self>,
{
    fn handle(self, _: &mut A::Context, sender: Option<actix::dev::OneshotSender<Self>>) {
        if let Some(sender) = sender
            && sender.send(self).is_err()
        {
            log::debug!("nobody waits for the outcome of a manual claim any more");
        }
    }
}

/// How the tree of actors ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// Everything in hand was finished.
    Drained,
    /// A run token failed verification.
    BadToken,
    /// The engine could not be started after all its tries.
    EngineUnavailable(String),
    /// One child died too often.
    GaveUp(String),
}

/// What the worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, IntoStaticStr, VariantArray, Serialize)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "lowercase")]
pub enum WorkerState {
    /// It claims and executes runs.
    Running,
    /// It finishes the runs in hand and takes no more.
    Draining,
    /// It has ended, and says goodbye.
    Stopped,
}

/// The state of the whole worker, for `GET /status`.
#[derive(Debug, Clone, Serialize)]
pub struct WorkerStatus {
    /// What it is doing.
    pub state: WorkerState,
    /// The worker's id on its token.
    pub worker_id: String,
    /// The name it claims under.
    pub worker_name: Option<String>,
    /// This program's version.
    pub version: String,
    /// Seconds since it was started.
    pub uptime_seconds: u64,
    /// The connection to Lightning that claims, and carries up to 99 runs.
    pub connection: ConnectionReport,
    /// The connections that were opened for further runs.
    pub further_connections: Vec<ConnectionReport>,
    /// The groups, in the order of the configuration.
    pub workloops: Vec<WorkloopStatus>,
    /// The runs in hand.
    pub runs: Vec<RunStatus>,
    /// The engine and its children.
    pub engine: Option<EngineStatus>,
    /// Runs ended so far by reason; `unreported` for those whose end Lightning did not hear of.
    pub ended: BTreeMap<String, u64>,
    /// Restarts of actors that died, by their name.
    pub restarts: BTreeMap<String, u64>,
    /// The memory that a cgroup or container leaves to the worker and its children, in bytes, where one does.
    pub memory_ceiling_bytes: Option<u64>,
}

/// The connection's part of the status.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectionReport {
    /// Where it stands.
    pub state: ConnectionState,
    /// Whether `worker:queue` is joined; never on a further connection, which carries runs only.
    pub queue_joined: bool,
    /// Seconds in this state.
    pub seconds: u64,
    /// Sockets opened so far.
    pub connects: u64,
    /// The last failure since the queue was last joined.
    pub last_error: Option<String>,
}

impl ConnectionReport {
    /// Of an actor that has just died and is being replaced.
    pub(super) fn down() -> Self {
        Self {
            state: ConnectionState::Down,
            queue_joined: false,
            seconds: 0,
            connects: 0,
            last_error: None,
        }
    }
}

impl From<ConnectionStatus> for ConnectionReport {
    fn from(status: ConnectionStatus) -> Self {
        Self {
            state: status.state,
            queue_joined: status.queue_joined,
            seconds: status.since.elapsed().as_secs(),
            connects: status.connects,
            last_error: status.last_error,
        }
    }
}
