//! The traces of the runs in hand.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actors::traces::{Moment, Tracer};
use log_events::{event, table};
use opentelemetry::trace::{SpanContext, SpanId, TraceId, TracerProvider as _};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider, SpanProcessor};
use protocol::ids::RunId;
use protocol::lightning::Timestamp;

use crate::client::{Client, LastFailure};
use crate::exporter::Watched;
use crate::health::Health;
use crate::ids::{RunIds, trace_of};
use crate::queue::{Queue, Waiting};
use crate::run::RunTrace;
use crate::sampler::RunSampler;
use crate::settings::TraceSettings;

/// How long the end of the worker waits for spans that are on their way.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// What the service is called unless an operator names it.
const SERVICE: &str = "ws-worker";

/// Why there are no traces although there should be.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A variable cannot be used.
    #[error("the variables of OpenTelemetry cannot be used")]
    Exporter(#[from] ExporterBuildError),
    /// The system gives no thread.
    #[error("the system gives no thread to send traces by")]
    Thread(#[from] io::Error),
}

/// Makes the traces of all runs; clones make the same.
#[derive(Debug, Clone)]
pub struct RunTracer {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    ids: RunIds,
    runs: Arc<Mutex<HashMap<RunId, RunTrace>>>,
    /// What lines of the log are told. Apart from the runs, since a span that ends may lead to such a line.
    lines: Arc<RwLock<HashMap<RunId, SpanIds>>>,
}

/// Where a line of the log belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanIds {
    trace: TraceId,
    span: SpanId,
}

impl SpanIds {
    fn of(span: &SpanContext) -> Self {
        Self {
            trace: span.trace_id(),
            span: span.span_id(),
        }
    }

    /// The trace, as 32 hexadecimal digits.
    pub fn trace_id(&self) -> impl fmt::Display {
        self.trace
    }

    /// The span, as 16 hexadecimal digits.
    pub fn span_id(&self) -> impl fmt::Display {
        self.span
    }
}

impl RunTracer {
    /// Starts the threads that send spans. `worker` is the name under which the worker is known, `version` the program's.
    ///
    /// # Errors
    /// A variable cannot be used, or the system gives no thread.
    pub fn start(
        settings: &TraceSettings,
        worker: &str,
        version: &str,
        extra_ca_file: Option<&Path>,
    ) -> Result<Self, StartError> {
        let failure = LastFailure::default();
        let certificates = settings.extra_ca_file.as_deref().or(extra_ca_file);
        let client = Client::start(
            settings.timeout,
            certificates.map(Path::to_path_buf),
            failure.clone(),
        )?;
        let otlp = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(settings.protocol)
            .with_timeout(settings.timeout)
            .build()?;
        let health = Health::of(&settings.collector);
        let waiting = Waiting::default();
        let exporter = Watched {
            otlp,
            waiting: waiting.clone(),
            health: health.clone(),
            failure,
        };
        let queue = Queue {
            batches: BatchSpanProcessor::builder(exporter).build(),
            waiting,
            most: settings.queue_size,
            health,
        };
        let resource = resource(settings, worker, version);
        let tracer = Self::sending_by(queue, settings.sampler, resource, version);
        let collector = &settings.collector;
        event!(table::TRACES_STARTED, address = collector.as_str(); "traces of runs go to {collector}");
        Ok(tracer)
    }

    pub(crate) fn sending_by(
        processor: impl SpanProcessor + 'static,
        sampler: RunSampler,
        resource: Resource,
        version: &str,
    ) -> Self {
        let ids = RunIds::default();
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler)
            .with_id_generator(ids.clone())
            .with_resource(resource)
            .with_span_processor(processor)
            .build();
        let scope = InstrumentationScope::builder(SERVICE)
            .with_version(version.to_owned())
            .build();
        Self {
            tracer: provider.tracer_with_scope(scope),
            provider,
            ids,
            runs: Arc::default(),
            lines: Arc::default(),
        }
    }

    /// Where a line of the log belongs that is about a run; none where the run is not in hand, or nobody will see its trace.
    pub fn ids(&self, run: &str) -> Option<SpanIds> {
        let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner);
        lines.get(run).copied()
    }

    /// Ends the traces of runs that are still in hand, and waits for [`PATIENCE`] at most until all spans are sent. What
    /// comes afterwards is in no trace. To be called outside of an asynchronous runtime, since it blocks.
    pub fn finish(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
        let left: Vec<RunId> = self.runs().keys().cloned().collect();
        for run in left {
            let moment = Moment::Ended {
                reason: "unreported",
            };
            self.note(&run, Timestamp::from_micros(now), moment);
        }
        if let Err(error) = self.provider.shutdown_with_timeout(PATIENCE) {
            log::debug!("not all spans could be sent: {error}");
        }
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<RunId, RunTrace>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, run: &RunId, at: Timestamp, workloop: &str) -> RunTrace {
        self.ids.next_is(trace_of(run));
        RunTrace::new(&self.tracer, run, workloop, at)
    }
}

impl Tracer for RunTracer {
    fn note(&self, run: &RunId, at: Timestamp, moment: Moment) {
        let mut runs = self.runs();
        let is_over = matches!(moment, Moment::Ended { .. });
        let trace = match &moment {
            // Handed out again while it is in hand.
            Moment::Claimed { .. } if runs.contains_key(run) => return,
            Moment::Claimed { workloop, took } => {
                let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                let trace = self.begin(run, at.minus_millis(took), workloop.as_str());
                runs.entry(run.clone()).or_insert(trace)
            }
            // The claim of a workloop that died.
            Moment::Taken { workloop } => runs
                .entry(run.clone())
                .or_insert_with(|| self.begin(run, at, workloop.as_str())),
            _ => match runs.get_mut(run) {
                Some(trace) => trace,
                None => return,
            },
        };
        if !trace.is_sampled() {
            if is_over {
                runs.remove(run);
            }
            return;
        }
        trace.note(&self.tracer, at, moment);
        let present = SpanIds::of(trace.present());
        let mut lines = self.lines.write().unwrap_or_else(PoisonError::into_inner);
        if is_over {
            runs.remove(run);
            lines.remove(run);
        } else if lines.get(run) != Some(&present) {
            lines.insert(run.clone(), present);
        }
    }
}

fn resource(settings: &TraceSettings, worker: &str, version: &str) -> Resource {
    // Reads OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
    let mut resource = Resource::builder().with_attributes([
        KeyValue::new("service.version", version.to_owned()),
        KeyValue::new("service.instance.id", worker.to_owned()),
    ]);
    if !settings.service_named {
        resource = resource.with_service_name(SERVICE);
    }
    resource.build()
}

#[cfg(test)]
mod tests;
