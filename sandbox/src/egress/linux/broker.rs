//! Who answers the calls of one program: a thread of its own, so that a call which takes long holds up nobody else.
//!
//! The address is copied from the program's memory, judged, and connected to as it was copied: what the program writes there
//! meanwhile is of no effect. It is a copy of the program's socket that is connected, which is the same socket.

mod memory;

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use log_events::{event, table};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, SockType, getsockopt, shutdown, sockopt};

use super::address::{self, Destination};
use super::sockets::{Found, Sockets};
use super::sys::{self, Listener, Notification};
use crate::egress::{Egress, Refusal, Rule};

/// Parts of one message, and messages of one call, as the kernel has it.
const MOST_PARTS: u64 = 1024;
/// Calls that wait for a peer on threads of their own; further ones hold up the program's other calls.
const MOST_WAITING: usize = 8;
/// How often sockets are looked for that the program has closed, while there are any.
const SWEEP_MS: u16 = 1000;
/// The stack of a thread: what is large is on the heap.
const STACK: usize = 128 << 10;

/// What a message may ask for besides being sent.
const FLAGS: i32 = libc::MSG_OOB
    | libc::MSG_DONTROUTE
    | libc::MSG_DONTWAIT
    | libc::MSG_EOR
    | libc::MSG_CONFIRM
    | libc::MSG_NOSIGNAL
    | libc::MSG_MORE
    | libc::MSG_FASTOPEN;

/// Ends with the program, and what waits for a peer with this.
#[derive(Debug)]
pub(crate) struct Broker(Weak<Shared>);

#[derive(Debug)]
struct Shared {
    listener: Listener,
    pid: i32,
    egress: Egress,
    sockets: Sockets,
    /// What was told since it was last forgotten.
    told: Mutex<HashSet<Rule>>,
    at_work: Mutex<AtWork>,
    waiting: AtomicUsize,
}

/// The sockets on which something is being done.
#[derive(Debug, Default)]
struct AtWork {
    closed: bool,
    sockets: Vec<Arc<OwnedFd>>,
}

impl Broker {
    /// Answers the calls of a process until it ends.
    ///
    /// # Errors
    /// When the system has no thread.
    pub(super) fn start(
        listener: Listener,
        pid: i32,
        egress: Egress,
        sockets: Sockets,
    ) -> io::Result<Self> {
        listener.wake_in_place();
        let shared = Arc::new(Shared {
            listener,
            pid,
            egress,
            sockets,
            told: Mutex::default(),
            at_work: Mutex::default(),
            waiting: AtomicUsize::new(0),
        });
        let broker = Self(Arc::downgrade(&shared));
        // With its end the listener is closed, after which the program's calls are refused.
        thread("egress")
            .spawn(move || answer_all(&shared))
            .map(|_| broker)
    }

    /// Has the next refusal told, though it is by a rule that was told before.
    pub(crate) fn forget(&self) {
        if let Some(shared) = self.0.upgrade() {
            locked(&shared.told).clear();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let Some(shared) = self.0.upgrade() else {
            return;
        };
        let mut at_work = locked(&shared.at_work);
        at_work.closed = true;
        for socket in at_work.sockets.drain(..) {
            // Wakes what waits in it. One that is not connected says so, and wakes all the same.
            match shutdown(socket.as_raw_fd(), Shutdown::Both) {
                Ok(()) | Err(Errno::ENOTCONN) => {}
                Err(error) => log::debug!("egress: a socket cannot be shut down: {error}"),
            }
        }
    }
}

fn thread(name: &str) -> std::thread::Builder {
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done by a panic: each change is one call.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer_all(shared: &Arc<Shared>) {
    loop {
        let timeout = if shared.sockets.is_empty() {
            PollTimeout::NONE
        } else {
            SWEEP_MS.into()
        };
        let mut listening = [PollFd::new(shared.listener.as_fd(), PollFlags::POLLIN)];
        match poll(&mut listening, timeout) {
            Ok(0) => {
                shared.sockets.sweep(shared.pid);
                continue;
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                event!(
                    table::SANDBOX_EGRESS_FAILED, pid = shared.pid, error:% = error;
                    "egress: calls of process {} cannot be waited for: {error}",
                    shared.pid
                );
                return;
            }
        }
        let seen = listening[0].revents().unwrap_or(PollFlags::empty());
        if seen.contains(PollFlags::POLLIN) {
            match shared.listener.receive() {
                Ok(call) => shared.take(call),
                // The caller was killed before its call was taken.
                Err(Errno::ENOENT | Errno::EINTR) => {}
                Err(error) => {
                    event!(
                        table::SANDBOX_EGRESS_FAILED, pid = shared.pid, error:% = error;
                        "egress: calls of process {} cannot be received: {error}",
                        shared.pid
                    );
                    return;
                }
            }
        } else if seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
            return;
        }
    }
}

impl Shared {
    /// Answers a call here, or on a thread of its own where it may wait for a peer.
    fn take(self: &Arc<Self>, call: Notification) {
        if call.call == libc::SYS_socket {
            self.sockets.make(&self.listener, self.pid, &call);
            return;
        }
        let found = match self.sockets.find(self.pid, number(call.arguments[0])) {
            Ok(found) => found,
            Err(errno) => {
                self.answer(call.id, Err(errno));
                return;
            }
        };
        if may_wait(&found.socket) {
            if self.waiting.fetch_add(1, Ordering::AcqRel) < MOST_WAITING {
                let (shared, waits) = (Arc::clone(self), found.clone());
                let spawned = thread("egress-wait").spawn(move || {
                    shared.perform(&call, waits);
                    shared.waiting.fetch_sub(1, Ordering::AcqRel);
                });
                match spawned {
                    Ok(_) => return,
                    Err(error) => log::debug!("egress: a call has no thread of its own: {error}"),
                }
            }
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
        self.perform(&call, found);
    }

    fn perform(&self, call: &Notification, found: Found) {
        if !self.enter(&found.socket) {
            return;
        }
        let arguments = call.arguments;
        let returned = match call.call {
            libc::SYS_connect => self.connect(call.id, &found, arguments[1], number(arguments[2])),
            libc::SYS_sendto => self.send_to(call.id, &found, &arguments),
            libc::SYS_sendmsg => {
                self.send_message(call.id, &found, arguments[1], number(arguments[2]))
            }
            libc::SYS_sendmmsg => self.send_messages(call.id, &found, &arguments),
            _ => Err(Errno::ENOSYS),
        };
        self.leave(&found.socket);
        // Before the answer: the program may close its socket then, which must be the last.
        drop(found);
        self.answer(call.id, returned);
    }

    fn enter(&self, socket: &Arc<OwnedFd>) -> bool {
        let mut at_work = locked(&self.at_work);
        at_work.sockets.push(Arc::clone(socket));
        !at_work.closed
    }

    fn leave(&self, socket: &Arc<OwnedFd>) {
        let mut at_work = locked(&self.at_work);
        let mut sockets = at_work.sockets.iter();
        if let Some(index) = sockets.position(|other| Arc::ptr_eq(other, socket)) {
            at_work.sockets.swap_remove(index);
        }
    }

    fn answer(&self, id: u64, returned: Result<i64, Errno>) {
        match self.listener.answer(id, returned) {
            // The caller was killed meanwhile.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => log::debug!("egress: process {} has no answer: {error}", self.pid),
        }
    }

    fn connect(&self, id: u64, found: &Found, at: u64, length: i32) -> Result<i64, Errno> {
        let destination = self.address(at, u64::try_from(length).map_err(|_| Errno::EINVAL)?)?;
        self.judge(destination)?;
        self.still_waits(id)?;
        let connected = sys::connect(found.socket.as_fd(), &address::write(destination));
        if matches!(connected, Ok(_) | Err(Errno::EINPROGRESS))
            && matches!(destination, Destination::Peer(_))
        {
            self.sockets.connected(found);
        }
        connected
    }

    fn send_to(&self, id: u64, found: &Found, arguments: &[u64; 6]) -> Result<i64, Errno> {
        let [_, data, length, flags, at, at_length] = *arguments;
        let at_length = u64::try_from(number(at_length)).map_err(|_| Errno::EINVAL)?;
        let peer = self.peer(at, at_length)?;
        let (data, total) = self.data(&[(data, length)])?;
        self.send(id, found, peer, &data, total, number(flags))
    }

    fn send_message(&self, id: u64, found: &Found, at: u64, flags: i32) -> Result<i64, Errno> {
        let message = self.read::<MESSAGE>(at)?;
        let word = |at: usize| u64::from_ne_bytes(std::array::from_fn(|byte| message[at + byte]));
        let [name, parts_at, parts, controls] = [word(0), word(16), word(24), word(40)];
        let name_length = word(8) & u64::from(u32::MAX);
        // They may name a route, or descriptors, and nobody needs them.
        if controls > 0 {
            return Err(Errno::EACCES);
        }
        let peer = if name == 0 || name_length == 0 {
            None
        } else {
            self.peer(name, name_length)?
        };
        if parts > MOST_PARTS {
            return Err(Errno::EMSGSIZE);
        }
        let mut listed = vec![0; PART * usize::try_from(parts).map_err(|_| Errno::EMSGSIZE)?];
        if !listed.is_empty() {
            sys::read_memory(self.pid, parts_at, &mut listed)?;
        }
        let words: Vec<u64> = listed
            .chunks_exact(PART / 2)
            .map(|word| u64::from_ne_bytes(std::array::from_fn(|byte| word[byte])))
            .collect();
        let parts: Vec<_> = words
            .chunks_exact(2)
            .map(|part| (part[0], part[1]))
            .collect();
        let (data, total) = self.data(&parts)?;
        self.send(id, found, peer, &data, total, flags)
    }

    fn send_messages(&self, id: u64, found: &Found, arguments: &[u64; 6]) -> Result<i64, Errno> {
        let [_, at, count, flags, ..] = *arguments;
        let count = (count & u64::from(u32::MAX)).min(MOST_PARTS);
        let mut sent = 0;
        while sent < count {
            let at = at + sent * EACH;
            let length = match self.send_message(id, found, at, number(flags)) {
                Ok(length) => u32::try_from(length).map_err(|_| Errno::EMSGSIZE)?,
                Err(errno) if sent == 0 => return Err(errno),
                Err(_) => break,
            };
            sys::write_memory(self.pid, at + LENGTH_AT, &length.to_ne_bytes())?;
            sent += 1;
        }
        i64::try_from(sent).map_err(|_| Errno::EMSGSIZE)
    }

    fn send(
        &self,
        id: u64,
        found: &Found,
        peer: Option<Destination>,
        data: &[u8],
        total: u64,
        flags: i32,
    ) -> Result<i64, Errno> {
        if let Some(peer) = peer {
            self.judge(peer)?;
        }
        let whole = u64::try_from(data.len()).is_ok_and(|length| length == total);
        if !whole && getsockopt(&found.socket, sockopt::SockType)? != SockType::Stream {
            return Err(Errno::EMSGSIZE);
        }
        self.still_waits(id)?;
        let address = peer.map(address::write).unwrap_or_default();
        let flags = flags & FLAGS | libc::MSG_NOSIGNAL;
        let sent = sys::send(found.socket.as_fd(), data, &address, flags);
        if matches!(sent, Ok(_) | Err(Errno::EINPROGRESS)) && flags & libc::MSG_FASTOPEN != 0 {
            self.sockets.connected(found);
        }
        sent
    }

    /// Refuses what is denied, and tells of it.
    fn judge(&self, destination: Destination) -> Result<(), Errno> {
        let Destination::Peer(destination) = destination else {
            return Ok(());
        };
        let own = |ip| address::is_own(ip, destination);
        let Some(rule) = self.egress.rules.denying(destination, own) else {
            return Ok(());
        };
        if locked(&self.told).insert(rule) {
            self.egress.refused.tell(Refusal { destination, rule });
        }
        Err(Errno::EACCES)
    }

    /// What was read was the caller's if it waits still: nobody else can have its process id then.
    fn still_waits(&self, id: u64) -> Result<(), Errno> {
        if self.listener.is_valid(id) {
            Ok(())
        } else {
            Err(Errno::EINTR)
        }
    }

    /// The peer of a message, which nobody cannot be.
    fn peer(&self, at: u64, length: u64) -> Result<Option<Destination>, Errno> {
        match self.address(at, length)? {
            Destination::Nobody => Err(Errno::EAFNOSUPPORT),
            peer @ Destination::Peer(_) => Ok(Some(peer)),
        }
    }
}

/// Bytes of the kernel's `user_msghdr`, of which a part is 16; and of `mmsghdr`, at whose end the length is.
const MESSAGE: usize = 56;
const PART: usize = 16;
const EACH: u64 = 64;
const LENGTH_AT: u64 = 56;

/// An argument of 32 bits: the kernel leaves the upper half unread.
fn number(argument: u64) -> i32 {
    let low = u32::try_from(argument & u64::from(u32::MAX)).unwrap_or_default();
    low.cast_signed()
}

/// Whether a call on this socket waits for its peer.
fn may_wait(socket: &OwnedFd) -> bool {
    let flags = fcntl(socket, FcntlArg::F_GETFL).unwrap_or_default();
    !OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK)
        && getsockopt(socket, sockopt::SockType) == Ok(SockType::Stream)
}
