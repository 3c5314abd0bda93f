//! The children that wait for a run: when one is started, and when there are too many.

use std::time::Instant;

use protocol::size::Mebibytes;

use super::{Intake, Needs, Placement, Use};
use crate::engine_pool::node::child::ChildId;

impl Placement {
    /// Whether a child with this heap is to be started that no run waits for. One with another heap is of no use to the next run.
    pub(in crate::engine_pool::node) fn lacks_spare(
        &mut self,
        heap: Mebibytes,
        now: Instant,
    ) -> bool {
        if self.intake == Intake::Closed {
            return false;
        }
        let wanted = self.demand.spares(now);
        let loading = |child: &&super::Entry| matches!(child.used, Use::Free { loaded: false });
        self.waiting().filter(|has| has.heap == heap).count() < wanted
            && self.living() < self.capacity + wanted
            && self.children.values().filter(loading).count() < self.at_once
    }

    /// A child that waits for a run; it has to be started, with this.
    pub(in crate::engine_pool::node) fn spare(&mut self, has: Needs) -> ChildId {
        self.add(has)
    }

    /// A child that waits for a run and is one too many: with another heap than this, if there is such a one, else the oldest.
    pub(in crate::engine_pool::node) fn surplus(
        &mut self,
        heap: Mebibytes,
        now: Instant,
    ) -> Option<ChildId> {
        let wanted = self.demand.spares(now);
        if self.free().count() <= wanted {
            return None;
        }
        let of_another = |id: &ChildId| self.children[id].has.heap != heap;
        let id = self
            .free()
            .find(of_another)
            .or_else(|| self.free().next())?;
        self.retire(id);
        Some(id)
    }
}
