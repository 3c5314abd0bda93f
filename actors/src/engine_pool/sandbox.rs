//! The OS sandbox of engine children: what it consists of, built before the fork. Applied in [`super::setup`].
//!
//! Job code reaches Node's own realm in one line, so that whatever the process may do, a job may do. Landlock leaves it the
//! files that Node and the adaptors need and one private folder; seccomp takes away new processes, local sockets and the
//! calls that look into or change other processes. Measured with Node 20 and 24, as root and as another user.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, Scope,
};
use seccompiler::BpfProgram;

use super::seccomp::filters;
use crate::config::SandboxMode;

/// The newest Landlock that the rules are written for; older kernels leave out what they do not know.
const LANDLOCK: ABI = ABI::V6;

/// Libraries, time zones, certificates, and what the resolver reads.
const READABLE: &[&str] = &[
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/run/systemd/resolve",
    "/dev/urandom",
    "/dev/random",
    "/dev/zero",
];

/// ELF loaders: executing a program means executing its loader too.
const LOADERS: &[&str] = &[
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
];

/// What a child is confined by; used once.
pub(super) struct Sandbox {
    /// The Landlock rules; `None` where the kernel has none.
    pub(super) rules: Option<OwnedFd>,
    /// The seccomp programs, in the order in which they are installed.
    pub(super) filters: Vec<BpfProgram>,
}

/// The folders that a child needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Folders<'a> {
    /// Node itself.
    pub(super) node: &'a Path,
    /// Read only: the engine, the adaptors, a monorepo.
    pub(super) readable: &'a [PathBuf],
    /// The private folder, which may be written.
    pub(super) private: &'a Path,
}

/// Builds the sandbox for one child; `None` when it is off.
///
/// # Errors
/// A text that names what is missing, where the mode is strict.
pub(super) fn build(mode: SandboxMode, folders: &Folders<'_>) -> Result<Option<Sandbox>, String> {
    if mode == SandboxMode::Off {
        return Ok(None);
    }
    let rules = or_without(
        mode,
        "Landlock",
        rules(folders).and_then(|rules| rules.ok_or("this kernel has none".to_owned())),
    )?;
    let filters = or_without(mode, "seccomp", filters())?;
    Ok(Some(Sandbox {
        rules,
        filters: filters.unwrap_or_default(),
    }))
}

/// What the sandbox of engine children lacks on this machine, one text each for the operator; empty when it is whole.
#[must_use]
pub fn missing() -> Vec<String> {
    let nothing = Folders {
        node: Path::new("/"),
        readable: &[],
        private: Path::new("/"),
    };
    let mut missing = Vec::new();
    match rules(&nothing) {
        Ok(Some(_)) => {}
        Ok(None) => missing.push("Landlock: this kernel has none".to_owned()),
        Err(error) => missing.push(format!("Landlock: {error}")),
    }
    if let Err(error) = filters() {
        missing.push(format!("seccomp: {error}"));
    }
    missing
}

fn or_without<T>(
    mode: SandboxMode,
    what: &str,
    built: Result<T, String>,
) -> Result<Option<T>, String> {
    match built {
        Ok(built) => Ok(Some(built)),
        Err(error) if mode == SandboxMode::Strict => {
            Err(format!("the sandbox needs {what}: {error}"))
        }
        // Said once, when the pool starts.
        Err(_) => Ok(None),
    }
}

fn rules(folders: &Folders<'_>) -> Result<Option<OwnedFd>, String> {
    let build = || -> Result<_, landlock::RulesetError> {
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .scope(Scope::Signal | Scope::AbstractUnixSocket)?
            .create()?;
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let own = AccessFs::from_all(LANDLOCK)
            & !(AccessFs::Execute
                | AccessFs::MakeChar
                | AccessFs::MakeBlock
                | AccessFs::MakeSock
                | AccessFs::MakeFifo
                | AccessFs::IoctlDev);
        let mut allow = |path: &Path, access| -> Result<(), landlock::RulesetError> {
            // What a machine does not have needs no rule.
            if let Ok(fd) = PathFd::new(path) {
                (&mut rules).add_rule(PathBeneath::new(fd, access))?;
            }
            Ok(())
        };
        for path in READABLE {
            allow(Path::new(path), read)?;
        }
        for path in LOADERS {
            allow(Path::new(path), AccessFs::Execute | AccessFs::ReadFile)?;
        }
        allow(folders.node, AccessFs::Execute | AccessFs::ReadFile)?;
        allow(
            Path::new("/dev/null"),
            AccessFs::ReadFile | AccessFs::WriteFile,
        )?;
        for path in folders.readable {
            allow(path, read)?;
        }
        allow(folders.private, own)?;
        Ok(Option::<OwnedFd>::from(rules))
    };
    build().map_err(|error| error.to_string())
}

/// Where the C library looks for a program without `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The file of a program, links resolved: a name alone is looked for on `path`, the value of `PATH`, and without one where
/// the C library would. Everything that starts Node starts this file, and the sandbox allows no other.
///
/// # Errors
/// The folders that it is not in.
pub fn locate(program: &Path, path: Option<&OsStr>) -> Result<PathBuf, String> {
    let found = if program.components().count() > 1 || program.is_absolute() {
        Some(program.to_owned())
    } else {
        std::env::split_paths(path.unwrap_or(OsStr::new(DEFAULT_PATH)))
            .map(|folder| folder.join(program))
            .find(|file| is_executable(file))
    };
    let found = found.ok_or_else(|| match path {
        Some(path) => format!("not found on PATH ({})", path.display()),
        None => format!("not found: PATH is not set, and it is not in {DEFAULT_PATH}"),
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
        let missing = found("no-such-program", Some(&path)).unwrap_err();
        assert!(missing.starts_with("not found on PATH (/"), "{missing}");
    }

    #[test]
    fn without_a_path_a_program_is_looked_for_where_the_c_library_would() {
        let sh = locate(Path::new("sh"), None).unwrap();
        assert!(sh.is_absolute(), "{}", sh.display());
        let missing = locate(Path::new("no-such-program"), None).unwrap_err();
        assert!(missing.contains("PATH is not set"), "{missing}");
    }
}
