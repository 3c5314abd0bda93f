//! The run that a child executes.

use std::time::Instant;

use bytes::Bytes;
use protocol::engine::EngineFailure;
use protocol::ids::RunId;

use crate::engine_pool::messages::Execute;
use crate::engine_pool::node::conversation::Conversation;

/// A run in work.
pub(super) struct Execution {
    pub(super) request: Execute,
    pub(super) conversation: Conversation,
    pub(super) memory: Memory,
    /// When it was handed to this child.
    pub(super) begun: Instant,
    /// How often the child has said that it has preloaded, which may cross the run on its way.
    pub(super) crossings: u32,
}

/// What is known of the process's memory while it executes the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    Unmeasured,
    /// The resident size when the run began, bytes.
    Watched {
        at_start: u64,
    },
    /// The run was told that it comes near its limit.
    Near {
        at_start: u64,
    },
    /// The process had no bounds when it was last looked at: it hides its size, or it is ending.
    Unbounded {
        at_start: u64,
    },
}

/// Why a run is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Asked,
    TimedOut,
    OverMemory,
    OverFiles,
}

impl Execution {
    /// A run that begins to be loaded.
    pub(super) fn new(request: Execute, now: Instant) -> Self {
        Self {
            conversation: Conversation::new(request.run_id.clone(), &request.plan),
            request,
            memory: Memory::Unmeasured,
            begun: now,
            crossings: 0,
        }
    }

    pub(super) fn run(&self) -> &RunId {
        &self.request.run_id
    }

    /// Nobody needs the input any more, which may have megabytes.
    pub(super) fn forget_input(&mut self) {
        self.request.input = Bytes::new();
    }

    /// What the worker says of the end of a run that ends now: nothing, if the engine has said it or the run was told to
    /// stop.
    pub(super) fn failure(
        &self,
        stop: Option<Stop>,
        otherwise: EngineFailure,
    ) -> Option<EngineFailure> {
        match stop {
            Some(Stop::TimedOut) => Some(EngineFailure::TimedOut {
                limit: self.request.options.timeout.unwrap_or_default(),
            }),
            Some(Stop::OverMemory) => Some(EngineFailure::OutOfMemory),
            Some(Stop::OverFiles) => Some(EngineFailure::TooManyFiles),
            Some(Stop::Asked) => None,
            None if self.conversation.is_over() => None,
            None => Some(otherwise),
        }
    }
}
