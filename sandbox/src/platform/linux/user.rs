//! Which user a program is, when the worker is the superuser: one of its own, whom nothing belongs to.
//!
//! Files, processes and sockets of the superuser's are then closed to it by the kernel's oldest means as well, and one program is
//! nobody to another. It needs what the worker does for a program to reach over from one user to the other, and the program's files
//! to be open to everybody: else the program stays the worker's user, and the operator hears why.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use log_events::{event, table};
use nix::unistd::geteuid;

use super::capabilities::{Who, is_open, of_worker};
use crate::layers::Layer;
use crate::spec::{Confinement, SandboxMode};

/// Users, and groups, that no distribution gives to anybody: between the ranges that systemd names.
const FIRST: u32 = 60_578;
const LAST: u32 = 61_183;

/// What the worker needs: to give files away and to look after them, to become another user, to end a process of another, and to
/// read its memory, by which its destinations are judged. Docker's default leaves out the last one.
const NEEDED: &[(&str, u32)] = &[
    ("CAP_CHOWN", 0),
    ("CAP_DAC_OVERRIDE", 1),
    ("CAP_FOWNER", 3),
    ("CAP_KILL", 5),
    ("CAP_SETGID", 6),
    ("CAP_SETUID", 7),
    ("CAP_SYS_PTRACE", 19),
];

/// A user of a program's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User(u32);

impl User {
    /// The number, of the group as well.
    pub(super) fn id(self) -> u32 {
        self.0
    }

    /// Gives a folder to this user.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn own(self, folder: &Path) -> io::Result<()> {
        chown(folder, Some(self.0), Some(self.0))
    }

    fn next() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(FIRST + count % (LAST - FIRST + 1))
    }
}

/// A user for the next program with these files, whose private folders are in `root`; `None` where it has to stay the worker's.
pub(crate) fn own(
    confinement: &Confinement,
    program: &Path,
    current_dir: &Path,
    root: &Path,
) -> Option<User> {
    if confinement.mode == SandboxMode::Off || missing().is_some() {
        return None;
    }
    // What it may write belongs to the worker's user, and stays so.
    if !confinement.writable.is_empty() {
        return None;
    }
    let user = User::next();
    match closed(confinement, program, current_dir, root, user) {
        None => Some(user),
        Some(path) => {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                event!(
                    table::SANDBOX_SUPERUSER, file:% = path.display();
                    "{} is closed to other users: {} runs as the superuser, without capabilities",
                    path.display(),
                    program.display()
                );
            });
            None
        }
    }
}

/// The first of a program's files that this user cannot read.
fn closed(
    confinement: &Confinement,
    program: &Path,
    current_dir: &Path,
    root: &Path,
    user: User,
) -> Option<PathBuf> {
    let who = Who {
        user: user.0,
        group: user.0,
    };
    let given = confinement.readable.iter().chain(&confinement.executable);
    let mut read = given.map(|path| &**path).chain([program, current_dir]);
    let closed = read.find(|path| !is_open(path, 0o5, who));
    closed
        .or_else(|| root.parent().filter(|above| !is_open_to_enter(above, who)))
        .map(Path::to_owned)
}

/// Whether a folder and those above it can be passed through.
fn is_open_to_enter(folder: &Path, who: Who) -> bool {
    fs::canonicalize(folder)
        .is_ok_and(|folder| folder.ancestors().all(|folder| who.may(folder, 0o1)))
}

/// Why programs cannot have users of their own.
fn missing() -> Option<String> {
    if !geteuid().is_root() {
        return Some("the worker is not the superuser: they run as its user".to_owned());
    }
    let lacking = lacking(of_worker());
    if !lacking.is_empty() {
        return Some(format!(
            "the worker lacks {}: they run as the superuser, without capabilities",
            lacking.join(", ")
        ));
    }
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let groups = fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
    (!(has_users(&map) && has_users(&groups)))
        .then(|| "this user namespace has no users for them: they run as its superuser".to_owned())
}

/// What a process with these capabilities lacks of what is needed.
fn lacking(effective: u64) -> Vec<&'static str> {
    let lacks = |bit: u32| effective & (1 << bit) == 0;
    NEEDED
        .iter()
        .filter(|(_, bit)| lacks(*bit))
        .map(|(name, _)| *name)
        .collect()
}

/// Whether a namespace with this map has all of the users.
fn has_users(map: &str) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>());
        let (Some(Ok(first)), _, Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        first <= FIRST.into() && u64::from(LAST) < first + count
    })
}

/// What the operator hears of it.
pub(super) fn layer() -> Layer {
    const NAME: &str = "users";
    match missing() {
        None => Layer::on(
            NAME,
            format!(
                "engine children run as users of their own, {FIRST} to {LAST}, where their files are open to them"
            ),
        ),
        Some(why) => Layer::off(NAME, why),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::capabilities::effective;
    use super::*;

    #[test]
    fn what_the_worker_lacks_is_named() {
        // Of Docker's default.
        let status = "CapPrm:\t0000000000000000\nCapEff:\t00000000a80425fb\n";
        assert_eq!(lacking(effective(status)), ["CAP_SYS_PTRACE"]);
        assert!(lacking(u64::MAX).is_empty());
    }

    #[test]
    fn a_namespace_with_a_few_users_has_none_for_programs() {
        assert!(has_users("         0          0 4294967295\n"));
        assert!(!has_users("         0       1000          1\n"));
        assert!(has_users("         0     100000      65536\n"));
    }

    #[test]
    fn a_program_whose_files_are_closed_to_others_stays_the_worker_s_user() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine");
        fs::create_dir(&path).unwrap();
        let mut spec = crate::tests::spec("/bin/sh", &[]);
        spec.confinement.readable.push(path.clone());
        spec.current_dir.clone_from(&path);
        let is_for = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        let root = std::env::temp_dir().join("root");
        let closed = || {
            closed(
                &spec.confinement,
                &spec.program,
                &spec.current_dir,
                &root,
                User(FIRST),
            )
        };
        is_for(folder.path(), 0o700).unwrap();
        assert_eq!(closed(), Some(path.clone()));
        is_for(folder.path(), 0o755).unwrap();
        is_for(&path, 0o755).unwrap();
        assert_eq!(closed(), None);
        is_for(&path, 0o700).unwrap();
        assert_eq!(closed(), Some(path.clone()));
    }
}
