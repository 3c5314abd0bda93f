//! The IPC channel of a Node.js parent: test harnesses that fork the reference worker wait for its `READY`.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// The variable that names the descriptor, as Node.js sets it for a forked child.
pub const VARIABLE: &str = "NODE_CHANNEL_FD";

/// The channel to a parent that forked this process. Kept open until the end: its closing tells the parent that we left.
#[derive(Debug)]
pub struct ParentChannel(UnixStream);

impl ParentChannel {
    /// Takes the descriptor that `variable`, the value of [`VARIABLE`], names. `None` when it names none that is open.
    ///
    /// To be called before the process opens any file, so that a stale variable cannot name one of those.
    pub fn take(variable: &str) -> Option<Self> {
        let number: i32 = variable.parse().ok().filter(|number| *number > 2)?;
        if !Path::new(&format!("/proc/self/fd/{number}")).exists() {
            return None;
        }
        let descriptor = own(number);
        // Engine children must not inherit it.
        fcntl(&descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
        Some(Self(UnixStream::from(descriptor)))
    }

    /// Tells the parent that the HTTP server listens: one JSON message a line, as Node.js writes them.
    ///
    /// # Errors
    ///
    /// The parent closed its end, or reads nothing.
    pub fn send_ready(&mut self) -> io::Result<()> {
        self.0.write_all(b"\"READY\"\n")
    }

    /// Tells the parent where the HTTP server listens, as `{"listening":"127.0.0.1:2222"}`. Only for a parent that has
    /// asked for it: the reference sends nothing after `READY`.
    ///
    /// # Errors
    ///
    /// The parent closed its end, or reads nothing.
    pub fn send_address(&mut self, address: SocketAddr) -> io::Result<()> {
        writeln!(self.0, "{{\"listening\":\"{address}\"}}")
    }

    /// Waits until the parent has closed its end, which the kernel does for one that was killed. What the parent says
    /// meanwhile is read and dropped. To be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// The descriptor cannot be watched.
    pub async fn closed(self) -> io::Result<()> {
        self.0.set_nonblocking(true)?;
        let stream = tokio::net::UnixStream::from_std(self.0)?;
        let mut dropped = [0; 1024];
        loop {
            stream.readable().await?;
            match stream.try_read(&mut dropped) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

#[expect(
    unsafe_code,
    reason = "a descriptor handed over by number has no owner that the type system knows"
)]
fn own(number: i32) -> OwnedFd {
    use std::os::fd::FromRawFd as _;
    // SAFETY: the descriptor is open, as the caller has checked, and was inherited for us alone: the caller runs before
    // this process opens anything, and the variable that names it means "yours".
    unsafe { OwnedFd::from_raw_fd(number) }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::IntoRawFd as _;

    use super::*;

    fn channel() -> (UnixStream, ParentChannel) {
        let (parent, child) = UnixStream::pair().unwrap();
        let channel = ParentChannel::take(&child.into_raw_fd().to_string()).unwrap();
        (parent, channel)
    }

    #[test]
    fn the_parent_reads_ready_and_then_the_address_that_it_asked_for() {
        let (mut parent, mut channel) = channel();
        channel.send_ready().unwrap();
        channel
            .send_address(SocketAddr::from(([127, 0, 0, 1], 2222)))
            .unwrap();
        drop(channel);
        let mut text = String::new();
        parent.read_to_string(&mut text).unwrap();
        assert_eq!(text, "\"READY\"\n{\"listening\":\"127.0.0.1:2222\"}\n");
    }

    #[actix_rt::test]
    async fn a_parent_that_has_gone_is_noticed_whatever_it_said_before() {
        let (mut parent, channel) = channel();
        parent.write_all(&[b'x'; 3000]).unwrap();
        let closed = actix_rt::spawn(channel.closed());
        tokio::task::yield_now().await;
        assert!(!closed.is_finished());
        drop(parent);
        closed.await.unwrap().unwrap();
    }

    #[test]
    fn a_variable_that_names_no_open_descriptor_is_ignored() {
        for variable in ["", "abc", "-1", "0", "2", "99999"] {
            assert!(ParentChannel::take(variable).is_none(), "{variable}");
        }
    }
}
