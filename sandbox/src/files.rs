//! How much a process has in files of its own, those in its private folder and those that it holds without a name, and in connections.
//!
//! Looked at from outside, beside the process, which may change everything meanwhile: what is told is near enough for a limit, and
//! whatever cannot be looked at counts as being over every limit.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The bytes of one block in the figures of the system, whatever those of the disk are.
const BLOCK: u64 = 512;

/// What a process has in files, or may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Files {
    /// Bytes on the disk.
    pub bytes: u64,
    /// Files and folders.
    pub count: u64,
    /// Bytes of the kernel's memory that wait in its sockets, once it has more than a few of these.
    pub queued: u64,
}

impl Files {
    /// Of a process that does not let its files be seen.
    pub const HIDDEN: Self = Self {
        bytes: u64::MAX,
        count: u64::MAX,
        queued: 0,
    };

    /// Whether there are more files than this, or more in them.
    #[must_use]
    pub fn exceeds(&self, most: Self) -> bool {
        self.bytes > most.bytes || self.count > most.count
    }
}

/// Which files of a process are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those that have a name in its private folder: costs little while there are few.
    Named,
    /// Those that it has open, or mapped, without a name as well, and its sockets: costs a line for each descriptor and mapping.
    All,
}

/// Counts files, each of them once.
#[derive(Debug)]
pub(crate) struct Count {
    files: Files,
    most: Files,
    /// Those with several names, or none, that have been counted.
    seen: HashSet<(u64, u64)>,
}

impl Count {
    /// What waits in sockets.
    #[cfg(all(target_os = "linux", not(feature = "portable")))]
    pub(crate) fn add_queued(&mut self, bytes: u64) {
        self.files.queued = self.files.queued.saturating_add(bytes);
    }

    /// Goes on until it is over `most`.
    pub(crate) fn new(most: Files) -> Self {
        Self {
            files: Files::default(),
            most,
            seen: HashSet::new(),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.files.exceeds(self.most)
    }

    pub(crate) fn files(self) -> Files {
        self.files
    }

    pub(crate) fn add(&mut self, found: &Metadata) {
        let is_known =
            found.nlink() != 1 && !found.is_dir() && !self.seen.insert((found.dev(), found.ino()));
        if !is_known {
            self.add_unseen(found.blocks().saturating_mul(BLOCK));
        }
    }

    /// One of this size at most.
    pub(crate) fn add_unseen(&mut self, bytes: u64) {
        self.files.count = self.files.count.saturating_add(1);
        self.files.bytes = self.files.bytes.saturating_add(bytes);
    }

    /// Whether a file has been counted.
    #[cfg(all(target_os = "linux", not(feature = "portable")))]
    pub(crate) fn has(&self, device: u64, inode: u64) -> bool {
        self.seen.contains(&(device, inode))
    }

    /// Counts everything in a folder. A link is not followed, unless it takes a folder's place at this moment: then something is
    /// counted that is not the process's, to its own harm.
    pub(crate) fn add_folder(&mut self, folder: &Path) {
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            match self.add_entries(&folder, &mut folders) {
                Ok(()) => {}
                // Removed or renamed meanwhile.
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                // Closed to its owner, or nested so deeply that it has no path.
                Err(_) => self.files = Files::HIDDEN,
            }
            if self.is_over() {
                return;
            }
        }
    }

    fn add_entries(&mut self, folder: &Path, folders: &mut Vec<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(found) => {
                    self.add(&found);
                    if found.is_dir() {
                        folders.push(entry.path());
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            if self.is_over() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const MANY: Files = Files {
        bytes: u64::MAX,
        count: 1000,
        queued: 0,
    };

    fn counted(folder: &Path, most: Files) -> Files {
        let mut count = Count::new(most);
        count.add_folder(folder);
        count.files()
    }

    #[test]
    fn files_are_counted_once_however_many_names_they_have_and_links_are_not_followed() {
        let other = tempfile::tempdir().unwrap();
        for number in 0..50 {
            fs::write(other.path().join(number.to_string()), "x").unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert_eq!(counted(path, MANY), Files::default());
        fs::create_dir_all(path.join("a/b")).unwrap();
        fs::write(path.join("a/b/file"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(path.join("a/b/file"), path.join("again")).unwrap();
        symlink(other.path(), path.join("link")).unwrap();
        let found = counted(path, MANY);
        assert_eq!(found.count, 4);
        assert!((1 << 20..2 << 20).contains(&found.bytes), "{found:?}");
    }

    #[test]
    fn counting_ends_with_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..20 {
            fs::create_dir_all(folder.path().join(format!("{number}/inner"))).unwrap();
        }
        let most = Files { count: 5, ..MANY };
        let found = counted(folder.path(), most);
        assert!(found.exceeds(most) && found.count < 20, "{found:?}");
    }

    #[test]
    fn a_folder_that_cannot_be_looked_at_counts_as_over_every_limit() {
        let folder = tempfile::tempdir().unwrap();
        let chain = format!("{}/", "d".repeat(200)).repeat(10);
        let mut nested = folder.path().join("0");
        fs::create_dir(&nested).unwrap();
        for number in 1..4 {
            let next = folder.path().join(number.to_string());
            fs::create_dir_all(next.join(&chain)).unwrap();
            fs::rename(&nested, next.join(&chain).join("x")).unwrap();
            nested = next;
        }
        let most = Files {
            count: 100_000,
            ..MANY
        };
        assert_eq!(counted(folder.path(), most), Files::HIDDEN);
        // So that it can be removed.
        for _ in 0..3 {
            let mut inner = nested.join(&chain);
            inner.push("x");
            let top = folder.path().join("lifted");
            if fs::rename(&inner, &top).is_ok() {
                fs::remove_dir_all(&nested).unwrap();
                nested = top;
            }
        }
        if !nix::unistd::geteuid().is_root() {
            let closed = tempfile::tempdir().unwrap();
            let inner = closed.path().join("inner");
            fs::create_dir(&inner).unwrap();
            fs::set_permissions(&inner, Permissions::from_mode(0o0)).unwrap();
            assert_eq!(counted(closed.path(), MANY), Files::HIDDEN);
        }
    }
}
