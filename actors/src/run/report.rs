//! What a run reports, fixed when it is built, and the repairs that a refusal may ask for.

use protocol::ids::{DataclipId, JobId, RunId, StepId};
use protocol::lightning::{
    BatchLogs, LogLine, OutputDataclip, PushPayload, RunComplete, RunEvent, RunLog, RunStart,
    StepComplete, StepStart,
};
use protocol::reasons::{ExitReason, Outcome};

use super::outbox::Kind;

/// One report; its event and payload are of section 4 of the protocol spec.
#[derive(Debug, Clone)]
pub(super) enum Report {
    RunStart(RunStart),
    StepStart(StepStart),
    Logs(LogLines),
    StepComplete(Box<CompletedStep>),
    RunComplete(Box<RunEnd>),
}

impl Report {
    pub(super) fn event(&self) -> &'static str {
        match self {
            Self::RunStart(_) => RunEvent::RunStart.name(),
            Self::StepStart(_) => RunEvent::StepStart.name(),
            Self::Logs(lines) if lines.batched => RunEvent::BatchLogs.name(),
            Self::Logs(_) => RunEvent::RunLog.name(),
            Self::StepComplete(_) => RunEvent::StepComplete.name(),
            Self::RunComplete(_) => RunEvent::RunComplete.name(),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::RunStart(_) => Kind::RunStart,
            Self::RunComplete(_) => Kind::RunComplete,
            Self::StepStart(_) | Self::Logs(_) | Self::StepComplete(_) => Kind::Other,
        }
    }

    /// Step events have ids of ours: the server stores them once and crashes the channel on a repetition.
    pub(super) fn is_step_event(&self) -> bool {
        matches!(self, Self::StepStart(_) | Self::StepComplete(_))
    }

    /// Crashes of the channel under this report after which it is refused: `repair` where it can do without the likely
    /// cause, else `refusal`; the barest end of a run is tried until its deadline.
    pub(super) fn crashes_borne(&self, repair: u8, refusal: u8) -> Option<u8> {
        match self {
            Self::RunComplete(end) if end.is_bare() => None,
            Self::RunComplete(_) => Some(repair),
            Self::StepComplete(_) | Self::RunStart(_) | Self::StepStart(_) | Self::Logs(_) => {
                Some(refusal)
            }
        }
    }

    /// The step that is left open when this report is refused.
    pub(super) fn open_step(&self) -> Option<(StepId, JobId)> {
        match self {
            Self::StepComplete(step) => {
                Some((step.event.step_id.clone(), step.event.job_id.clone()))
            }
            Self::RunStart(_) | Self::StepStart(_) | Self::Logs(_) | Self::RunComplete(_) => None,
        }
    }

    /// Names this dataclip no more.
    pub(super) fn withhold(&mut self, dataclip: &DataclipId) {
        let id = match self {
            Self::StepStart(start) => &mut start.input_dataclip_id,
            Self::RunComplete(end) => &mut end.event.final_dataclip_id,
            Self::RunStart(_) | Self::Logs(_) | Self::StepComplete(_) => return,
        };
        if id.as_ref() == Some(dataclip) {
            *id = None;
        }
    }

    /// The size of the state in it, bytes; everything else is small beside that.
    pub(super) fn state_bytes(&self) -> usize {
        match self {
            Self::StepComplete(step) => step
                .event
                .output_dataclip
                .as_ref()
                .map_or(0, OutputDataclip::len),
            Self::RunStart(_) | Self::StepStart(_) | Self::Logs(_) | Self::RunComplete(_) => 0,
        }
    }

    /// The payload as JSON.
    ///
    /// # Errors
    /// When a part cannot be written as JSON.
    pub(super) fn payload(&self) -> Result<PushPayload, serde_json::Error> {
        match self {
            Self::RunStart(start) => serde_json::to_vec(start),
            Self::StepStart(start) => serde_json::to_vec(start),
            Self::Logs(lines) => lines.payload(),
            Self::StepComplete(complete) => return complete.event.payload(),
            Self::RunComplete(end) => return end.event.payload(),
        }
        .map(PushPayload::from)
    }
}

/// Log lines that go out together: one as `run:log`, any number as `run:batch_logs`.
#[derive(Debug, Clone)]
pub(super) struct LogLines {
    pub(super) run_id: RunId,
    pub(super) batched: bool,
    pub(super) lines: Vec<LogLine>,
}

impl LogLines {
    /// Two halves; `None` for a single line.
    pub(super) fn split(&self) -> Option<(Self, Self)> {
        if self.lines.len() < 2 {
            return None;
        }
        let (first, second) = self.lines.split_at(self.lines.len() / 2);
        Some((
            Self {
                lines: first.to_vec(),
                ..self.empty()
            },
            Self {
                lines: second.to_vec(),
                ..self.empty()
            },
        ))
    }

    fn empty(&self) -> Self {
        Self {
            run_id: self.run_id.clone(),
            batched: self.batched,
            lines: Vec::new(),
        }
    }

    fn payload(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self.lines.first() {
            Some(line) if !self.batched => serde_json::to_vec(&RunLog {
                run_id: &self.run_id,
                line,
            }),
            _ => serde_json::to_vec(&BatchLogs {
                run_id: &self.run_id,
                logs: &self.lines,
            }),
        }
    }
}

/// A `step:complete`.
#[derive(Debug, Clone)]
pub(super) struct CompletedStep {
    pub(super) event: StepComplete,
    /// It closes a step whose own end was refused: there is no further form of it.
    pub(super) last_resort: bool,
}

impl CompletedStep {
    pub(super) fn has_dataclip(&self) -> bool {
        self.event.output_dataclip_id.is_some() || self.event.output_dataclip.is_some()
    }

    /// The same completion with the dataclip withheld.
    pub(super) fn without_dataclip(&self) -> Self {
        let mut event = self.event.clone();
        event.output_dataclip_id = None;
        event.output_dataclip = None;
        Self {
            event,
            last_resort: self.last_resort,
        }
    }
}

/// A `run:complete`, and how far it was repaired already.
#[derive(Debug, Clone)]
pub(super) struct RunEnd {
    pub(super) event: RunComplete,
    pub(super) repairs: Repairs,
}

/// The repairs of a `run:complete`, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Repairs {
    None,
    WithoutFinalDataclip,
    WithoutFinalState,
    AsException,
}

impl RunEnd {
    /// Whether it names no data of the job.
    fn is_bare(&self) -> bool {
        self.event.final_state.is_none() && self.event.final_dataclip_id.is_none()
    }

    /// The next form to try after a refusal with these words; `None` when all were tried.
    pub(super) fn repaired(&self, words: &str) -> Option<Self> {
        let mut event = self.event.clone();
        if self.repairs < Repairs::WithoutFinalDataclip
            && event.final_dataclip_id.is_some()
            && words.contains("final_dataclip_id")
        {
            event.final_dataclip_id = None;
            return Some(Self {
                event,
                repairs: Repairs::WithoutFinalDataclip,
            });
        }
        let about_size = words.contains("too large") || words.contains("crashed");
        if self.repairs < Repairs::WithoutFinalState
            && event.final_state.is_some()
            && (about_size || self.repairs == Repairs::WithoutFinalDataclip)
        {
            event.final_dataclip_id = None;
            event.final_state = None;
            return Some(Self {
                event,
                repairs: Repairs::WithoutFinalState,
            });
        }
        if self.repairs < Repairs::AsException {
            let outcome = refusal(RunEvent::RunComplete.name(), words);
            let event = RunComplete::new(&outcome);
            return Some(Self {
                event,
                repairs: Repairs::AsException,
            });
        }
        None
    }
}

/// How a run ends whose report Lightning refuses.
pub(super) fn refusal(event: &str, words: &str) -> Outcome {
    Outcome {
        reason: ExitReason::Exception,
        error_type: Some("LightningError".to_owned()),
        error_message: Some(format!("[{event}] {words}")),
    }
}
