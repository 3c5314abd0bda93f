//! `EnginePool`: whatever executes runs, and everything a run needs before it can be executed.
//!
//! *Owns* an engine (`engine.rs`), which owns child processes if it has any (`node/`).
//!
//! *Accepts* [`Prepare`], [`Execute`], [`Proceed`], [`StopJob`], [`StopEngine`], [`GetEngineStatus`]. *Emits* [`EngineEvent`]s to
//! the runs, [`EngineFailed`] to the supervisor. *If it dies* its children are killed with it; the supervisor tells the runs.

mod compile;
mod engine;
mod in_process;
mod installer;
mod messages;
#[cfg(feature = "mock-engine")]
mod mock;
mod node;
mod pool;
mod recorded;
mod unavailable;

pub use adaptors::{NpmError, Offer, is_installable, runtime_version};
pub use sandbox::{
    layers as sandbox_layers, locate, missing as missing_in_sandbox, resident as resident_bytes,
};

pub use self::installer::ask_registry;
pub(crate) use self::installer::latest_collections_version;
pub use self::messages::{
    ChildState, ChildStatus, EgressState, EngineState, EngineStatus, MemoryState,
};
pub(crate) use self::messages::{
    CompileFailure, EngineEvent, EngineFailed, Execute, GetEngineStatus, Prepare, PrepareError,
    Prepared, Proceed, StopEngine, StopJob,
};
pub use self::node::missing_egress;
pub(crate) use self::pool::EnginePool;
pub use self::recorded::RecordedEngine;
