//! What [`Placement`](super::Placement) decides.

use protocol::engine::EngineFailure;
use protocol::ids::RunId;

use crate::engine_pool::node::child::ChildId;

/// Where a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine_pool::node) struct Placed {
    pub(in crate::engine_pool::node) child: ChildId,
    pub(in crate::engine_pool::node) start: Start,
}

/// What has to be done for a run's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine_pool::node) enum Start {
    /// The child is there.
    Nothing,
    /// The child has to be started.
    Child,
    /// This one has to make room for it first.
    ChildInPlaceOf(ChildId),
}

/// What becomes of a run that a child gave back.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::engine_pool::node) enum GivenBack {
    /// It is placed again.
    Again(Begin),
    /// It ends, by this failure or without a word.
    Ends(Option<EngineFailure>),
    /// Nobody wants it any more.
    Unknown,
}

/// Whether a run that is placed again had been told to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine_pool::node) enum Begin {
    Later,
    AtOnce,
}

/// A child that is gone.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine_pool::node) struct Gone {
    /// Whether it had ever answered.
    pub(in crate::engine_pool::node) was_ready: bool,
    pub(in crate::engine_pool::node) why: Option<String>,
    /// The runs that it still had, which are to be told unless they were told to stop.
    pub(in crate::engine_pool::node) runs: Vec<(RunId, Lost)>,
}

/// What a run that was lost with its child is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine_pool::node) enum Lost {
    Failed,
    Stopped,
}
