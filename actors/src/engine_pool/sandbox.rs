//! The OS sandbox of engine children: what it consists of, built before the fork. Applied in [`super::setup`].
//!
//! Job code reaches Node's own realm in one line, so that whatever the process may do, a job may do. Landlock leaves it the
//! files that Node and the adaptors need and one private folder; seccomp takes away new processes, local sockets and the
//! calls that look into or change other processes. Measured with Node 20 and 24, as root and as another user.

use std::fs;
use std::os::fd::OwnedFd;
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

/// Where a program is, as execvp would find it on `path` (the value of `PATH`), with links resolved.
pub(super) fn locate(program: &Path, path: Option<&std::ffi::OsStr>) -> PathBuf {
    let found = if program.components().count() > 1 {
        Some(program.to_owned())
    } else {
        path.and_then(|path| {
            std::env::split_paths(path)
                .map(|folder| folder.join(program))
                .find(|file| file.is_file())
        })
    };
    let found = found.unwrap_or_else(|| program.to_owned());
    fs::canonicalize(&found).unwrap_or(found)
}
