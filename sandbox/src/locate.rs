//! Where a program is.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::NotFound;

/// Where the C library looks for a program without `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The file of a program, links resolved: a name alone is looked for on `path`, the value of `PATH`, and without one where
/// the C library would. What is confined to a program is confined to this file.
///
/// # Errors
/// The folders that it is not in.
pub fn locate(program: &Path, path: Option<&OsStr>) -> Result<PathBuf, NotFound> {
    let found = if program.components().count() > 1 || program.is_absolute() {
        Some(program.to_owned())
    } else {
        std::env::split_paths(path.unwrap_or(OsStr::new(DEFAULT_PATH)))
            .map(|folder| folder.join(program))
            .find(|file| is_executable(file))
    };
    let found = found.ok_or_else(|| match path {
        Some(path) => NotFound::OnPath(path.display().to_string()),
        None => NotFound::WithoutPath(DEFAULT_PATH),
    })?;
    // One that is not there is named by the error of its start.
    Ok(fs::canonicalize(&found).unwrap_or(found))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_the_first_file_on_the_path_that_can_be_executed() {
        let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
        for (folder, mode) in folders.iter().zip([0o644, 0o755, 0o755]) {
            let file = folder.path().join("node");
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        let path = std::env::join_paths(folders.each_ref().map(tempfile::TempDir::path)).unwrap();
        let expected = fs::canonicalize(folders[1].path().join("node")).unwrap();
        let found = |program: &str, path: Option<&OsStr>| locate(Path::new(program), path);
        assert_eq!(found("node", Some(&path)), Ok(expected.clone()));
        assert_eq!(found(expected.to_str().unwrap(), None), Ok(expected));
        let missing = found("no-such-program", Some(&path))
            .unwrap_err()
            .to_string();
        assert!(missing.starts_with("not found on PATH (/"), "{missing}");
    }

    #[test]
    fn without_a_path_a_program_is_looked_for_where_the_c_library_would() {
        let sh = locate(Path::new("sh"), None).unwrap();
        assert!(sh.is_absolute(), "{}", sh.display());
        let missing = locate(Path::new("no-such-program"), None)
            .unwrap_err()
            .to_string();
        assert!(missing.contains("PATH is not set"), "{missing}");
    }
}
