//! The failures of a run that the engine's side finds out itself, beside those that the runtime tells of.

use std::time::Duration;

use crate::js;
use crate::reasons::{EngineError, ExitReason};

/// Why the worker or the mock engine ends a run. Its text is the `error_message` of the run (engine spec, section 7).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EngineFailure {
    /// The run's heap, process or group of processes exceeds its limit.
    #[error("Run exceeded maximum memory usage")]
    OutOfMemory,
    /// The run has more in files of its own, or more of them, than it may.
    #[error("Run exceeded the limit of its files")]
    TooManyFiles,
    /// The run takes longer than it may.
    #[error("Workflow failed to return within {}ms", .limit.as_millis())]
    TimedOut {
        /// How long it may take.
        limit: Duration,
    },
    /// A step's state is too large.
    #[error("State exceeds the limit of {}mb", js::number(*.limit_mb))]
    StateTooLarge {
        /// How large it may be.
        limit_mb: f64,
    },
    /// The run's thread ended before the run was over.
    #[error("Worker thread exited with code: {code}")]
    ThreadExited {
        /// Its exit code.
        code: i64,
    },
    /// The run's process ended before the run was over.
    #[error("Process exited with code: {}", .code.map_or_else(|| "null".to_owned(), |code| code.to_string()))]
    ProcessExited {
        /// Its exit code; none when a signal killed it.
        code: Option<i32>,
    },
    /// One process after the other died before the run had begun.
    #[error("three engine children died while they loaded the run")]
    LoadingKills,
    /// The process said what it may not say.
    #[error("{0}")]
    ProtocolBroken(String),
    /// Whatever watched the process is gone.
    #[error("the engine child that executed the run was lost")]
    ChildLost,
    /// The run could not be handed to an engine.
    #[error("{0}")]
    Unavailable(String),
    /// The engine failed inside of the run.
    #[error("{0}")]
    Internal(String),
    /// The plan is none that can be executed.
    #[error("{0}")]
    InvalidPlan(String),
    /// An edge's condition threw.
    #[error("{0}")]
    EdgeCondition(String),
    /// The runtime threw.
    #[error("{message}")]
    Thrown {
        /// The name of the error's class.
        name: String,
        /// Its text.
        message: String,
    },
}

impl EngineFailure {
    /// The `error_type` of the run.
    pub fn error_type(&self) -> &str {
        match self {
            Self::OutOfMemory => "OOMError",
            Self::TooManyFiles => "FilesError",
            Self::TimedOut { .. } => "TimeoutError",
            Self::StateTooLarge { .. } => "StateTooLargeError",
            Self::ThreadExited { .. } | Self::ProcessExited { .. } | Self::LoadingKills => {
                "ExitError"
            }
            Self::ProtocolBroken(_) => "EngineProtocolError",
            Self::ChildLost => "EngineLost",
            Self::Unavailable(_) | Self::Internal(_) => "ExecutionError",
            Self::InvalidPlan(_) => "ValidationError",
            Self::EdgeCondition(_) => "EdgeConditionError",
            Self::Thrown { name, .. } => name,
        }
    }

    /// The exit reason of the run.
    pub fn severity(&self) -> ExitReason {
        match self {
            Self::OutOfMemory
            | Self::TooManyFiles
            | Self::TimedOut { .. }
            | Self::StateTooLarge { .. } => ExitReason::Kill,
            Self::ThreadExited { .. }
            | Self::ProcessExited { .. }
            | Self::LoadingKills
            | Self::ProtocolBroken(_)
            | Self::ChildLost
            | Self::Internal(_)
            | Self::InvalidPlan(_)
            | Self::EdgeCondition(_)
            | Self::Thrown { .. } => ExitReason::Crash,
            Self::Unavailable(_) => ExitReason::Exception,
        }
    }
}

impl From<EngineFailure> for EngineError {
    fn from(failure: EngineFailure) -> Self {
        Self {
            message: Some(failure.to_string()),
            error_type: Some(failure.error_type().to_owned()),
            severity: Some(failure.severity().as_str().to_owned()),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reasons::error_outcome;

    #[test]
    fn a_failure_ends_its_run_with_its_reason_type_and_text() {
        for (failure, reason, error_type, message) in [
            (
                EngineFailure::OutOfMemory,
                ExitReason::Kill,
                "OOMError",
                "Run exceeded maximum memory usage",
            ),
            (
                EngineFailure::TooManyFiles,
                ExitReason::Kill,
                "FilesError",
                "Run exceeded the limit of its files",
            ),
            (
                EngineFailure::TimedOut {
                    limit: Duration::from_millis(1500),
                },
                ExitReason::Kill,
                "TimeoutError",
                "Workflow failed to return within 1500ms",
            ),
            (
                EngineFailure::StateTooLarge { limit_mb: 0.5 },
                ExitReason::Kill,
                "StateTooLargeError",
                "State exceeds the limit of 0.5mb",
            ),
            (
                EngineFailure::ProcessExited { code: None },
                ExitReason::Crash,
                "ExitError",
                "Process exited with code: null",
            ),
            (
                EngineFailure::ProcessExited { code: Some(7) },
                ExitReason::Crash,
                "ExitError",
                "Process exited with code: 7",
            ),
            (
                EngineFailure::Unavailable("no engine".to_owned()),
                ExitReason::Exception,
                "ExecutionError",
                "no engine",
            ),
            (
                EngineFailure::Thrown {
                    name: "RangeError".to_owned(),
                    message: "too deep".to_owned(),
                },
                ExitReason::Crash,
                "RangeError",
                "too deep",
            ),
        ] {
            let outcome = error_outcome(&failure.into());
            assert_eq!(outcome.reason, reason);
            assert_eq!(outcome.error_type.as_deref(), Some(error_type));
            assert_eq!(outcome.error_message.as_deref(), Some(message));
        }
    }
}
