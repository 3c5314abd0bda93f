//! The actors of the worker: one process, a tree of actix actors.
//!
//! ```text
//! Supervisor
//!  ├─ LightningConnection          one socket, all channels
//!  ├─ Workloop × groups            one a queue group, each with its own backoff
//!  ├─ EnginePool                   engine children, installer, compiler
//!  └─ Run × active                 one a claimed run
//! ```
//!
//! The receiver of a command owns its type, in its own room; facts that several actors hear are in [`events`]. Nothing
//! in this crate reads the environment, prints or ends the process: `src/` does.

pub mod causes;
pub mod config;
pub mod engine_pool;
pub mod events;
mod headroom;
pub mod lightning;
pub mod log_context;
pub mod metrics;
pub mod run;
pub mod supervisor;
mod tell;
pub mod traces;
pub mod workloop;

mod clock;
mod transitions;
mod watched;
