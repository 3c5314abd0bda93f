//! How many children that no project has used are kept ready, and which projects' runs are likely to be followed by others.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protocol::ids::ProjectId;

use crate::config::Spares;

/// How long the need of a moment is remembered.
pub(in crate::engine_pool::node) const REMEMBERED: Duration = Duration::from_mins(1);

/// What the start of a child takes on a machine that has work: runs of new projects within this time each need a child that
/// was started before.
const START: Duration = Duration::from_millis(500);

/// Moments that are remembered at most. More than `most` of them within a start change nothing.
const MOST_MOMENTS: usize = 256;

/// The latest runs' projects that are remembered for each slot: those with two or more among them are never more than the slots.
const RUNS_A_SLOT: usize = 2;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Demand {
    spares: Spares,
    /// When runs of projects that had no child took one.
    taken: VecDeque<Instant>,
    /// The latest runs' projects.
    projects: VecDeque<Option<ProjectId>>,
    most_projects: usize,
}

impl Demand {
    pub(super) fn new(capacity: usize, spares: Spares) -> Self {
        Self {
            spares,
            taken: VecDeque::new(),
            projects: VecDeque::new(),
            most_projects: capacity.max(2) * RUNS_A_SLOT,
        }
    }

    /// A run of this project was placed.
    pub(super) fn placed(&mut self, project: Option<ProjectId>) {
        self.projects.push_back(project);
        if self.projects.len() > self.most_projects {
            self.projects.pop_front();
        }
    }

    /// Whether further runs of the project are to be expected, since the latest ones have several of its.
    pub(super) fn recurs(&self, project: Option<&ProjectId>) -> bool {
        let of_it = self.projects.iter().filter(|one| one.as_ref() == project);
        of_it.count() > 1
    }

    /// A run of a project that had no child has taken one.
    pub(super) fn took(&mut self, now: Instant) {
        self.taken.push_back(now);
        if self.taken.len() > MOST_MOMENTS {
            self.taken.pop_front();
        }
    }

    /// How many children that no project has used are to be there.
    pub(super) fn spares(&mut self, now: Instant) -> usize {
        let most = match self.spares {
            Spares::Exactly(count) => return count,
            Spares::UpTo(most) => most,
        };
        let is_old = |then: &Instant| now.saturating_duration_since(*then) > REMEMBERED;
        while self.taken.front().is_some_and(is_old) {
            self.taken.pop_front();
        }
        let at_once = |first: usize| {
            let from = self.taken[first];
            let with_it = self.taken.range(first..);
            with_it
                .take_while(|then| then.saturating_duration_since(from) <= START)
                .take(most)
                .count()
        };
        let need = (0..self.taken.len()).map(at_once).max();
        need.unwrap_or_default().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(name: &str) -> Option<ProjectId> {
        Some(ProjectId::new(name))
    }

    #[test]
    fn as_many_spares_are_kept_as_were_taken_within_one_start_in_the_last_minute() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut demand = Demand::new(5, Spares::UpTo(3));
        assert_eq!(demand.spares(begin), 1);
        for ms in [0, 600, 700] {
            demand.took(at(ms));
        }
        assert_eq!(demand.spares(at(700)), 2);
        (0..9).for_each(|_| demand.took(at(900)));
        assert_eq!(demand.spares(at(900)), 3);
        assert_eq!(demand.spares(at(60_800)), 3);
        assert_eq!(demand.spares(at(61_000)), 1);
    }

    #[test]
    fn a_number_that_was_asked_for_holds_whatever_happens() {
        let now = Instant::now();
        let mut demand = Demand::new(5, Spares::Exactly(0));
        demand.took(now);
        assert_eq!(demand.spares(now), 0);
    }

    #[test]
    fn a_project_recurs_while_the_latest_runs_have_two_of_it() {
        let mut demand = Demand::new(2, Spares::UpTo(1));
        demand.placed(project("p"));
        assert!(!demand.recurs(project("p").as_ref()));
        demand.placed(project("p"));
        assert!(demand.recurs(project("p").as_ref()));
        for other in ["q", "r", "s"] {
            demand.placed(project(other));
            assert!(!demand.recurs(project(other).as_ref()));
        }
        assert!(!demand.recurs(project("p").as_ref()));
    }
}
