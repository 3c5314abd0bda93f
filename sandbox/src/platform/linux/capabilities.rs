//! Which capabilities a program keeps: none, but for the superuser's one that its files may need.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::OnceLock;

use nix::unistd::{getegid, geteuid};

use crate::layers::Layer;
use crate::spec::Confinement;

/// `CAP_DAC_OVERRIDE` and `CAP_DAC_READ_SEARCH`, as bits.
const OVERRIDE: u64 = 1 << 1;
const READ_SEARCH: u64 = 1 << 2;

/// `CAP_SYS_ADMIN`.
const SYS_ADMIN: u64 = 1 << 21;

/// How many entries of a folder are looked at.
const MOST_ENTRIES: usize = 64;

/// The capabilities that a program with these files keeps. A worker of the superuser can read what others have closed to
/// everybody else, a repository for one that belongs to another user; a program that has to read it can as well. Landlock
/// bounds it to what it was given.
pub(super) fn kept(confinement: &Confinement, program: &Path, current_dir: &Path) -> u64 {
    if !geteuid().is_root() {
        return 0;
    }
    let given = confinement.readable.iter().chain(&confinement.executable);
    let mut read = given.map(|path| &**path).chain([program, current_dir]);
    let who = Who::worker();
    if confinement
        .writable
        .iter()
        .any(|path| !is_open(path, 0o7, who))
    {
        OVERRIDE
    } else if read.any(|path| !is_open(path, 0o5, who)) {
        READ_SEARCH
    } else {
        0
    }
}

/// The capabilities of the worker, as bits.
pub(super) fn of_worker() -> u64 {
    static OWN: OnceLock<u64> = OnceLock::new();
    *OWN.get_or_init(|| effective(&fs::read_to_string("/proc/self/status").unwrap_or_default()))
}

/// Reads those of a process with this `status`.
pub(super) fn effective(status: &str) -> u64 {
    let mut lines = status.lines();
    lines
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}

/// Whether the worker may make namespaces without being nobody in them.
pub(super) fn may_make_namespaces() -> bool {
    of_worker() & SYS_ADMIN != 0
}

/// What the operator hears of it.
pub(super) fn layer() -> Layer {
    if geteuid().is_root() {
        Layer::on(
            "capabilities",
            "processes have none, but to read files that are closed to the superuser without",
        )
    } else {
        Layer::on("capabilities", "processes have none")
    }
}

/// A user, by whose numbers files are open or closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who {
    pub(super) user: u32,
    pub(super) group: u32,
}

impl Who {
    fn worker() -> Self {
        Self {
            user: geteuid().as_raw(),
            group: getegid().as_raw(),
        }
    }

    /// Whether the user has these permissions; of a file, those to read and write only.
    pub(super) fn may(self, path: &Path, wanted: u32) -> bool {
        // A link to nowhere is of no use to anybody.
        let Ok(found) = fs::metadata(path) else {
            return true;
        };
        let shift = if found.uid() == self.user {
            6
        } else if found.gid() == self.group {
            3
        } else {
            0
        };
        let wanted = if found.is_dir() { wanted } else { wanted & 0o6 };
        (found.mode() >> shift) & wanted == wanted
    }
}

/// Whether a user may reach and use a file or folder, and what is in the folder, by their permissions alone.
pub(super) fn is_open(path: &Path, wanted: u32, who: Who) -> bool {
    let Ok(path) = fs::canonicalize(path) else {
        // It needs no rule either.
        return true;
    };
    let mut above = path.ancestors().skip(1);
    if !above.all(|folder| who.may(folder, 0o1)) || !who.may(&path, wanted) {
        return false;
    }
    let entries = fs::read_dir(&path).into_iter().flatten().flatten();
    entries
        .take(MOST_ENTRIES)
        .all(|entry| who.may(&entry.path(), wanted))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    #[test]
    fn what_belongs_to_another_user_and_is_closed_to_this_one_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("repo");
        fs::create_dir_all(path.join("node_modules")).unwrap();
        assert!(is_open(&path, 0o7, Who::worker()));
        let spec = |path: &Path| {
            let mut spec = crate::tests::spec("/bin/sh", &[]);
            spec.confinement.readable.push(path.to_owned());
            spec
        };
        let kept = |path: &Path| {
            let spec = spec(path);
            kept(&spec.confinement, &spec.program, &spec.current_dir)
        };
        assert_eq!(kept(&path), 0);
        if !geteuid().is_root() {
            return;
        }
        let inner = path.join("node_modules");
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(kept(&path), 0);
        chown(&inner, Some(1000), Some(1000)).unwrap();
        assert_eq!(kept(&path), READ_SEARCH);
        let mut writes = spec(Path::new("/bin"));
        writes.confinement.writable.push(path);
        let kept = super::kept(&writes.confinement, &writes.program, &writes.current_dir);
        assert_eq!(kept, OVERRIDE);
    }
}
