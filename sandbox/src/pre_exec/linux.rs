//! What only Linux does between fork and exec.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use nix::libc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::check;

/// `landlock_path_beneath_attr` of the kernel, which packs it.
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}
const LANDLOCK_RULE_PATH_BENEATH: i32 = 1;
const LANDLOCK_ACCESS_FS_READ_FILE: u64 = 1 << 2;
const LANDLOCK_ACCESS_FS_READ_DIR: u64 = 1 << 3;

/// Has every descriptor but the standard ones closed by exec.
pub(super) fn close_on_exec() -> io::Result<()> {
    // SAFETY: close_range takes three integers and touches descriptors of this process only.
    let closed = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3_u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if closed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Moves this process into the cgroup with this `cgroup.procs`: before it is the program, so that nothing of the program is
/// ever outside. A refusal costs the kernel's limit, which is then told by the worker: it is not looked at here.
pub(crate) fn join(procs: &OwnedFd) {
    // SAFETY: the pointer is to a byte that lives for ever. Zero stands for the process that writes.
    unsafe { libc::write(procs.as_raw_fd(), c"0".as_ptr().cast(), 1) };
}

/// Has the kernel kill this process when the thread that has started it ends, and denies what it executes more privileges.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn die_with_parent() -> io::Result<()> {
    // SAFETY: prctl with this option takes one integer argument.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    // SAFETY: prctl with this option takes integer arguments.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    Ok(())
}

/// Puts this process under Landlock rules, to which its own folder below `/proc` is added.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn restrict(rules: &OwnedFd) -> io::Result<()> {
    allow_own_proc(rules);
    // SAFETY: the call takes a descriptor and flags, and touches this process only; no_new_privs is set before.
    let restricted =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) };
    if restricted == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Lets the process read its own folder below `/proc`, without which `process.memoryUsage()` throws. It has to be opened here:
/// in the worker it would be the worker's.
fn allow_own_proc(rules: &OwnedFd) {
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
            rules.as_raw_fd(),
            LANDLOCK_RULE_PATH_BENEATH,
            &raw const rule,
            0,
        );
    }
}

/// A descriptor that stands for a process of this worker's and becomes readable when it ends.
///
/// # Errors
/// Where the kernel has none: before Linux 5.3, or where a container denies the call.
pub(crate) fn open_process(pid: u32) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: two integers; close-on-exec is always set.
    let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let opened = check(i32::try_from(opened).unwrap_or(-1))?;
    // SAFETY: the call above has just made it, and nobody else knows it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(opened) };
    // SAFETY: it stays open for as long as it is registered, since what is registered owns it.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    registered.map_err(io::Error::from)
}
