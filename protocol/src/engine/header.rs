//! The header of an event frame before it is known to be complete.

use bytes::Bytes;
use serde::Deserialize;

use super::events::{ChildEvent, EventError, ExitCause, FinishedStep, RunExit, RunProgress, Shape};
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
    pub(super) later: u32,
    pub(super) protocol: Option<u32>,
    pub(super) node: Option<String>,
    pub(super) runtime: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Ready,
    ProtocolError,
    Preloaded,
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
            Self::Preloaded => "preloaded",
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

impl Header {
    /// The event that this header and the body of its frame are.
    ///
    /// # Errors
    /// [`EventError::Missing`] when the event needs a field that is not there.
    pub(super) fn into_event(mut self, body: Bytes) -> Result<ChildEvent, EventError> {
        let kind = self.kind;
        let run = self.run.take();
        let state = |body: Bytes| (!body.is_empty()).then_some(body);
        let event = match kind {
            Kind::Ready => {
                return Ok(ChildEvent::Ready {
                    protocol: kind.needs("protocol", self.protocol)?,
                    node: kind.needs("node", self.node)?,
                    runtime: kind.needs("runtime", self.runtime)?,
                });
            }
            Kind::ProtocolError => {
                return Ok(ChildEvent::ProtocolError {
                    message: kind.needs("message", self.message)?,
                });
            }
            Kind::Preloaded => return Ok(ChildEvent::Preloaded),
            Kind::Exit => {
                return Ok(ChildEvent::Exit {
                    run: kind.needs("run", run)?,
                    exit: RunExit {
                        cause: kind.needs("cause", self.cause)?,
                        code: self.code,
                        later: self.later,
                    },
                });
            }
            Kind::WorkflowStart => RunProgress::WorkflowStart {
                thread_id: kind.needs("thread_id", self.thread_id)?,
                warm: self.warm,
            },
            Kind::Log => RunProgress::Log {
                level: self.level,
                name: kind.needs("name", self.name)?,
                time: kind.needs("time", self.time)?,
                message: body,
            },
            Kind::JobStart => RunProgress::JobStart {
                job: kind.needs("job", self.job)?,
                time: kind.needs("time", self.time)?,
            },
            Kind::JobComplete => RunProgress::JobComplete {
                mem: self.mem,
                step: self.try_into()?,
                state: state(body),
            },
            Kind::JobError => RunProgress::JobError {
                error: kind.needs("error", self.error.take())?,
                step: self.try_into()?,
                state: state(body),
            },
            Kind::WorkflowComplete => RunProgress::WorkflowComplete {
                time: kind.needs("time", self.time)?,
                shape: self.shape.unwrap_or(Shape::None),
                state: state(body),
            },
            Kind::WorkflowError => RunProgress::WorkflowError {
                error: kind.needs("error", self.error)?,
            },
        };
        let run = kind.needs("run", run)?;
        Ok(ChildEvent::Run { run, event })
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
