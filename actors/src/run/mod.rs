//! `Run`: one claimed run, from the join of its channel to the answer to `run:complete`.
//!
//! *Owns* what is known of the run, its outbox, and what it asks of Lightning. *Started* by the supervisor, which is told
//! by [`RunEnded`] when nothing is left to do.
//!
//! ```text
//! Joining ──plan──▶ Loading ──all there──▶ Starting ──run:start accepted──▶ Executing ──end──▶ Settling ─▶ Done
//!    └─────────────────┴──── cannot be had ──────────────────────────────────────────────────▶ Settling
//!                               Starting, Executing ──cancelled, refused──▶ Stopping ──ended──▶ Settling
//!                               any ──refused at join, deadline, somebody else's──▶ Stopping or Done, unreported
//! ```
//!
//! The table is at the head of [`machine`], which decides everything; [`actor`] performs its effects.
//!
//! *Accepts* [`ChannelEvent`]s, [`EngineEvent`]s, [`StopRun`], [`ConnectionReplaced`], [`EngineLost`], [`GetRunStatus`].
//! *Emits* joins, pushes and leaves to the connection; [`Prepare`], [`Execute`], [`Proceed`], [`StopJob`] to the engine pool.
//! *If it dies* the supervisor has the job stopped and starts a successor, which reports `exception`, `RunActorCrashed`.

mod actor;
mod cause;
mod channel;
mod channel_memory;
mod fetch;
mod loading;
mod machine;
mod messages;
mod outbox;
mod report;
mod reporter;
mod settings;
mod timeline;
mod verdict;

pub(crate) use self::actor::{Run, RunContext};
pub(crate) use self::machine::Origin;
pub(crate) use self::messages::{GetRunStatus, StopRun};
pub use self::messages::{RunPhase, RunStatus};
