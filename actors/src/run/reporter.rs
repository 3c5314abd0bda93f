//! Turns what the engine says about a run into what Lightning is told. No actor, no clock, no I/O.
//!
//! One step is active at most; its ids, the dataclips that it hands on and the reasons that decide how the run ends are
//! kept here (protocol spec, sections 4.6 to 4.14 and 5).

mod endings;

use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use log_events::table;
use protocol::engine::RunProgress;
use protocol::ids::{DataclipId, JobId, RunId, StepId};
use protocol::lightning::{Leaves, LogLine, RunStart, StepStart, Timestamp};
use protocol::logs;
use protocol::plan::{ExecutionPlan, Step};
use protocol::reasons::{self, ExitReason, InputDataclips, Reasons};

use self::endings::EndedStep;
use super::machine::Notice;
use super::report::{LogLines, Report};
use super::timeline::Timeline;
use crate::config::FrameLimit;

/// Something to be told to Lightning, and whether it may join a batch of log lines; or to the operator.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A line of the run's log.
    Line(LogLines),
    /// Anything else, and the worker's own lines, which are batches of one (protocol spec, section 5.2).
    Report(Report),
    /// A line of the operator's log.
    Log(Notice),
}

#[derive(Debug)]
struct ActiveStep {
    id: StepId,
    job: JobId,
}

/// Makes UUIDs.
pub(super) type NewId<'a> = &'a mut dyn FnMut() -> String;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Reporter {
    run_id: RunId,
    plan: Option<Arc<ExecutionPlan>>,
    batching: bool,
    output_dataclips: bool,
    active: Option<ActiveStep>,
    inputs: InputDataclips,
    reasons: Reasons,
    leaves: Leaves,
    thread_id: Option<u64>,
    reason: Option<ExitReason>,
    error_type: Option<String>,
    /// Steps that were completed.
    steps: usize,
    /// Lightning refused a report: what is left is to say so.
    refused: bool,
    timeline: Timeline,
    frames: FrameLimit,
}

impl Reporter {
    /// A reporter of a run whose plan is not known yet: it can only say how the run ended.
    pub(super) fn new(run_id: RunId, batching: bool, frames: FrameLimit) -> Self {
        Self {
            run_id,
            plan: None,
            batching,
            output_dataclips: true,
            active: None,
            inputs: InputDataclips::default(),
            reasons: Reasons::default(),
            leaves: Leaves::default(),
            thread_id: None,
            reason: None,
            error_type: None,
            steps: 0,
            refused: false,
            timeline: Timeline::default(),
            frames,
        }
    }

    /// Steps that were completed.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// The type of the error that ended the run.
    pub(super) fn error_type(&self) -> Option<&str> {
        self.error_type.as_deref()
    }

    /// The run is about to be executed with this plan and input.
    pub(super) fn begin(
        &mut self,
        plan: Arc<ExecutionPlan>,
        input: Option<DataclipId>,
        output_dataclips: bool,
    ) {
        self.inputs = InputDataclips::new(&plan, input);
        self.plan = Some(plan);
        self.output_dataclips = output_dataclips;
    }

    /// Lightning refused this dataclip: nothing that follows may name it.
    pub(super) fn withhold(&mut self, dataclip: &DataclipId) {
        self.inputs.withhold(dataclip);
        self.leaves.withhold(dataclip);
    }

    /// Lightning refused a report, and what was to follow it was dropped, the end of the run too. `open` is the step that
    /// Lightning still holds to be active.
    pub(super) fn refused(&mut self, open: Option<(StepId, JobId)>) {
        self.active = open.map(|(id, job)| ActiveStep { id, job });
        self.reason = None;
        self.refused = true;
    }

    /// How the run ended, once that was reported: nothing may follow it.
    pub(super) fn reason(&self) -> Option<ExitReason> {
        self.reason
    }

    /// Whether the end of the run was reported.
    pub(super) fn ended(&self) -> bool {
        self.reason.is_some()
    }

    pub(super) fn active_job(&self) -> Option<&JobId> {
        self.active.as_ref().map(|step| &step.job)
    }

    /// A job of the plan.
    pub(super) fn job(&self, id: &JobId) -> Option<&Step> {
        self.plan.as_ref()?.steps.get(id)
    }

    /// The start of the run, with what it is made of.
    pub(super) fn run_start(
        &mut self,
        versions: IndexMap<String, serde_json::Value>,
        now: Timestamp,
    ) -> Outgoing {
        Outgoing::Report(Report::RunStart(RunStart {
            versions,
            timestamp: Some(self.timeline.at(now)),
        }))
    }

    /// A line of the worker, which belongs to no step and joins no batch (protocol spec, section 5.2).
    pub(super) fn worker_line(
        &mut self,
        source: &str,
        level: &str,
        text: &str,
        timestamp: Timestamp,
    ) -> Outgoing {
        let line = LogLine::text(source, level, text, self.timeline.at(timestamp));
        Outgoing::Report(Report::Logs(self.one(line)))
    }

    /// The line that says that a dataclip was too large for Lightning.
    pub(super) fn too_large_line(&mut self, now: Timestamp) -> LogLines {
        let time = self.time(now);
        self.one(LogLine::text("R/T", "info", logs::DATACLIP_TOO_LARGE, time))
    }

    /// A time after everything that was reported.
    pub(super) fn time(&mut self, wanted: Timestamp) -> Timestamp {
        self.timeline.at(wanted)
    }

    /// A line of the engine from before the first step.
    pub(super) fn engine_line(
        &mut self,
        source: &str,
        level: &str,
        text: &str,
        timestamp: Timestamp,
    ) -> Outgoing {
        let line = LogLine::text(source, level, text, self.timeline.at(timestamp));
        Outgoing::Line(self.one(line))
    }

    fn one(&self, line: LogLine) -> LogLines {
        LogLines {
            run_id: self.run_id.clone(),
            batched: self.batching,
            lines: vec![line],
        }
    }

    /// What an event of the engine means for Lightning; `new_id` makes UUIDs, `now` is the present time.
    pub(super) fn on(
        &mut self,
        event: RunProgress,
        now: &Timestamp,
        new_id: NewId<'_>,
    ) -> Vec<Outgoing> {
        if self.ended() {
            return Vec::new();
        }
        match event {
            RunProgress::WorkflowStart { thread_id, .. } => {
                self.thread_id = Some(thread_id);
                Vec::new()
            }
            RunProgress::Log {
                level,
                name,
                time,
                message,
            } => self.line(level, name, time, &message),
            RunProgress::JobStart { job, time } => {
                let id = StepId::new(new_id());
                let input_dataclip_id = self.inputs.take(&job);
                self.active = Some(ActiveStep {
                    id: id.clone(),
                    job: job.clone(),
                });
                vec![Outgoing::Report(Report::StepStart(StepStart {
                    step_id: id,
                    job_id: job,
                    input_dataclip_id,
                    timestamp: Some(self.timeline.at(time)),
                }))]
            }
            RunProgress::JobComplete { step, mem, state } => {
                let outcome = reasons::step_outcome(None, step.state_error.as_ref());
                self.step_ended(
                    EndedStep {
                        step,
                        state,
                        mem,
                        outcome,
                    },
                    new_id,
                )
            }
            RunProgress::JobError { step, error, state } => {
                let outcome = reasons::step_outcome(Some(&error), step.state_error.as_ref());
                self.step_ended(
                    EndedStep {
                        step,
                        state,
                        mem: None,
                        outcome,
                    },
                    new_id,
                )
            }
            RunProgress::WorkflowComplete { time, shape, state } => {
                self.completed(time, shape, state)
            }
            RunProgress::WorkflowError { error } => {
                self.end_with(&reasons::error_outcome(&error), now, new_id)
            }
            RunProgress::Ended => Vec::new(),
        }
    }

    fn line(
        &mut self,
        level: Option<String>,
        name: String,
        time: Timestamp,
        message: &Bytes,
    ) -> Vec<Outgoing> {
        match LogLine::from_json(
            name,
            level,
            message,
            self.timeline.at(time),
            self.active.as_ref().map(|step| step.id.clone()),
        ) {
            Ok(Some(line)) => vec![Outgoing::Line(self.one(line))],
            Ok(None) => Vec::new(),
            Err(error) => vec![Outgoing::Log(Notice::new(
                &table::RUN_LINES_DROPPED,
                [("lines", 1_u64.into()), ("error", error.to_string().into())],
                format!("dropped a log line of the engine that is no JSON array: {error}"),
            ))],
        }
    }
}

#[cfg(test)]
mod tests;
