//! A mock Lightning: the server that a worker claims runs from, for development and tests.
//!
//! It behaves as the real server does, with its validations, channel crashes and expiring run tokens, and records
//! everything that goes over the wire. It can also answer the way OpenFn's npm mock does ([`Builder::quirks`]).
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! let mock = lightning_mock::MockLightning::spawn_thread()?;
//! let id = mock.enqueue(serde_json::json!({ "jobs": [{ "id": "a", "body": "fn(s => s)" }] }))?;
//! // … start a worker with `mock.ws_url()` …
//! let run = mock.wait_for(&id, Duration::from_secs(30))?;
//! assert_eq!(run.reason.as_deref(), Some("success"));
//! # Ok(())
//! # }
//! ```

mod builder;
mod channel;
mod chaos;
mod claims;
mod collections;
mod deflate;
mod errors;
mod fault;
mod http;
mod keys;
mod messages;
mod mock_server;
mod posted_plan;
mod recorder;
mod rules;
mod session;
mod socket;
mod store;
mod world;

pub use self::builder::{Builder, MockLightning, StartError};
pub use self::chaos::{Rule, RuleError};
pub use self::fault::Fault;
pub use self::keys::KeyError;
pub use self::mock_server::{MockServer, WaitError};
pub use self::posted_plan::PlanError;
pub use self::recorder::{Direction, RecordedEvent};
pub use self::rules::{Announce, RollBack};
pub use self::store::{LogView, RunState, RunView, Statistics, StepView};
pub use self::world::Inflated;
