//! A lock between processes: a folder that its owner keeps fresh.
//!
//! The convention is that of the `proper-lockfile` package, which the reference's own locking is built on (engine spec,
//! section 2.8): the lock of `target` is the folder `target.lock`, made by an atomic mkdir; its owner touches it every few
//! seconds, and one that was not touched for minutes belongs to nobody.
//!
//! A worker that is killed would keep others waiting for those minutes. So an owner of ours on this machine also holds the
//! kernel's lock on the file `target`, and names its folder in it: where that lock is free and the folder is the one that is
//! named, the owner is dead. Owners that do not do this are judged by their folder's age alone.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use log_events::{event, table};
use tokio::task::JoinHandle;

use crate::files::{FileError, blocking};

/// Why a lock is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Its owner kept it for longer than anybody waits.
    #[error("Lock acquisition timed out after {}s waiting for {what}; another worker likely still installing (lock: {})", patience.as_secs(), target.display())]
    TimedOut {
        /// What is locked, for people.
        what: String,
        /// The locked file.
        target: PathBuf,
        /// How long it was waited for.
        patience: Duration,
    },
    /// It was ours, and somebody thought us dead.
    #[error("another worker has taken it over")]
    TakenOver,
    /// It cannot be made.
    #[error(transparent)]
    File(#[from] FileError),
}

/// How long waits and ages are; the reference's by default.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) refresh: Duration,
    pub(crate) stale: Duration,
    pub(crate) retry: Duration,
    /// Longer than `stale`, so that the lock of a dead owner is always outlived.
    pub(crate) patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(5),
            stale: Duration::from_mins(5),
            retry: Duration::from_secs(2),
            patience: Duration::from_mins(6),
        }
    }
}

/// A lock that is held; given back when dropped.
#[derive(Debug)]
pub(crate) struct FolderLock {
    folder: PathBuf,
    /// Tells our folder from one that somebody made who thought us dead.
    inode: u64,
    life: Option<SignOfLife>,
    refreshing: JoinHandle<()>,
}

/// The kernel's lock on the target, which ends with its owner; not to be had on some file systems.
#[derive(Debug)]
struct SignOfLife {
    target: File,
    /// Of the boot that the kernel's locks are good for.
    boot: String,
}

impl SignOfLife {
    fn take(target: &Path) -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let file = File::options().write(true).open(target).ok()?;
        file.try_lock().ok()?;
        Some(Self {
            target: file,
            boot: boot.trim().to_owned(),
        })
    }

    fn name(&self, inode: u64) -> String {
        format!("{} {inode}", self.boot)
    }

    /// Whether `target` names this folder: then its owner held what is ours now, and is gone.
    fn outlived_owner_of(&self, target: &Path, folder: &Path) -> bool {
        inode_of(folder).is_ok_and(|inode| {
            fs::read_to_string(target).is_ok_and(|named| named == self.name(inode))
        })
    }

    /// Names the folder of the owner, or no folder. Without a name the owner is judged by its folder's age.
    fn write(&self, name: &str) {
        let mut target = &self.target;
        if let Err(error) = target
            .set_len(0)
            .and_then(|()| target.write_all(name.as_bytes()))
        {
            event!(table::REPOSITORY_LOCK_LOST, error:% = error; "a lock cannot be marked as this worker's: {error}");
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        self.refreshing.abort();
        if !inode_of(&self.folder).is_ok_and(|inode| inode == self.inode) {
            event!(
                table::REPOSITORY_LOCK_LOST, file:% = self.folder.display();
                "the lock {} was lost to another worker",
                self.folder.display()
            );
            return;
        }
        // First, so that no later folder with the same inode is taken for this one.
        if let Some(life) = &self.life {
            life.write("");
        }
        if let Err(error) = fs::remove_dir(&self.folder)
            && error.kind() != ErrorKind::NotFound
        {
            event!(
                table::REPOSITORY_LOCK_LOST, file:% = self.folder.display(), error:% = error;
                "the lock {} cannot be given back: {error}",
                self.folder.display()
            );
        }
    }
}

impl FolderLock {
    /// Takes the lock of `target`, an empty file that is made when missing; waits for another owner. `what` is for the log.
    ///
    /// # Errors
    /// When the lock cannot be made, or is not to be had within the patience.
    pub(crate) async fn acquire(target: &Path, what: &str, pace: Pace) -> Result<Self, LockError> {
        let name = target.to_owned();
        blocking(move || make_target(&name)).await?;
        let mut folder = target.to_owned().into_os_string();
        folder.push(".lock");
        let folder = PathBuf::from(folder);
        let began = tokio::time::Instant::now();
        let mut told = false;
        loop {
            let (name, path, stale) = (target.to_owned(), folder.clone(), pace.stale);
            if let Some((inode, life)) = blocking(move || try_take(&name, &path, stale)).await? {
                let refreshing = tokio::spawn(refresh(folder.clone(), inode, pace.refresh));
                return Ok(Self {
                    folder,
                    inode,
                    life,
                    refreshing,
                });
            }
            if began.elapsed() >= pace.patience {
                return Err(LockError::TimedOut {
                    what: what.to_owned(),
                    target: target.to_owned(),
                    patience: pace.patience,
                });
            }
            if !told {
                told = true;
                event!(table::REPOSITORY_WAITS, file:% = folder.display(); "waiting for install lock on `{what}` (another worker is installing)");
            }
            tokio::time::sleep(pace.retry).await;
        }
    }
}

async fn refresh(folder: PathBuf, inode: u64, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let path = folder.clone();
        if let Err(error) = blocking(move || touch(&path, inode)).await {
            event!(table::REPOSITORY_LOCK_LOST, file:% = folder.display(), error:% = error; "the lock {} cannot be kept: {error}", folder.display());
            return;
        }
    }
}

fn make_target(target: &Path) -> Result<(), FileError> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(FileError::at(parent))?;
    }
    match File::create_new(target) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(FileError::at(target)(error)),
    }
}

fn touch(folder: &Path, inode: u64) -> Result<(), LockError> {
    if inode_of(folder)? != inode {
        return Err(LockError::TakenOver);
    }
    let touched = File::open(folder).and_then(|file| file.set_modified(SystemTime::now()));
    Ok(touched.map_err(FileError::at(folder))?)
}

fn inode_of(folder: &Path) -> Result<u64, FileError> {
    let metadata = fs::metadata(folder).map_err(FileError::at(folder))?;
    Ok(metadata.ino())
}

fn is_stale(folder: &Path, after: Duration) -> bool {
    fs::metadata(folder)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > after))
}

/// Makes the folder; its inode when it is ours now.
fn try_take(
    target: &Path,
    folder: &Path,
    stale: Duration,
) -> Result<Option<(u64, Option<SignOfLife>)>, FileError> {
    let life = SignOfLife::take(target);
    let is_ownerless = |folder: &Path| {
        is_stale(folder, stale)
            || life
                .as_ref()
                .is_some_and(|life| life.outlived_owner_of(target, folder))
    };
    let mut made = fs::create_dir(folder);
    if made
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::AlreadyExists)
        && is_ownerless(folder)
    {
        remove(folder, is_ownerless);
        // Whoever is first from now on.
        made = fs::create_dir(folder);
    }
    match made {
        Ok(()) => {
            let inode = inode_of(folder)?;
            if let Some(life) = &life {
                life.write(&life.name(inode));
            }
            Ok(Some((inode, life)))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(FileError::at(folder)(error)),
    }
}

/// Removes the lock of an owner that is gone. Moved away first: of two that see the same lock without an owner, the second
/// would otherwise remove the one which the first has just made.
fn remove(folder: &Path, is_ownerless: impl Fn(&Path) -> bool) {
    let mut aside = folder.to_owned().into_os_string();
    aside.push(format!(".{}", uuid::Uuid::new_v4()));
    let aside = PathBuf::from(aside);
    if fs::rename(folder, &aside).is_err() {
        return;
    }
    let undone = !is_ownerless(&aside) && fs::rename(&aside, folder).is_ok();
    if !undone && let Err(error) = fs::remove_dir_all(&aside) {
        event!(
            table::REPOSITORY_LOCK_LOST, file:% = aside.display(), error:% = error;
            "the stale lock {} cannot be removed: {error}",
            aside.display()
        );
    }
}

#[cfg(test)]
mod tests;
