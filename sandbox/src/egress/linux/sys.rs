//! The system calls of seccomp's user notification, and those that a supervisor answers with.
#![expect(
    unsafe_code,
    reason = "no crate has these calls; each says why it is sound"
)]

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::FileExt as _;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use seccompiler::sock_filter;

/// What tells our own `sendmsg`, which hands the listener over, from one of the program's: two words that nobody can guess, in
/// arguments that the call does not have. The program that is executed afterwards finds them nowhere.
pub(crate) type Nonce = [u64; 2];

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Notification {
    pub(super) id: u64,
    pub(super) call: i64,
    pub(super) arguments: [u64; 6],
    /// Where the caller was, in its memory.
    pub(super) instruction: u64,
}

/// Where calls arrive and are answered.
#[derive(Debug)]
pub(super) struct Listener(OwnedFd);

impl Listener {
    /// Has the kernel run the caller at once when it is answered, on the same core. Before Linux 6.6 it does not know that.
    pub(super) fn wake_in_place(&self) {
        const SYNC_WAKE_UP: u64 = 1;
        // SAFETY: the argument of this request is flags, not a pointer.
        let set = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                SYNC_WAKE_UP,
            )
        };
        if set == -1 {
            log::debug!("egress: answers wake callers by way of the scheduler");
        }
    }

    /// The next call; waits for one.
    pub(super) fn receive(&self) -> Result<Notification, Errno> {
        // SAFETY: all zeros is a value of this plain struct, and what the kernel demands.
        let mut received: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one struct of this size, which is part of the request's number, to a live one.
        Errno::result(unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut received,
            )
        })?;
        Ok(Notification {
            id: received.id,
            call: received.data.nr.into(),
            arguments: received.data.args,
            instruction: received.data.instruction_pointer,
        })
    }

    /// Whether the caller still waits: then what was read of its memory was its own, since nobody else had its process id.
    pub(super) fn is_valid(&self, id: u64) -> bool {
        // SAFETY: the kernel reads one integer from a live one.
        let valid = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
                &raw const id,
            )
        };
        valid == 0
    }

    /// Answers a call with what it returns.
    pub(super) fn answer(&self, id: u64, returned: Result<i64, Errno>) -> Result<(), Errno> {
        let (val, error) = match returned {
            Ok(val) => (val, 0),
            Err(errno) => (0, -(errno as i32)),
        };
        let answer = libc::seccomp_notif_resp {
            id,
            val,
            error,
            flags: 0,
        };
        // SAFETY: the kernel reads one struct of this size from a live one.
        Errno::result(unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw const answer,
            )
        })?;
        Ok(())
    }

    /// Gives the caller a descriptor for what is behind this one, and answers its call with the number.
    pub(super) fn give(&self, id: u64, what: BorrowedFd<'_>, flags: u32) -> Result<(), Errno> {
        let give = libc::seccomp_notif_addfd {
            id,
            flags: u32::try_from(libc::SECCOMP_ADDFD_FLAG_SEND).unwrap_or_default(),
            srcfd: what.as_raw_fd().unsigned_abs(),
            newfd: 0,
            newfd_flags: flags,
        };
        // SAFETY: the kernel reads one struct of this size from a live one; the descriptor is open.
        Errno::result(unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ADDFD,
                &raw const give,
            )
        })?;
        Ok(())
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Installs a filter in this process and hands its listener over, between fork and exec: allocates nothing.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn install(filter: &[sock_filter], channel: &OwnedFd, nonce: Nonce) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        // The kernel does not write to it. `seccompiler` has a struct of its own with the layout of the kernel's.
        filter: filter.as_ptr().cast_mut().cast(),
    };
    let install = |flags: libc::c_ulong| {
        // SAFETY: the pointer is to a live struct, which points to a live filter of the length that it says; no_new_privs is
        // set before.
        Errno::result(unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        })
    };
    // A call that is being answered is not interrupted by a signal, which would have it made twice; known from Linux 5.19 on.
    let listener = install(
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    )
    .or_else(|_| install(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER))?;
    let listener = RawFd::try_from(listener).map_err(|_| io::ErrorKind::InvalidData)?;
    hand_over(listener, channel, nonce)?;
    // SAFETY: the descriptor is the one just made, and nobody else knows it. The kernel has made it close-on-exec as well.
    unsafe { libc::close(listener) };
    Ok(())
}

#[allow(
    clippy::useless_conversion,
    reason = "the lengths are of another type in musl"
)]
fn hand_over(listener: RawFd, channel: &OwnedFd, nonce: Nonce) -> io::Result<()> {
    /// A control message with one descriptor, padded as the kernel wants it.
    #[repr(C)]
    struct Descriptor {
        header: libc::cmsghdr,
        descriptor: RawFd,
        padding: i32,
    }
    let mut byte = 0_u8;
    let mut data = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    // SAFETY: all zeros is a value of these plain structs.
    let (mut control, mut message) = unsafe { std::mem::zeroed::<(Descriptor, libc::msghdr)>() };
    control.header.cmsg_level = libc::SOL_SOCKET;
    control.header.cmsg_type = libc::SCM_RIGHTS;
    control.header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<RawFd>())
        .try_into()
        .unwrap_or_default();
    control.descriptor = listener;
    message.msg_iov = &raw mut data;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Descriptor>().try_into().unwrap_or_default();
    // SAFETY: all pointers are to live values of the lengths that are given. The last two arguments are not the call's: the
    // filter lets pass by them.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_sendmsg,
            channel.as_raw_fd(),
            &raw const message,
            libc::MSG_NOSIGNAL,
            nonce[0],
            nonce[1],
        )
    })?;
    Ok(())
}

/// The listener that a started process has handed over.
///
/// # Errors
/// When it has not.
pub(super) fn take_over(channel: &OwnedFd) -> io::Result<Listener> {
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    let mut control = cmsg_space!([RawFd; 1]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let received = recvmsg::<()>(channel.as_raw_fd(), &mut data, Some(&mut control), flags)?;
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = message
            && let [descriptor] = descriptors[..]
        {
            // SAFETY: the kernel has just made it for this process, and nobody else knows it.
            return Ok(Listener(unsafe { OwnedFd::from_raw_fd(descriptor) }));
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Fills `into` with what a process has at an address.
pub(super) fn read_memory(pid: i32, address: u64, into: &mut [u8]) -> Result<(), Errno> {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = remote(address, into.len())?;
    // SAFETY: the local range is a live slice, borrowed for writing; the remote one is checked by the kernel.
    let read = Errno::result(unsafe {
        libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0)
    });
    match read {
        Ok(read) => whole(read, into.len()),
        Err(denied) if is_denied(denied) => memory_of(pid, false)
            .and_then(|memory| memory.read_exact_at(into, address))
            .map_err(|error| errno_of(&error, denied)),
        Err(errno) => Err(errno),
    }
}

/// Writes to what a process has at an address.
pub(super) fn write_memory(pid: i32, address: u64, from: &[u8]) -> Result<(), Errno> {
    let local = libc::iovec {
        iov_base: from.as_ptr().cast_mut().cast(),
        iov_len: from.len(),
    };
    let remote = remote(address, from.len())?;
    // SAFETY: the local range is a live slice, which the kernel only reads; the remote one is checked by the kernel.
    let written = Errno::result(unsafe {
        libc::process_vm_writev(pid, &raw const local, 1, &raw const remote, 1, 0)
    });
    match written {
        Ok(written) => whole(written, from.len()),
        Err(denied) if is_denied(denied) => memory_of(pid, true)
            .and_then(|memory| memory.write_all_at(from, address))
            .map_err(|error| errno_of(&error, denied)),
        Err(errno) => Err(errno),
    }
}

/// Whether a container denies the call itself, as Docker's default profile did before version 23.
fn is_denied(errno: Errno) -> bool {
    matches!(errno, Errno::EPERM | Errno::ENOSYS)
}

/// The memory of a process as a file: the kernel asks for the same right as for the calls.
fn memory_of(pid: i32, write: bool) -> io::Result<File> {
    File::options()
        .read(true)
        .write(write)
        .open(format!("/proc/{pid}/mem"))
}

fn errno_of(error: &io::Error, otherwise: Errno) -> Errno {
    match error.raw_os_error().map(Errno::from_raw) {
        // What the file calls an address that leads nowhere.
        Some(Errno::EIO) => Errno::EFAULT,
        Some(errno) => errno,
        None => otherwise,
    }
}

fn remote(address: u64, length: usize) -> Result<libc::iovec, Errno> {
    let address = usize::try_from(address).map_err(|_| Errno::EFAULT)?;
    Ok(libc::iovec {
        iov_base: std::ptr::without_provenance_mut(address),
        iov_len: length,
    })
}

fn whole(done: isize, wanted: usize) -> Result<(), Errno> {
    if done.unsigned_abs() == wanted {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}

/// A descriptor that stands for a process.
pub(super) fn open_process(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: two integers; close-on-exec is always set.
    let opened = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    owned(opened)
}

/// A copy of a descriptor of another process.
pub(super) fn copy_of(process: &OwnedFd, descriptor: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: three integers, the first an open descriptor; close-on-exec is always set.
    let copied = Errno::result(unsafe {
        libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), descriptor, 0)
    })?;
    owned(copied)
}

/// A socket of a family, type and protocol as the call `socket` has them.
pub(super) fn socket(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: three integers.
    let made = Errno::result(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) })?;
    owned(made.into())
}

fn owned(descriptor: libc::c_long) -> Result<OwnedFd, Errno> {
    let descriptor = RawFd::try_from(descriptor).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made it for this process, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Connects a socket to an address, given as the bytes of the kernel's struct.
pub(super) fn connect(socket: BorrowedFd<'_>, address: &[u8]) -> Result<i64, Errno> {
    // SAFETY: the pointer is to a live slice of this length, of which the kernel makes a copy.
    let connected = unsafe {
        libc::connect(
            socket.as_raw_fd(),
            address.as_ptr().cast(),
            length(address)?,
        )
    };
    Errno::result(connected).map(i64::from)
}

/// Sends data through a socket, to an address unless it is empty.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    data: &[u8],
    address: &[u8],
    flags: i32,
) -> Result<i64, Errno> {
    let to = if address.is_empty() {
        std::ptr::null()
    } else {
        address.as_ptr().cast()
    };
    // SAFETY: both pointers are to live slices of these lengths, or null with a length of zero.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            data.as_ptr().cast(),
            data.len(),
            flags,
            to,
            length(address)?,
        )
    };
    Errno::result(sent).map(|sent| i64::try_from(sent).unwrap_or(i64::MAX))
}

fn length(address: &[u8]) -> Result<libc::socklen_t, Errno> {
    libc::socklen_t::try_from(address.len()).map_err(|_| Errno::EINVAL)
}
