//! The run that a child executes, and what the worker itself says of it.

use std::time::Instant;

use bytes::Bytes;
use protocol::engine::{EngineFailure, RunProgress};
use tokio::sync::OwnedSemaphorePermit;

use crate::clock;
use crate::engine_pool::conversation::Conversation;
use crate::engine_pool::messages::{EngineEvent, Execute};

/// A run in work.
pub(super) struct Busy {
    pub(super) execution: Execute,
    pub(super) conversation: Conversation,
    pub(super) stop: Stop,
    /// When it was handed to this child.
    pub(super) begun: Instant,
    /// Resident size of the process when the run began, bytes.
    pub(super) resident: u64,
    /// How often the child has said that it is warm, which may cross the run on its way.
    pub(super) crossings: u32,
    /// Whether the run was told that it comes near its memory limit.
    pub(super) warned: bool,
    /// Whether the run was told how it ended, by the worker in the thread's place.
    pub(super) failed: bool,
    /// Whether another child executes it.
    pub(super) handed_back: bool,
}

/// Why a run is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    No,
    Asked,
    TimedOut,
    OverMemory,
}

impl Busy {
    /// A run that begins to be loaded.
    pub(super) fn new(execution: Execute) -> Self {
        Self {
            conversation: Conversation::new(execution.run_id.clone(), &execution.plan),
            execution,
            stop: Stop::No,
            begun: Instant::now(),
            resident: 0,
            crossings: 0,
            warned: false,
            failed: false,
            handed_back: false,
        }
    }

    /// The execution, for another child: this one tells nothing more of it.
    pub(super) fn hand_back(&mut self) -> Execute {
        self.handed_back = true;
        let execution = &self.execution;
        Execute {
            run_id: execution.run_id.clone(),
            workloop: execution.workloop.clone(),
            project_id: execution.project_id.clone(),
            plan: execution.plan.clone(),
            input: execution.input.clone(),
            options: execution.options.clone(),
            events: execution.events.clone(),
            budget: std::sync::Arc::clone(&execution.budget),
        }
    }

    pub(super) fn tell(&self, progress: RunProgress, permit: Option<OwnedSemaphorePermit>) {
        let run_id = self.execution.run_id.clone();
        self.execution.events.do_send(EngineEvent {
            run_id,
            progress,
            permit,
        });
    }

    pub(super) fn fail(&mut self, failure: EngineFailure) {
        self.failed = true;
        let error = failure.into();
        self.tell(RunProgress::WorkflowError { error }, None);
    }

    pub(super) fn out_of_memory(&mut self) {
        self.fail(EngineFailure::OutOfMemory);
    }

    /// A line of the engine in the run's log.
    pub(super) fn warn(&self, text: &str) {
        let message = Bytes::from(serde_json::json!([text]).to_string());
        let (level, name) = (Some("warn".to_owned()), "RTE".to_owned());
        self.tell(
            RunProgress::Log {
                level,
                name,
                time: clock::now(),
                message,
            },
            None,
        );
    }

    pub(super) fn timed_out(&mut self) {
        self.fail(EngineFailure::TimedOut {
            limit: self.execution.options.timeout.unwrap_or_default(),
        });
    }
}

/// The end of a run is told when this value is dropped: once, last, and also when the actor that holds it panics.
impl Drop for Busy {
    fn drop(&mut self) {
        if self.handed_back {
            return;
        }
        if self.stop == Stop::No && !self.failed && !self.conversation.is_over() {
            self.fail(EngineFailure::ChildLost);
        }
        self.tell(RunProgress::Ended, None);
    }
}
