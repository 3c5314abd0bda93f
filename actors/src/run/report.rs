//! What a run reports, fixed when it is built, and the repairs that a refusal may ask for.

use protocol::ids::{DataclipId, JobId, RunId, StepId};
use protocol::lightning::{
    BatchLogs, LogLine, Named, OutputDataclip, PushPayload, RefusalMeaning, RunComplete, RunEvent,
    RunLog, RunStart, StepComplete, StepStart,
};
use protocol::logs;
use protocol::reasons::{ExitReason, Outcome};

use super::cause::Cause;

/// The kinds of reports that the run acts on when they are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Milestone {
    RunStart,
    RunComplete,
    Other,
}

/// One report; its event and payload are those of the protocol spec, section 4.
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

    pub(super) fn milestone(&self) -> Milestone {
        match self {
            Self::RunStart(_) => Milestone::RunStart,
            Self::RunComplete(_) => Milestone::RunComplete,
            Self::StepStart(_) | Self::Logs(_) | Self::StepComplete(_) => Milestone::Other,
        }
    }

    /// Step events have ids of ours: the server stores them once and crashes the channel on a repetition.
    pub(super) fn is_step_event(&self) -> bool {
        matches!(self, Self::StepStart(_) | Self::StepComplete(_))
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

/// What stands for a dataclip that was not sent for its size (protocol spec, section 4.9).
pub(super) const TOO_LARGE: &str = "DATACLIP_TOO_LARGE";

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

    /// The line without its message; `None` when it has none already.
    pub(super) fn redacted(&self) -> Option<Self> {
        let line = self.lines.first()?;
        let redacted = LogLine {
            step_id: line.step_id.clone(),
            ..LogLine::text(
                &line.source,
                &line.level,
                logs::LINE_TOO_LARGE,
                line.timestamp,
            )
        };
        (line.message.get() != redacted.message.get()).then(|| Self {
            lines: vec![redacted],
            ..self.empty()
        })
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
    fn has_dataclip(&self) -> bool {
        self.event.output_dataclip_id.is_some() || self.event.output_dataclip.is_some()
    }

    /// The next form to try; `None` when there is none.
    pub(super) fn repaired(&self, cause: &Cause) -> Option<Self> {
        let mut event = self.event.clone();
        if self.has_dataclip() && cause.is_about_the_dataclip() {
            event.output_dataclip_id = None;
            event.output_dataclip = None;
            if cause.is_too_large() {
                event.output_dataclip_error = Some(TOO_LARGE.to_owned());
            }
        } else {
            let smaller = cause.is_too_large()
                && (event.webhook_response.take().is_some() || shorten(&mut event.error_message));
            if !smaller {
                return None;
            }
        }
        Some(Self {
            event,
            last_resort: self.last_resort,
        })
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
    pub(super) fn is_bare(&self) -> bool {
        self.event.final_state.is_none() && self.event.final_dataclip_id.is_none()
    }

    /// The next form to try; `None` when all were tried.
    pub(super) fn repaired(&self, cause: &Cause) -> Option<Self> {
        let mut event = self.event.clone();
        let crashed = matches!(cause, Cause::ChannelCrashed | Cause::SocketClosed);
        let unknown_clip = cause.meaning() == Some(RefusalMeaning::Missing(Named::FinalDataclip));
        let repairs = if self.repairs < Repairs::WithoutFinalDataclip
            && event.final_dataclip_id.is_some()
            && (unknown_clip || (crashed && event.final_state.is_none()))
        {
            event.final_dataclip_id = None;
            Repairs::WithoutFinalDataclip
        } else if self.repairs < Repairs::WithoutFinalState
            && event.final_state.is_some()
            && (cause.may_be_the_state() || self.repairs == Repairs::WithoutFinalDataclip)
        {
            event.final_state = None;
            // A size says nothing against the dataclip's name; a crash may be its doing.
            if !cause.is_too_large() {
                event.final_dataclip_id = None;
            }
            Repairs::WithoutFinalState
        } else if cause.is_too_large() && shorten(&mut event.error_message) {
            self.repairs
        } else if self.repairs < Repairs::AsException {
            let outcome = refusal(RunEvent::RunComplete.name(), cause);
            event = RunComplete::new(&outcome);
            Repairs::AsException
        } else {
            return None;
        };
        Some(Self { event, repairs })
    }
}

/// The longest error message where there is no room for all of it, bytes.
const SHORT_MESSAGE: usize = 64 << 10;

/// Makes a message that takes too much room short; whether it was long.
fn shorten(message: &mut Option<String>) -> bool {
    match message {
        Some(text) if text.len() > SHORT_MESSAGE => {
            text.truncate(text.floor_char_boundary(SHORT_MESSAGE));
            text.push('…');
            true
        }
        _ => false,
    }
}

/// How a run ends whose report Lightning does not take.
pub(super) fn refusal(event: &str, cause: &Cause) -> Outcome {
    Outcome {
        reason: ExitReason::Exception,
        error_type: Some("LightningError".to_owned()),
        error_message: Some(format!("[{event}] {cause}")),
    }
}
