//! The children that no project has used: when one is started, and when there are too many.

use std::time::Instant;

use super::{Bound, Intake, Placed, Placement, Prospect, Start, Use};
use crate::config::Reuse;
use crate::engine_pool::node::child::ChildId;

impl Placement {
    /// A child that no project has used and that is to be started, unless there are enough or there is no room for it. Room is
    /// made by the children of projects that are not expected to have further runs.
    pub(in crate::engine_pool::node) fn spare(&mut self, now: Instant) -> Option<Placed> {
        if self.intake == Intake::Closed {
            return None;
        }
        let wanted = self.demand.spares(now);
        if self.unused().count() >= wanted {
            return None;
        }
        let start = if self.living() < self.capacity + wanted {
            Start::Child
        } else {
            let any = self.reuse == Reuse::Always;
            let idle = self.idle_longest(|bound| match bound {
                Bound::Nobody => false,
                Bound::To(project) => !any && !self.demand.recurs(project.as_ref()),
            })?;
            self.retire(idle);
            Start::ChildInPlaceOf(idle)
        };
        Some(Placed {
            child: self.add(),
            start,
            prospect: Prospect::Again,
        })
    }

    /// A child that no project has used and that is no longer needed.
    pub(in crate::engine_pool::node) fn surplus(&mut self, now: Instant) -> Option<ChildId> {
        let wanted = self.demand.spares(now);
        if self.unused().count() <= wanted {
            return None;
        }
        let id = self.unused().next()?;
        self.retire(id);
        Some(id)
    }

    /// Children that no project has used.
    fn unused(&self) -> impl Iterator<Item = ChildId> {
        self.children
            .iter()
            .filter(|(_, child)| {
                matches!(child.used, Use::Free { .. }) && child.bound == Bound::Nobody
            })
            .map(|(id, _)| *id)
    }
}
