//! The state of the whole worker.

use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;

use super::messages::{ConnectionReport, GetStatus, WorkerStatus};
use super::{State, Supervisor};
use crate::engine_pool::GetEngineStatus;
use crate::lightning::{ConnectionStatus, GetConnectionStatus};
use crate::run::GetRunStatus;
use crate::workloop::GetWorkloopStatus;

/// How long a question for a status may take.
pub(super) const STATUS_PATIENCE: Duration = Duration::from_secs(2);

impl Handler<GetStatus> for Supervisor {
    type Result = ResponseFuture<WorkerStatus>;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> Self::Result {
        let connection = self
            .connections
            .with_queue()
            .send(GetConnectionStatus)
            .timeout(STATUS_PATIENCE);
        let engine = self.engine.send(GetEngineStatus).timeout(STATUS_PATIENCE);
        let workloops = join_all(self.groups.values().map(|group| {
            group
                .address
                .send(GetWorkloopStatus)
                .timeout(STATUS_PATIENCE)
        }));
        let runs = join_all(
            self.runs
                .values()
                .map(|run| run.address.send(GetRunStatus).timeout(STATUS_PATIENCE)),
        );
        let identity = self.config.identity.clone();
        let state = match self.state {
            State::Running => "running",
            State::Draining { .. } => "draining",
            State::Stopped => "stopped",
        };
        let metrics = self.config.metrics.clone();
        let memory_ceiling_bytes = self.room.ceiling();
        let uptime_seconds = self.started.elapsed().as_secs();
        Box::pin(async move {
            // An actor that is being restarted is left out of the picture.
            WorkerStatus {
                state,
                worker_id: identity.id,
                worker_name: identity.name,
                version: identity.version,
                uptime_seconds,
                connection: connection
                    .await
                    .map_or_else(|_| connection_down(), connection_report),
                workloops: workloops.await.into_iter().flatten().collect(),
                runs: runs.await.into_iter().flatten().collect(),
                engine: engine.await.ok(),
                ended: metrics.runs_by_reason(),
                restarts: metrics.restarts_by_actor(),
                memory_ceiling_bytes,
            }
        })
    }
}

fn connection_report(status: ConnectionStatus) -> ConnectionReport {
    ConnectionReport {
        state: status.state,
        queue_joined: status.queue_joined,
        seconds: status.since.elapsed().as_secs(),
        connects: status.connects,
        last_error: status.last_error,
    }
}

fn connection_down() -> ConnectionReport {
    ConnectionReport {
        state: "down",
        queue_joined: false,
        seconds: 0,
        connects: 0,
        last_error: None,
    }
}
