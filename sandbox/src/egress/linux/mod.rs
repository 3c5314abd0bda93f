//! By seccomp's user notification: from Linux 5.14 on, or 5.6 where a container does not deny `pidfd_getfd`.

mod address;
mod broker;
mod filter;
mod probe;
mod sockets;
mod sys;

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, OnceLock};

use seccompiler::sock_filter;

pub(crate) use self::broker::Broker;
use self::filter::Stops;
use self::sockets::Sockets;
use self::sys::Nonce;
use super::Egress;
use crate::error::{Error, Missing};
use crate::pre_exec;
use crate::spec::{SandboxMode, Spec};

/// What the resolver reads.
const RESOLVER: &str = "/etc/resolv.conf";

/// How the sockets of a program come into the worker's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    Copied,
    Made,
}

/// What a program installs before it is executed.
#[derive(Debug)]
pub(crate) struct Entrance {
    filter: Vec<sock_filter>,
    channel: OwnedFd,
    nonce: Nonce,
}

impl Entrance {
    fn new(stops: Stops) -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        let (first, second) = uuid::Uuid::new_v4().as_u64_pair();
        let nonce = [first, second];
        let entrance = Self {
            filter: filter::build(stops, nonce).ok_or(io::ErrorKind::Unsupported)?,
            channel: pre_exec::lift(&OwnedFd::from(theirs))?,
            nonce,
        };
        Ok((entrance, OwnedFd::from(ours)))
    }

    /// Between fork and exec: allocates nothing.
    ///
    /// # Errors
    /// When the kernel refuses, so that nothing is started.
    pub(crate) fn enter(&self) -> io::Result<()> {
        sys::install(&self.filter, &self.channel, self.nonce)
    }
}

/// A program that is being started, whose calls are to be answered.
#[derive(Debug)]
pub(crate) struct Awaited {
    channel: OwnedFd,
    means: Means,
    egress: Egress,
}

impl Awaited {
    /// Answers the calls of the process from now on.
    ///
    /// # Errors
    /// When it has not handed its listener over, or the system has no thread.
    pub(crate) fn begin(self, pid: u32) -> io::Result<Broker> {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        let listener = sys::take_over(&self.channel)?;
        let sockets = match self.means {
            Means::Copied => Sockets::Copied(sys::open_process(pid)?),
            Means::Made => Sockets::Made(Mutex::new(HashMap::new())),
        };
        Broker::start(listener, pid, self.egress, sockets)
    }
}

/// What a program needs so that its destinations are judged; `None` where nothing is denied or the kernel cannot.
///
/// # Errors
/// What is missing, where the mode is strict; and when no descriptors are left.
pub(crate) fn prepare(spec: &Spec) -> Result<Option<(Entrance, Awaited)>, Error> {
    let Some(egress) = &spec.egress else {
        return Ok(None);
    };
    if spec.confinement.mode == SandboxMode::Off || egress.rules.is_empty() {
        return Ok(None);
    }
    let means = match means(spec) {
        Ok(means) => means,
        Err(missing) if spec.confinement.mode == SandboxMode::Strict => return Err(missing.into()),
        // Said once, by whoever asks for `missing`.
        Err(_) => return Ok(None),
    };
    let stops = match means {
        Means::Copied => Stops::Destinations,
        Means::Made => Stops::Sockets,
    };
    let (entrance, channel) = Entrance::new(stops).map_err(Error::Sockets)?;
    let resolver = std::fs::read_to_string(RESOLVER).unwrap_or_default();
    let rules = (*egress.rules).clone().with_nameservers(&resolver);
    let egress = Egress {
        rules: Arc::new(rules),
        refused: egress.refused.clone(),
    };
    let awaited = Awaited {
        channel,
        means,
        egress,
    };
    Ok(Some((entrance, awaited)))
}

/// What the machine lacks for judging the destinations of this program, if anything. Asked once, by a process that is
/// confined like the program: later answers are the same.
#[must_use]
pub fn missing(spec: &Spec) -> Option<Missing> {
    let wanted = spec
        .egress
        .as_ref()
        .is_some_and(|egress| !egress.rules.is_empty());
    wanted.then(|| means(spec).err()).flatten()
}

fn means(spec: &Spec) -> Result<Means, Missing> {
    #[cfg(test)]
    if FORCED.get() {
        return Ok(Means::Made);
    }
    static MEANS: OnceLock<Result<Means, Missing>> = OnceLock::new();
    let means = || {
        probe::means(spec).map_err(|error| Missing {
            layer: "egress control",
            why: error.to_string(),
        })
    };
    MEANS.get_or_init(means).clone()
}

#[cfg(test)]
thread_local! {
    static FORCED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Until it is dropped, programs that this thread starts are as where no sockets can be copied.
#[cfg(test)]
pub(crate) struct Forced;

#[cfg(test)]
impl Forced {
    pub(crate) fn made_sockets() -> Self {
        FORCED.set(true);
        Self
    }
}

#[cfg(test)]
impl Drop for Forced {
    fn drop(&mut self) {
        FORCED.set(false);
    }
}
