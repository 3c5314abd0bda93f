//! Starts one process.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::Stdio;

use log_events::{event, table};
use tokio::net::UnixStream;
use tokio::process::{ChildStderr, ChildStdout, Command};
use tokio::sync::oneshot;

use crate::egress::{self, Broker};
use crate::error::Error;
use crate::files::{Files, Scope};
use crate::platform::{self, Leaf, Prepared};
use crate::pre_exec;
use crate::private_folder::PrivateFolder;
use crate::reaper::Reaper;
use crate::spec::Spec;
use crate::usage::{Survey, Usage};

/// A started process.
#[derive(Debug)]
pub struct Confined {
    /// Kills and measures it.
    pub control: Control,
    /// What it is spoken to by, if it was to get that.
    pub sockets: Option<Sockets>,
    /// What it prints.
    pub stdout: Option<ChildStdout>,
    /// What it prints to stderr.
    pub stderr: Option<ChildStderr>,
    /// Has to be awaited, beside everything else.
    pub reaper: Reaper,
}

/// The worker's ends of the sockets of a process.
#[derive(Debug)]
pub struct Sockets {
    /// The other end is descriptor 3.
    pub commands: UnixStream,
    /// The other end is descriptor 4.
    pub events: UnixStream,
}

/// A running process. Dropping it kills the process and whatever it started.
#[derive(Debug)]
pub struct Control {
    pid: u32,
    kill: Option<oneshot::Sender<()>>,
    folder: PathBuf,
    /// Bytes of the largest file that it can write.
    largest_file: u64,
    cgroup: Option<Leaf>,
    /// Answers the calls that name a destination.
    broker: Option<Broker>,
}

impl Control {
    /// Its id, which is its group's too.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Kills the process and whatever it started.
    pub fn kill(&mut self) {
        if let Some(kill) = self.kill.take()
            && kill.send(()).is_err()
        {
            log::debug!("process {} ended before it was killed", self.pid);
        }
    }

    /// Has the next refused destination told, though another was told of by the same rule.
    pub fn forget_refusals(&self) {
        if let Some(broker) = &self.broker {
            broker.forget();
        }
    }

    /// Has the kernel limit its memory from now on, where it can.
    pub fn limit_memory(&self, bytes: u64) {
        if let Some(Err(error)) = self.cgroup.as_ref().map(|leaf| leaf.limit(bytes)) {
            event!(table::SANDBOX_CGROUP_FAILED, pid = self.pid, error:% = error; "cgroup: failed to constrain process {}: {error}", self.pid);
        }
    }

    /// Whether the kernel killed it for its memory.
    #[must_use]
    pub fn was_killed_for_memory(&self) -> bool {
        self.cgroup.as_ref().is_some_and(Leaf::has_killed)
    }

    /// What it takes at this moment; `None` when it is gone.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        platform::usage(self.pid)
    }

    /// What it takes and has open at this moment, its files counted until they are more than `most`; `None` when it is gone.
    #[must_use]
    pub fn survey(&self, most: Files) -> Option<Survey> {
        platform::survey(self.pid, &self.folder, self.largest_file, most)
    }

    /// What it has in files of its own, counted until that is more than `most`.
    #[must_use]
    pub fn files(&self, most: Files, scope: Scope) -> Files {
        platform::files(self.pid, &self.folder, self.largest_file, most, scope)
    }

    /// Its resident size in bytes; `None` when it is gone, or hides it.
    #[must_use]
    pub fn resident(&self) -> Option<u64> {
        self.usage()?.resident
    }
}

/// Starts a process. Has to be called on a thread that lives as long as the worker, since the process dies with it.
///
/// # Errors
/// When it cannot be started, or not confined as its mode demands.
pub fn spawn(spec: &Spec) -> Result<Confined, Error> {
    let confinement = &spec.confinement;
    let user = platform::own_user(
        confinement,
        &spec.program,
        &spec.current_dir,
        spec.root.path(),
    );
    let private = PrivateFolder::create(&spec.root, user).map_err(Error::PrivateFolder)?;
    let pairs = if spec.sockets {
        Some([pair()?, pair()?])
    } else {
        None
    };
    let (ours, theirs) = match pairs {
        Some([(commands, their_commands), (events, their_events)]) => (
            Some(Sockets { commands, events }),
            Some([their_commands, their_events]),
        ),
        None => (None, None),
    };
    let cgroup = confinement.memory.as_ref().and_then(|group| {
        let leaf = group.cgroups.leaf(group.bytes, group.threads);
        leaf.inspect_err(|error| event!(table::SANDBOX_CGROUP_FAILED, error:% = error; "cgroup: failed to make one for a process: {error}"))
            .ok()
    });
    let mut prepared = Prepared::build(
        confinement,
        &spec.program,
        &spec.current_dir,
        private.path(),
        cgroup.as_ref(),
    )?;
    if let Some(user) = user {
        prepared.become_user(user);
    }
    let awaited = egress::prepare(spec)?.map(|(entrance, awaited)| {
        prepared.guard(entrance);
        awaited
    });
    let mut command = std::process::Command::new(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .env("TMPDIR", private.path())
        // Without it Node would look the user up in /etc/passwd, which it cannot read.
        .env("HOME", private.path())
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.current_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    pre_exec::prepare(&mut command, theirs, prepared);
    let failed = |error| Error::Start {
        program: spec.program.clone(),
        error,
    };
    let mut child = Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    // Known until it is reaped.
    let pid = child.id().unwrap_or_default();
    if cgroup.as_ref().is_some_and(|leaf| !leaf.holds(pid)) {
        event!(table::SANDBOX_CGROUP_FAILED, pid = pid, error = "it is not in its group"; "cgroup: failed to constrain process {pid}: it is not in its group");
    }
    // The process is killed if it cannot be written down, or its calls cannot be answered.
    private.belongs_to(pid).map_err(Error::PrivateFolder)?;
    let broker = awaited.map(|awaited| awaited.begin(pid)).transpose();
    let broker = broker.map_err(failed)?;
    let (kill, killed) = oneshot::channel();
    Ok(Confined {
        control: Control {
            pid,
            kill: Some(kill),
            folder: private.path().to_owned(),
            largest_file: confinement.limits.file_bytes,
            cgroup,
            broker,
        },
        sockets: ours,
        stdout: child.stdout.take(),
        stderr: child.stderr.take(),
        reaper: Reaper::new(child, pid, killed, private).map_err(failed)?,
    })
}

/// Both ends of a socket; the second where it is not in the way when it is given to a process.
fn pair() -> Result<(UnixStream, OwnedFd), Error> {
    let make = || {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let theirs = pre_exec::lift(&OwnedFd::from(theirs))?;
        Ok((UnixStream::from_std(ours)?, theirs))
    };
    make().map_err(Error::Sockets)
}
