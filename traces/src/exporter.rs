//! The OTLP exporter, which tells whether what it sends arrives.

use std::time::Duration;

use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::client::LastFailure;
use crate::health::Health;
use crate::queue::Waiting;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) otlp: Otlp,
    pub(crate) waiting: Waiting,
    pub(crate) health: Health,
    pub(crate) failure: LastFailure,
}

impl SpanExporter for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.otlp.export(batch).await;
        // Not before: what is on its way when the worker ends may be lost as well.
        self.waiting.taken(spans);
        match &sent {
            Ok(()) => self.health.arrived(),
            // The SDK's own words leave out what is wrong with the network.
            Err(error) => {
                let why = self.failure.take().unwrap_or_else(|| error.to_string());
                self.health.lost(spans, &why);
            }
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}
