//! The spans of one run.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actors::run::RunPhase;
use actors::traces::{Moment, StepStart};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use protocol::ids::{RunId, StepId};
use protocol::lightning::Timestamp;
use protocol::reasons::ExitReason;

/// The longest text of an attribute, in characters: names come from projects, types of errors from jobs.
const LONGEST: usize = 256;

/// A run in hand whose trace is made.
#[derive(Debug)]
pub(crate) struct RunTrace {
    root: Open,
    began: SystemTime,
    /// How many actors have taken care of it.
    actors: u32,
    phase: Option<(Phase, Open)>,
    start: Start,
    /// Requests that are not answered, by their tickets.
    requests: HashMap<u64, Span>,
    step: Option<(StepId, Span)>,
}

/// A span that others are within.
#[derive(Debug)]
struct Open {
    span: Span,
    within: Context,
}

/// What the job waits for before it begins, in either order.
#[derive(Debug, Clone, Copy, Default)]
struct Start {
    /// A thread has loaded it.
    loaded: bool,
    /// Lightning has accepted `run:start`.
    accepted: bool,
}

/// Phases of a run that are one span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Load,
    Start,
    Stop,
    Deliver,
}

impl Phase {
    /// None while the job runs: its steps are spans.
    fn of(phase: RunPhase) -> Option<Self> {
        match phase {
            RunPhase::Joining | RunPhase::Loading => Some(Self::Load),
            RunPhase::Starting => Some(Self::Start),
            RunPhase::Stopping => Some(Self::Stop),
            RunPhase::Settling => Some(Self::Deliver),
            RunPhase::Executing | RunPhase::Done => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Deliver => "delivery",
        }
    }
}

impl RunTrace {
    /// A run whose trace begins at this time.
    pub(crate) fn new(tracer: &SdkTracer, run: &RunId, workloop: &str, at: Timestamp) -> Self {
        let began = time(at);
        let root = tracer
            .span_builder("run")
            .with_kind(SpanKind::Consumer)
            .with_start_time(began)
            .with_attributes([text("run_id", run.as_str()), text("workloop", workloop)]);
        Self {
            root: Open::new(tracer.build_with_context(root, &Context::new())),
            began,
            actors: 0,
            phase: None,
            start: Start::default(),
            requests: HashMap::new(),
            step: None,
        }
    }

    /// Whether anybody will see it.
    pub(crate) fn is_sampled(&self) -> bool {
        self.root.span.span_context().is_sampled()
    }

    /// The innermost span that tells what the run does: the step's, or the run's.
    pub(crate) fn present(&self) -> &SpanContext {
        let step = self.step.as_ref().map(|(_, span)| span);
        step.unwrap_or(&self.root.span).span_context()
    }

    /// Takes note of what has happened.
    pub(crate) fn note(&mut self, tracer: &SdkTracer, at: Timestamp, moment: Moment) {
        // Children have a clock of their own.
        let at = time(at).max(self.began);
        match moment {
            Moment::Claimed { took, .. } => {
                self.past(tracer, "claim", at, took).end_with_timestamp(at);
            }
            Moment::Taken { .. } => self.taken(tracer, at),
            Moment::Entered(phase) => self.entered(tracer, phase, at),
            Moment::Completed => self.turn_to(tracer, Some(Phase::Deliver), at),
            Moment::Asked { ticket, event, id } => self.asked(tracer, at, ticket, event, id),
            Moment::Answered { ticket, given } => self.answered(ticket, given, at),
            Moment::Planned { project_id } => {
                if let Some(project) = project_id {
                    let project = text("project_id", project.as_str());
                    self.root.span.set_attribute(project);
                }
            }
            Moment::Installed {
                took,
                adaptors,
                error_type,
            } => {
                let mut install = self.past(tracer, "install", at, took);
                if !adaptors.is_empty() {
                    install.set_attribute(text("adaptors", &adaptors));
                }
                fail(&mut install, error_type);
                install.end_with_timestamp(at);
            }
            Moment::Compiled { took, error_type } => {
                let mut compile = self.past(tracer, "compile", at, took);
                fail(&mut compile, error_type.as_deref());
                compile.end_with_timestamp(at);
            }
            Moment::Loaded { warm } => self.loaded(warm, at),
            Moment::StepStarted(step) => self.step_started(tracer, step, at),
            Moment::StepEnded {
                step_id,
                reason,
                error_type,
            } => {
                if let Some((_, mut step)) = self.step.take_if(|(id, _)| *id == step_id) {
                    conclude(&mut step, reason, error_type.as_deref());
                    step.end_with_timestamp(at);
                }
            }
            Moment::Reported {
                reason,
                error_type,
                steps,
                adaptors,
            } => {
                let root = &mut self.root.span;
                let steps = i64::try_from(steps).unwrap_or(i64::MAX);
                root.set_attribute(KeyValue::new("steps", steps));
                if let Some(adaptors) = adaptors {
                    root.set_attribute(text("adaptors", &adaptors));
                }
                conclude(root, reason, error_type.as_deref());
            }
            Moment::Ended { reason } => self.ended(reason, at),
        }
    }

    fn taken(&mut self, tracer: &SdkTracer, at: SystemTime) {
        self.actors += 1;
        if self.actors > 1 {
            self.leave(at);
            self.start = Start::default();
            let root = &mut self.root.span;
            root.add_event_with_timestamp("taken over by a successor", at, Vec::new());
        }
        self.open(tracer, Phase::Load, at);
    }

    fn entered(&mut self, tracer: &SdkTracer, phase: RunPhase, at: SystemTime) {
        if phase == RunPhase::Executing {
            self.start.accepted = true;
            self.start_if_ready(at);
            return;
        }
        self.turn_to(tracer, Phase::of(phase), at);
    }

    /// What is open is of this phase from now on.
    fn turn_to(&mut self, tracer: &SdkTracer, wanted: Option<Phase>, at: SystemTime) {
        if wanted == self.phase.as_ref().map(|(present, _)| *present) {
            return;
        }
        // A step that is being stopped ends when its job is gone.
        self.end_phase(at);
        if let Some(phase) = wanted {
            self.open(tracer, phase, at);
        }
    }

    fn loaded(&mut self, warm: bool, at: SystemTime) {
        self.start.loaded = true;
        if let Some((Phase::Start, start)) = &mut self.phase {
            let warm = KeyValue::new("warm", warm);
            start
                .span
                .add_event_with_timestamp("loaded", at, vec![warm]);
        }
        self.start_if_ready(at);
    }

    fn start_if_ready(&mut self, at: SystemTime) {
        let starts = matches!(self.phase, Some((Phase::Start, _)));
        if starts && self.start.loaded && self.start.accepted {
            self.end_phase(at);
        }
    }

    fn asked(
        &mut self,
        tracer: &SdkTracer,
        at: SystemTime,
        ticket: u64,
        event: &'static str,
        id: Option<String>,
    ) {
        let key = match event {
            "fetch:dataclip" => "dataclip_id",
            _ => "credential_id",
        };
        let request = tracer
            .span_builder(event)
            .with_kind(SpanKind::Client)
            .with_start_time(at)
            .with_attributes(id.map(|id| text(key, &id)));
        let phase = self.phase.as_ref().map(|(_, open)| open);
        let within = &phase.unwrap_or(&self.root).within;
        let request = tracer.build_with_context(request, within);
        self.requests.insert(ticket, request);
    }

    fn answered(&mut self, ticket: u64, given: bool, at: SystemTime) {
        if let Some(mut request) = self.requests.remove(&ticket) {
            fail(&mut request, (!given).then_some("refused"));
            request.end_with_timestamp(at);
        }
    }

    fn step_started(&mut self, tracer: &SdkTracer, step: StepStart, at: SystemTime) {
        self.end_step(at);
        let StepStart {
            step_id,
            job_id,
            job,
            adaptor,
        } = step;
        let named = [("job", job), ("adaptor", adaptor)];
        let named = named
            .into_iter()
            .filter_map(|(key, value)| Some(text(key, &value?)));
        let ids = [
            text("step_id", step_id.as_str()),
            text("job_id", job_id.as_str()),
        ];
        let span = tracer
            .span_builder("step")
            .with_start_time(at)
            .with_attributes(ids.into_iter().chain(named));
        let span = tracer.build_with_context(span, &self.root.within);
        self.step = Some((step_id, span));
    }

    fn ended(&mut self, reason: &'static str, at: SystemTime) {
        self.leave(at);
        let root = &mut self.root.span;
        // How Lightning was told is there already.
        if reason == "unreported" {
            root.set_attribute(KeyValue::new("reason", reason));
            root.set_status(Status::error(reason));
        }
        root.end_with_timestamp(at);
    }

    /// Ends everything within the run.
    fn leave(&mut self, at: SystemTime) {
        self.end_step(at);
        self.end_phase(at);
    }

    /// A step that is still open when something else begins was not ended in order.
    fn end_step(&mut self, at: SystemTime) {
        if let Some((_, mut step)) = self.step.take() {
            fail(&mut step, Some("interrupted"));
            step.end_with_timestamp(at);
        }
    }

    fn end_phase(&mut self, at: SystemTime) {
        for mut request in std::mem::take(&mut self.requests).into_values() {
            fail(&mut request, Some("unanswered"));
            request.end_with_timestamp(at);
        }
        if let Some((_, mut phase)) = self.phase.take() {
            phase.span.end_with_timestamp(at);
        }
    }

    fn open(&mut self, tracer: &SdkTracer, phase: Phase, at: SystemTime) {
        let span = tracer.span_builder(phase.name()).with_start_time(at);
        let span = tracer.build_with_context(span, &self.root.within);
        self.phase = Some((phase, Open::new(span)));
    }

    /// A span within the run that began so long before.
    fn past(&self, tracer: &SdkTracer, name: &'static str, at: SystemTime, took: Duration) -> Span {
        let began = at.checked_sub(took).unwrap_or(at).max(self.began);
        let span = tracer.span_builder(name).with_start_time(began);
        tracer.build_with_context(span, &self.root.within)
    }
}

impl Open {
    fn new(span: Span) -> Self {
        let within = Context::new().with_remote_span_context(span.span_context().clone());
        Self { span, within }
    }
}

fn time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(at.as_micros())
}

fn text(key: &'static str, value: &str) -> KeyValue {
    let value: String = value.chars().take(LONGEST).collect();
    KeyValue::new(key, value)
}

fn fail(span: &mut Span, error_type: Option<&str>) {
    if let Some(error_type) = error_type {
        span.set_attribute(text("error_type", error_type));
        let description: String = error_type.chars().take(LONGEST).collect();
        span.set_status(Status::error(description));
    }
}

/// How a run or a step ended. What somebody cancelled has not failed.
fn conclude(span: &mut Span, reason: ExitReason, error_type: Option<&str>) {
    span.set_attribute(KeyValue::new("reason", reason.as_str()));
    match reason {
        ExitReason::Success => {}
        ExitReason::Cancel => span.set_attributes(error_type.map(|it| text("error_type", it))),
        _ => fail(span, Some(error_type.unwrap_or(reason.as_str()))),
    }
}
