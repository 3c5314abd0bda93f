//! The state of the whole worker.

use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;

use super::Supervisor;
use super::messages::{ConnectionReport, GetStatus, WorkerStatus};
use crate::engine_pool::GetEngineStatus;
use crate::lightning::GetConnectionStatus;
use crate::run::GetRunStatus;
use crate::workloop::GetWorkloopStatus;

/// How long a question for a status may take.
pub(super) const STATUS_PATIENCE: Duration = Duration::from_secs(2);

impl Handler<GetStatus> for Supervisor {
    type Result = ResponseFuture<WorkerStatus>;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> Self::Result {
        let connections = join_all(self.connections.all().map(|connection| {
            connection
                .send(GetConnectionStatus)
                .timeout(STATUS_PATIENCE)
        }));
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
        let state = self.state.shown();
        let metrics = self.config.metrics.clone();
        let memory_ceiling_bytes = self.headroom.ceiling();
        let uptime_seconds = self.started.elapsed().as_secs();
        Box::pin(async move {
            // An actor that is being restarted is left out of the picture, but for connections: their number says something.
            let mut connections = connections.await.into_iter().map(|answer| {
                answer.map_or_else(|_| ConnectionReport::down(), ConnectionReport::from)
            });
            WorkerStatus {
                state,
                worker_id: identity.id,
                worker_name: identity.name,
                version: identity.version,
                uptime_seconds,
                connection: connections.next().unwrap_or_else(ConnectionReport::down),
                further_connections: connections.collect(),
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
