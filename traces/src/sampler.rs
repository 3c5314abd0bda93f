//! Which runs have a trace.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

/// The first two of the last 64 bits of a UUID say which variant it is, and are the same in all. The SDK's sampler would take
/// them for chance: none of the runs below one half, and all from three quarters on.
const VARIANT_BITS: u32 = 2;

/// Which runs have a trace. No run has a parent, so that the `parentbased_` samplers do as those without.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RunSampler {
    /// All of them.
    Always,
    /// None.
    Never,
    /// This share, between 0 and 1. The same run is always chosen, by whichever worker.
    Share(f64),
}

impl RunSampler {
    /// Reads `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`; with what is wrong with them.
    pub(crate) fn read(name: Option<&str>, argument: Option<&str>) -> (Self, Option<String>) {
        let name = name.unwrap_or("parentbased_always_on").trim();
        match name.strip_prefix("parentbased_").unwrap_or(name) {
            "always_on" => (Self::Always, None),
            "always_off" => (Self::Never, None),
            "traceidratio" => match argument.map(|text| (text, text.trim().parse())) {
                None => (Self::Always, None),
                Some((_, Ok(share))) if (0.0..=1.0).contains(&share) => (Self::Share(share), None),
                Some((text, _)) => (
                    Self::Always,
                    Some(format!(
                        "OTEL_TRACES_SAMPLER_ARG is `{text}`, which is no number from 0 to 1: every run has a trace"
                    )),
                ),
            },
            _ => (
                Self::Always,
                Some(format!(
                    "OTEL_TRACES_SAMPLER is `{name}`, which the worker does not know, so that every run has a trace: set it to `always_on`, \
                     `always_off` or `traceidratio`"
                )),
            ),
        }
    }

    fn takes(self, trace: TraceId) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Share(share) => {
                let bits = u64::from_be_bytes(trace.to_bytes()[8..].try_into().unwrap_or_default());
                // As many as a double holds exactly.
                let chance = (bits << VARIANT_BITS) >> (u64::BITS - f64::MANTISSA_DIGITS);
                #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
                let chance = chance as f64 / (1_u64 << f64::MANTISSA_DIGITS) as f64;
                chance < share
            }
        }
    }
}

impl ShouldSample for RunSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        // What is within a run goes with the run.
        let within = parent.is_some_and(|parent| parent.span().span_context().is_sampled());
        let decision = if within || self.takes(trace) {
            SamplingDecision::RecordAndSample
        } else {
            SamplingDecision::Drop
        };
        SamplingResult {
            decision,
            attributes: Vec::new(),
            trace_state: TraceState::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samplers_of_the_specification_are_known_with_and_without_parent() {
        let read = |name, argument| RunSampler::read(Some(name), argument);
        for (name, sampler) in [
            ("always_on", RunSampler::Always),
            ("parentbased_always_off", RunSampler::Never),
            ("traceidratio", RunSampler::Share(0.25)),
            ("parentbased_traceidratio", RunSampler::Share(0.25)),
        ] {
            assert_eq!(read(name, Some("0.25")), (sampler, None), "{name}");
        }
        assert_eq!(RunSampler::read(None, None), (RunSampler::Always, None));
        for (name, argument) in [("jaeger_remote", None), ("traceidratio", Some("2"))] {
            let (sampler, doubt) = read(name, argument);
            assert_eq!(sampler, RunSampler::Always);
            assert!(doubt.is_some(), "{name}");
        }
    }

    #[test]
    fn a_share_is_that_share_of_runs_although_their_ids_are_uuids() {
        for share in [0.1, 0.5, 0.9] {
            let sampler = RunSampler::Share(share);
            let taken = (0..10_000)
                .filter(|_| sampler.takes(TraceId::from_bytes(uuid::Uuid::new_v4().into_bytes())))
                .count();
            // Ten standard deviations at most.
            #[expect(clippy::cast_precision_loss, reason = "10,000 at most")]
            let found = taken as f64 / 10_000.0;
            assert!((found - share).abs() < 0.05, "{share}: {found}");
        }
    }

    #[test]
    fn no_share_is_nothing_and_a_whole_one_is_all() {
        for id in [[0xff; 16], [0; 16]] {
            let trace = TraceId::from_bytes(id);
            assert!(!RunSampler::Share(0.0).takes(trace));
            assert!(RunSampler::Share(1.0).takes(trace));
        }
    }
}
