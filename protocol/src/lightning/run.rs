//! `run:<id>`: requests and reports (protocol spec, section 4).

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::payload::State;
use super::{FinalState, LongPayload, OutputDataclip, PushPayload, Timestamp};
use crate::ids::{CredentialId, DataclipId, JobId, StepId};
use crate::reasons::{ExitReason, Outcome};

/// Bytes from which on a state is not copied into its report.
const LONG_STATE: usize = 256 << 10;

/// The events that a worker pushes on a run's channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunEvent {
    /// Asks for the plan.
    FetchPlan,
    /// Asks for the input.
    FetchDataclip,
    /// Asks for one credential.
    FetchCredential,
    /// The run begins.
    RunStart,
    /// One log line.
    RunLog,
    /// Several log lines.
    BatchLogs,
    /// A step begins.
    StepStart,
    /// A step has ended.
    StepComplete,
    /// The run has ended.
    RunComplete,
}

impl RunEvent {
    /// All events, in the order in which a run can first send them.
    pub const ALL: [Self; 9] = [
        Self::FetchPlan,
        Self::FetchDataclip,
        Self::FetchCredential,
        Self::RunStart,
        Self::RunLog,
        Self::BatchLogs,
        Self::StepStart,
        Self::StepComplete,
        Self::RunComplete,
    ];

    /// The event of this name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::FetchPlan => "fetch:plan",
            Self::FetchDataclip => "fetch:dataclip",
            Self::FetchCredential => "fetch:credential",
            Self::RunStart => "run:start",
            Self::RunLog => "run:log",
            Self::BatchLogs => "run:batch_logs",
            Self::StepStart => "step:start",
            Self::StepComplete => "step:complete",
            Self::RunComplete => "run:complete",
        }
    }
}

/// The events that a server pushes on a run's channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunPush {
    /// Somebody cancels the run. No version of Lightning that was seen sends it (protocol spec, section
    /// 3.5).
    Cancel,
}

impl RunPush {
    /// The event of this name on the wire; `None` for one that a worker does not know, and ignores.
    pub fn from_name(name: &str) -> Option<Self> {
        (name == Self::Cancel.name()).then_some(Self::Cancel)
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cancel => "run:cancel",
        }
    }
}

/// The payload of the join.
#[derive(Clone, Serialize, Deserialize)]
pub struct RunJoin {
    /// The run token, unchanged.
    pub token: String,
}

impl fmt::Debug for RunJoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunJoin(***)")
    }
}

/// The payload of `fetch:dataclip`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FetchDataclip {
    /// The plan's `dataclip_id`.
    pub id: DataclipId,
}

/// The payload of `fetch:credential`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FetchCredential {
    /// The id that a job's `credential_id` names.
    pub id: CredentialId,
}

/// The payload of `run:start`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunStart {
    /// What the run is executed with, from [`crate::versions`]. The server ignores it.
    pub versions: IndexMap<String, serde_json::Value>,
    /// When the run began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

/// The payload of `step:start`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepStart {
    /// Made by the worker, once: the server refuses it a second time.
    pub step_id: StepId,
    /// The job that the step executes, of the run's snapshot.
    pub job_id: JobId,
    /// When the step began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// Its input; left out if unknown or withheld (protocol spec, section 4.14).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_dataclip_id: Option<DataclipId>,
}

/// Memory figures of a step, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Bytes of heap that the step's isolate used.
    pub job: u64,
    /// Resident size of the process.
    pub system: u64,
    /// Largest heap seen while profiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<u64>,
}

/// The payload of `step:complete`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepComplete {
    /// The id of its `step:start`.
    pub step_id: StepId,
    /// The job of its `step:start`.
    pub job_id: JobId,
    /// Absent after an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem: Option<Memory>,
    /// How long the step took, in milliseconds; absent where it was closed by the run's error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// Any number that is unique in the run's child.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<u64>,
    /// When the step ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// The state's truthy `webhookResponse`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_response: Option<Box<RawValue>>,
    /// Absent when the dataclip is withheld.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_dataclip_id: Option<DataclipId>,
    /// Absent when the dataclip is withheld or not to be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_dataclip: Option<OutputDataclip>,
    /// `DATACLIP_TOO_LARGE` where the output was withheld for its size, else absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_dataclip_error: Option<String>,
    /// Size of the state, as [`crate::js::size_mb`] writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataclip_size_mb: Option<String>,
    /// How the step ended.
    pub reason: ExitReason,
    /// Null on success.
    pub error_type: Option<String>,
    /// Null on success.
    pub error_message: Option<String>,
}

impl StepComplete {
    /// The completion of a step without anything but its outcome.
    pub fn new(step_id: StepId, job_id: JobId, outcome: Outcome) -> Self {
        Self {
            step_id,
            job_id,
            mem: None,
            duration: None,
            thread_id: None,
            timestamp: None,
            output_dataclip_id: None,
            output_dataclip: None,
            output_dataclip_error: None,
            webhook_response: None,
            dataclip_size_mb: None,
            reason: outcome.reason,
            error_type: outcome.error_type,
            error_message: outcome.error_message,
        }
    }

    /// The payload. A long state is its last field, not yet written.
    ///
    /// # Errors
    /// When a part cannot be written as JSON.
    pub fn payload(&self) -> Result<PushPayload, serde_json::Error> {
        let state = self.output_dataclip.as_ref();
        let Some(state) = state.filter(|state| state.len() >= LONG_STATE) else {
            return serde_json::to_vec(self).map(PushPayload::from);
        };
        let others = Self {
            output_dataclip: None,
            ..self.clone()
        };
        let state = State::Escaped(state.clone());
        LongPayload::try_new(&others, "output_dataclip", state).map(PushPayload::Long)
    }
}

/// The payload of `run:complete`; no other key may be sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunComplete {
    /// Absent after an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// The engine's result (protocol spec, section 4.13).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_state: Option<FinalState>,
    /// How the run ended.
    pub reason: ExitReason,
    /// Null on success.
    pub error_type: Option<String>,
    /// Null on success.
    pub error_message: Option<String>,
    /// The dataclip of a single leaf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_dataclip_id: Option<DataclipId>,
}

impl RunComplete {
    /// The end of a run without anything but its outcome.
    pub fn new(outcome: &Outcome) -> Self {
        Self {
            timestamp: None,
            final_state: None,
            reason: outcome.reason,
            error_type: outcome.error_type.clone(),
            error_message: outcome.error_message.clone(),
            final_dataclip_id: None,
        }
    }

    /// The payload. A long state is its last field, not yet written.
    ///
    /// # Errors
    /// When a part cannot be written as JSON.
    pub fn payload(&self) -> Result<PushPayload, serde_json::Error> {
        let state = self.final_state.as_ref();
        let Some(state) = state.filter(|state| state.as_bytes().len() >= LONG_STATE) else {
            return serde_json::to_vec(self).map(PushPayload::from);
        };
        let others = Self {
            final_state: None,
            ..self.clone()
        };
        let state = State::Raw(state.clone());
        LongPayload::try_new(&others, "final_state", state).map(PushPayload::Long)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// The payload comes in pieces, and is what would have been written at once.
    fn is_long(payload: PushPayload, whole: &serde_json::Value) {
        let PushPayload::Long(long) = payload else {
            panic!("it is written at once")
        };
        let pieces: Vec<Bytes> = long.pieces().map(Result::unwrap).collect();
        assert!(pieces.len() > 6, "{} pieces", pieces.len());
        let written = pieces.concat();
        assert_eq!(written.len(), long.bytes());
        let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(&written, whole);
    }

    #[test]
    fn long_states_are_written_piece_by_piece() {
        let state = serde_json::json!({ "x": "\n\"é€😀".repeat(LONG_STATE / 8) });
        let state = Bytes::from(state.to_string());
        let complete = StepComplete {
            output_dataclip: OutputDataclip::from_json(state.clone()),
            ..StepComplete::new(StepId::new("s1"), JobId::new("a"), Outcome::success())
        };
        let whole = serde_json::to_value(&complete).unwrap();
        is_long(complete.payload().unwrap(), &whole);
        let complete = RunComplete {
            final_state: FinalState::from_json(state),
            ..RunComplete::new(&Outcome::success())
        };
        let whole = serde_json::to_value(&complete).unwrap();
        is_long(complete.payload().unwrap(), &whole);
    }

    #[test]
    fn a_step_completion_has_the_fields_of_the_reference() {
        let complete = StepComplete {
            mem: Some(Memory {
                job: 1,
                system: 2,
                peak: None,
            }),
            duration: Some(412),
            thread_id: Some(3),
            timestamp: Some(Timestamp::from_micros(1_767_225_600_523_456)),
            output_dataclip_id: Some(DataclipId::new("c1")),
            output_dataclip: OutputDataclip::from_json(Bytes::from_static(br#"{"data":{"a":1}}"#)),
            ..StepComplete::new(StepId::new("s1"), JobId::new("a"), Outcome::success())
        };
        assert_eq!(
            serde_json::to_string(&complete).unwrap(),
            concat!(
                r#"{"step_id":"s1","job_id":"a","mem":{"job":1,"system":2},"duration":412,"thread_id":3,"#,
                r#""timestamp":"1767225600523456","output_dataclip_id":"c1","output_dataclip":"{\"data\":{\"a\":1}}","#,
                r#""reason":"success","error_type":null,"error_message":null}"#
            )
        );
    }

    #[test]
    fn events_have_the_names_of_the_wire() {
        for event in RunEvent::ALL {
            assert_eq!(RunEvent::from_name(event.name()), Some(event));
        }
        assert_eq!(RunEvent::from_name("phx_join"), None);
        assert_eq!(RunPush::from_name("run:cancel"), Some(RunPush::Cancel));
        assert_eq!(RunPush::from_name("run:start"), None);
    }

    #[test]
    fn no_token_shows_in_debug_output() {
        let join = RunJoin {
            token: "hush".to_owned(),
        };
        assert!(!format!("{join:?}").contains("hush"));
    }

    #[test]
    fn the_end_after_an_error_has_no_time_and_no_state() {
        let outcome = Outcome {
            reason: ExitReason::Kill,
            error_type: Some("TimeoutError".into()),
            error_message: Some("Workflow failed to return within 300000ms".into()),
        };
        assert_eq!(
            serde_json::to_string(&RunComplete::new(&outcome)).unwrap(),
            r#"{"reason":"kill","error_type":"TimeoutError","error_message":"Workflow failed to return within 300000ms"}"#
        );
    }
}
