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
pub(in crate::engine_pool) struct Warm(pub(in crate::engine_pool) Vec<String>);

/// To the pool: the child answered the handshake.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::engine_pool) struct ChildReady {
    pub(in crate::engine_pool) id: ChildId,
    pub(in crate::engine_pool) pid: u32,
    pub(in crate::engine_pool) node: String,
    pub(in crate::engine_pool) runtime: String,
}

/// To the pool: the next run on this child finds a thread that is loaded and warm.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::engine_pool) struct ChildWarmed {
    pub(in crate::engine_pool) id: ChildId,
}

/// To the pool: the run has ended, the child can take another.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::engine_pool) struct ChildIdle {
    pub(in crate::engine_pool) id: ChildId,
    pub(in crate::engine_pool) run: RunId,
    /// False when the run left something behind.
    pub(in crate::engine_pool) reusable: bool,
}

/// To the pool: the child cannot execute this run, of which nothing was told yet.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::engine_pool) struct Declined {
    pub(in crate::engine_pool) id: ChildId,
    pub(in crate::engine_pool) execution: Execute,
}

/// To the pool: the process is dead. The child stays to decline what is on its way to it, until it is abandoned.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::engine_pool) struct ChildDead {
    pub(in crate::engine_pool) id: ChildId,
}

/// To the pool: the child is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::engine_pool) struct ChildGone {
    pub(in crate::engine_pool) id: ChildId,
    pub(in crate::engine_pool) why: String,
}

/// Where a child reports to.
#[derive(Clone)]
pub(in crate::engine_pool) struct Owner {
    pub(in crate::engine_pool) ready: Recipient<ChildReady>,
    pub(in crate::engine_pool) warmed: Recipient<ChildWarmed>,
    pub(in crate::engine_pool) idle: Recipient<ChildIdle>,
    pub(in crate::engine_pool) dead: Recipient<ChildDead>,
    pub(in crate::engine_pool) gone: Recipient<ChildGone>,
    pub(in crate::engine_pool) declined: Recipient<Declined>,
}
