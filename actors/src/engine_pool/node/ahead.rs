//! Which adaptors a child loads before its run comes: those of one of the latest runs, each as often as runs had them. No actor,
//! no I/O.

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use super::child::Preload;

/// Runs that are remembered.
const RUNS: usize = 20;

/// For so many runs that have the same adaptors as one which used something that is loaded only when used, that is loaded ahead.
const LATER_RUNS: usize = 8;

/// What a run used of what is loaded only when used.
#[derive(Debug, Clone, Copy)]
struct Later {
    bits: u32,
    /// For how many more runs.
    runs: usize,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Folders that the configuration wants to be loaded.
    wanted: Vec<String>,
    /// Those of the latest runs, sorted.
    runs: VecDeque<Vec<String>>,
    later: HashMap<Vec<String>, Later>,
}

impl Ahead {
    /// A run uses these folders.
    pub(super) fn used(&mut self, mut folders: Vec<String>) {
        folders.sort_unstable();
        for known in self.runs.iter_mut().chain([&mut self.wanted]) {
            for path in known.iter_mut() {
                // An adaptor may have moved into a bundle since.
                if let Some(moved) = folders.iter().find(|folder| is_same(folder, path)) {
                    path.clone_from(moved);
                }
            }
            known.sort_unstable();
        }
        self.runs.push_back(folders);
        if self.runs.len() > RUNS {
            self.runs.pop_front();
        }
        self.later.retain(|set, _| self.runs.contains(set));
    }

    /// A run with these folders has ended, and has used this of what is loaded only when used.
    pub(super) fn used_later(&mut self, mut folders: Vec<String>, bits: u32) {
        folders.sort_unstable();
        let before = self.later.get(&folders).copied();
        let (bits, runs) = match (before, bits) {
            (Some(before), 0) => (before.bits, before.runs.saturating_sub(1)),
            (Some(before), bits) => (before.bits | bits, LATER_RUNS),
            (None, bits) => (bits, LATER_RUNS),
        };
        if bits == 0 || runs == 0 {
            self.later.remove(&folders);
        } else {
            self.later.insert(folders, Later { bits, runs });
        }
    }

    /// The configuration wants these to be loaded.
    pub(super) fn want(&mut self, folders: Vec<String>) {
        self.wanted.extend(folders);
        self.wanted.sort_unstable();
    }

    /// What one more child is to load beside those that wait with these folders loaded.
    pub(super) fn next<'a>(&self, waiting: impl Iterator<Item = &'a [String]>) -> Preload {
        let mut sets: Vec<(&[String], usize, usize)> = Vec::new();
        // The latest first: of two that are used alike it is taken.
        for set in self.runs.iter().rev() {
            match sets.iter_mut().find(|(known, _, _)| known == set) {
                Some((_, runs, _)) => *runs += 1,
                None => sets.push((set, 1, 1)),
            }
        }
        for held in waiting {
            if let Some((_, _, seats)) = sets.iter_mut().find(|(set, _, _)| *set == held) {
                *seats += 1;
            }
        }
        // Seats by votes, as D'Hondt gives them.
        let best = sets
            .iter()
            .rev()
            .max_by(|(_, a, of_a), (_, b, of_b)| (a * of_b).cmp(&(b * of_a)).then(of_b.cmp(of_a)));
        let adaptors = best.map_or_else(|| self.wanted.clone(), |(set, _, _)| set.to_vec());
        let later = self.later.get(&adaptors).map_or(0, |later| later.bits);
        Preload { adaptors, later }
    }
}

/// Whether both are folders of the same adaptor: they are named by its alias.
fn is_same(one: &str, other: &str) -> bool {
    Path::new(one).file_name() == Path::new(other).file_name()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(ahead: &mut Ahead, folder: &str) {
        ahead.used(vec![folder.to_owned()]);
    }

    /// What so many children load, each started when those before it waited.
    fn loads(ahead: &Ahead, children: usize) -> Vec<Vec<String>> {
        let mut waiting: Vec<Vec<String>> = Vec::new();
        for _ in 0..children {
            let next = ahead.next(waiting.iter().map(Vec::as_slice));
            waiting.push(next.adaptors);
        }
        waiting
    }

    #[test]
    fn children_load_what_the_latest_runs_had_each_as_often_as_runs_had_it() {
        let mut ahead = Ahead::default();
        for folder in ["/b", "/a", "/c", "/a", "/b", "/a", "/a"] {
            used(&mut ahead, folder);
        }
        assert_eq!(loads(&ahead, 4), [["/a"], ["/b"], ["/a"], ["/a"]]);
        (0..RUNS).for_each(|_| used(&mut ahead, "/d"));
        assert_eq!(loads(&ahead, 2), [["/d"], ["/d"]]);
    }

    #[test]
    fn of_several_that_are_used_alike_the_latest_comes_first() {
        let mut ahead = Ahead::default();
        for folder in ["/a", "/b", "/c"] {
            used(&mut ahead, folder);
        }
        assert_eq!(loads(&ahead, 3), [["/c"], ["/b"], ["/a"]]);
    }

    #[test]
    fn what_the_configuration_wants_is_loaded_until_there_are_runs_and_one_that_has_moved_from_its_new_place()
     {
        let mut ahead = Ahead::default();
        ahead.want(vec!["/plain/a".to_owned()]);
        assert_eq!(loads(&ahead, 1), [["/plain/a"]]);
        used(&mut ahead, "/plain/b");
        assert_eq!(loads(&ahead, 1), [["/plain/b"]]);
        used(&mut ahead, "/bundled/b");
        assert_eq!(loads(&ahead, 2), [["/bundled/b"], ["/bundled/b"]]);
    }

    #[test]
    fn what_a_run_loaded_when_it_was_used_is_loaded_ahead_for_some_runs() {
        let mut ahead = Ahead::default();
        let set = || vec!["/a".to_owned()];
        let later = |ahead: &Ahead| ahead.next(std::iter::empty()).later;
        ahead.used(set());
        ahead.used_later(set(), 2);
        assert_eq!(later(&ahead), 2);
        ahead.used_later(set(), 1);
        (1..LATER_RUNS).for_each(|_| ahead.used_later(set(), 0));
        assert_eq!(later(&ahead), 3);
        ahead.used_later(set(), 0);
        assert_eq!(later(&ahead), 0);
    }
}
