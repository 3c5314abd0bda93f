//! The spans that wait to be sent: the SDK's batch processor, with a count of what waits. The SDK drops what does not fit
//! without a word; here it is dropped before, and told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanProcessor};

use crate::health::Health;

/// Spans that wait; clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    /// So many are taken out to be sent.
    pub(crate) fn taken(&self, spans: usize) {
        self.0.fetch_sub(spans, Ordering::AcqRel);
    }

    /// Whether there was room for one more, which is counted.
    fn takes_one(&self, most: usize) -> bool {
        let room = |waiting| (waiting < most).then_some(waiting + 1);
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, room)
            .is_ok()
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) batches: BatchSpanProcessor,
    pub(crate) waiting: Waiting,
    pub(crate) most: usize,
    pub(crate) health: Health,
}

impl SpanProcessor for Queue {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.takes_one(self.most) {
            self.batches.on_end(span);
        } else {
            self.health
                .lost(1, "more wait than OTEL_BSP_MAX_QUEUE_SIZE allows");
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let sent = self.batches.shutdown_with_timeout(timeout);
        let left = self.waiting.0.load(Ordering::Acquire);
        if left > 0 {
            self.health.lost(left, "the worker has ended");
        }
        sent
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_wait_than_may() {
        let waiting = Waiting::default();
        assert!(waiting.takes_one(2) && waiting.takes_one(2));
        assert!(!waiting.takes_one(2));
        waiting.taken(1);
        assert!(waiting.takes_one(2));
    }
}
