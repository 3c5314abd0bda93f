//! The sockets of a program, in the hands of whoever answers its calls.
//!
//! Where the kernel and the container allow it they are copied from the program when they are needed. Docker's and
//! containerd's profiles deny that: there the program is given sockets that were made for it, of which a copy is kept. A copy
//! would keep a connection open that the program closes, so a stream's is dropped when it is connected. That of another
//! is dropped within a second of the program's.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::sys::stat::fstat;

use super::sys::{self, Listener, Notification};

/// Sockets that a program may have without a connection, where copies are kept: they are descriptors of the worker.
const MOST: usize = 64;

/// The bits of a socket's type that are not flags.
const TYPE: i32 = 0xf;

/// A socket of the program's.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) socket: Arc<OwnedFd>,
    inode: Option<u64>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) enum Sockets {
    /// Copied when needed, from this process.
    Copied(OwnedFd),
    /// Made for the program; by inode, which the program cannot choose.
    Made(Mutex<HashMap<u64, Arc<OwnedFd>>>),
}

impl Sockets {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Copied(_) => true,
            Self::Made(made) => locked(made).is_empty(),
        }
    }

    /// The socket with this number.
    pub(super) fn find(&self, pid: i32, number: i32) -> Result<Found, Errno> {
        match self {
            Self::Copied(process) => Ok(Found {
                socket: Arc::new(sys::copy_of(process, number)?),
                inode: None,
            }),
            Self::Made(made) => {
                let link = std::fs::read_link(format!("/proc/{pid}/fd/{number}"))
                    .map_err(|_| Errno::EBADF)?;
                let inode = inode(&link.to_string_lossy()).ok_or(Errno::ENOTSOCK)?;
                let socket = locked(made).get(&inode).cloned();
                // A connection, whose copy is gone. Only by messages with parts or flags can a program get here.
                let socket = socket.ok_or(Errno::EACCES)?;
                let inode = Some(inode);
                Ok(Found { socket, inode })
            }
        }
    }

    /// Answers the call that makes a socket.
    pub(super) fn make(&self, listener: &Listener, pid: i32, call: &Notification) {
        let Self::Made(made) = self else {
            return;
        };
        if let Err(errno) = make(made, listener, pid, call)
            && let Err(error) = listener.answer(call.id, Err(errno))
        {
            log::debug!("egress: process {pid} has no answer: {error}");
        }
    }

    /// Forgets a stream that is connected.
    pub(super) fn connected(&self, found: &Found) {
        if let (Self::Made(made), Some(inode)) = (self, found.inode)
            && getsockopt(&found.socket, sockopt::SockType) == Ok(SockType::Stream)
        {
            locked(made).remove(&inode);
        }
    }

    /// Forgets what the program has closed.
    pub(super) fn sweep(&self, pid: i32) {
        let Self::Made(made) = self else {
            return;
        };
        sweep(made, pid);
    }
}

type Made = Mutex<HashMap<u64, Arc<OwnedFd>>>;

fn locked(made: &Made) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<OwnedFd>>> {
    made.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make(made: &Made, listener: &Listener, pid: i32, call: &Notification) -> Result<(), Errno> {
    let argument = |index: usize| {
        let low = u32::try_from(call.arguments[index] & u64::from(u32::MAX)).unwrap_or_default();
        low.cast_signed()
    };
    let [family, kind, protocol] = [argument(0), argument(1), argument(2)];
    let known = matches!(family, libc::AF_INET | libc::AF_INET6)
        && matches!(kind & TYPE, libc::SOCK_STREAM | libc::SOCK_DGRAM);
    if !known {
        return Err(Errno::EPERM);
    }
    if locked(made).len() >= MOST {
        sweep(made, pid);
        if locked(made).len() >= MOST {
            return Err(Errno::EMFILE);
        }
    }
    let socket = Arc::new(sys::socket(family, kind, protocol)?);
    let inode = fstat(&*socket)?.st_ino;
    locked(made).insert(inode, Arc::clone(&socket));
    let flags = (kind & libc::SOCK_CLOEXEC).unsigned_abs();
    let given = listener.give(call.id, socket.as_fd(), flags);
    if given.is_err() {
        locked(made).remove(&inode);
    }
    given
}

fn sweep(made: &Made, pid: i32) {
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return;
    };
    let open: HashSet<u64> = open
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| inode(&link.to_string_lossy()))
        .collect();
    locked(made).retain(|inode, _| open.contains(inode));
}

/// Of what the kernel calls a socket in `/proc`.
fn inode(link: &str) -> Option<u64> {
    let number = link.strip_prefix("socket:[")?.strip_suffix(']')?;
    number.parse().ok()
}
