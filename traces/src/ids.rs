//! The ids of traces and spans.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use protocol::ids::RunId;
use uuid::Uuid;

/// The trace of a run has the run's id: both are 16 bytes. One that is no UUID, which Lightning does not make, gets any.
pub(crate) fn trace_of(run: &RunId) -> TraceId {
    match Uuid::try_parse(run.as_str()) {
        // All zeros is no trace.
        Ok(uuid) if !uuid.is_nil() => TraceId::from_bytes(uuid.into_bytes()),
        Ok(_) | Err(_) => RandomIdGenerator::default().new_trace_id(),
    }
}

/// Gives the next trace the id that it is to have: the SDK asks a generator, and nobody else.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunIds {
    next: Arc<Mutex<Option<TraceId>>>,
    random: RandomIdGenerator,
}

impl RunIds {
    /// The next trace is this one. Whoever calls keeps others from beginning one meanwhile.
    pub(crate) fn next_is(&self, trace: TraceId) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(trace);
    }
}

impl IdGenerator for RunIds {
    fn new_trace_id(&self) -> TraceId {
        let next = self
            .next
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        next.unwrap_or_else(|| self.random.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.random.new_span_id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_found_by_the_id_of_its_run() {
        let run = RunId::new("4b1f4a0e-3f43-4e6a-9c4b-0c1d2e3f4a5b");
        assert_eq!(
            trace_of(&run).to_string(),
            "4b1f4a0e3f434e6a9c4b0c1d2e3f4a5b"
        );
    }

    #[test]
    fn a_run_whose_id_is_no_trace_s_gets_one_all_the_same() {
        for id in ["run-1", "00000000-0000-0000-0000-000000000000"] {
            assert_ne!(trace_of(&RunId::new(id)), TraceId::INVALID, "{id}");
        }
    }
}
