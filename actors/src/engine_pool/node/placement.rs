//! Which child takes a run, and how many there are. No actor, no I/O.
//!
//! A child serves one project unless the configuration says otherwise, and some children that no project has used are kept
//! ready (`demand.rs`), so that there are never more than the capacity and these.

mod decisions;
mod demand;
mod spares;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Instant;

use indexmap::IndexMap;
use protocol::engine::EngineFailure;
use protocol::ids::{ProjectId, RunId};

pub(super) use self::decisions::{
    Afterwards, Begin, GivenBack, Gone, Lost, Placed, Prospect, Start,
};
use self::demand::Demand;
pub(super) use self::demand::REMEMBERED;
use super::child::ChildId;
use crate::config::{Reuse, Spares};
use crate::engine_pool::messages::{ChildState, ChildStatus};

/// Children that may die before one run has begun: somebody may have killed all idle ones, but a run whose loading kills
/// its child must not go from child to child for ever.
const MOST_DEATHS: u32 = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Use {
    /// `warm` when it has a thread that is loaded.
    Free {
        warm: bool,
    },
    Busy(RunId),
    /// It takes no more runs.
    Retired,
}

/// Whose runs a child serves.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Bound {
    /// It has served none yet.
    Nobody,
    /// A project, or those runs that name none.
    To(Option<ProjectId>),
}

#[derive(Debug)]
struct Entry {
    used: Use,
    /// Its process, once it has answered.
    ready: Option<u32>,
    bound: Bound,
    /// How many runs had ended in all children when its last one did: the smaller, the longer it has had to warm up.
    idle_since: u64,
    runs: u64,
    /// Why its process has died.
    why: Option<String>,
}

/// A run in work, with what was asked of it so far: a child that dies before it has begun may not have heard it.
#[derive(Debug, Clone, Copy)]
struct Assigned {
    child: ChildId,
    asked: Asked,
    /// Children that have died with it.
    deaths: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Load,
    Proceed,
    Stop,
}

/// Whether runs are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intake {
    Open,
    Closed,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Placement {
    capacity: usize,
    reuse: Reuse,
    intake: Intake,
    next: u64,
    children: IndexMap<ChildId, Entry>,
    runs: HashMap<RunId, Assigned>,
    /// Runs that have ended.
    ended: u64,
    demand: Demand,
}

impl Placement {
    /// For up to `capacity` runs at a time.
    pub(super) fn new(capacity: usize, reuse: Reuse, spares: Spares) -> Self {
        Self {
            capacity,
            reuse,
            intake: Intake::Open,
            next: 0,
            children: IndexMap::new(),
            runs: HashMap::new(),
            ended: 0,
            demand: Demand::new(capacity, spares),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    fn living(&self) -> usize {
        let retired = |child: &Entry| child.used == Use::Retired;
        self.children
            .values()
            .filter(|child| !retired(child))
            .count()
    }

    /// The child that has been idle longest of those whose binding is `eligible`.
    fn idle_longest(&self, eligible: impl Fn(&Bound) -> bool) -> Option<ChildId> {
        self.children
            .iter()
            .filter(|(_, child)| matches!(child.used, Use::Free { .. }) && eligible(&child.bound))
            .min_by_key(|(_, child)| child.idle_since)
            .map(|(id, _)| *id)
    }

    fn retire(&mut self, id: ChildId) {
        if let Some(child) = self.children.get_mut(&id) {
            child.used = Use::Retired;
        }
    }

    fn add(&mut self) -> ChildId {
        self.next += 1;
        let id = ChildId(self.next);
        self.children.insert(
            id,
            Entry {
                used: Use::Free { warm: false },
                ready: None,
                bound: Bound::Nobody,
                idle_since: 0,
                runs: 0,
                why: None,
            },
        );
        id
    }

    /// Gives a run to a child of its project or one that no project has used, else to a new one. Of several, to that which
    /// can begin at once: it has a warm thread, or has had the longest time to load one. So runs that follow closely use
    /// more and more children, and others one.
    pub(super) fn place(
        &mut self,
        run: &RunId,
        project: Option<ProjectId>,
        now: Instant,
    ) -> Placed {
        let any = self.reuse == Reuse::Always;
        if !self.runs.contains_key(run) {
            self.demand.placed(project.clone());
        }
        let prospect = if any || self.demand.recurs(project.as_ref()) {
            Prospect::Again
        } else {
            Prospect::Once
        };
        let bound = Bound::To(project);
        let is_new = self.children.values().all(|child| child.bound != bound);
        let chosen = self
            .children
            .iter()
            .filter_map(|(id, child)| match child.used {
                Use::Free { warm } => {
                    let own = any || child.bound == bound;
                    let rank = (warm, own, child.ready.is_some(), Reverse(child.idle_since));
                    (own || child.bound == Bound::Nobody).then_some((id, rank))
                }
                Use::Busy(_) | Use::Retired => None,
            })
            .max_by_key(|(_, rank)| *rank)
            .map(|(id, _)| *id);
        let (child, start) = match chosen {
            Some(id) => (id, Start::Nothing),
            None => {
                let start = self.make_room(now);
                (self.add(), start)
            }
        };
        if let Some(entry) = self.children.get_mut(&child) {
            if is_new {
                self.demand.took(now);
            }
            entry.used = Use::Busy(run.clone());
            entry.bound = bound;
            entry.runs += 1;
        }
        self.runs
            .entry(run.clone())
            .and_modify(|assigned| assigned.child = child)
            .or_insert(Assigned {
                child,
                asked: Asked::Load,
                deaths: 0,
            });
        Placed {
            child,
            start,
            prospect,
        }
    }

    /// Retires an idle child of another project when there are as many as there may be.
    fn make_room(&mut self, now: Instant) -> Start {
        if self.living() < self.capacity + self.demand.spares(now).max(1) {
            return Start::Child;
        }
        let Some(idle) = self.idle_longest(|_| true) else {
            return Start::Child;
        };
        self.retire(idle);
        Start::ChildInPlaceOf(idle)
    }

    /// A child that was to be started cannot be, and its run, if any, has no place.
    pub(super) fn not_started(&mut self, id: ChildId) {
        self.children.shift_remove(&id);
        self.runs.retain(|_, assigned| assigned.child != id);
    }

    /// The run may begin; which child is to be told.
    pub(super) fn proceed(&mut self, run: &RunId) -> Option<ChildId> {
        let assigned = self.runs.get_mut(run)?;
        if assigned.asked == Asked::Load {
            assigned.asked = Asked::Proceed;
        }
        Some(assigned.child)
    }

    /// The run is to stop; which child is to be told.
    pub(super) fn stop(&mut self, run: &RunId) -> Option<ChildId> {
        let assigned = self.runs.get_mut(run)?;
        assigned.asked = Asked::Stop;
        Some(assigned.child)
    }

    pub(super) fn ready(&mut self, id: ChildId, pid: u32) {
        if let Some(child) = self.children.get_mut(&id) {
            child.ready = Some(pid);
        }
    }

    /// A child has a warm thread. If a run is on its way there, it will take it.
    pub(super) fn warmed(&mut self, id: ChildId) {
        if let Some(child) = self.children.get_mut(&id)
            && let Use::Free { warm } = &mut child.used
        {
            *warm = true;
        }
    }

    /// A child's run has ended; not `reusable` when it left something behind.
    pub(super) fn idle(&mut self, id: ChildId, run: &RunId, reusable: bool) -> Afterwards {
        self.runs.remove(run);
        self.ended += 1;
        let Some(child) = self.children.get_mut(&id) else {
            return Afterwards::Nothing;
        };
        if child.used == Use::Retired {
            return Afterwards::Nothing;
        }
        if !reusable || self.reuse == Reuse::Never || self.intake == Intake::Closed {
            child.used = Use::Retired;
            return Afterwards::Retire;
        }
        child.used = Use::Free { warm: false };
        child.idle_since = self.ended;
        match &child.bound {
            Bound::To(project)
                if self.reuse == Reuse::Project && !self.demand.recurs(project.as_ref()) =>
            {
                Afterwards::Nothing
            }
            Bound::To(_) | Bound::Nobody => Afterwards::Warm,
        }
    }

    /// A run came back from a child that was dead or dying when it got it.
    pub(super) fn declined(&mut self, id: ChildId, run: &RunId) -> GivenBack {
        if let Some(child) = self.children.get_mut(&id) {
            child.used = Use::Retired;
        }
        let Some(assigned) = self.runs.get_mut(run) else {
            return GivenBack::Unknown;
        };
        assigned.deaths += 1;
        let Assigned { asked, deaths, .. } = *assigned;
        let failure = match asked {
            Asked::Stop => None,
            Asked::Load | Asked::Proceed if deaths >= MOST_DEATHS => {
                Some(EngineFailure::LoadingKills)
            }
            Asked::Load => return GivenBack::Again(Begin::Later),
            Asked::Proceed => return GivenBack::Again(Begin::AtOnce),
        };
        self.runs.remove(run);
        GivenBack::Ends(failure)
    }

    /// A child's process is dead; it gets nothing more.
    pub(super) fn dead(&mut self, id: ChildId, why: String) {
        if let Some(child) = self.children.get_mut(&id) {
            child.used = Use::Retired;
            child.why = Some(why);
        }
    }

    /// A child is gone.
    pub(super) fn gone(&mut self, id: ChildId) -> Gone {
        let lost = self.runs.extract_if(|_, assigned| assigned.child == id);
        let runs = lost
            .map(|(run, assigned)| match assigned.asked {
                Asked::Stop => (run, Lost::Stopped),
                Asked::Load | Asked::Proceed => (run, Lost::Failed),
            })
            .collect();
        let child = self.children.shift_remove(&id);
        Gone {
            was_ready: child.as_ref().is_some_and(|child| child.ready.is_some()),
            why: child.and_then(|child| child.why),
            runs,
        }
    }

    /// No run is placed any more, and every child is to end when its run has ended.
    pub(super) fn close(&mut self) {
        self.intake = Intake::Closed;
        for child in self.children.values_mut() {
            child.used = Use::Retired;
        }
    }

    /// The children that wait for a run.
    pub(super) fn free(&self) -> impl Iterator<Item = ChildId> {
        self.children
            .iter()
            .filter(|(_, child)| matches!(child.used, Use::Free { .. }))
            .map(|(id, _)| *id)
    }

    #[cfg(test)]
    pub(super) fn child_of(&self, run: &RunId) -> Option<ChildId> {
        self.runs.get(run).map(|assigned| assigned.child)
    }

    pub(super) fn status(&self) -> Vec<ChildStatus> {
        self.children.values().map(status).collect()
    }
}

fn status(child: &Entry) -> ChildStatus {
    let (state, warm, run) = match &child.used {
        Use::Free { warm } if child.ready.is_some() => (ChildState::Idle, *warm, None),
        Use::Free { warm } => (ChildState::Spawning, *warm, None),
        Use::Busy(run) => (ChildState::Busy, false, Some(run.clone())),
        Use::Retired => (ChildState::Dying, false, None),
    };
    ChildStatus {
        pid: child.ready,
        state,
        warm,
        run,
        project: match &child.bound {
            Bound::Nobody => None,
            Bound::To(project) => project.clone(),
        },
        runs: child.runs,
    }
}

#[cfg(test)]
mod tests;
