//! Traces of runs for OpenTelemetry: what the actors tell of a run ([`actors::traces`]) becomes spans, which go to a
//! collector over OTLP/HTTP. docs/traces.md says what an operator sees of it.
//!
//! [`settings`] reads the standard variables, [`tracer`] has the runs in hand, `run.rs` makes the spans of one, `sampler.rs`
//! decides which runs have any. The way out is the batch processor of the SDK: `queue.rs` counts what waits, `exporter.rs`
//! tells when nothing arrives, `client.rs` is the HTTP client.

mod client;
mod exporter;
mod health;
mod ids;
mod queue;
mod run;
mod sampler;
pub mod settings;
pub mod tracer;

pub use settings::TraceSettings;
pub use tracer::{RunTracer, SpanIds, StartError};
