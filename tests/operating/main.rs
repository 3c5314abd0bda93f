//! What an operator sees of a running worker: health, metrics, status, log.

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod health;
mod logs;
mod metrics;
mod peers;
mod secrets;
mod status;
mod top;
