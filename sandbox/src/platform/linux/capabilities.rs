//! Which capabilities a program keeps: none, but for the superuser's one that its files may need.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{getegid, geteuid};

use crate::layers::Layer;
use crate::spec::Confinement;

/// `CAP_DAC_OVERRIDE` and `CAP_DAC_READ_SEARCH`, as bits.
const OVERRIDE: u64 = 1 << 1;
const READ_SEARCH: u64 = 1 << 2;

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
    if confinement.writable.iter().any(|path| !is_open(path, 0o7)) {
        OVERRIDE
    } else if read.any(|path| !is_open(path, 0o5)) {
        READ_SEARCH
    } else {
        0
    }
}

/// What the operator hears of it.
pub(super) fn layer() -> Layer {
    if geteuid().is_root() {
        Layer::on(
            "capabilities",
            "processes have none, but to read files that are closed to the superuser without; they run as the superuser, for the worker does",
        )
    } else {
        Layer::on("capabilities", "processes have none")
    }
}

/// Whether this user may reach and use a file or folder, and what is in the folder, by their permissions alone.
fn is_open(path: &Path, wanted: u32) -> bool {
    let Ok(path) = fs::canonicalize(path) else {
        // It needs no rule either.
        return true;
    };
    let mut above = path.ancestors().skip(1);
    if !above.all(|folder| has(folder, 0o1)) || !has(&path, wanted) {
        return false;
    }
    let entries = fs::read_dir(&path).into_iter().flatten().flatten();
    entries
        .take(MOST_ENTRIES)
        .all(|entry| has(&entry.path(), wanted))
}

/// Whether this user has these permissions; of a file, those to read and write only.
fn has(path: &Path, wanted: u32) -> bool {
    // A link to nowhere is of no use to anybody.
    let Ok(found) = fs::metadata(path) else {
        return true;
    };
    let shift = if found.uid() == geteuid().as_raw() {
        6
    } else if found.gid() == getegid().as_raw() {
        3
    } else {
        0
    };
    let wanted = if found.is_dir() { wanted } else { wanted & 0o6 };
    (found.mode() >> shift) & wanted == wanted
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
        assert!(is_open(&path, 0o7));
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
