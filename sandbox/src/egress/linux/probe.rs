//! Whether the kernel, and the container, let the worker answer the calls of a program.
//!
//! It is found out with a process that is confined like the program and executes it, but is killed in the first call that any
//! program makes: nothing of the program itself is run.

use std::io;
use std::os::fd::AsFd as _;
use std::process::Stdio;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};

use super::filter::Stops;
use super::sys::{self, Listener};
use super::{Entrance, Means};
use crate::error::Missing;
use crate::platform::{self, Prepared};
use crate::pre_exec;
use crate::private_folder::PrivateFolder;
use crate::spec::Spec;

/// How long it may take until the program makes its first call.
const PATIENCE_MS: u16 = 10_000;

/// Seccomp's share of the means.
const NOTIFICATION: &str = "seccomp's user notification";

/// Why the destinations of a program cannot be judged.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    /// The system lacks what every program needs: a folder, a socket pair, a process id that is a number.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The sandbox around the program cannot be made.
    #[error(transparent)]
    Sandbox(#[from] Missing),
    /// The program cannot be started with a listener, or does not hand it over.
    #[error("{NOTIFICATION}: {0}")]
    Notification(#[source] io::Error),
    /// The program was started, and did nothing.
    #[error("a program makes no calls")]
    NoCalls,
    /// The kernel or the container refuses one of the calls that are needed.
    #[error("{what}: {}", errno.desc())]
    Refused { what: &'static str, errno: Errno },
}

/// The means that there are, best first.
///
/// # Errors
/// What the kernel refuses.
pub(super) fn means(spec: &Spec) -> Result<Means, ProbeError> {
    let user = platform::own_user(
        &spec.confinement,
        &spec.program,
        &spec.current_dir,
        spec.root.path(),
    );
    let private = PrivateFolder::create(&spec.root, user)?;
    let mut prepared = Prepared::build(
        &spec.confinement,
        &spec.program,
        &spec.current_dir,
        private.path(),
        None,
    )?;
    if let Some(user) = user {
        prepared.become_user(user);
    }
    let (entrance, channel) = Entrance::new(Stops::Beginning)?;
    prepared.guard(entrance);
    let mut command = std::process::Command::new(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    pre_exec::prepare(&mut command, None, prepared);
    let mut child = command.spawn().map_err(ProbeError::Notification)?;
    let found = sys::take_over(&channel)
        .map_err(ProbeError::Notification)
        .and_then(|listener| examine(&listener, child.id()));
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        log::debug!("egress: the probe cannot be ended: {error}");
    }
    found
}

fn examine(listener: &Listener, pid: u32) -> Result<Means, ProbeError> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    let mut listening = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let call = match poll(&mut listening, PATIENCE_MS) {
        Ok(0) => return Err(ProbeError::NoCalls),
        Ok(_) => listener.receive(),
        Err(errno) => Err(errno),
    };
    let call = call.map_err(|errno| refused(NOTIFICATION, errno))?;
    let mut byte = [0];
    sys::read_memory(pid, call.instruction, &mut byte).map_err(|errno| {
        refused(
            "reading a program's memory (process_vm_readv, or /proc/PID/mem)",
            errno,
        )
    })?;
    // Its standard input, which is no socket but is copied in the same way.
    let copied = sys::open_process(pid).and_then(|process| sys::copy_of(&process, 0));
    let Err(uncopied) = copied else {
        return Ok(Means::Copied);
    };
    if std::fs::read_link(format!("/proc/{pid}/fd/0")).is_err() {
        return Err(refused(
            "copying a program's sockets (pidfd_getfd)",
            uncopied,
        ));
    }
    sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)
        .and_then(|socket| listener.give(call.id, socket.as_fd(), 0))
        .map(|()| Means::Made)
        .map_err(|errno| refused("giving sockets to a program", errno))
}

fn refused(what: &'static str, errno: Errno) -> ProbeError {
    ProbeError::Refused { what, errno }
}
