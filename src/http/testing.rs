//! A worker's status for the tests of this module.

use std::collections::BTreeMap;

use actors::engine_pool::{
    ChildState, ChildStatus, EgressState, EngineState, EngineStatus, MemoryState,
};
use actors::lightning::ConnectionState;
use actors::run::{RunPhase, RunStatus};
use actors::supervisor::{ConnectionReport, WorkerState, WorkerStatus};
use actors::workloop::{HoldCause, WorkloopState, WorkloopStatus};
use protocol::ids::{RunId, WorkloopId};

/// A connected worker in this state with one run at work.
pub(super) fn status(state: WorkerState) -> WorkerStatus {
    WorkerStatus {
        state,
        worker_id: "worker-1".to_owned(),
        worker_name: None,
        version: "1.2.3".to_owned(),
        uptime_seconds: 60,
        connection: connection(ConnectionState::Connected),
        further_connections: vec![connection(ConnectionState::Waiting)],
        workloops: vec![WorkloopStatus {
            id: WorkloopId::new("manual>*:5"),
            state: WorkloopState::Claiming,
            seconds: 1,
            slots: 5,
            active: 1,
            pending: 1,
            held_by: vec![HoldCause::Memory],
        }],
        runs: vec![RunStatus {
            id: RunId::new("run-1"),
            workloop: WorkloopId::new("manual>*:5"),
            phase: RunPhase::Executing,
            phase_seconds: 2,
            age_seconds: 3,
            job: None,
        }],
        engine: Some(EngineStatus {
            state: EngineState::Ready,
            node: Some("24.1.0".to_owned()),
            runtime: Some("1.9.5".to_owned()),
            egress: Some(EgressState::Controlled),
            memory: Some(MemoryState::Watched),
            children: vec![ChildStatus {
                pid: None,
                state: ChildState::Busy,
                warm: false,
                run: Some(RunId::new("run-1")),
                project: None,
            }],
        }),
        ended: BTreeMap::new(),
        restarts: BTreeMap::new(),
        memory_ceiling_bytes: Some(1 << 30),
    }
}

fn connection(state: ConnectionState) -> ConnectionReport {
    ConnectionReport {
        state,
        queue_joined: state == ConnectionState::Connected,
        seconds: 50,
        connects: 1,
        last_error: None,
    }
}
