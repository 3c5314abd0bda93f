//! Facts that several actors hear. Commands are in the rooms of those who carry them out.

use actix::prelude::*;
use protocol::ids::{RunId, WorkloopId};
use protocol::reasons::ExitReason;

use crate::lightning::LightningConnection;

/// The connection actor died and was started again: subscriptions and whatever was outstanding are gone.
#[derive(Message, Clone)]
#[rtype(result = "()")]
pub(crate) struct ConnectionReplaced {
    /// The new one.
    pub(crate) connection: Addr<LightningConnection>,
}

/// The engine pool died, and all its children with it: every run that it executed is over.
#[derive(Message, Clone)]
#[rtype(result = "()")]
pub(crate) struct EngineLost {
    /// Its successor, for runs that have not begun to execute.
    pub(crate) engine: Addr<crate::engine_pool::EnginePool>,
}

/// A run has nothing left to do: its slot is free.
#[derive(Debug, Message, Clone)]
#[rtype(result = "()")]
pub(crate) struct RunEnded {
    /// The run.
    pub(crate) run_id: RunId,
    /// The group whose slot it used.
    pub(crate) workloop: WorkloopId,
    /// How it ended for Lightning; `None` when it could not be reported.
    pub(crate) reason: Option<ExitReason>,
    /// Whether Lightning had taken it away before it was executed (protocol spec, section 3.5).
    pub(crate) taken_away: bool,
}

/// Makes an actor panic, for the tests of supervision.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Panic;
