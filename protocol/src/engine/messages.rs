//! The headers of the frames.

use serde::{Deserialize, Serialize};

use crate::ids::{JobId, RunId};
use crate::lightning::{Memory, Timestamp};
use crate::plan::ExecutionPlan;
use crate::reasons::{EngineError, StateError};

/// What the parent tells a child.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Command<'a> {
    /// Keep spare threads, with these adaptor folders loaded.
    Warm {
        /// How many.
        threads: usize,
        /// Folders of adaptors.
        adaptors: &'a [String],
    },
    /// Load a run; the body is its input as JSON, empty for `{}`.
    Execute {
        /// The run.
        run: &'a RunId,
        /// Its plan.
        plan: &'a ExecutionPlan,
        /// Its limits and switches.
        options: &'a ExecuteOptions,
    },
    /// Begin to execute the run that was loaded.
    Go {
        /// The run.
        run: &'a RunId,
    },
    /// End the thread of a run at once.
    Cancel {
        /// The run.
        run: &'a RunId,
    },
    /// End the process.
    Shutdown,
}

/// Limits and switches of one execution.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExecuteOptions {
    /// The adaptor repository.
    pub repo_dir: String,
    /// Keys deleted from the state after each step.
    pub state_props_to_remove: Vec<String>,
    /// Largest state of a step, MiB.
    pub state_limit_mb: f64,
    /// Largest dataclip, MiB.
    pub payload_limit_mb: f64,
    /// Largest log line, MiB.
    pub log_payload_limit_mb: f64,
    /// Heap of the thread, MiB.
    pub memory_limit_mb: f64,
    /// Threshold of JOB lines.
    pub job_log_level: String,
    /// Sanitising policy of log lines.
    pub sanitize: String,
    /// Measure peak memory.
    pub profile: bool,
    /// How often, in milliseconds.
    pub profile_poll_interval_ms: u64,
    /// Whether states are wanted at all.
    pub output_dataclips: bool,
}

/// What JSON a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// An object.
    Object,
    /// Another value.
    Other,
    /// Undefined.
    None,
}

/// A step that has ended; the frame's body is its state, unless it is withheld.
#[derive(Debug, Clone, Deserialize)]
pub struct FinishedStep {
    /// The job.
    pub job: JobId,
    /// When.
    pub time: Timestamp,
    /// Milliseconds.
    pub duration: f64,
    /// The jobs whose steps follow.
    #[serde(default)]
    pub next: Vec<JobId>,
    /// UTF-8 bytes of the state's JSON.
    #[serde(default)]
    pub size: Option<u64>,
    /// The state exceeds the payload limit.
    #[serde(default)]
    pub redacted: bool,
    /// What the state is.
    pub shape: Shape,
    /// The state's truthy `webhookResponse`.
    #[serde(default)]
    pub webhook_response: Option<serde_json::Value>,
    /// What the job wrote into `state.errors` for itself.
    #[serde(default)]
    pub state_error: Option<StateError>,
}

/// Why a run's thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitCause {
    /// It had said how the run ended.
    Done,
    /// By a cancel command.
    Cancelled,
    /// Out of memory.
    Oom,
    /// It ended itself.
    Exit,
    /// By an error that nobody caught.
    Error,
}

/// What a child tells the parent. Everything in it is untrusted.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "one is alive at a time, between the decoder and its handler"
)]
pub enum ChildEvent {
    /// The child can take commands.
    Ready {
        /// Version of this wire.
        protocol: u32,
        /// Node's version, without a leading v.
        node: String,
        /// The version of `@openfn/runtime`.
        runtime: String,
    },
    /// The child cannot understand a command.
    ProtocolError {
        /// Why.
        message: String,
    },
    /// About the run that it executes.
    Run {
        /// The run.
        run: RunId,
        /// What.
        event: RunProgress,
    },
}

pub use progress::RunProgress;

mod progress {
    use super::{
        Deserialize, EngineError, ExitCause, FinishedStep, JobId, Memory, Shape, Timestamp,
    };

    /// What a child tells of a run.
    #[derive(Debug, Clone, Deserialize)]
    #[serde(tag = "type", rename_all = "kebab-case")]
    #[expect(
        missing_docs,
        reason = "the fields are those of the frames, documented at the Node side and in the types"
    )]
    pub enum RunProgress {
        /// The run is loaded.
        WorkflowStart {
            thread_id: u64,
            time: Timestamp,
            #[serde(default)]
            warm: bool,
        },
        /// A line; the body is its message.
        Log {
            #[serde(default)]
            level: Option<String>,
            name: String,
            time: Timestamp,
            #[serde(default)]
            redacted: bool,
        },
        /// A step begins.
        JobStart { job: JobId, time: Timestamp },
        /// A step has ended.
        JobComplete {
            #[serde(flatten)]
            step: FinishedStep,
            #[serde(default)]
            mem: Option<Memory>,
        },
        /// A step has ended with an error.
        JobError {
            #[serde(flatten)]
            step: FinishedStep,
            error: EngineError,
        },
        /// The workflow is over; the body is the final state.
        WorkflowComplete {
            time: Timestamp,
            #[serde(default)]
            shape: Option<Shape>,
            #[serde(default)]
            size: Option<u64>,
            #[serde(default)]
            redacted: bool,
        },
        /// The workflow is over by an error.
        WorkflowError { error: EngineError },
        /// The thread is gone; always the last one of a run.
        Exit {
            cause: ExitCause,
            #[serde(default)]
            code: Option<i64>,
            #[serde(default)]
            message: Option<String>,
        },
    }
}

/// A header that is no event.
#[derive(Debug, thiserror::Error)]
#[error("it is no event: {0}")]
pub struct EventError(#[from] serde_json::Error);

impl ChildEvent {
    /// Reads the header of a frame.
    ///
    /// # Errors
    /// [`EventError`] for unknown types and missing fields.
    pub fn from_header(header: &[u8]) -> Result<Self, EventError> {
        #[derive(Deserialize)]
        struct Tag<'a> {
            #[serde(rename = "type", borrow)]
            kind: std::borrow::Cow<'a, str>,
            #[serde(default)]
            run: Option<RunId>,
        }
        #[derive(Deserialize)]
        struct Ready {
            protocol: u32,
            node: String,
            runtime: String,
        }
        #[derive(Deserialize)]
        struct Complaint {
            message: String,
        }
        let tag: Tag<'_> = serde_json::from_slice(header)?;
        match (&*tag.kind, tag.run) {
            ("ready", _) => {
                let Ready {
                    protocol,
                    node,
                    runtime,
                } = serde_json::from_slice(header)?;
                Ok(Self::Ready {
                    protocol,
                    node,
                    runtime,
                })
            }
            ("protocol-error", _) => {
                let Complaint { message } = serde_json::from_slice(header)?;
                Ok(Self::ProtocolError { message })
            }
            (_, Some(run)) => Ok(Self::Run {
                run,
                event: serde_json::from_slice(header)?,
            }),
            (kind, None) => Err(EventError(serde::de::Error::custom(format!(
                "{kind} names no run"
            )))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(header: &str) -> ChildEvent {
        ChildEvent::from_header(header.as_bytes()).unwrap()
    }

    #[test]
    fn events_of_a_run_are_read() {
        let event = read(
            r#"{"type":"job-complete","run":"r","job":"a","time":"1767225600123456","duration":232,"next":["b"],
               "mem":{"job":1,"system":2},"size":9,"redacted":false,"shape":"object","webhook_response":{"status":201}}"#,
        );
        let ChildEvent::Run {
            run,
            event: RunProgress::JobComplete { step, mem },
        } = event
        else {
            panic!("{event:?}")
        };
        assert_eq!(
            (run.as_str(), step.job.as_str(), step.next.len()),
            ("r", "a", 1)
        );
        assert_eq!(
            mem,
            Some(Memory {
                job: 1,
                system: 2,
                peak: None
            })
        );
        assert_eq!(step.webhook_response.unwrap()["status"], 201);
        let event = read(r#"{"type":"exit","run":"r","cause":"oom","code":1}"#);
        assert!(matches!(
            event,
            ChildEvent::Run {
                event: RunProgress::Exit {
                    cause: ExitCause::Oom,
                    ..
                },
                ..
            }
        ));
    }

    #[test]
    fn the_handshake_is_read() {
        let event =
            read(r#"{"type":"ready","protocol":1,"node":"20.20.2","runtime":"1.9.5","pid":5}"#);
        assert!(matches!(event, ChildEvent::Ready { protocol: 1, .. }));
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"type":"nope","run":"r"}"#,
            r#"{"type":"job-start"}"#,
            r#"{"type":"log","run":"r"}"#,
        ] {
            assert!(ChildEvent::from_header(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn commands_are_tagged() {
        let run = RunId::new("r");
        assert_eq!(
            serde_json::to_string(&Command::Go { run: &run }).unwrap(),
            r#"{"type":"go","run":"r"}"#
        );
        assert_eq!(
            serde_json::to_string(&Command::Shutdown).unwrap(),
            r#"{"type":"shutdown"}"#
        );
    }

    proptest! {
        #[test]
        fn no_input_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _event = ChildEvent::from_header(&bytes);
        }
    }
}
