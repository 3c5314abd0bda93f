//! The children that wait for a run: when one is started, and when there are too many.

use std::time::Instant;

use super::{Intake, Needs, Placement, Use};
use crate::engine_pool::node::child::ChildId;

impl Placement {
    /// Whether a child is to be started that no run waits for.
    pub(in crate::engine_pool::node) fn lacks_spare(&mut self, now: Instant) -> bool {
        if self.intake == Intake::Closed {
            return false;
        }
        let wanted = self.demand.spares(now);
        let loading = |child: &&super::Entry| matches!(child.used, Use::Free { loaded: false });
        self.free().count() < wanted
            && self.living() < self.capacity + wanted
            && self.children.values().filter(loading).count() < self.at_once
    }

    /// A child that waits for a run; it has to be started, with this.
    pub(in crate::engine_pool::node) fn spare(&mut self, has: Needs) -> ChildId {
        self.add(has)
    }

    /// A child that waits for a run, and that is no longer needed: such as no run has asked for of late, first.
    pub(in crate::engine_pool::node) fn surplus(&mut self, now: Instant) -> Option<ChildId> {
        let wanted = self.demand.spares(now);
        if self.free().count() <= wanted {
            return None;
        }
        let id = self.free().next()?;
        self.retire(id);
        Some(id)
    }
}
