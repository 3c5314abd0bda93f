//! How the rest of the program speaks to the tree.

use actix::prelude::*;
use protocol::ids::RunId;
use tokio::sync::watch;

use super::Supervisor;
use super::messages::{
    CancelRun, ClaimEverywhere, ClaimOutcome, Drain, Exit, GetStatus, StopNow, WorkerStatus,
};
use crate::tell::Tell as _;

/// A handle on the running tree; cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct SupervisorHandle {
    pub(super) supervisor: Addr<Supervisor>,
    exited: watch::Receiver<Option<Exit>>,
}

impl SupervisorHandle {
    pub(super) fn new(supervisor: Addr<Supervisor>, exited: watch::Receiver<Option<Exit>>) -> Self {
        Self { supervisor, exited }
    }

    /// One claim on every group with a free slot; answered as soon as one brought a run.
    pub async fn claim_now(&self) -> ClaimOutcome {
        self.supervisor
            .send(ClaimEverywhere)
            .await
            .unwrap_or(ClaimOutcome::Nothing)
    }

    /// The state of the worker; `None` when the tree has ended.
    pub async fn status(&self) -> Option<WorkerStatus> {
        self.supervisor.send(GetStatus).await.ok()
    }

    /// Ends one run with reason `cancel`; whether it was active.
    pub async fn cancel_run(&self, id: RunId) -> bool {
        self.supervisor
            .send(CancelRun { run_id: id })
            .await
            .unwrap_or(false)
    }

    /// Take no more work, finish what is in hand, then end.
    pub fn drain(&self) {
        self.supervisor.tell(Drain);
    }

    /// End the runs in hand as `exception`, `WorkerShutdown`, then end.
    pub fn stop_now(&self) {
        self.supervisor.tell(StopNow);
    }

    /// Waits until the tree has ended.
    pub async fn wait(&self) -> Exit {
        let mut exited = self.exited.clone();
        match exited.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().unwrap_or(Exit::Drained),
            Err(_) => Exit::GaveUp("the supervisor itself died".to_owned()),
        }
    }
}
