//! What a child accepts, and what it tells its pool.

use actix::prelude::*;
use protocol::ids::RunId;

use crate::engine_pool::messages::Execute;

/// Names a child within its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::engine_pool) struct ChildId(pub(in crate::engine_pool) u64);

/// Executes its run on this child.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::engine_pool) struct RunOn(pub(in crate::engine_pool) Execute);

/// Ends the child unless it has a run, with which it ends anyway.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::engine_pool) struct Retire;

/// Ends the child at once, without a word: the pool is gone, or has heard that the process is.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::engine_pool) struct Abandon;

/// Has these loaded before a run comes.
#[derive(Message)]
#[rtype(result = "()")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine_pool) struct Preload {
    /// Folders of adaptors.
    pub(in crate::engine_pool) adaptors: Vec<String>,
    /// What of them is otherwise loaded when it is used, as earlier runs have told.
    pub(in crate::engine_pool) later: u32,
}

/// What a child tells its pool.
pub(in crate::engine_pool) enum ChildUpdate {
    /// It answered the handshake.
    Ready {
        pid: u32,
        node: String,
        runtime: String,
    },
    /// It has loaded what it was to preload.
    Preloaded,
    /// Its run has ended, and it ends with it; `later` as in [`Preload`], of what the run has used.
    Ended { run: RunId, later: u32 },
    /// It cannot execute this run, of which nothing was told yet.
    Declined(Box<Execute>),
    /// The process is dead; why. The child stays to decline what is on its way to it, until it is abandoned.
    Dead { why: String },
}
