//! What a child accepts, and what it tells its pool.

use actix::prelude::*;
use protocol::ids::RunId;

use crate::engine_pool::messages::Execute;

/// Names a child within its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::engine_pool) struct ChildId(pub(in crate::engine_pool) u64);

/// Executes a run on this child.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::engine_pool) struct RunOn(pub(in crate::engine_pool) Execute);

/// Ends the child when its run has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::engine_pool) struct Retire;

/// Ends the child at once, without a word: the pool is gone, or has heard that the process is.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::engine_pool) struct Abandon;

/// Keeps spare threads with these adaptors.
#[derive(Message)]
#[rtype(result = "()")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine_pool) struct Warm {
    /// How many, none for a child that is not expected to have another run.
    pub(in crate::engine_pool) threads: usize,
    pub(in crate::engine_pool) adaptors: Vec<String>,
}

/// What a child tells its pool.
pub(in crate::engine_pool) enum ChildUpdate {
    /// It answered the handshake.
    Ready {
        pid: u32,
        node: String,
        runtime: String,
    },
    /// The next run on it finds a thread that is loaded and warm.
    Warmed,
    /// Its run has ended, it can take another; `reusable` is false when the run left something behind.
    Idle { run: RunId, reusable: bool },
    /// It cannot execute this run, of which nothing was told yet.
    Declined(Box<Execute>),
    /// The process is dead; why. The child stays to decline what is on its way to it, until it is abandoned.
    Dead { why: String },
}
