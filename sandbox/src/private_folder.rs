//! The one folder that every program may write, and where it is.
//!
//! The folders of one worker are in a root of its own, which it holds a lock on as long as it lives: the kernel lets go of
//! the lock however the worker ends. A worker that starts removes the roots whose locks nobody holds, and ends the programs that
//! are written down there.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log_events::{event, table};

use crate::platform::{self, User};

/// How the name of a root begins, after which comes a random part.
const PREFIX: &str = "ws-worker-";
/// The same while the root has no lock yet, so that nobody takes it for a dead worker's.
const UNFINISHED: &str = ".ws-worker-";
/// The file in a root that its worker has locked.
const LOCK: &str = "lock";
/// How the name of the file ends that says which program has a folder.
const MARK: &str = ".process";

/// Where the private folders of this worker are; removed with the last of them.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    _lock: File,
}

impl Root {
    /// A fresh root below the system's temporary folder, which nobody else may list.
    ///
    /// # Errors
    /// When it cannot be made or locked.
    pub fn create() -> io::Result<Arc<Self>> {
        Self::create_below(&std::env::temp_dir())
    }

    pub(crate) fn create_below(temporary: &Path) -> io::Result<Arc<Self>> {
        let id = uuid::Uuid::new_v4();
        let unfinished = temporary.join(format!("{UNFINISHED}{id}"));
        let path = temporary.join(format!("{PREFIX}{id}"));
        DirBuilder::new().mode(0o700).create(&unfinished)?;
        let lock = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(unfinished.join(LOCK))?;
        lock.try_lock()?;
        fs::rename(&unfinished, &path)?;
        let root = Self { path, _lock: lock };
        // Whatever the mask of the worker's files is.
        fs::set_permissions(&root.path, Permissions::from_mode(mode()))?;
        Ok(Arc::new(root))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Programs of the superuser's worker may be other users, and pass through the root to their own folders. Nobody else can list it.
fn mode() -> u32 {
    if nix::unistd::geteuid().is_root() {
        0o711
    } else {
        0o700
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// What dead workers have left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Roots that were removed, one a worker.
    pub roots: usize,
    /// Processes that were ended.
    pub processes: usize,
}

/// Ends and removes what dead workers of this user have left.
#[must_use]
pub fn sweep() -> Swept {
    sweep_below(&std::env::temp_dir())
}

fn sweep_below(temporary: &Path) -> Swept {
    let mut swept = Swept::default();
    let Ok(entries) = fs::read_dir(temporary) else {
        return swept;
    };
    let dead = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .map(|entry| entry.path())
        .filter(|path| is_ours(path))
        .filter_map(|path| Some((File::open(path.join(LOCK)).ok()?, path)))
        // Held until the root is gone, so that two workers which start together do not both remove it.
        .filter(|(lock, _)| lock.try_lock().is_ok());
    for (_lock, path) in dead {
        // First, since they may still write there.
        swept.processes += platform::end_all(&path, MARK);
        remove(&path);
        swept.roots += 1;
    }
    swept
}

/// A folder, not a link to one, of this user: others can make names of this kind in a shared temporary folder.
fn is_ours(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw())
}

fn remove(path: &Path) {
    if let Err(error) = remove_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        event!(table::SANDBOX_FOLDER_LEFT, file:% = path.display(), error:% = error; "{} cannot be removed: {error}", path.display());
    }
}

/// Removes a folder and all in it. Without a recursion and with two folders open at most, however deep a job has nested its
/// own: what is in a folder of `top` is lifted up into `top`, until there are no folders left.
fn remove_all(top: &Path) -> io::Result<()> {
    let lifted = uuid::Uuid::new_v4();
    let mut count = 0_u64;
    let mut folders = true;
    open_up(top)?;
    while folders {
        folders = false;
        for entry in fs::read_dir(top)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
                continue;
            }
            folders = true;
            let folder = entry.path();
            open_up(&folder)?;
            for inner in fs::read_dir(&folder)? {
                let inner = inner?;
                if inner.file_type()?.is_dir() {
                    open_up(&inner.path())?;
                    fs::rename(inner.path(), top.join(format!("{lifted}-{count}")))?;
                    count += 1;
                } else {
                    fs::remove_file(inner.path())?;
                }
            }
            fs::remove_dir(&folder)?;
        }
    }
    fs::remove_dir(top)
}

/// A folder can be made so that not even its owner may enter or move it.
fn open_up(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o700))
}

/// A fresh folder of one program, removed with everything in it when dropped.
#[derive(Debug)]
pub(crate) struct PrivateFolder {
    path: PathBuf,
    _root: Arc<Root>,
}

impl PrivateFolder {
    /// # Errors
    /// When the folder cannot be made.
    pub(crate) fn create(root: &Arc<Root>, user: Option<User>) -> io::Result<Self> {
        let path = root.path.join(uuid::Uuid::new_v4().to_string());
        DirBuilder::new().mode(0o700).create(&path)?;
        let folder = Self {
            path,
            _root: Arc::clone(root),
        };
        if let Some(user) = user {
            user.own(&folder.path)?;
        }
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down whose it is, for the worker after this one, if this one is killed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn belongs_to(&self, pid: u32) -> io::Result<()> {
        match platform::Mark::of(pid) {
            Some(mark) => fs::write(self.mark(), mark.to_text()),
            None => Ok(()),
        }
    }

    fn mark(&self) -> PathBuf {
        self.path.with_extension(&MARK[1..])
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        remove(&self.path);
        if let Err(error) = fs::remove_file(self.mark())
            && error.kind() != io::ErrorKind::NotFound
        {
            event!(table::SANDBOX_FOLDER_LEFT, file:% = self.mark().display(), error:% = error; "{} cannot be removed: {error}", self.mark().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_folder_is_the_owners_alone_and_goes_with_its_content_and_the_root_with_the_last() {
        let temporary = tempfile::tempdir().unwrap();
        let root = Root::create_below(temporary.path()).unwrap();
        let (first, second) = (
            PrivateFolder::create(&root, None).unwrap(),
            PrivateFolder::create(&root, None).unwrap(),
        );
        let root_path = root.path.clone();
        assert_eq!(mode(&root_path), super::mode());
        assert_eq!(mode(first.path()), 0o700);
        let path = first.path().to_owned();
        fs::create_dir(path.join("a")).unwrap();
        fs::write(path.join("a/b"), "x").unwrap();
        drop((first, root));
        assert!(!path.exists() && second.path().exists());
        drop(second);
        assert!(!root_path.exists());
    }

    #[test]
    fn folders_nested_deeper_than_a_recursion_can_follow_and_closed_ones_are_removed() {
        let temporary = tempfile::tempdir().unwrap();
        let root = Root::create_below(temporary.path()).unwrap();
        let folder = PrivateFolder::create(&root, None).unwrap();
        let chain = "d/".repeat(1500);
        let mut nested = folder.path().join("0");
        fs::create_dir(&nested).unwrap();
        for number in 1..10 {
            let next = folder.path().join(number.to_string());
            fs::create_dir_all(next.join(&chain)).unwrap();
            fs::rename(&nested, next.join(&chain).join("x")).unwrap();
            nested = next;
        }
        let closed = folder.path().join("closed");
        DirBuilder::new().mode(0o700).create(&closed).unwrap();
        fs::write(closed.join("file"), "x").unwrap();
        DirBuilder::new()
            .mode(0o0)
            .create(closed.join("inner"))
            .unwrap();
        fs::set_permissions(&closed, Permissions::from_mode(0o0)).unwrap();
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(other.path(), folder.path().join("link")).unwrap();
        drop((folder, root));
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
        assert!(other.path().join("kept").exists());
    }

    #[test]
    fn what_a_dead_worker_left_is_swept_and_what_a_living_one_has_is_not() {
        let temporary = tempfile::tempdir().unwrap();
        let living = Root::create_below(temporary.path()).unwrap();
        let dead = temporary.path().join("ws-worker-dead");
        fs::create_dir_all(dead.join("child/files")).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let strange = temporary.path().join("ws-worker-without-a-lock");
        fs::create_dir(&strange).unwrap();
        std::os::unix::fs::symlink(&living.path, temporary.path().join("ws-worker-link")).unwrap();
        assert_eq!(sweep_below(temporary.path()).roots, 1);
        assert!(!dead.exists());
        assert!(strange.exists() && living.path.exists());
    }
}
