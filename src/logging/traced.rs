//! Where a line of the log belongs among the traces.

use std::sync::{Arc, OnceLock};

use traces::{RunTracer, SpanIds};

/// The runs whose traces are made; clones know the same. The log is there before them.
#[derive(Debug, Clone, Default)]
pub struct TracedRuns(Arc<OnceLock<RunTracer>>);

impl TracedRuns {
    /// From now on lines about a run name its trace.
    pub(crate) fn are_made_by(&self, tracer: RunTracer) {
        if self.0.set(tracer).is_err() {
            log::debug!("the log names the traces of a worker that was started before");
        }
    }

    /// The trace of a run, and what the run is at.
    pub(super) fn ids(&self, run: &str) -> Option<SpanIds> {
        self.0.get()?.ids(run)
    }
}
