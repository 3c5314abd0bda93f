//! The header of an event frame before it is known to be complete.

use serde::Deserialize;

use super::events::{EventError, ExitCause, FinishedStep, RunProgress, Shape};
use crate::ids::{JobId, RunId};
use crate::lightning::{Memory, Timestamp};
use crate::reasons::{EngineError, StateError};

/// Every field that an event can have, so that a header is read in one go: log lines come by the ten thousand.
#[derive(Deserialize)]
pub(super) struct Header {
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    pub(super) run: Option<RunId>,
    pub(super) time: Option<Timestamp>,
    pub(super) level: Option<String>,
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) redacted: bool,
    pub(super) job: Option<JobId>,
    pub(super) duration: Option<f64>,
    #[serde(default)]
    pub(super) next: Vec<JobId>,
    pub(super) size: Option<u64>,
    pub(super) shape: Option<Shape>,
    pub(super) mem: Option<Memory>,
    pub(super) webhook_response: Option<serde_json::Value>,
    pub(super) state_error: Option<StateError>,
    pub(super) error: Option<EngineError>,
    pub(super) thread_id: Option<u64>,
    #[serde(default)]
    pub(super) warm: bool,
    pub(super) cause: Option<ExitCause>,
    pub(super) code: Option<i64>,
    pub(super) message: Option<String>,
    #[serde(default)]
    pub(super) tainted: bool,
    pub(super) protocol: Option<u32>,
    pub(super) node: Option<String>,
    pub(super) runtime: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Ready,
    ProtocolError,
    Warmed,
    WorkflowStart,
    Log,
    JobStart,
    JobComplete,
    JobError,
    WorkflowComplete,
    WorkflowError,
    Exit,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::ProtocolError => "protocol-error",
            Self::Warmed => "warmed",
            Self::WorkflowStart => "workflow-start",
            Self::Log => "log",
            Self::JobStart => "job-start",
            Self::JobComplete => "job-complete",
            Self::JobError => "job-error",
            Self::WorkflowComplete => "workflow-complete",
            Self::WorkflowError => "workflow-error",
            Self::Exit => "exit",
        }
    }

    /// A field that this event cannot do without.
    pub(super) fn needs<T>(self, field: &'static str, value: Option<T>) -> Result<T, EventError> {
        value.ok_or(EventError::Missing {
            event: self.name(),
            field,
        })
    }
}

impl TryFrom<Header> for RunProgress {
    type Error = EventError;

    fn try_from(mut header: Header) -> Result<Self, EventError> {
        let kind = header.kind;
        Ok(match kind {
            Kind::WorkflowStart => Self::WorkflowStart {
                thread_id: kind.needs("thread_id", header.thread_id)?,
                time: kind.needs("time", header.time)?,
                warm: header.warm,
            },
            Kind::Log => Self::Log {
                level: header.level,
                name: kind.needs("name", header.name)?,
                time: kind.needs("time", header.time)?,
                redacted: header.redacted,
            },
            Kind::JobStart => Self::JobStart {
                job: kind.needs("job", header.job)?,
                time: kind.needs("time", header.time)?,
            },
            Kind::JobComplete => Self::JobComplete {
                mem: header.mem,
                step: header.try_into()?,
            },
            Kind::JobError => Self::JobError {
                error: kind.needs("error", header.error.take())?,
                step: header.try_into()?,
            },
            Kind::WorkflowComplete => Self::WorkflowComplete {
                time: kind.needs("time", header.time)?,
                shape: header.shape,
                size: header.size,
                redacted: header.redacted,
            },
            Kind::WorkflowError => Self::WorkflowError {
                error: kind.needs("error", header.error)?,
            },
            Kind::Exit => Self::Exit {
                cause: kind.needs("cause", header.cause)?,
                code: header.code,
                message: header.message,
                tainted: header.tainted,
            },
            Kind::Ready | Kind::ProtocolError | Kind::Warmed => {
                return Err(EventError::Missing {
                    event: kind.name(),
                    field: "run",
                });
            }
        })
    }
}

impl TryFrom<Header> for FinishedStep {
    type Error = EventError;

    fn try_from(header: Header) -> Result<Self, EventError> {
        let kind = header.kind;
        Ok(Self {
            job: kind.needs("job", header.job)?,
            time: kind.needs("time", header.time)?,
            duration: kind.needs("duration", header.duration)?,
            next: header.next,
            size: header.size,
            redacted: header.redacted,
            shape: kind.needs("shape", header.shape)?,
            webhook_response: header.webhook_response,
            state_error: header.state_error,
        })
    }
}
