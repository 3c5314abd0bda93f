//! Remembers what was found in adaptors' type definitions.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::{ExportsError, discover};

/// Remembers adaptors' names, so that their files are read once and not for every step.
///
/// It holds at most as many packages as it was made for and forgets the one that was read first.
/// An entry counts only while the files it was read from are unchanged, because a package may be
/// installed anew or be worked on. It may be shared between threads.
#[derive(Debug)]
pub struct ExportsCache {
    capacity: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_dir: HashMap<PathBuf, Entry>,
    oldest_first: VecDeque<PathBuf>,
}

#[derive(Debug, Clone)]
struct Entry {
    names: Arc<[String]>,
    stamps: Vec<(PathBuf, Option<Stamp>)>,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
}

impl ExportsCache {
    /// A cache of at most `capacity` packages (at least one).
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            entries: Mutex::new(Entries::default()),
        }
    }

    /// The names that an adaptor exports, as [`adaptor_exports`](crate::adaptor_exports) finds them.
    ///
    /// # Errors
    ///
    /// Those of [`adaptor_exports`](crate::adaptor_exports); they are not remembered.
    pub fn get(&self, package_dir: &Path) -> Result<Arc<[String]>, ExportsError> {
        let known = self.lock().by_dir.get(package_dir).cloned();
        if let Some(entry) = known
            && entry
                .stamps
                .iter()
                .all(|(path, stamp)| stamp_of(path) == *stamp)
        {
            return Ok(entry.names);
        }
        // Not under the lock: another step's adaptor must not wait for this one's files.
        let found = discover(package_dir)?;
        let entry = Entry {
            names: found.names.into(),
            stamps: found
                .files
                .into_iter()
                .map(|path| {
                    let stamp = stamp_of(&path);
                    (path, stamp)
                })
                .collect(),
        };
        let names = Arc::clone(&entry.names);
        self.lock().insert(package_dir, entry, self.capacity);
        Ok(names)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // A panic elsewhere cannot have left an entry half written.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn insert(&mut self, dir: &Path, entry: Entry, capacity: usize) {
        if self.by_dir.insert(dir.to_owned(), entry).is_none() {
            self.oldest_first.push_back(dir.to_owned());
        }
        while self.by_dir.len() > capacity {
            let Some(oldest) = self.oldest_first.pop_front() else {
                return;
            };
            self.by_dir.remove(&oldest);
        }
    }
}

fn stamp_of(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        length: metadata.len(),
        modified: metadata.modified().ok(),
    })
}
