//! What a step and a run end with, and what is said about it.

use bytes::Bytes;
use log_events::table;
use protocol::engine::{FinishedStep, Shape};
use protocol::ids::DataclipId;
use protocol::lightning::{
    FinalState, Memory, OutputDataclip, RunComplete, StepComplete, Timestamp,
};
use protocol::logs;
use protocol::reasons::Outcome;
use serde_json::value::to_raw_value;

use super::{NewId, Outgoing, Reporter};
use crate::run::machine::Notice;
use crate::run::report::{CompletedStep, Repairs, Report, RunEnd, TOO_LARGE};

/// A step that has ended, with what was made of it.
pub(super) struct EndedStep {
    pub(super) step: FinishedStep,
    pub(super) state: Option<Bytes>,
    pub(super) mem: Option<Memory>,
    pub(super) outcome: Outcome,
}

impl Reporter {
    /// Ends the run with this outcome, closing the step that is still active.
    pub(in crate::run) fn end_with(
        &mut self,
        outcome: &Outcome,
        now: &Timestamp,
        new_id: NewId<'_>,
    ) -> Vec<Outgoing> {
        if self.ended() {
            return Vec::new();
        }
        let mut outgoing = Vec::new();
        if let Some(step) = self.active.take() {
            let mut event = StepComplete::new(step.id, step.job, outcome.clone());
            if !self.refused {
                event.output_dataclip_id = Some(DataclipId::new(new_id()));
                event.output_dataclip = self.output_dataclips.then(OutputDataclip::empty);
            }
            outgoing.push(Outgoing::Report(Report::StepComplete(Box::new(
                CompletedStep {
                    event,
                    last_resort: self.refused,
                },
            ))));
        }
        self.status_lines(outcome, now.minus_millis(10), &mut outgoing);
        self.end(RunComplete::new(outcome), &mut outgoing);
        outgoing
    }

    pub(super) fn step_ended(&mut self, ended: EndedStep, new_id: NewId<'_>) -> Vec<Outgoing> {
        let EndedStep {
            step,
            state,
            mem,
            outcome,
        } = ended;
        let Some(active) = self.active.take() else {
            return vec![Outgoing::Log(Notice::new(
                &table::RUN_EVENT_IGNORED,
                [
                    ("job_id", step.job.as_str().into()),
                    ("error", "a step ended twice".into()),
                ],
                format!(
                    "dropped a second completion of the step of job {}",
                    step.job
                ),
            ))];
        };
        self.steps += 1;
        let mut outgoing = Vec::new();
        let dataclip_id = DataclipId::new(new_id());
        let output_dataclip = match state {
            _ if step.redacted || !self.output_dataclips => None,
            Some(state) if step.shape == Shape::Object => OutputDataclip::from_json(state),
            _ => Some(OutputDataclip::empty()),
        };
        let over_frame = output_dataclip
            .as_ref()
            .is_some_and(|dataclip| !self.frames.take_escaped(dataclip.as_str()));
        if over_frame {
            outgoing.push(Outgoing::Log(Notice::new(
                &table::RUN_DATACLIP_WITHHELD,
                [("job_id", step.job.as_str().into())],
                format!(
                    "run {}: the dataclip of job {} makes a message of more than {} MB, it is withheld",
                    self.run_id,
                    step.job,
                    self.frames.mebibytes()
                ),
            )));
        }
        let too_large = step.redacted || over_frame;
        if too_large {
            outgoing.push(self.worker_line("R/T", "info", logs::DATACLIP_TOO_LARGE, step.time));
        }
        // A state that is no JSON object cannot be stored by Lightning: the step is completed without it.
        let withheld = too_large || step.shape == Shape::Other;
        let event = StepComplete {
            mem,
            duration: Some(whole(step.duration)),
            thread_id: self.thread_id,
            timestamp: Some(self.timeline.at(step.time)),
            output_dataclip_id: (!withheld).then(|| dataclip_id.clone()),
            output_dataclip: output_dataclip.filter(|_| !withheld),
            output_dataclip_error: too_large.then(|| TOO_LARGE.to_owned()),
            webhook_response: step
                .webhook_response
                .and_then(|value| to_raw_value(&value).ok()),
            dataclip_size_mb: step.size.and_then(protocol::js::size_mb),
            ..StepComplete::new(active.id, active.job, outcome.clone())
        };
        self.inputs.completed(&step.next, &dataclip_id, withheld);
        self.reasons.record(step.job, outcome);
        if step.next.is_empty() {
            self.leaves.add(dataclip_id, withheld);
        }
        outgoing.push(Outgoing::Report(Report::StepComplete(Box::new(
            CompletedStep {
                event,
                last_resort: false,
            },
        ))));
        outgoing
    }

    pub(super) fn completed(
        &mut self,
        time: Timestamp,
        shape: Shape,
        state: Option<Bytes>,
    ) -> Vec<Outgoing> {
        let mut outgoing = Vec::new();
        let outcome = match &self.plan {
            Some(plan) => self.reasons.of_run(plan),
            None => Outcome::success(),
        };
        let state = if shape == Shape::None { None } else { state };
        let (final_state, final_dataclip_id) = self.leaves.final_state(state.as_ref());
        let fits = |state: &FinalState| self.frames.take(state.as_bytes().len());
        let over_frame = final_state.as_ref().is_some_and(|state| !fits(state));
        if over_frame {
            let text = logs::final_state_over_frame(self.frames.mebibytes());
            outgoing.push(self.worker_line("R/T", "info", &text, time));
        }
        self.status_lines(&outcome, time, &mut outgoing);
        let event = RunComplete {
            timestamp: Some(self.timeline.at(time)),
            final_state: final_state.filter(|_| !over_frame),
            final_dataclip_id,
            ..RunComplete::new(&outcome)
        };
        self.end(event, &mut outgoing);
        outgoing
    }

    /// How the run ended, for its log; dated not before `at`.
    fn status_lines(&mut self, outcome: &Outcome, at: Timestamp, outgoing: &mut Vec<Outgoing>) {
        for text in logs::status_lines(outcome) {
            outgoing.push(self.worker_line("R/T", "info", &text, at));
        }
    }

    fn end(&mut self, event: RunComplete, outgoing: &mut Vec<Outgoing>) {
        self.reason = Some(event.reason);
        self.error_type.clone_from(&event.error_type);
        self.active = None;
        outgoing.push(Outgoing::Report(Report::RunComplete(Box::new(RunEnd {
            event,
            repairs: Repairs::None,
        }))));
    }
}

/// Milliseconds as Lightning takes them.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates; a step that took less than nothing took nothing"
)]
fn whole(milliseconds: f64) -> u64 {
    milliseconds.round() as u64
}
