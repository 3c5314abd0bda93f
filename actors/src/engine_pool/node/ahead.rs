//! Which adaptors are loaded ahead in a child that no project has used: those that many of the latest runs had. No actor, no I/O.

use std::collections::VecDeque;
use std::path::Path;

/// Runs that are remembered.
const RUNS: usize = 20;

/// The part of them that has to have used an adaptor, as its reciprocal. Every child loads it, and only so many have it used.
const SHARE: usize = 4;

/// Adaptors that one thread loads ahead.
const MOST: usize = 4;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Folders that the configuration wants to be loaded.
    wanted: Vec<String>,
    /// Those of the latest runs.
    runs: VecDeque<Vec<String>>,
}

impl Ahead {
    /// A run uses these folders.
    pub(super) fn used(&mut self, folders: &[String]) {
        let known = self.runs.iter_mut().flatten().chain(&mut self.wanted);
        for path in known {
            // An adaptor may have moved into a bundle since.
            if let Some(moved) = folders.iter().find(|folder| is_same(folder, path)) {
                path.clone_from(moved);
            }
        }
        self.runs.push_back(folders.to_vec());
        if self.runs.len() > RUNS {
            self.runs.pop_front();
        }
    }

    /// The configuration wants these to be loaded.
    pub(super) fn want(&mut self, folders: Vec<String>) {
        self.wanted.extend(folders);
    }

    /// The folders to load.
    pub(super) fn folders(&self) -> Vec<String> {
        let mut counts: Vec<(&String, usize)> = Vec::new();
        for folder in self.runs.iter().rev().flatten() {
            match counts.iter_mut().find(|(known, _)| *known == folder) {
                Some((_, count)) => *count += 1,
                None => counts.push((folder, 1)),
            }
        }
        counts.retain(|(_, count)| count * SHARE >= self.runs.len());
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let mut folders = self.wanted.clone();
        for (folder, _) in counts {
            if !folders.contains(folder) {
                folders.push(folder.clone());
            }
        }
        folders.truncate(MOST.max(self.wanted.len()));
        folders
    }
}

/// Whether both are folders of the same adaptor: they are named by its alias.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    Path::new(one).file_name() == Path::new(other).file_name()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(ahead: &mut Ahead, folder: &str) {
        ahead.used(&[folder.to_owned()]);
    }

    #[test]
    fn adaptors_that_many_of_the_latest_runs_had_are_loaded_the_most_used_first() {
        let mut ahead = Ahead::default();
        for folder in ["/b", "/a", "/c", "/a", "/b", "/a", "/a"] {
            used(&mut ahead, folder);
        }
        assert_eq!(ahead.folders(), ["/a", "/b"]);
        (0..RUNS).for_each(|_| used(&mut ahead, "/d"));
        assert_eq!(ahead.folders(), ["/d"]);
    }

    #[test]
    fn of_many_that_are_used_alike_none_is_loaded() {
        let mut ahead = Ahead::default();
        for folder in ["/a", "/b", "/c", "/d", "/e"] {
            used(&mut ahead, folder);
        }
        assert!(ahead.folders().is_empty());
    }

    #[test]
    fn what_the_configuration_wants_is_always_loaded_and_one_that_has_moved_from_its_new_place() {
        let mut ahead = Ahead::default();
        ahead.want(vec!["/plain/a".to_owned()]);
        assert_eq!(ahead.folders(), ["/plain/a"]);
        used(&mut ahead, "/bundled/a");
        used(&mut ahead, "/plain/b");
        assert_eq!(ahead.folders(), ["/bundled/a", "/plain/b"]);
    }
}
