//! What a child tells the parent. Everything in it is untrusted: the parent checks order, run and jobs.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::frames::Frame;
use super::header::Header;
use crate::ids::{JobId, RunId};
use crate::lightning::{Memory, Timestamp, storable};
use crate::reasons::{EngineError, StateError};

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

/// A step that has ended.
#[derive(Debug, Clone)]
pub struct FinishedStep {
    /// The job.
    pub job: JobId,
    /// When it ended.
    pub time: Timestamp,
    /// Milliseconds.
    pub duration: f64,
    /// The jobs whose steps follow.
    pub next: Vec<JobId>,
    /// UTF-8 bytes of the state's JSON.
    pub size: Option<u64>,
    /// The state exceeds the payload limit.
    pub redacted: bool,
    /// What the state is.
    pub shape: Shape,
    /// The state's truthy `webhookResponse`.
    pub webhook_response: Option<serde_json::Value>,
    /// What `state.errors` says of the job, if that is truthy: by the runtime, the job or the input.
    pub state_error: Option<StateError>,
}

/// Why a child ends with its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitCause {
    /// It had said how the run ended.
    Done,
    /// The run's code has ended the process.
    Exit,
}

/// What a child tells the parent.
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
    /// It has loaded what it was to preload. Said before its run has come.
    Preloaded,
    /// About the run that it executes.
    Run {
        /// The run.
        run: RunId,
        /// What.
        event: RunProgress,
    },
    /// The process ends with its run: its last word.
    Exit {
        /// The run.
        run: RunId,
        /// How.
        exit: RunExit,
    },
}

/// How a child ends with its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunExit {
    /// Why.
    pub cause: ExitCause,
    /// The exit code that the run's code gave.
    pub code: Option<i64>,
    /// What the run has used of what is loaded only when used, as bits for [`Command::Preload`](super::Command::Preload).
    pub later: u32,
}

/// What an engine tells of a run, whichever engine it is: in order, [`RunProgress::Ended`] last and once.
#[derive(Debug, Clone)]
pub enum RunProgress {
    /// The run is loaded.
    WorkflowStart {
        /// The number of the thread that executes it.
        thread_id: u64,
        /// Whether its adaptors had been loaded before it came.
        warm: bool,
    },
    /// A line of the run's log.
    Log {
        /// Missing for `console.print`.
        level: Option<String>,
        /// The source, such as `JOB`.
        name: String,
        /// When it was written.
        time: Timestamp,
        /// A JSON array.
        message: Bytes,
    },
    /// A step begins.
    JobStart {
        /// The job.
        job: JobId,
        /// When the step began.
        time: Timestamp,
    },
    /// A step has ended.
    JobComplete {
        /// How.
        step: FinishedStep,
        /// What it used.
        mem: Option<Memory>,
        /// JSON; absent when it is withheld.
        state: Option<Bytes>,
    },
    /// A step has ended with an error.
    JobError {
        /// How.
        step: FinishedStep,
        /// The error.
        error: EngineError,
        /// JSON; absent when it is withheld.
        state: Option<Bytes>,
    },
    /// The workflow is over.
    WorkflowComplete {
        /// When it ended.
        time: Timestamp,
        /// What the final state is.
        shape: Shape,
        /// The final state as JSON.
        state: Option<Bytes>,
    },
    /// The workflow is over by an error.
    WorkflowError {
        /// The error.
        error: EngineError,
    },
    /// The job is gone, and whatever executed it.
    Ended,
}

/// A header that is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8(#[source] std::str::Utf8Error),
    /// Not a JSON object with a known type and fields of the right types.
    #[error("it is no event: {0}")]
    Shape(serde_json::Error),
    /// A field that such an event needs is not there.
    #[error("{event} has no {field}")]
    Missing {
        /// The type of the event.
        event: &'static str,
        /// The field.
        field: &'static str,
    },
}

impl ChildEvent {
    /// Reads a frame.
    ///
    /// What cannot be stored by Lightning is taken out of its texts: an error's message may hold half a surrogate pair or
    /// U+0000, and is reported all the same.
    ///
    /// # Errors
    /// [`EventError`] for unknown types and missing fields.
    pub fn from_frame(frame: &Frame) -> Result<Self, EventError> {
        let header = std::str::from_utf8(&frame.header).map_err(EventError::NotUtf8)?;
        let text = storable(header);
        let header: Header = serde_json::from_str(&text).map_err(EventError::Shape)?;
        header.into_event(frame.body.clone())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIME: Timestamp = Timestamp::from_micros(1_767_225_600_123_456);

    fn read(header: impl AsRef<[u8]>, body: &'static str) -> Result<ChildEvent, EventError> {
        ChildEvent::from_frame(&Frame {
            header: Bytes::copy_from_slice(header.as_ref()),
            body: Bytes::from_static(body.as_bytes()),
        })
    }

    fn progress(header: &str, body: &'static str) -> RunProgress {
        let event = read(header, body).unwrap();
        let ChildEvent::Run { run, event } = event else {
            panic!("{event:?}")
        };
        assert_eq!(run.as_str(), "r");
        event
    }

    #[test]
    fn the_end_of_a_step_is_read() {
        let event = progress(
            r#"{"type":"job-complete","run":"r","job":"a","time":"1767225600123456","duration":232,"next":["b"],
               "mem":{"job":1,"system":2},"size":9,"redacted":false,"shape":"object","webhook_response":{"status":201}}"#,
            r#"{"x":"y"}"#,
        );
        let RunProgress::JobComplete { step, mem, state } = event else {
            panic!("{event:?}")
        };
        assert_eq!((step.job.as_str(), step.time), ("a", TIME));
        assert_eq!(step.next, [JobId::new("b")]);
        assert_eq!((step.size, step.shape), (Some(9), Shape::Object));
        assert_eq!(state.unwrap(), r#"{"x":"y"}"#);
        assert_eq!(step.webhook_response.unwrap()["status"], 201);
        let mem = mem.unwrap();
        assert_eq!((mem.job, mem.system, mem.peak), (1, 2, None));
    }

    #[test]
    fn an_error_of_a_step_is_read_whatever_characters_its_text_has() {
        let event = progress(
            r#"{"type":"job-error","run":"r","job":"a","time":"1767225600123456","duration":1.5,"next":[],"size":null,
               "redacted":true,"shape":"none","error":{"message":"\ud800\u0000!","type":"JobError","severity":"fail"},
               "state_error":{"name":"JobError","message":"\ud800\u0000!"}}"#,
            "",
        );
        let RunProgress::JobError { step, error, state } = event else {
            panic!("{event:?}")
        };
        assert!(step.redacted && state.is_none());
        assert_eq!(error.message.as_deref(), Some("\u{fffd}!"));
        assert_eq!(error.message, step.state_error.unwrap().message);
        assert_eq!(error.error_type.as_deref(), Some("JobError"));
    }

    #[test]
    fn lines_starts_and_ends_are_read() {
        assert!(matches!(
            progress(
                r#"{"type":"workflow-start","run":"r","thread_id":1,"time":"1767225600123456","warm":true}"#,
                ""
            ),
            RunProgress::WorkflowStart {
                thread_id: 1,
                warm: true
            }
        ));
        assert!(matches!(
            progress(r#"{"type":"log","run":"r","name":"JOB","time":"1767225600123456"}"#, "[1]"),
            RunProgress::Log { level: None, time: TIME, message, .. } if message == "[1]"
        ));
        assert!(matches!(
            progress(
                r#"{"type":"job-start","run":"r","job":"a","time":"1767225600123456"}"#,
                ""
            ),
            RunProgress::JobStart { time: TIME, .. }
        ));
        assert!(matches!(
            progress(
                r#"{"type":"workflow-complete","run":"r","time":"1767225600123456","shape":"other","size":3}"#,
                "[1]"
            ),
            RunProgress::WorkflowComplete {
                shape: Shape::Other,
                state: Some(_),
                ..
            }
        ));
        assert!(matches!(
            progress(r#"{"type":"workflow-error","run":"r","time":"1767225600123456","error":{"type":"X"}}"#, ""),
            RunProgress::WorkflowError { error } if error.error_type.as_deref() == Some("X")
        ));
        assert!(matches!(
            read(
                r#"{"type":"exit","run":"r","cause":"exit","code":1,"later":2}"#,
                ""
            )
            .unwrap(),
            ChildEvent::Exit {
                exit: RunExit {
                    cause: ExitCause::Exit,
                    code: Some(1),
                    later: 2,
                },
                ..
            }
        ));
    }

    #[test]
    fn what_concerns_no_run_is_read() {
        let read = |header: &str| read(header, "").unwrap();
        assert!(matches!(
            read(r#"{"type":"ready","protocol":1,"node":"20.20.2","runtime":"1.9.5","pid":5}"#),
            ChildEvent::Ready { protocol: 1, node, runtime } if node == "20.20.2" && runtime == "1.9.5"
        ));
        assert!(matches!(
            read(r#"{"type":"protocol-error","message":"no"}"#),
            ChildEvent::ProtocolError { message } if message == "no"
        ));
        assert!(matches!(
            read(r#"{"type":"preloaded"}"#),
            ChildEvent::Preloaded
        ));
    }

    #[test]
    fn what_is_no_event_is_an_error_that_says_why() {
        for (header, why) in [
            ("", "it is no event: EOF"),
            ("[]", "it is no event: "),
            ("{}", "missing field `type`"),
            (r#"{"type":"nope","run":"r"}"#, "unknown variant `nope`"),
            (r#"{"type":"log","run":"r"}"#, "log has no name"),
            (r#"{"type":"exit","cause":"done"}"#, "exit has no run"),
            (r#"{"type":"ready"}"#, "ready has no protocol"),
            (
                r#"{"type":"job-complete","run":"r","job":"a","time":"1767225600123456","duration":1}"#,
                "job-complete has no shape",
            ),
        ] {
            let error = read(header, "").unwrap_err();
            assert!(error.to_string().contains(why), "{header}: {error}");
        }
        assert!(matches!(read(b"\xff", ""), Err(EventError::NotUtf8(_))));
    }

    proptest! {
        #[test]
        fn no_input_makes_the_reader_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            text in "\\{\"type\":\"(log|exit|ready|job-error)\"(,\"(run|time|name|job|error)\":(1|null|\"x\"|\\{\\})){0,4}\\}",
        ) {
            let _event = read(&bytes, "");
            let _event = read(&text, "");
        }
    }
}
