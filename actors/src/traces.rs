//! What happens in the life of a run, for whoever makes a trace of it. The actors know neither spans nor collectors.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use protocol::ids::{JobId, ProjectId, RunId, StepId, WorkloopId};
use protocol::lightning::Timestamp;
use protocol::reasons::ExitReason;

use crate::clock;
use crate::run::RunPhase;

/// Makes traces of what it is told.
pub trait Tracer: fmt::Debug + Send + Sync {
    /// Something has happened to a run at this time. Returns at once: it is called by actors.
    fn note(&self, run: &RunId, at: Timestamp, moment: Moment);
}

/// Whoever makes traces, if somebody does; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<dyn Tracer>>);

impl Traces {
    /// Traces that are made by this tracer.
    pub fn by(tracer: Arc<dyn Tracer>) -> Self {
        Self(Some(tracer))
    }

    /// Whether somebody makes traces.
    pub(crate) fn are_made(&self) -> bool {
        self.0.is_some()
    }

    /// Something happens to a run now. `moment` is not asked where nobody makes traces.
    pub(crate) fn note(&self, run: &RunId, moment: impl FnOnce() -> Moment) {
        if let Some(tracer) = &self.0 {
            tracer.note(run, clock::now(), moment());
        }
    }

    /// Something has happened to a run at this time.
    pub(crate) fn note_at(&self, run: &RunId, at: Timestamp, moment: Moment) {
        if let Some(tracer) = &self.0 {
            tracer.note(run, at, moment);
        }
    }
}

/// Something that has happened to a run. None holds a dataclip, a credential, a token or a job's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// Lightning has handed it out, so long after it was asked.
    Claimed {
        /// The group that asked.
        workloop: WorkloopId,
        /// From the claim to its answer.
        took: Duration,
    },
    /// An actor takes care of it from now on: the first, or the successor of one that died.
    Taken {
        /// The group whose slot it uses.
        workloop: WorkloopId,
    },
    /// It does something else from now on.
    Entered(RunPhase),
    /// Lightning was asked for something.
    Asked {
        /// Tells requests of a run apart.
        ticket: u64,
        /// The event, such as `fetch:plan`.
        event: &'static str,
        /// The id of what is asked for, where it has one.
        id: Option<String>,
    },
    /// Lightning has answered a request.
    Answered {
        /// The request's.
        ticket: u64,
        /// Whether it gave what was asked for.
        given: bool,
    },
    /// Its plan is known.
    Planned {
        /// Whose it is.
        project_id: Option<ProjectId>,
    },
    /// Its adaptors are there, or cannot be had.
    Installed {
        /// How long it took.
        took: Duration,
        /// Their names with versions, separated by commas.
        adaptors: String,
        /// Why not, by its type.
        error_type: Option<&'static str>,
    },
    /// Its jobs are compiled, or cannot be.
    Compiled {
        /// How long it took.
        took: Duration,
        /// Why not, by its type.
        error_type: Option<String>,
    },
    /// A thread of the engine has loaded it.
    Loaded {
        /// Whether the thread was ready before the run came.
        warm: bool,
    },
    /// A step begins.
    StepStarted(StepStart),
    /// A step has ended.
    StepEnded {
        /// The step.
        step_id: StepId,
        /// How.
        reason: ExitReason,
        /// The type of the error that ended it.
        error_type: Option<String>,
    },
    /// It is known how it ended; what is left is to tell Lightning. Its thread may still be there.
    Completed,
    /// Lightning knows how it ended.
    Reported {
        /// How.
        reason: ExitReason,
        /// The type of the error that ended it.
        error_type: Option<String>,
        /// Steps that were completed.
        steps: usize,
        /// The adaptors with their versions, separated by commas.
        adaptors: Option<String>,
    },
    /// Nobody takes care of it any more. The last moment of each run.
    Ended {
        /// The reason as metrics have it: `unreported` where Lightning does not know it.
        reason: &'static str,
    },
}

/// A step that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepStart {
    /// The step.
    pub step_id: StepId,
    /// The job that it executes.
    pub job_id: JobId,
    /// The job's name.
    pub job: Option<String>,
    /// Its adaptors with their versions, separated by commas.
    pub adaptor: Option<String>,
}
