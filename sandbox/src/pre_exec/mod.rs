//! What a process does between fork and exec.
//!
//! Done here and not by a wrapper program that would exec the one that is wanted: the worker stays small, so that its fork is
//! cheap, and the parent-death signal has to be asked for by the process that the worker itself has started.
#![expect(
    unsafe_code,
    reason = "pre_exec runs between fork and exec; each call says why it is sound"
)]

#[cfg(target_os = "linux")]
#[cfg_attr(feature = "portable", expect(dead_code, reason = "of the other side"))]
pub(crate) mod linux;

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{getppid, setsid};

use crate::platform::Prepared;

/// Where the sockets of a process are: for commands, then for events.
const PLACES: [RawFd; 2] = [3, 4];

/// The exit code of a process whose worker was gone before it could ask to die with it.
const ORPHANED: i32 = 99;

/// Above the places, which would overwrite what is there.
const ABOVE: RawFd = 10;

/// A copy of a descriptor that is not in the way of the sockets.
///
/// # Errors
/// When no descriptors are left.
pub(crate) fn lift(descriptor: &OwnedFd) -> io::Result<OwnedFd> {
    let lifted = fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(ABOVE))?;
    // SAFETY: the call above has just made it, and nobody else knows it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(lifted) })
}

/// Has `command` start a program that gets these sockets, leads a process group of its own, is confined as prepared, and, where
/// the system can, dies with the thread that spawns it (which therefore has to live as long as the worker).
pub(crate) fn prepare(
    command: &mut std::process::Command,
    sockets: Option<[OwnedFd; 2]>,
    mut prepared: Prepared,
) {
    let parent = std::process::id();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. The closure makes system calls and allocates
    // nothing: what it needs was built before the fork and moved in.
    unsafe {
        command.pre_exec(move || {
            // A freshly forked process leads no group, so this succeeds.
            setsid()?;
            // A core file would hold credentials.
            limit(Resource::RLIMIT_CORE, 0)?;
            // Whatever else the worker has open, or inherited, does not reach the program.
            close_on_exec()?;
            for (socket, place) in sockets.iter().flatten().zip(PLACES) {
                // Clears close-on-exec on the copy.
                check(libc::dup2(socket.as_raw_fd(), place))?;
            }
            prepared.enter()?;
            // The worker may have died before the kernel was asked to end this process with it: then nobody ever would.
            if u32::try_from(getppid().as_raw()).ok() != Some(parent) {
                libc::_exit(ORPHANED);
            }
            Ok(())
        });
    }
}

/// Has every descriptor but the standard ones closed by exec.
fn close_on_exec() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        linux::close_on_exec()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let (most, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        for descriptor in 3..RawFd::try_from(most).unwrap_or(65_536).min(65_536) {
            // SAFETY: fcntl with an integer argument; one that is not open is refused, which is as good.
            unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        Ok(())
    }
}

/// Lowers a limit of this process for good. One that was inherited may be lower already, and cannot be raised.
///
/// # Errors
/// When the system refuses.
pub(crate) fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(resource)?;
    let most = most.min(hard);
    setrlimit(resource, most, most)?;
    Ok(())
}

/// Waits, blocking, until a child of this process has ended, and leaves it to be reaped: until then nobody else gets its id.
pub(crate) fn wait_without_reaping(pid: u32) -> io::Result<()> {
    // SAFETY: all zeros is a value of this plain struct.
    let mut ended: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: the pointer is to a live struct.
        let waited = unsafe {
            libc::waitid(
                libc::P_PID,
                pid,
                &raw mut ended,
                libc::WEXITED | libc::WNOWAIT,
            )
        };
        match check(waited) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            waited => return waited.map(|_| ()),
        }
    }
}

fn check(returned: i32) -> io::Result<i32> {
    if returned == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(returned)
    }
}
