//! Which child takes a run, and how many wait for one. No actor, no I/O.
//!
//! A child executes one run. Some are kept ready (`demand.rs`), with adaptors that a run is likely to use (`ahead.rs`), and there
//! are never more than the capacity and these.

mod decisions;
mod demand;
mod spares;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Instant;

use indexmap::IndexMap;
use protocol::engine::EngineFailure;
use protocol::ids::{ProjectId, RunId};
use protocol::size::Mebibytes;

pub(super) use self::decisions::{Begin, GivenBack, Gone, Lost, Placed, Start};
use self::demand::Demand;
pub(super) use self::demand::REMEMBERED;
use super::child::ChildId;
use crate::config::Spares;
use crate::engine_pool::messages::{ChildState, ChildStatus};

/// Children that may die before one run has begun: somebody may have killed all idle ones, but a run whose loading kills
/// its child must not go from child to child for ever.
const MOST_DEATHS: u32 = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Use {
    /// It waits for its run; `loaded` once it has preloaded its adaptors.
    Free {
        loaded: bool,
    },
    Busy(RunId),
    /// It takes no run any more.
    Retired,
}

/// What a run needs of a process.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Needs {
    /// Its heap, which is fixed when the process starts.
    pub(super) heap: Mebibytes,
    /// Folders of adaptors, which it can load itself.
    pub(super) adaptors: Vec<String>,
}

impl Needs {
    fn are_met(&self, adaptors: &[String]) -> bool {
        self.adaptors.iter().all(|folder| adaptors.contains(folder))
    }
}

#[derive(Debug)]
struct Entry {
    used: Use,
    /// Its process, once it has answered.
    ready: Option<u32>,
    /// What it was started with and loads ahead.
    has: Needs,
    project: Option<ProjectId>,
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
    /// Children that are started at a time while no run waits for them.
    at_once: usize,
    intake: Intake,
    next: u64,
    children: IndexMap<ChildId, Entry>,
    runs: HashMap<RunId, Assigned>,
    demand: Demand,
}

impl Placement {
    /// For up to `capacity` runs at a time. Of the children that are kept ready `at_once` are started at a time.
    pub(super) fn new(capacity: usize, spares: Spares, at_once: usize) -> Self {
        Self {
            capacity,
            at_once,
            intake: Intake::Open,
            next: 0,
            children: IndexMap::new(),
            runs: HashMap::new(),
            demand: Demand::new(spares),
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

    fn retire(&mut self, id: ChildId) {
        if let Some(child) = self.children.get_mut(&id) {
            child.used = Use::Retired;
        }
    }

    fn add(&mut self, has: Needs) -> ChildId {
        self.next += 1;
        let id = ChildId(self.next);
        self.children.insert(
            id,
            Entry {
                used: Use::Free { loaded: false },
                ready: None,
                has,
                project: None,
                why: None,
            },
        );
        id
    }

    /// Gives a run to a child that waits, else to a new one. Of several, to that which can begin first: it has loaded what the run
    /// needs, or is about to.
    pub(super) fn place(
        &mut self,
        run: &RunId,
        project: Option<ProjectId>,
        needs: &Needs,
        now: Instant,
    ) -> Placed {
        if !self.runs.contains_key(run) {
            self.demand.took(now);
        }
        let chosen = self
            .children
            .iter()
            .filter_map(|(id, child)| match child.used {
                Use::Free { loaded } if child.has.heap == needs.heap => {
                    let met = needs.are_met(&child.has.adaptors);
                    let rank = (met && loaded, met, child.ready.is_some(), Reverse(id.0));
                    Some((id, rank))
                }
                Use::Free { .. } | Use::Busy(_) | Use::Retired => None,
            })
            .max_by_key(|(_, rank)| *rank)
            .map(|(id, _)| *id);
        let (child, start) = match chosen {
            Some(id) => (id, Start::Nothing),
            None => {
                let start = self.make_room(now);
                (self.add(needs.clone()), start)
            }
        };
        if let Some(entry) = self.children.get_mut(&child) {
            entry.used = Use::Busy(run.clone());
            entry.project = project;
        }
        self.runs
            .entry(run.clone())
            .and_modify(|assigned| assigned.child = child)
            .or_insert(Assigned {
                child,
                asked: Asked::Load,
                deaths: 0,
            });
        Placed { child, start }
    }

    /// Retires a child that waits, but not for such a run, when there are as many as there may be.
    fn make_room(&mut self, now: Instant) -> Start {
        if self.living() < self.capacity + self.demand.spares(now).max(1) {
            return Start::Child;
        }
        let Some(idle) = self.free().next() else {
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

    /// A child has loaded what it was to preload, unless a run has taken it before.
    pub(super) fn preloaded(&mut self, id: ChildId) {
        if let Some(child) = self.children.get_mut(&id)
            && let Use::Free { loaded } = &mut child.used
        {
            *loaded = true;
        }
    }

    /// A child that waits loads something else, too.
    pub(super) fn loads(&mut self, id: ChildId, adaptors: Vec<String>) {
        if let Some(child) = self.children.get_mut(&id) {
            child.has.adaptors.extend(adaptors);
            child.has.adaptors.sort_unstable();
            child.used = Use::Free { loaded: false };
        }
    }

    /// A child's run has ended, and it ends with it.
    pub(super) fn ended(&mut self, id: ChildId, run: &RunId) {
        self.runs.remove(run);
        self.retire(id);
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

    /// What the children that wait have been started with.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Needs> {
        self.children
            .values()
            .filter(|child| matches!(child.used, Use::Free { .. }))
            .map(|child| &child.has)
    }
}

fn status(child: &Entry) -> ChildStatus {
    let (state, warm, run) = match &child.used {
        Use::Free { loaded } if child.ready.is_some() => (ChildState::Idle, *loaded, None),
        Use::Free { .. } => (ChildState::Spawning, false, None),
        Use::Busy(run) => (ChildState::Busy, false, Some(run.clone())),
        Use::Retired => (ChildState::Dying, false, None),
    };
    ChildStatus {
        pid: child.ready,
        state,
        warm,
        run,
        project: child.project.clone(),
    }
}

#[cfg(test)]
mod tests;
