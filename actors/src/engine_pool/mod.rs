//! `EnginePool`: the engine's children, and everything a run needs before one of them can execute it.
//!
//! *Owns* the children, the queue of runs that wait for one, the adaptor installer.
//!
//! ```text
//! Validating ──first handshake──▶ Ready ──StopEngine──▶ Draining ──no child left──▶ (answered)
//!     └──no handshake after all tries──▶ EngineFailed to the supervisor          Mock, Recorded: no children at all
//! ```
//!
//! *Accepts* [`Prepare`], [`Execute`], [`Proceed`], [`StopJob`], [`StopEngine`], [`GetEngineStatus`]. *Emits*
//! [`EngineEvent`]s to the runs, through the children. *If it dies* its children are killed with it; the supervisor tells
//! the runs.

mod child;
mod compile;
mod conversation;
mod installer;
mod launch;
mod memory;
mod messages;
mod mock;
mod node;
mod pool;
mod process;
mod recorded;

#[cfg(test)]
mod tests;

pub use adaptors::is_installable;

pub(crate) use self::installer::latest_collections_version;
pub use self::messages::{ChildStatus, EngineStatus};
pub(crate) use self::messages::{
    CompileFailure, EngineEvent, EngineFailed, Execute, GetEngineStatus, Prepare, PrepareError,
    Prepared, Proceed, StopEngine, StopJob,
};
pub(crate) use self::pool::EnginePool;
pub use self::recorded::RecordedEngine;
pub use sandbox::{locate, missing as missing_in_sandbox, resident as resident_bytes};
