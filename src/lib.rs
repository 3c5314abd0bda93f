//! The program an operator meets: command line, configuration, log, HTTP server, and the start and end of the worker.
//!
//! To run a worker inside another program, see [`Worker`].
//!
//! The worker itself is in `actors`; this crate tells it what to do ([`settings`]) and when to end ([`start`]).

pub mod cli;
pub mod http;
pub mod ipc;
pub mod logging;
pub mod remote;
pub mod settings;
pub mod start;
mod worker;

pub use actors::supervisor::{Exit, WorkerStatus};

pub use worker::{Builder, EmbedError, Worker};

/// This program's version, as Lightning is told.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
