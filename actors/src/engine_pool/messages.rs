//! What the engine pool accepts, and what an execution tells its run.

use std::sync::Arc;

use actix::prelude::*;
use bytes::Bytes;
use protocol::engine::{EngineFailure, ExecuteOptions, RunProgress};
use protocol::ids::{ProjectId, RunId, WorkloopId};
use protocol::lightning::Timestamp;
use protocol::plan::ExecutionPlan;
use protocol::reasons::Outcome;
use protocol::versions::EngineVersions;
use serde::Serialize;
use strum::{Display, IntoStaticStr, VariantArray};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::engine::EngineUnavailable;
use crate::tell::Tell as _;
use crate::traces::Traces;

/// Asks for everything a run needs from the engine's side: adaptors installed, jobs compiled.
#[derive(Message)]
#[rtype(result = "Result<Prepared, PrepareError>")]
pub(crate) struct Prepare {
    pub(crate) run_id: RunId,
    pub(crate) plan: Arc<ExecutionPlan>,
    pub(crate) traces: Traces,
}

/// A run that may be executed, or whose jobs do not compile.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The plan with its linkers and, where they compile, its compiled jobs and their source maps.
    pub(crate) plan: ExecutionPlan,
    pub(crate) versions: EngineVersions,
    /// The lines 3 to 8 of the engine spec, section 3.4.
    pub(crate) compiled: Result<Vec<CompileLine>, CompileFailure>,
}

/// A line that compiling adds to the run's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CompileLine {
    pub(crate) level: &'static str,
    pub(crate) text: String,
    pub(crate) timestamp: Timestamp,
}

/// Jobs that do not compile; the lines are those before the failure.
#[derive(Debug)]
pub(crate) struct CompileFailure {
    pub(crate) lines: Vec<CompileLine>,
    pub(crate) outcome: Outcome,
}

/// Why a run cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    /// An adaptor cannot be had.
    #[error(transparent)]
    Adaptor(#[from] adaptors::InstallError),
    /// The engine will never execute a run.
    #[error(transparent)]
    Engine(#[from] EngineUnavailable),
    /// The engine was replaced, or the worker is ending.
    #[error("the engine ended while the run was prepared")]
    EngineEnded,
}

impl PrepareError {
    /// The `error_type` of the run.
    pub(crate) fn error_type(&self) -> &'static str {
        match self {
            Self::Adaptor(error) => error.error_type(),
            Self::Engine(_) | Self::EngineEnded => "ExecutionError",
        }
    }
}

/// Hands a run to the engine, which loads it and waits for [`Proceed`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Execute {
    pub(crate) run_id: RunId,
    pub(crate) workloop: WorkloopId,
    pub(crate) project_id: Option<ProjectId>,
    /// With its credentials resolved.
    pub(crate) plan: Arc<ExecutionPlan>,
    /// JSON; empty for `{}`.
    pub(crate) input: Bytes,
    pub(crate) options: ExecuteOptions,
    pub(crate) events: Recipient<EngineEvent>,
    /// Bytes that the run's outbox can still hold.
    pub(crate) budget: Arc<Semaphore>,
}

impl Execute {
    /// Ends the run, which no engine executes: by this failure, or without a word.
    pub(crate) fn refuse(self, failure: Option<EngineFailure>) {
        let failure = failure.map(|failure| RunProgress::WorkflowError {
            error: failure.into(),
        });
        for progress in failure.into_iter().chain([RunProgress::Ended]) {
            self.events.tell(EngineEvent {
                run_id: self.run_id.clone(),
                progress,
                permit: None,
            });
        }
    }
}

/// The run may begin.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Proceed {
    pub(crate) run_id: RunId,
}

/// Stops the job of a run at once; answered by [`RunProgress::Ended`], as every execution is.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StopJob {
    pub(crate) run_id: RunId,
}

/// Ends all children; answered when they are gone.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StopEngine;

/// To the supervisor: the engine could not be started after all its tries.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct EngineFailed {
    pub(crate) why: EngineUnavailable,
}

/// One thing that an execution tells its run; in order, [`RunProgress::Ended`] last and once.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct EngineEvent {
    pub(crate) run_id: RunId,
    pub(crate) progress: RunProgress,
    /// The bytes of the event, taken out of the run's budget until it is reported.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// Asks for the state of the engine.
#[derive(Message)]
#[rtype(result = "EngineStatus")]
pub(crate) struct GetEngineStatus;

/// What the engine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, IntoStaticStr, VariantArray, Serialize)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "lowercase")]
pub enum EngineState {
    /// No child of it has answered yet.
    Validating,
    /// It executes runs.
    Ready,
    /// It ends with the runs in work.
    Draining,
    /// It is the mock engine, which is ready at once.
    Mock,
    /// It says what was recorded: a replay's.
    Recorded,
}

impl EngineState {
    /// Whether a run that comes now is executed.
    #[must_use]
    pub fn is_ready(self) -> bool {
        match self {
            Self::Ready | Self::Mock | Self::Recorded => true,
            Self::Validating | Self::Draining => false,
        }
    }
}

/// The engine, for status pages.
#[derive(Debug, Clone, Serialize)]
pub struct EngineStatus {
    /// What it is doing.
    pub state: EngineState,
    /// Node's version, once a child has said it.
    pub node: Option<String>,
    /// The runtime's version.
    pub runtime: Option<String>,
    /// Whether it is judged where jobs connect to, where there are children.
    pub egress: Option<EgressState>,
    /// Who keeps children to their memory, where there are any.
    pub memory: Option<MemoryState>,
    /// The children.
    pub children: Vec<ChildStatus>,
}

impl EngineStatus {
    /// Of an engine that has no child processes.
    pub(super) fn without_children(state: EngineState) -> Self {
        Self {
            state,
            node: None,
            runtime: None,
            egress: None,
            memory: None,
            children: Vec::new(),
        }
    }
}

/// Whether it is judged where jobs connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray, Serialize)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "lowercase")]
pub enum EgressState {
    /// What is denied is refused.
    Controlled,
    /// The operator denies nothing, or has no sandbox.
    Open,
    /// The kernel or the container does not let the worker do it.
    Unavailable,
}

/// What an engine child is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, IntoStaticStr, VariantArray, Serialize)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "lowercase")]
pub enum ChildState {
    /// It has not answered yet.
    Spawning,
    /// It waits for a run.
    Idle,
    /// It has a run.
    Busy,
    /// It takes no more runs.
    Dying,
}

/// Who keeps engine children to their memory and their threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, Serialize)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "lowercase")]
pub enum MemoryState {
    /// The kernel, by a cgroup for each.
    Enforced,
    /// The worker, which looks ten times a second and kills who is over.
    Watched,
}

/// One engine child, for status pages.
#[derive(Debug, Clone, Serialize)]
pub struct ChildStatus {
    /// Its process id.
    pub pid: Option<u32>,
    /// What it is doing.
    pub state: ChildState,
    /// Whether it has loaded what it was to load before its run comes.
    pub warm: bool,
    /// The run that it executes.
    pub run: Option<RunId>,
    /// Its run's project.
    pub project: Option<ProjectId>,
}
