//! The OS sandbox of engine children: what it consists of, built before the fork. Applied in [`super::setup`].
//!
//! Job code reaches Node's own realm in one line, so that whatever the process may do, a job may do. Landlock leaves it the
//! files that Node and the adaptors need and one private folder; seccomp takes away new processes, local sockets and the
//! calls that look into or change other processes. Measured with Node 20 and 24, as root and as another user.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, Scope,
};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

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

/// What the sandbox lacks on this machine, for the operator; empty when it is whole.
pub(super) fn missing() -> Vec<String> {
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

fn filters() -> Result<Vec<BpfProgram>, String> {
    let build = || -> Result<_, seccompiler::BackendError> {
        let mut denied: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        for call in DENIED {
            denied.insert(*call, Vec::new());
        }
        let without_thread = SeccompCondition::new(
            0,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::MaskedEq(u64::from(libc::CLONE_THREAD.unsigned_abs())),
            0,
        )?;
        denied.insert(
            libc::SYS_clone,
            vec![SeccompRule::new(vec![without_thread])?],
        );
        let families = [
            libc::AF_UNIX,
            libc::AF_NETLINK,
            libc::AF_PACKET,
            libc::AF_VSOCK,
            libc::AF_ALG,
        ];
        let sockets = families
            .into_iter()
            .map(|family| {
                let family = u64::from(family.unsigned_abs());
                SeccompRule::new(vec![SeccompCondition::new(
                    0,
                    SeccompCmpArgLen::Dword,
                    SeccompCmpOp::Eq,
                    family,
                )?])
            })
            .collect::<Result<Vec<_>, _>>()?;
        denied.insert(libc::SYS_socket, sockets);
        let program = |calls, errno: i32| -> Result<BpfProgram, seccompiler::BackendError> {
            let arch = std::env::consts::ARCH.try_into()?;
            SeccompFilter::new(
                calls,
                SeccompAction::Allow,
                SeccompAction::Errno(errno.unsigned_abs()),
                arch,
            )?
            .try_into()
        };
        // glibc falls back to clone, whose flags a filter can read, only when clone3 does not exist.
        let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
        Ok(vec![
            program(denied, libc::EPERM)?,
            program(clone3, libc::ENOSYS)?,
        ])
    };
    build().map_err(|error| error.to_string())
}

/// Calls that neither Node nor an adaptor needs.
const DENIED: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_userfaultfd,
    libc::SYS_open_by_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_setsid,
    libc::SYS_setpgid,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

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
