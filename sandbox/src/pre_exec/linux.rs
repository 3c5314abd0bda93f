//! What only Linux does between fork and exec.

use std::ffi::CStr;
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

/// Gives this process an IPC namespace of its own. Without the right to it there is none: that costs a second lock on a door that
/// seccomp keeps shut, and is not looked at here. It takes 25 µs.
pub(crate) fn leave_ipc_namespace() {
    // SAFETY: an integer; only this process moves.
    unsafe { libc::unshare(libc::CLONE_NEWIPC) };
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

/// Puts this process under Landlock rules, to which its own files below `/proc` are added.
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

/// What a process may read of itself below `/proc`: without the first `process.memoryUsage()` throws, the others are figures and
/// settings. Not the folder, in which the host's sockets (`net`) and mounts (`mountinfo`) are as well.
const OWN_PROC: &[&CStr] = &[
    c"/proc/self/stat",
    c"/proc/self/statm",
    c"/proc/self/status",
    c"/proc/self/maps",
    c"/proc/self/smaps",
    c"/proc/self/smaps_rollup",
    c"/proc/self/limits",
    c"/proc/self/cgroup",
    c"/proc/self/comm",
    c"/proc/self/cmdline",
    c"/proc/self/environ",
    c"/proc/self/auxv",
    // The states of its descriptors, one file each.
    c"/proc/self/fdinfo",
];

/// Lets the process read what is its own below `/proc`. It has to be opened here: in the worker it would be the worker's.
fn allow_own_proc(rules: &OwnedFd) {
    for path in OWN_PROC {
        // SAFETY: the path is a C string.
        let own = unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
        if own < 0 {
            // No /proc, or an older one: nothing to read there.
            continue;
        }
        let rule = PathBeneath {
            allowed_access: LANDLOCK_ACCESS_FS_READ_FILE,
            parent_fd: own,
        };
        // A refusal costs figures, not safety: it is not looked at.
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
}

/// `__user_cap_header_struct` and `__user_cap_data_struct` of the kernel.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}
#[repr(C)]
#[derive(Clone, Copy)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// No capabilities for the superuser's programs, nor by changing users, nor kept or raised; and that for good.
const SECUREBITS: libc::c_ulong = 0b1110_1111;

/// Gives up all capabilities but these, for whatever this process becomes too, and on the way becomes this user, if any: that
/// takes some of them.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn keep_capabilities(kept: u64, user: Option<u32>) -> io::Result<()> {
    let kept = [kept & 0xffff_ffff, kept >> 32].map(|half| u32::try_from(half).unwrap_or_default());
    for capability in 0..64 {
        if kept[capability / 32] & (1 << (capability % 32)) != 0 {
            continue;
        }
        // SAFETY: prctl with this option takes one integer. It is refused above the newest capability, and to a process that
        // may not change its set: its programs gain nothing all the same, since no_new_privs is set.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    // SAFETY: prctl with this option takes integers; a kernel without ambient capabilities has none to clear.
    unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL,
            0,
            0,
            0,
        )
    };
    if kept == [0, 0] {
        // SAFETY: prctl with this option takes one integer. It is refused to a process that may not: see above.
        unsafe { libc::prctl(libc::PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0) };
    }
    if let Some(user) = user {
        become_user(user)?;
    }
    let header = CapabilityHeader {
        version: CAPABILITY_VERSION,
        pid: 0,
    };
    let data = kept.map(|half| CapabilityData {
        effective: half,
        permitted: half,
        inheritable: 0,
    });
    // SAFETY: pointers to live structs of the layout that this version has: a header, and two parts of data.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Becomes a user in a group of the same number, and in no other group, for good. By the bare calls: those of the C library would
/// tell its other threads, of which a forked process has none.
fn become_user(user: u32) -> io::Result<()> {
    // SAFETY: an integer and a pointer that is not read, since there are no groups in the list.
    let groups = unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>()) };
    check(i32::try_from(groups).unwrap_or(-1))?;
    for call in [libc::SYS_setresgid, libc::SYS_setresuid] {
        // SAFETY: three integers.
        let set = unsafe { libc::syscall(call, user, user, user) };
        check(i32::try_from(set).unwrap_or(-1))?;
    }
    Ok(())
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
