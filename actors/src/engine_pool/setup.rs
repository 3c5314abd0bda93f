//! What a child does between fork and exec: the one place with unsafe code.
//!
//! Done here and not by a wrapper program that would exec Node: the worker stays small, so that its fork is cheap, and the
//! parent-death signal has to be asked for by the process that the worker itself has started.
#![expect(
    unsafe_code,
    reason = "pre_exec runs between fork and exec; each call says why it is sound"
)]

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;

use nix::libc;
use seccompiler::BpfProgram;

use super::sandbox::Sandbox;
use super::seccomp;

/// The descriptor of commands in a child.
const COMMANDS: RawFd = 3;
/// The descriptor of events in a child.
const EVENTS: RawFd = 4;

/// The exit code of a child whose worker was gone before it could ask to die with it.
const ORPHANED: i32 = 99;

/// Descriptors that a sandboxed child can open: far above what adaptors use, and far below what would hurt the machine.
const MOST_DESCRIPTORS: u64 = 1024;

/// The largest file that a sandboxed child can write, bytes: a job's temporary file, not the worker's disk.
const LARGEST_FILE: u64 = 256 << 20;

/// `landlock_path_beneath_attr` of the kernel, which packs it.
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}
const LANDLOCK_RULE_PATH_BENEATH: i32 = 1;
const LANDLOCK_ACCESS_FS_READ_FILE: u64 = 1 << 2;
const LANDLOCK_ACCESS_FS_READ_DIR: u64 = 1 << 3;

/// Prepares `command` to start an engine child that gets these two sockets, leads a process group of its own, is confined
/// by `sandbox`, and dies with the thread that spawns it (which therefore has to live as long as the worker).
pub(super) fn prepare(
    command: &mut std::process::Command,
    commands: OwnedFd,
    events: OwnedFd,
    mut sandbox: Option<Sandbox>,
) {
    let parent = std::process::id();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. The closure makes system calls and allocates
    // nothing: what it needs was built before the fork and moved in.
    unsafe {
        command.pre_exec(move || {
            let rules = match sandbox.as_ref().and_then(|sandbox| sandbox.rules.as_ref()) {
                Some(rules) => Some(lift(rules.as_raw_fd())?),
                None => None,
            };
            in_child(parent, commands.as_raw_fd(), events.as_raw_fd())?;
            sandbox
                .as_mut()
                .map_or(Ok(()), |sandbox| confine(&mut sandbox.filters, rules))
        });
    }
}

fn in_child(parent: u32, commands: RawFd, events: RawFd) -> io::Result<()> {
    // SAFETY: setsid has no preconditions; a freshly forked child leads no group, so it succeeds.
    check(unsafe { libc::setsid() })?;
    // SAFETY: prctl with this option takes one integer argument.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    // SAFETY: getppid cannot fail. The worker may have died before the line above: then nobody would ever kill this child.
    if u32::try_from(unsafe { libc::getppid() }).ok() != Some(parent) {
        // SAFETY: _exit ends the process without running anything of the parent's.
        unsafe { libc::_exit(ORPHANED) };
    }
    // SAFETY: prctl with this option takes integer arguments; nothing that the child executes may gain privileges.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // A core file would hold credentials.
    limit(libc::RLIMIT_CORE, 0)?;
    let (high_commands, high_events) = (lift(commands)?, lift(events)?);
    // Whatever else the worker has open, or inherited, does not reach a job.
    // SAFETY: close_range takes three integers and touches descriptors of this process only.
    let closed = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3_u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if closed != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: dup2 on open descriptors; it clears close-on-exec on the copy.
    check(unsafe { libc::dup2(high_commands, COMMANDS) })?;
    // SAFETY: as above.
    check(unsafe { libc::dup2(high_events, EVENTS) })?;
    Ok(())
}

/// A copy above the two descriptors that a child gets, which placing them cannot overwrite.
fn lift(descriptor: RawFd) -> io::Result<RawFd> {
    // SAFETY: fcntl on an open descriptor that this child inherited.
    check(unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 10) })
}

/// Applies the sandbox to this process and whatever it becomes.
fn confine(filters: &mut [BpfProgram], rules: Option<RawFd>) -> io::Result<()> {
    limit(libc::RLIMIT_FSIZE, LARGEST_FILE)?;
    limit(libc::RLIMIT_NOFILE, MOST_DESCRIPTORS)?;
    if let Some(rules) = rules {
        allow_own_proc(rules);
        // SAFETY: the call takes a descriptor and flags, and touches this process only; no_new_privs is set above.
        let restricted = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules, 0) };
        if restricted != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    seccomp::set_own_pid(filters, std::process::id());
    for filter in filters {
        // Two system calls on a program that was built before the fork.
        seccompiler::apply_filter(filter).map_err(|_| io::Error::last_os_error())?;
    }
    Ok(())
}

/// Lets the child read its own folder below `/proc`, without which `process.memoryUsage()` throws. It has to be opened here:
/// in the worker it would be the worker's.
fn allow_own_proc(rules: RawFd) {
    // SAFETY: the path is a C string literal.
    let own = unsafe { libc::open(c"/proc/self".as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
    if own < 0 {
        // No /proc: nothing to read there.
        return;
    }
    let rule = PathBeneath {
        allowed_access: LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
        parent_fd: own,
    };
    // A refusal costs memory figures, not safety: it is not looked at.
    // SAFETY: the pointer is to a live struct of the layout that the kernel defines for this rule type.
    unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            rules,
            LANDLOCK_RULE_PATH_BENEATH,
            &raw const rule,
            0,
        );
    }
}

fn limit(resource: libc::__rlimit_resource_t, most: u64) -> io::Result<()> {
    let mut limits = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live struct.
    check(unsafe { libc::getrlimit(resource, &raw mut limits) })?;
    // An inherited limit may be lower already, and cannot be raised.
    let most = most.min(limits.rlim_max);
    limits = libc::rlimit {
        rlim_cur: most,
        rlim_max: most,
    };
    // SAFETY: as above.
    check(unsafe { libc::setrlimit(resource, &raw const limits) })?;
    Ok(())
}

fn check(returned: i32) -> io::Result<i32> {
    if returned == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(returned)
    }
}
