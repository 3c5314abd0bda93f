//! Facts that several actors hear. Commands are in the rooms of those who carry them out.

use actix::prelude::*;
use protocol::ids::RunId;
use protocol::reasons::ExitReason;

use crate::lightning::LightningConnection;
use crate::metrics::UNREPORTED;

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
    /// How.
    pub(crate) end: End,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Lightning has its end.
    Reported(ExitReason),
    /// Lightning does not hear of it.
    Unreported(Unreported),
}

/// Why Lightning does not hear how a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreported {
    /// It takes nothing of the run any more, or nobody is left who could tell it.
    GivenUp,
    /// It did not let the run be started, for it is not this worker's (protocol spec, section 3.5).
    TakenAway,
}

impl Unreported {
    /// The cause as the log has it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::GivenUp => "given_up",
            Self::TakenAway => "taken_away",
        }
    }
}

impl End {
    /// The reason as metrics and the log have it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Reported(reason) => reason.as_str(),
            Self::Unreported(_) => UNREPORTED,
        }
    }

    /// Whether another claim of the run counts, since this one came to nothing.
    pub(crate) fn is_taken_away(self) -> bool {
        self == Self::Unreported(Unreported::TakenAway)
    }
}

/// Makes an actor panic, for the tests of supervision.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Panic;
