//! The IPC channel of a Node.js parent: test harnesses that fork the reference worker wait for its `READY`.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// The variable that names the descriptor, as Node.js sets it for a forked child.
pub const VARIABLE: &str = "NODE_CHANNEL_FD";

/// The channel to a parent that forked this process. Kept open until the end: its closing tells the parent that we left.
#[derive(Debug)]
pub struct ParentChannel(File);

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
        Some(Self(File::from(descriptor)))
    }

    /// Tells the parent that the HTTP server listens: one JSON message a line, as Node.js writes them.
    ///
    /// # Errors
    ///
    /// The parent closed its end, or reads nothing.
    pub fn send_ready(&mut self) -> io::Result<()> {
        self.0.write_all(b"\"READY\"\n")
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
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_parent_reads_ready() {
        let (mut parent, child) = UnixStream::pair().unwrap();
        let mut channel = ParentChannel::take(&child.into_raw_fd().to_string()).unwrap();
        channel.send_ready().unwrap();
        drop(channel);
        let mut text = String::new();
        parent.read_to_string(&mut text).unwrap();
        assert_eq!(text, "\"READY\"\n");
    }

    #[test]
    fn a_variable_that_names_no_open_descriptor_is_ignored() {
        for variable in ["", "abc", "-1", "0", "2", "99999"] {
            assert!(ParentChannel::take(variable).is_none(), "{variable}");
        }
    }
}
