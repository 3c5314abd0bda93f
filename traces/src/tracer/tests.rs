//! Moments of a run, and the spans that become of them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use actors::run::RunPhase;
use actors::traces::StepStart;
use opentelemetry::Context;
use opentelemetry::trace::{SpanId, Status};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SimpleSpanProcessor, Span, SpanData};
use protocol::ids::{JobId, StepId, WorkloopId};
use protocol::reasons::ExitReason;

use super::*;

const RUN: &str = "4b1f4a0e-3f43-4e6a-9c4b-0c1d2e3f4a5b";

/// A tracer whose spans a test looks at, and a clock that goes on by a millisecond with each moment.
struct Bench {
    tracer: RunTracer,
    spans: InMemorySpanExporter,
    run: RunId,
    micros: u64,
}

impl Bench {
    fn new(sampler: RunSampler) -> Self {
        let spans = InMemorySpanExporter::default();
        let processor = SimpleSpanProcessor::new(spans.clone());
        let resource = Resource::builder_empty().build();
        Self {
            tracer: RunTracer::sending_by(processor, sampler, resource, "1"),
            spans,
            run: RunId::new(RUN),
            micros: 1_700_000_000_000_000,
        }
    }

    fn told(&mut self, moments: impl IntoIterator<Item = Moment>) {
        for moment in moments {
            self.micros += 1000;
            let at = Timestamp::from_micros(self.micros);
            self.tracer.note(&self.run, at, moment);
        }
    }

    fn spans(&self) -> Vec<SpanData> {
        self.spans.get_finished_spans().unwrap()
    }

    /// Name, status and length in milliseconds, in the order in which they ended.
    fn seen(&self) -> Vec<(String, Option<String>, u128)> {
        let spans = self.spans();
        let seen = spans.iter().map(|span| {
            let failure = match &span.status {
                Status::Error { description } => Some(description.to_string()),
                Status::Ok | Status::Unset => None,
            };
            let lasted = span.end_time.duration_since(span.start_time).unwrap();
            (span.name.to_string(), failure, lasted.as_millis())
        });
        seen.collect()
    }
}

fn claimed() -> Moment {
    Moment::Claimed {
        workloop: WorkloopId::new("w"),
        took: Duration::from_millis(20),
    }
}

fn taken() -> Moment {
    Moment::Taken {
        workloop: WorkloopId::new("w"),
    }
}

fn step(id: &str) -> Moment {
    Moment::StepStarted(StepStart {
        step_id: StepId::new(id),
        job_id: JobId::new("j"),
        job: None,
        adaptor: None,
    })
}

fn reported(reason: ExitReason) -> Moment {
    Moment::Reported {
        reason,
        error_type: None,
        steps: 0,
        adaptors: None,
    }
}

fn ended(reason: &'static str) -> Moment {
    Moment::Ended { reason }
}

#[test]
fn a_trace_begins_with_the_claim_and_has_the_id_of_its_run() {
    let mut bench = Bench::new(RunSampler::Always);
    bench.told([
        claimed(),
        taken(),
        reported(ExitReason::Success),
        ended("success"),
    ]);
    let spans = bench.spans();
    for span in &spans {
        assert_eq!(span.span_context.trace_id(), trace_of(&bench.run));
    }
    let root = spans.last().unwrap();
    assert_eq!(root.parent_span_id, SpanId::INVALID);
    assert_eq!(spans[0].start_time, root.start_time);
    let seen = bench.seen();
    assert_eq!(seen[0], ("claim".to_owned(), None, 20));
    assert_eq!(seen[2], ("run".to_owned(), None, 23));
}

#[test]
fn the_start_lasts_until_the_run_is_loaded_and_accepted_in_either_order() {
    let loaded = || Moment::Loaded { warm: true };
    let accepted = || Moment::Entered(RunPhase::Executing);
    for [first, second] in [[loaded(), accepted()], [accepted(), loaded()]] {
        let mut bench = Bench::new(RunSampler::Always);
        bench.told([taken(), Moment::Entered(RunPhase::Starting), first, second]);
        let seen = bench.seen();
        assert_eq!(seen[1], ("start".to_owned(), None, 2), "{seen:?}");
    }
}

#[test]
fn a_step_that_is_stopped_ends_as_it_is_reported() {
    let mut bench = Bench::new(RunSampler::Always);
    let step_ended = Moment::StepEnded {
        step_id: StepId::new("s"),
        reason: ExitReason::Kill,
        error_type: Some("TimeoutError".to_owned()),
    };
    bench.told([taken(), Moment::Entered(RunPhase::Starting)]);
    bench.told([
        Moment::Entered(RunPhase::Executing),
        Moment::Loaded { warm: true },
    ]);
    bench.told([step("s"), Moment::Entered(RunPhase::Stopping), step_ended]);
    bench.told([Moment::Entered(RunPhase::Settling), ended("kill")]);
    let seen = bench.seen();
    let names: Vec<_> = seen.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["load", "start", "step", "stop", "delivery", "run"]);
    assert_eq!(seen[2].1.as_deref(), Some("TimeoutError"));
}

#[test]
fn the_delivery_begins_with_the_end_of_the_job_whether_or_not_its_thread_is_gone() {
    for gone in [vec![], vec![Moment::Entered(RunPhase::Settling)]] {
        let mut bench = Bench::new(RunSampler::Always);
        bench.told([taken(), Moment::Entered(RunPhase::Starting)]);
        bench.told([
            Moment::Entered(RunPhase::Executing),
            Moment::Loaded { warm: true },
        ]);
        bench.told([Moment::Completed].into_iter().chain(gone));
        bench.told([Moment::Entered(RunPhase::Done), ended("success")]);
        let seen = bench.seen();
        let names: Vec<_> = seen.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["load", "start", "delivery", "run"]);
    }
}

#[test]
fn a_run_that_is_loaded_while_it_is_stopped_is_still_being_stopped() {
    let mut bench = Bench::new(RunSampler::Always);
    bench.told([taken(), Moment::Entered(RunPhase::Starting)]);
    bench.told([Moment::Entered(RunPhase::Executing)]);
    bench.told([
        Moment::Entered(RunPhase::Stopping),
        Moment::Loaded { warm: true },
    ]);
    let names: Vec<_> = bench.seen().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["load", "start"]);
}

#[test]
fn a_run_whose_actor_died_is_one_trace_with_what_both_did() {
    let mut bench = Bench::new(RunSampler::Always);
    bench.told([
        claimed(),
        taken(),
        Moment::Entered(RunPhase::Starting),
        Moment::Entered(RunPhase::Executing),
        Moment::Loaded { warm: false },
        step("s"),
        taken(),
        Moment::Entered(RunPhase::Settling),
        reported(ExitReason::Exception),
        ended("exception"),
    ]);
    let names: Vec<_> = bench.seen().into_iter().map(|(name, ..)| name).collect();
    let wanted = ["claim", "load", "start", "step", "load", "delivery", "run"];
    assert_eq!(names, wanted);
    let seen = bench.seen();
    assert_eq!(seen[3].1.as_deref(), Some("interrupted"));
    assert_eq!(seen[6].1.as_deref(), Some("exception"));
    assert_eq!(bench.spans()[6].events.events.len(), 1);
}

#[test]
fn whatever_is_open_ends_with_a_run_that_is_lost() {
    let mut bench = Bench::new(RunSampler::Always);
    let asked = Moment::Asked {
        ticket: 1,
        event: "fetch:plan",
        id: None,
    };
    bench.told([taken(), asked, ended("unreported")]);
    let failures: Vec<_> = bench
        .seen()
        .into_iter()
        .map(|(name, why, _)| (name, why))
        .collect();
    let wanted = [
        ("fetch:plan", Some("unanswered")),
        ("load", None),
        ("run", Some("unreported")),
    ];
    let wanted = wanted.map(|(name, why)| (name.to_owned(), why.map(str::to_owned)));
    assert_eq!(failures, wanted);
    assert!(bench.tracer.runs().is_empty());
}

#[test]
fn a_cancelled_run_has_not_failed() {
    let mut bench = Bench::new(RunSampler::Always);
    bench.told([taken(), reported(ExitReason::Cancel), ended("cancel")]);
    assert_eq!(bench.seen().last().unwrap().1, None);
}

#[test]
fn runs_in_hand_end_with_the_worker() {
    let mut bench = Bench::new(RunSampler::Always);
    bench.told([claimed(), taken()]);
    bench.tracer.finish();
    assert!(bench.tracer.runs().is_empty());
}

#[test]
fn a_run_that_is_handed_out_twice_is_one_trace() {
    let mut bench = Bench::new(RunSampler::Always);
    bench.told([claimed(), taken(), claimed(), ended("success")]);
    let names: Vec<_> = bench.seen().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["claim", "load", "run"]);
}

#[test]
fn a_run_that_is_not_sampled_has_neither_spans_nor_ids() {
    let mut bench = Bench::new(RunSampler::Never);
    bench.told([claimed(), taken(), step("s")]);
    assert_eq!(bench.tracer.ids(RUN), None);
    bench.told([ended("success")]);
    assert!(bench.seen().is_empty());
    assert!(bench.tracer.runs().is_empty());
}

#[test]
fn a_line_of_the_log_belongs_to_the_step_and_else_to_the_run() {
    let mut bench = Bench::new(RunSampler::Always);
    bench.told([claimed(), taken()]);
    let run = bench.tracer.ids(RUN).unwrap();
    assert_eq!(run.trace_id().to_string(), RUN.replace('-', ""));
    bench.told([step("s")]);
    let within = bench.tracer.ids(RUN).unwrap();
    assert_ne!(within, run);
    bench.told([ended("success")]);
    assert_eq!(bench.tracer.ids(RUN), None);
    let ids: Vec<_> = bench
        .spans()
        .iter()
        .map(|span| span.span_context.span_id().to_string())
        .collect();
    for line in [run, within] {
        assert!(ids.contains(&line.span_id().to_string()));
    }
}

/// Logs a line about the run whenever a span of it ends.
#[derive(Debug, Default)]
struct Talkative {
    log: Arc<OnceLock<RunTracer>>,
    named: Arc<AtomicUsize>,
}

impl SpanProcessor for Talkative {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, _: SpanData) {
        if self.log.get().unwrap().ids(RUN).is_some() {
            self.named.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[test]
fn a_span_that_ends_may_lead_to_a_line_of_the_log_about_its_run() {
    let processor = Talkative::default();
    let (log, named) = (Arc::clone(&processor.log), Arc::clone(&processor.named));
    let resource = Resource::builder_empty().build();
    let tracer = RunTracer::sending_by(processor, RunSampler::Always, resource, "1");
    log.set(tracer.clone()).unwrap();
    let at = Timestamp::from_micros(1_700_000_000_000_000);
    for moment in [
        taken(),
        Moment::Entered(RunPhase::Settling),
        ended("success"),
    ] {
        tracer.note(&RunId::new(RUN), at, moment);
    }
    assert_eq!(named.load(Ordering::Relaxed), 3);
}

#[test]
fn what_is_told_of_a_run_that_nobody_claimed_is_no_trace() {
    let mut bench = Bench::new(RunSampler::Always);
    bench.told([step("s"), ended("success")]);
    assert!(bench.seen().is_empty());
}

#[test]
fn no_text_of_a_project_or_a_job_is_longer_than_a_line() {
    let mut bench = Bench::new(RunSampler::Always);
    let fails = Moment::Compiled {
        took: Duration::ZERO,
        error_type: Some("é".repeat(100_000)),
    };
    bench.told([taken(), fails]);
    assert_eq!(bench.seen()[0].1.as_ref().unwrap().chars().count(), 256);
}
