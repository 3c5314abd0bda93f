//! Where npm works: a copy of the repository's packages beside them, which takes their place when it is good. Blocking file
//! work; knows nothing of npm.
//!
//! The copy consists of links to the same files, since npm never writes into a file that is there: it makes folders anew. Where
//! programs of others may run during an install, they could, and the files are copied.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::files::FileError;

/// How files come into the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copying {
    /// By links, where the file system has them.
    Links,
    /// By their content.
    Content,
}

/// Fills a folder with what another holds, its times of change included: npm believes its own list of what is there only
/// while no folder is newer than the list.
///
/// # Errors
/// When something cannot be read or made.
pub(crate) fn copy_tree(from: &Path, to: &Path, copying: Copying) -> Result<(), FileError> {
    fs::create_dir(to).map_err(FileError::at(to))?;
    for entry in fs::read_dir(from).map_err(FileError::at(from))? {
        let entry = entry.map_err(FileError::at(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(FileError::at(&source))?;
        if kind.is_dir() {
            copy_tree(&source, &target, copying)?;
        } else if kind.is_symlink() {
            let names = fs::read_link(&source).map_err(FileError::at(&source))?;
            std::os::unix::fs::symlink(names, &target).map_err(FileError::at(&target))?;
        } else if copying == Copying::Content || fs::hard_link(&source, &target).is_err() {
            copy_file(&source, &target).map_err(FileError::at(&target))?;
        }
    }
    copy_times(from, to).map_err(FileError::at(to))
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    copy_times(from, to)
}

fn copy_times(from: &Path, to: &Path) -> io::Result<()> {
    let modified = fs::metadata(from)?.modified()?;
    File::open(to)?.set_modified(modified)
}

/// Puts a folder in the place of another, which is then where the first was. At once, where the file system can: nobody finds
/// neither.
///
/// # Errors
/// When it cannot be moved; then all is as it was.
pub(crate) fn exchange(fresh: &Path, place: &Path) -> Result<(), FileError> {
    if !place.exists() {
        return fs::rename(fresh, place).map_err(FileError::at(place));
    }
    if exchange_at_once(fresh, place) {
        return Ok(());
    }
    let aside = with_ending(fresh, ".old");
    fs::rename(place, &aside).map_err(FileError::at(place))?;
    if let Err(error) = fs::rename(fresh, place) {
        fs::rename(&aside, place).map_err(FileError::at(place))?;
        return Err(FileError::at(place)(error));
    }
    fs::rename(&aside, fresh).map_err(FileError::at(fresh))
}

/// Whether the system and the file system could.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn exchange_at_once(one: &Path, other: &Path) -> bool {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).is_ok()
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn exchange_at_once(_: &Path, _: &Path) -> bool {
    false
}

/// Writes a file anew: whoever reads it finds what was there before, or all that is there now.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn replace_file(path: &Path, text: &str) -> Result<(), FileError> {
    let fresh = with_ending(path, &format!(".{}", uuid::Uuid::new_v4()));
    let written = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() && fresh.exists() {
        fs::remove_file(&fresh).map_err(FileError::at(&fresh))?;
    }
    written.map_err(FileError::at(path))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::remove_folder;

    #[test]
    fn a_copy_has_the_files_links_and_times_of_the_folder() {
        let home = tempfile::tempdir().unwrap();
        let from = home.path().join("from");
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/file"), "text").unwrap();
        std::os::unix::fs::symlink("b/file", from.join("a/link")).unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 30);
        File::open(from.join("a"))
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        for copying in [Copying::Links, Copying::Content] {
            let to = home.path().join("to");
            copy_tree(&from, &to, copying).unwrap();
            assert_eq!(fs::read_to_string(to.join("a/link")).unwrap(), "text");
            assert_eq!(
                fs::metadata(to.join("a")).unwrap().modified().unwrap(),
                long_ago
            );
            remove_folder(&to).unwrap();
        }
        assert_eq!(fs::read_to_string(from.join("a/b/file")).unwrap(), "text");
    }

    #[test]
    fn folders_change_places() {
        let home = tempfile::tempdir().unwrap();
        let [fresh, place] = ["fresh", "place"].map(|name| home.path().join(name));
        fs::create_dir(&fresh).unwrap();
        fs::write(fresh.join("new"), "").unwrap();
        exchange(&fresh, &place).unwrap();
        assert!(place.join("new").exists() && !fresh.exists());
        fs::create_dir(&fresh).unwrap();
        exchange(&fresh, &place).unwrap();
        assert!(fresh.join("new").exists() && !place.join("new").exists());
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("package.json");
        for text in ["one", "two"] {
            replace_file(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
