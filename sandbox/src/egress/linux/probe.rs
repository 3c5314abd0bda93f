//! Whether the kernel, and the container, let the worker answer the calls of a program.
//!
//! It is found out with a process that is confined like the program and executes it, but is killed in the first call that any
//! program makes: nothing of the program itself is run.

use std::os::fd::AsFd as _;
use std::process::Stdio;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};

use super::filter::Stops;
use super::sys::{self, Listener};
use super::{Entrance, Means};
use crate::platform::Prepared;
use crate::pre_exec;
use crate::private_folder::PrivateFolder;
use crate::spec::Spec;

/// How long it may take until the program makes its first call.
const PATIENCE_MS: u16 = 10_000;

/// The means that there are, best first.
///
/// # Errors
/// What the kernel refuses.
pub(super) fn means(spec: &Spec) -> Result<Means, String> {
    let private = PrivateFolder::create(&spec.root).map_err(|error| error.to_string())?;
    let mut prepared = Prepared::build(
        &spec.confinement,
        &spec.program,
        &spec.current_dir,
        private.path(),
        None,
    )
    .map_err(|error| error.to_string())?;
    let (entrance, channel) = Entrance::new(Stops::Beginning).map_err(|error| error.to_string())?;
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
    let mut child = command
        .spawn()
        .map_err(|error| format!("seccomp's user notification: {error}"))?;
    let found = sys::take_over(&channel)
        .map_err(|error| format!("seccomp's user notification: {error}"))
        .and_then(|listener| examine(&listener, child.id()));
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        log::debug!("egress: the probe cannot be ended: {error}");
    }
    found
}

fn examine(listener: &Listener, pid: u32) -> Result<Means, String> {
    let pid = i32::try_from(pid).map_err(|error| error.to_string())?;
    let mut listening = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let call = match poll(&mut listening, PATIENCE_MS) {
        Ok(0) => return Err("a program makes no calls".to_owned()),
        Ok(_) => listener.receive(),
        Err(errno) => Err(errno),
    };
    let call = call.map_err(|errno| refused("seccomp's user notification", errno))?;
    let mut byte = [0];
    sys::read_memory(pid, call.instruction, &mut byte)
        .map_err(|errno| refused("reading a program's memory (process_vm_readv)", errno))?;
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

fn refused(what: &str, errno: Errno) -> String {
    format!("{what}: {}", errno.desc())
}
