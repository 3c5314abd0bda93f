//! One run: its steps in order, what follows each, and the final state (engine spec, sections 1.5 to 1.7).

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use protocol::engine::{EngineFailure, ExecuteOptions, FinishedStep, RunProgress};
use protocol::ids::JobId;
use protocol::lightning::{Memory, storable};
use protocol::plan::{Configuration, Edge, ExecutionPlan, Step};
use protocol::reasons::EngineError;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::conditions::Condition;
use crate::control::{Control, Halt};
use crate::emit::{Emitter, JobLog, exceeds, limit_bytes, shape_of};
use crate::leaves::Leaves;
use crate::script::Scripts;
use crate::step::{StepFault, StepIn, StepOut};
use crate::validate;

/// The engine's own default (engine spec, section 1.3).
const PROPS_TO_REMOVE: &str = r#"["configuration","response"]"#;

/// The JavaScript stack and heap of a run are its own, so one run can neither see nor exhaust another's.
pub(crate) struct Workflow<'a> {
    pub(crate) plan: &'a ExecutionPlan,
    pub(crate) input: &'a [u8],
    pub(crate) options: &'a ExecuteOptions,
    pub(crate) control: &'a Control,
    pub(crate) emitter: &'a Emitter,
}

/// Why a run has no final state.
enum Failure {
    /// Nobody waits for a word about it.
    Stopped,
    Error(Box<EngineError>),
}

impl From<EngineFailure> for Failure {
    fn from(failure: EngineFailure) -> Self {
        Self::Error(Box::new(failure.into()))
    }
}

/// How a step with a job went.
struct Executed {
    state: Option<String>,
    next: Vec<JobId>,
}

impl Workflow<'_> {
    /// Executes the run and tells of it, all but its `Ended`.
    pub(crate) fn run(&self) {
        match self.leaves() {
            Ok(leaves) => self.completed(&leaves),
            Err(Failure::Stopped) => {}
            Err(Failure::Error(error)) => {
                // The worker knows a run's error by its type alone.
                let error = EngineError {
                    error_type: error.error_type.or(error.name),
                    name: None,
                    subtype: None,
                    ..*error
                };
                self.emitter.send(RunProgress::WorkflowError { error }, 0);
            }
        }
    }

    fn completed(&self, leaves: &Leaves<'_>) {
        let state = leaves.final_state();
        let size = state.as_ref().map(|text| text.len() as u64);
        let shape = shape_of(state.as_deref());
        let limit = self.options.payload_limit_mb;
        let state = if exceeds(size, limit) {
            leaves.redacted(limit)
        } else {
            state
        };
        let state = state.map(Bytes::from);
        let bytes = state.as_ref().map_or(0, Bytes::len);
        self.emitter.send(
            RunProgress::WorkflowComplete {
                time: self.emitter.now(),
                shape,
                state,
            },
            bytes,
        );
    }

    fn leaves(&self) -> Result<Leaves<'_>, Failure> {
        self.control
            .wait_to_proceed()
            .map_err(|halt| self.halted(halt))?;
        let start = validate::start_of(self.plan)?;
        let input = std::str::from_utf8(self.input)
            .map_err(|_| EngineFailure::Internal("the input is not UTF-8".to_owned()))?;
        let input = taken(input);
        let mut scripts =
            Scripts::new().map_err(|error| EngineFailure::Internal(error.to_string()))?;
        let memory =
            limit_bytes(self.options.memory_limit_mb).and_then(|bytes| usize::try_from(bytes).ok());
        // No limit is written as zero, to QuickJS and to us.
        scripts.begin(memory.unwrap_or(0), self.control);
        self.compile_conditions(&mut scripts)?;

        let mut leaves = Leaves::default();
        let mut queue = VecDeque::from([(start, Some(input.to_owned()))]);
        while let Some((id, input)) = queue.pop_front() {
            let Some((id, step)) = self.plan.steps.get_key_value(id) else {
                continue;
            };
            let Executed { state, next } = self.node(&scripts, id, step, input)?;
            if next.is_empty() {
                leaves.add(id, state);
                continue;
            }
            for target in next {
                if let Some((target, _)) = self.plan.steps.get_key_value(&target) {
                    queue.push_back((target, state.clone()));
                }
            }
        }
        Ok(leaves)
    }

    fn compile_conditions(&self, scripts: &mut Scripts) -> Result<(), Failure> {
        let mut written = Vec::new();
        for (from, step) in &self.plan.steps {
            for (to, edge) in step.next.iter().flatten() {
                if let Condition::Expression(text) = condition_of(edge) {
                    written.push((from, to, text));
                }
            }
        }
        if written.is_empty() {
            return Ok(());
        }
        let texts: Vec<_> = written.iter().map(|(_, _, text)| *text).collect();
        let bad = scripts
            .compile_conditions(&texts)
            .map_err(|fault| self.fault(fault))?;
        if bad.is_empty() {
            return Ok(());
        }
        let message = |(index, message): &(usize, String)| {
            let (from, to, _) = written[*index];
            format!("Failed to compile edge condition {from}->{to} ({message})")
        };
        let messages: Vec<_> = bad.iter().map(message).collect();
        let message = messages.join("\n\n");
        let name = "Error".to_owned();
        Err(EngineFailure::Thrown { name, message }.into())
    }

    /// Passes a node of the plan.
    fn node(
        &self,
        scripts: &Scripts,
        id: &JobId,
        step: &Step,
        input: Option<String>,
    ) -> Result<Executed, Failure> {
        let edges: Vec<_> = step
            .next
            .iter()
            .flatten()
            .map(|(target, edge)| (target.as_str(), condition_of(edge)))
            .collect();
        let source = step
            .expression
            .as_deref()
            .filter(|source| !source.is_empty())
            .map(wrapped);
        let followed = |positions: &[usize]| {
            positions
                .iter()
                .map(|at| JobId::new(edges[*at].0))
                .collect::<Vec<_>>()
        };
        if source.is_none() && edges.iter().all(|(_, condition)| condition.is_fixed()) {
            let next = edges
                .iter()
                .filter(|(_, condition)| *condition == Condition::Always);
            return Ok(Executed {
                state: input,
                next: next.map(|(target, _)| JobId::new(*target)).collect(),
            });
        }
        let credentials = self
            .plan
            .credentials
            .as_ref()
            .and_then(|all| serde_json::to_string(all).ok());
        let step_in = StepIn {
            id: id.as_str(),
            source: source.as_deref(),
            input: input.as_deref(),
            defaults: step.state.as_deref().map(RawValue::get),
            configuration: match &step.configuration {
                Configuration::Inline(body) => Some(body.get()),
                Configuration::None | Configuration::Credential(_) => None,
            },
            credentials: credentials.as_deref(),
            globals: self.plan.globals.as_deref(),
            sanitize: &self.options.sanitize,
            props_to_remove: PROPS_TO_REMOVE,
            state_limit_bytes: limit_bytes(self.options.state_limit_mb).filter(|limit| *limit > 0),
            edges: &edges,
        };
        let began = Instant::now();
        if source.is_some() {
            self.emitter.send(
                RunProgress::JobStart {
                    job: id.clone(),
                    time: self.emitter.now(),
                },
                0,
            );
        }
        let log = JobLog::new(self.emitter.clone(), self.options);
        let out = scripts
            .step(&step_in, self.control, move |line| log.line(&line))
            .map_err(|fault| self.fault(fault))?;
        let next = followed(&out.followed);
        if source.is_none() {
            return Ok(Executed {
                state: out.state,
                next,
            });
        }
        self.job_ended(id, next, out, began)
    }

    fn job_ended(
        &self,
        id: &JobId,
        next: Vec<JobId>,
        out: StepOut,
        began: Instant,
    ) -> Result<Executed, Failure> {
        let size = out.state.as_ref().map(|text| text.len() as u64);
        let redacted = exceeds(size, self.options.payload_limit_mb);
        let wanted = self.options.output_dataclips && !redacted;
        let state = out
            .state
            .as_ref()
            .filter(|_| wanted)
            .map(|text| Bytes::copy_from_slice(text.as_bytes()));
        let bytes = state.as_ref().map_or(0, Bytes::len);
        let step = FinishedStep {
            job: id.clone(),
            time: self.emitter.now(),
            duration: millis_since(began),
            next: next.clone(),
            size,
            redacted,
            shape: shape_of(out.state.as_deref()),
            webhook_response: out.webhook_response.and_then(|text| read(&text).ok()),
            state_error: out.state_error.and_then(|text| read(&text).ok()),
        };
        let Some(error) = out.error else {
            let mem = Some(Memory {
                job: out.heap_bytes,
                system: resident_bytes(),
                peak: None,
            });
            self.emitter
                .send(RunProgress::JobComplete { step, mem, state }, bytes);
            return Ok(Executed {
                state: out.state,
                next,
            });
        };
        let mut error: Box<EngineError> =
            read(&error).map_err(|unreadable| EngineFailure::Internal(unreadable.to_string()))?;
        let stops = matches!(error.severity.as_deref(), Some("crash" | "kill"));
        // An error that a job calls AdaptorError or ImportError has no severity: the workflow goes on, though the worker
        // is told of a crash (engine spec, section 7.4).
        error.severity.get_or_insert_with(|| "crash".to_owned());
        self.emitter.send(
            RunProgress::JobError {
                step,
                error: (*error).clone(),
                state,
            },
            bytes,
        );
        if stops {
            Err(Failure::Error(error))
        } else {
            Ok(Executed {
                state: out.state,
                next,
            })
        }
    }

    fn fault(&self, fault: StepFault) -> Failure {
        let failure = match fault {
            StepFault::Halted(halt) => return self.halted(halt),
            StepFault::OutOfMemory => EngineFailure::OutOfMemory,
            StepFault::StateTooLarge => EngineFailure::StateTooLarge {
                limit_mb: self.options.state_limit_mb,
            },
            StepFault::Edge(message) => EngineFailure::EdgeCondition(message),
            StepFault::Thrown(name, message) => EngineFailure::Thrown { name, message },
            StepFault::Engine(message) => EngineFailure::Internal(message),
        };
        failure.into()
    }

    fn halted(&self, halt: Halt) -> Failure {
        match halt {
            Halt::Stopped => Failure::Stopped,
            Halt::TimedOut => EngineFailure::TimedOut {
                limit: self.options.timeout.unwrap_or_default(),
            }
            .into(),
        }
    }
}

/// The runtime looks for a state of its own in place of nothing, and has none by the id that a text would be.
fn taken(input: &str) -> &str {
    match input.trim() {
        "null" | "false" | "0" | "\"\"" => r#"{"data":{},"configuration":{}}"#,
        text if text.is_empty() || text.starts_with('"') => "{}",
        _ => input,
    }
}

/// Reads JSON that QuickJS wrote, as that of an engine child is read: without what Lightning cannot store.
fn read<T: DeserializeOwned>(json: &str) -> serde_json::Result<T> {
    serde_json::from_str(&storable(json))
}

fn condition_of(edge: &Edge) -> Condition<'_> {
    match edge {
        Edge::Always => Condition::Always,
        Edge::Null => Condition::Never,
        Edge::Expression(condition) => Condition::written(condition),
        Edge::Conditional { disabled: true, .. }
        | Edge::Conditional {
            condition: None, ..
        } => Condition::Never,
        Edge::Conditional {
            condition: Some(condition),
            ..
        } => Condition::written(condition),
    }
}

/// The mock engine has no compiler: what exports no array becomes the content of one (engine spec, section 9).
fn wrapped(source: &str) -> String {
    if source.contains("export default [") {
        source.to_owned()
    } else {
        format!("export default [{source}];")
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a duration in milliseconds is far below 2^53"
)]
fn millis_since(began: Instant) -> f64 {
    began.elapsed().as_millis() as f64
}

/// Resident size of the process; zero where the system does not tell.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) * 1024
}
