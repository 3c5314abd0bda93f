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

use tokio::task::JoinHandle;

/// How long waits and ages are; the reference's by default.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine_pool) struct Pace {
    pub(super) refresh: Duration,
    pub(super) stale: Duration,
    pub(super) retry: Duration,
    /// Longer than `stale`, so that the lock of a dead owner is always outlived.
    pub(super) patience: Duration,
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
pub(in crate::engine_pool) struct FolderLock {
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
            log::warn!("a lock cannot be marked as this worker's: {error}");
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        self.refreshing.abort();
        if !inode_of(&self.folder).is_ok_and(|inode| inode == self.inode) {
            log::warn!(
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
            log::warn!(
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
    pub(in crate::engine_pool) async fn acquire(
        target: &Path,
        what: &str,
        pace: Pace,
    ) -> Result<Self, String> {
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
                let refreshing = actix_rt::spawn(refresh(folder.clone(), inode, pace.refresh));
                return Ok(Self {
                    folder,
                    inode,
                    life,
                    refreshing,
                });
            }
            if began.elapsed() >= pace.patience {
                return Err(format!(
                    "Lock acquisition timed out after {}s waiting for {what}; another worker likely still installing (lock: {})",
                    pace.patience.as_secs(),
                    target.display()
                ));
            }
            if !told {
                told = true;
                log::info!("waiting for install lock on `{what}` (another worker is installing)");
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
            log::warn!("the lock {} cannot be kept: {error}", folder.display());
            return;
        }
    }
}

/// Runs file work where it may block.
pub(in crate::engine_pool) async fn blocking<T, F>(work: F) -> Result<T, String>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, String> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(format!("file work failed: {error}")),
    }
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn make_target(target: &Path) -> Result<(), String> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(|error| at(parent, &error))?;
    }
    match File::create_new(target) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(at(target, &error)),
    }
}

fn touch(folder: &Path, inode: u64) -> Result<(), String> {
    if inode_of(folder)? != inode {
        return Err("another worker has taken it over".to_owned());
    }
    File::open(folder)
        .and_then(|file| file.set_modified(SystemTime::now()))
        .map_err(|error| at(folder, &error))
}

fn inode_of(folder: &Path) -> Result<u64, String> {
    fs::metadata(folder)
        .map(|metadata| metadata.ino())
        .map_err(|error| at(folder, &error))
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
) -> Result<Option<(u64, Option<SignOfLife>)>, String> {
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
        Err(error) => Err(at(folder, &error)),
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
        log::warn!(
            "the stale lock {} cannot be removed: {error}",
            aside.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    const QUICK: Pace = Pace {
        refresh: Duration::from_millis(20),
        stale: Duration::from_secs(60),
        retry: Duration::from_millis(5),
        patience: Duration::from_secs(30),
    };

    #[actix_rt::test]
    async fn only_one_holds_the_lock_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("@openfn/a_1.0.0.lock");
        let inside = Rc::new(Cell::new(0));
        let holders = (0..5).map(|_| {
            let (target, inside) = (target.clone(), Rc::clone(&inside));
            async move {
                let lock = FolderLock::acquire(&target, "a", QUICK).await.unwrap();
                inside.set(inside.get() + 1);
                assert_eq!(inside.get(), 1);
                tokio::task::yield_now().await;
                assert_eq!(inside.get(), 1);
                inside.set(0);
                drop(lock);
            }
        });
        futures_util::future::join_all(holders).await;
        assert!(!home.path().join("@openfn/a_1.0.0.lock.lock").exists());
    }

    #[actix_rt::test]
    async fn the_lock_of_a_dead_owner_is_taken_over() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("a.lock");
        let folder = home.path().join("a.lock.lock");
        fs::create_dir(&folder).unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(120);
        File::open(&folder).unwrap().set_modified(long_ago).unwrap();
        let lock = FolderLock::acquire(&target, "a", QUICK).await.unwrap();
        assert!(!is_stale(&folder, Duration::from_secs(60)));
        drop(lock);
        assert_eq!(
            fs::read_dir(home.path()).unwrap().count(),
            1,
            "only the target is left"
        );
    }

    /// What a worker leaves that is killed with the lock in its hands: the kernel takes back only its own lock.
    fn abandon(lock: FolderLock) {
        lock.refreshing.abort();
        let mut lock = std::mem::ManuallyDrop::new(lock);
        drop(lock.life.take());
    }

    #[actix_rt::test]
    async fn the_lock_of_a_killed_worker_on_this_machine_is_taken_over_at_once() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("a.lock");
        for _ in 0..3 {
            abandon(FolderLock::acquire(&target, "a", QUICK).await.unwrap());
        }
        let _held = FolderLock::acquire(&target, "a", QUICK).await.unwrap();
    }

    #[actix_rt::test]
    async fn the_fresh_lock_of_an_owner_that_gives_no_sign_of_life_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("a.lock");
        let impatient = Pace {
            patience: Duration::ZERO,
            ..QUICK
        };
        // An owner of ours before it, whose folder may have had the same inode.
        drop(FolderLock::acquire(&target, "a", QUICK).await.unwrap());
        fs::create_dir(home.path().join("a.lock.lock")).unwrap();
        assert!(FolderLock::acquire(&target, "a", impatient).await.is_err());
    }

    #[actix_rt::test]
    async fn whoever_waits_too_long_is_told_for_what() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("a.lock");
        let _held = FolderLock::acquire(&target, "a", QUICK).await.unwrap();
        let impatient = Pace {
            patience: Duration::ZERO,
            ..QUICK
        };
        let failure = FolderLock::acquire(&target, "a", impatient)
            .await
            .unwrap_err();
        assert!(
            failure
                .starts_with("Lock acquisition timed out after 0s waiting for a; another worker"),
            "{failure}"
        );
    }

    #[actix_rt::test]
    async fn a_held_lock_is_kept_fresh() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("a.lock");
        let folder = home.path().join("a.lock.lock");
        let _held = FolderLock::acquire(&target, "a", QUICK).await.unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        File::open(&folder).unwrap().set_modified(long_ago).unwrap();
        let fresh = async {
            while is_stale(&folder, Duration::from_secs(60)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), fresh)
            .await
            .expect("the owner touches its lock");
    }

    #[actix_rt::test]
    async fn a_lock_that_was_taken_over_is_left_to_its_new_owner() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("a.lock");
        let folder = home.path().join("a.lock.lock");
        let lost = FolderLock::acquire(&target, "a", QUICK).await.unwrap();
        fs::rename(&folder, home.path().join("aside")).unwrap();
        let held = FolderLock::acquire(&target, "a", QUICK).await.unwrap();
        drop(lost);
        assert!(folder.exists());
        drop(held);
        assert!(!folder.exists());
    }
}
