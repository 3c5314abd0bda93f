//! What the engine must have said of a run, worked out from what the worker then told Lightning of it. No I/O.
//!
//! A report that is said for the first time comes from the engine, one that is said again from the outbox; and the worker's
//! own lines and ends come from the worker, at the place where the engine's event made it say them. An event stands at the
//! first item of the channel that came of it.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use protocol::engine::{FinishedStep, RunProgress, Shape};
use protocol::ids::JobId;
use protocol::js;
use protocol::lightning::{LogLine, RunComplete, RunPush, StepComplete, StepStart, Timestamp};
use protocol::logs;
use protocol::reasons::{EngineError, ExitReason, StateError};
use serde::Deserialize;

use super::lines::{Lines, key};
use super::timeline::{Item, Said, json};

/// The events of a run's engine, by the index of the item before which each must be told.
pub(super) fn script(items: &[Item]) -> BTreeMap<usize, Vec<RunProgress>> {
    let mut writer = Writer {
        items,
        script: BTreeMap::new(),
        stage: Stage::Unstarted,
        failing: false,
        first_own: None,
        steps: HashSet::new(),
        ended: HashSet::new(),
        cancelled: false,
        lines: Lines::default(),
    };
    for (index, item) in items.iter().enumerate() {
        match item {
            Item::Said(said) => writer.said(index, said),
            Item::Heard(heard) => {
                writer.cancelled |= RunPush::from_name(&heard.frame.event) == Some(RunPush::Cancel);
                if let Some(about) = heard.about {
                    writer.lines.refused(about);
                }
            }
        }
    }
    writer.finish();
    writer.script
}

#[derive(Deserialize)]
struct Batch {
    logs: Vec<LogLine>,
}

/// The lines of a log message, none if it is none.
fn lines_of(said: &Said) -> Vec<LogLine> {
    let text = json(&said.frame);
    let lines = match said.frame.event.as_str() {
        "run:log" => serde_json::from_str(text).map(|line| vec![line]),
        "run:batch_logs" => serde_json::from_str(text).map(|batch: Batch| batch.logs),
        _ => return Vec::new(),
    };
    lines.unwrap_or_default()
}

/// How far a run has come in what was told of it.
#[derive(PartialEq, Eq)]
enum Stage {
    /// Its limits are said.
    Unstarted,
    /// The worker says further lines of its own, that with the versions last.
    Started,
    /// The engine speaks.
    Running,
    Over,
}

struct Writer<'a> {
    items: &'a [Item],
    script: BTreeMap<usize, Vec<RunProgress>>,
    stage: Stage,
    /// The last line named a status that an error's line follows.
    failing: bool,
    /// Where the worker's own reports begin that came of the next event, and what status they name.
    first_own: Option<(usize, Option<ExitReason>)>,
    steps: HashSet<String>,
    ended: HashSet<String>,
    cancelled: bool,
    lines: Lines,
}

impl Writer<'_> {
    fn tell(&mut self, index: usize, event: RunProgress) {
        self.script.entry(index).or_default().push(event);
    }

    fn said(&mut self, index: usize, said: &Said) {
        let text = json(&said.frame);
        match said.frame.event.as_str() {
            "phx_join" => self.lines.joined(said.at.place),
            "run:start" if self.stage == Stage::Unstarted => {
                self.stage = Stage::Started;
                let event = RunProgress::WorkflowStart {
                    thread_id: self.thread_id(),
                    warm: true,
                };
                // The run says its first lines when it is loaded.
                self.tell(0, event);
            }
            "step:start" => {
                if let Ok(start) = serde_json::from_str::<StepStart>(text)
                    && self.steps.insert(start.step_id.to_string())
                {
                    self.first_own = None;
                    let event = RunProgress::JobStart {
                        job: start.job_id,
                        time: start.timestamp.unwrap_or(said.at.time),
                    };
                    self.tell(index, event);
                }
            }
            "run:log" | "run:batch_logs" => {
                let lines = lines_of(said);
                let keys = lines.iter().map(key).collect();
                let fresh = self.lines.said(index, said, keys);
                for (line, _) in lines.into_iter().zip(fresh).filter(|(_, fresh)| *fresh) {
                    self.line(index, line, said.at.time);
                }
            }
            "step:complete" => {
                if let Ok(complete) = serde_json::from_str::<StepComplete>(text)
                    && self.ended.insert(complete.step_id.to_string())
                {
                    // Without a duration it is the worker that closes a step.
                    if complete.duration.is_some() {
                        let at = self.first_own.take().map_or(index, |(first, _)| first);
                        self.step_ended(at, index, complete);
                    } else {
                        self.first_own.get_or_insert((index, None));
                    }
                }
            }
            "run:complete" if self.stage != Stage::Over => {
                if let Ok(complete) = serde_json::from_str::<RunComplete>(text) {
                    self.stage = Stage::Over;
                    self.run_ended(index, complete);
                }
            }
            _ => {}
        }
    }

    fn line(&mut self, index: usize, line: LogLine, now: Timestamp) {
        if self.stage == Stage::Unstarted {
            return;
        }
        let only: Option<[String; 1]> = serde_json::from_str(line.message.get()).ok();
        let text = only.as_ref().map_or("", |[text]| text);
        let after_failure = std::mem::take(&mut self.failing);
        if line.source == "R/T" && line.step_id.is_none() {
            if let Some(reason) = logs::status_of(text) {
                // A second end: the first one was dropped when Lightning refused something.
                if let Some((first, Some(status))) = self.first_own {
                    self.first_own = None;
                    self.end(first, status, None, None, now);
                }
                let first = self.first_own.map_or(index, |(first, _)| first);
                self.first_own = Some((first, Some(reason)));
                self.failing = reason != ExitReason::Success;
                return;
            }
            if after_failure {
                return;
            }
            if text == logs::DATACLIP_TOO_LARGE {
                self.first_own = Some((index, None));
                return;
            }
        }
        if self.stage == Stage::Started {
            match line.source.as_str() {
                "RTE" if logs::is_own_line("RTE", text) && text != logs::COMPILE_FAILED => return,
                "VER" => {
                    self.stage = Stage::Running;
                    return;
                }
                _ => {}
            }
        }
        let event = RunProgress::Log {
            level: Some(line.level),
            name: line.source,
            time: line.timestamp,
            message: Bytes::copy_from_slice(line.message.get().as_bytes()),
        };
        self.tell(index, event);
    }

    fn step_ended(&mut self, at: usize, index: usize, complete: StepComplete) {
        let state = complete
            .output_dataclip
            .as_ref()
            .map(|state| Bytes::copy_from_slice(state.as_str().as_bytes()));
        let state_bytes = state.as_ref().map_or(0, Bytes::len) as u64;
        let redacted = complete.output_dataclip_error.is_some();
        let shape = if complete.output_dataclip_id.is_none() && !redacted {
            Shape::Other
        } else {
            Shape::Object
        };
        let webhook = complete.webhook_response.as_ref();
        let mut step = FinishedStep {
            next: self.next_of(index, &complete),
            job: complete.job_id,
            time: complete.timestamp.unwrap_or(Timestamp::from_micros(0)),
            duration: f64::from(u32::try_from(complete.duration.unwrap_or(0)).unwrap_or(u32::MAX)),
            size: complete
                .dataclip_size_mb
                .and_then(|mb| js::bytes_of_mb(&mb, state_bytes)),
            redacted,
            shape,
            webhook_response: webhook.and_then(|raw| serde_json::from_str(raw.get()).ok()),
            state_error: None,
        };
        let event = match complete.reason {
            ExitReason::Success => RunProgress::JobComplete {
                step,
                mem: complete.mem,
                state,
            },
            // Whether the job threw or wrote it into its state, it is told to Lightning in one way.
            ExitReason::Fail => {
                step.state_error = Some(StateError {
                    name: complete.error_type,
                    message: complete.error_message,
                });
                RunProgress::JobComplete {
                    step,
                    mem: complete.mem,
                    state,
                }
            }
            reason => RunProgress::JobError {
                step,
                error: error(reason, complete.error_type, complete.error_message),
                state,
            },
        };
        self.tell(at, event);
    }

    fn run_ended(&mut self, index: usize, complete: RunComplete) {
        let first = self.first_own.take().map_or(index, |(first, _)| first);
        let by_worker = complete.error_type.as_deref() == Some("LightningError")
            || (complete.reason == ExitReason::Cancel && self.cancelled);
        if by_worker {
            return;
        }
        if let Some(time) = complete.timestamp {
            let state = complete.final_state.map(|state| state.as_bytes().clone());
            self.completed(first, time, state);
        } else {
            let (error_type, message) = (complete.error_type, complete.error_message);
            let time = Timestamp::from_micros(0);
            self.end(first, complete.reason, error_type, message, time);
        }
    }

    /// The end of a run of which only the status is known, or which ended by an error.
    fn end(
        &mut self,
        at: usize,
        reason: ExitReason,
        error_type: Option<String>,
        message: Option<String>,
        now: Timestamp,
    ) {
        if error_type.is_none() && matches!(reason, ExitReason::Success | ExitReason::Fail) {
            self.completed(at, now, None);
        } else {
            let error = error(reason, error_type, message);
            self.tell(at, RunProgress::WorkflowError { error });
        }
    }

    fn completed(&mut self, at: usize, time: Timestamp, state: Option<Bytes>) {
        let shape = match state.as_ref().and_then(|state| state.first()) {
            None => Shape::None,
            Some(b'{') => Shape::Object,
            Some(_) => Shape::Other,
        };
        let event = RunProgress::WorkflowComplete { time, shape, state };
        self.tell(at, event);
    }

    /// The recording ends between the lines about a run's end and the end.
    fn finish(&mut self) {
        if let Some((first, Some(reason))) = self.first_own.filter(|_| self.stage != Stage::Over) {
            self.end(first, reason, None, None, Timestamp::from_micros(0));
        }
    }

    fn thread_id(&self) -> u64 {
        #[derive(Deserialize)]
        struct Thread {
            thread_id: u64,
        }
        let ids = self.items.iter().filter_map(|item| match item {
            Item::Said(said) if said.frame.event == "step:complete" => {
                serde_json::from_str::<Thread>(json(&said.frame)).ok()
            }
            Item::Said(_) | Item::Heard(_) => None,
        });
        ids.map(|thread| thread.thread_id).next().unwrap_or(0)
    }

    /// The jobs that began with the dataclip of this step; where it was withheld, those that the plan has behind it and
    /// that began with none.
    fn next_of(&self, index: usize, complete: &StepComplete) -> Vec<JobId> {
        let mut seen = self.steps.clone();
        let later = self
            .items
            .iter()
            .skip(index + 1)
            .filter_map(|item| match item {
                Item::Said(said) if said.frame.event == "step:start" => {
                    serde_json::from_str::<StepStart>(json(&said.frame)).ok()
                }
                Item::Said(_) | Item::Heard(_) => None,
            });
        let later: Vec<StepStart> = later
            .filter(|start| seen.insert(start.step_id.to_string()))
            .collect();
        let jobs = |wanted: &dyn Fn(&StepStart) -> bool| -> Vec<JobId> {
            let starts = later.iter().filter(|start| wanted(start));
            starts.map(|start| start.job_id.clone()).collect()
        };
        let dataclip = complete.output_dataclip_id.as_ref();
        let next =
            jobs(&|start| dataclip.is_some() && start.input_dataclip_id.as_ref() == dataclip);
        if !next.is_empty() {
            return next;
        }
        let targets = self.targets_of(&complete.job_id);
        jobs(&|start| start.input_dataclip_id.is_none() && targets.contains(start.job_id.as_str()))
    }

    fn targets_of(&self, job: &JobId) -> HashSet<String> {
        #[derive(Deserialize)]
        struct Reply {
            response: Plan,
        }
        #[derive(Deserialize)]
        struct Plan {
            #[serde(default)]
            edges: Vec<Edge>,
        }
        #[derive(Deserialize)]
        struct Edge {
            source_job_id: Option<String>,
            target_job_id: Option<String>,
        }
        let plans = self.items.iter().filter_map(|item| match item {
            Item::Said(said) if said.frame.event == "fetch:plan" => said.answers.first(),
            Item::Said(_) | Item::Heard(_) => None,
        });
        let edges = plans
            .filter_map(|(_, frame)| serde_json::from_str::<Reply>(json(frame)).ok())
            .flat_map(|reply| reply.response.edges);
        edges
            .filter(|edge| edge.source_job_id.as_deref() == Some(job.as_str()))
            .filter_map(|edge| edge.target_job_id)
            .collect()
    }
}

fn error(reason: ExitReason, error_type: Option<String>, message: Option<String>) -> EngineError {
    EngineError {
        message,
        error_type,
        severity: Some(reason.as_str().to_owned()),
        ..EngineError::default()
    }
}
