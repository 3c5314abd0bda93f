//! Starts one confined Node process and ends it. Knows nothing of runs, nor of actors.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use super::cgroup::{Cgroups, Leaf};
use super::private_folder::{PrivateFolder, Root};
use super::{sandbox, setup};
use crate::config::SandboxMode;

/// How long the end of a child waits for the removal of its private folder.
const REMOVAL: std::time::Duration = std::time::Duration::from_secs(2);
/// The C library's settings in a child. Threads come and go there with every run: with an arena for each of them, and without
/// giving back what is free, five children kept 100 MB more after a burst.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
];

/// What a child is started with.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    /// The Node.js executable, found on `PATH` when it is a bare name.
    pub(super) node: PathBuf,
    /// The engine program.
    pub(super) engine_dir: PathBuf,
    /// What the child may read besides: the adaptors.
    pub(super) readable: Vec<PathBuf>,
    /// Where its private folder goes.
    pub(super) root: Arc<Root>,
    /// Heap of the process, MiB.
    pub(super) memory_mb: u64,
    pub(super) sandbox: SandboxMode,
    /// Where its cgroup goes, if it gets one.
    pub(super) cgroups: Option<Cgroups>,
}

/// What helps where there is no Node.
const NODE_HINT: &str = "install Node.js 20 or newer, or name its file with --node / WORKER_NODE";

/// A started process and what it is connected by.
pub(super) struct Spawned {
    pub(super) child: Child,
    pub(super) commands: UnixStream,
    pub(super) events: UnixStream,
    pub(super) private: PrivateFolder,
    pub(super) cgroup: Option<Leaf>,
}

/// Starts `node engine_dir/main.mjs`.
///
/// # Errors
/// A text that names what could not be started.
pub(super) fn spawn(launch: &Launch) -> Result<Spawned, String> {
    let failed = |what: &str, error: std::io::Error| format!("{what}: {error}");
    let pair = || {
        StdUnixStream::pair().map_err(|error| failed("no socket pair for an engine child", error))
    };
    let (ours_commands, theirs_commands) = pair()?;
    let (ours_events, theirs_events) = pair()?;
    let private = PrivateFolder::create(&launch.root)
        .map_err(|error| failed("no private folder for an engine child", error))?;
    let engine_dir = &launch.engine_dir;
    let node = sandbox::locate(&launch.node, std::env::var_os("PATH").as_deref())
        .map_err(|why| format!("{}: {why}; {NODE_HINT}", launch.node.display()))?;
    let mut readable = launch.readable.clone();
    readable.push(engine_dir.clone());
    let folders = sandbox::Folders {
        node: &node,
        readable: &readable,
        private: private.path(),
    };
    let sandbox = sandbox::build(launch.sandbox, &folders)?;
    let mut command = std::process::Command::new(&node);
    command
        .args(["--experimental-vm-modules", "--no-warnings"])
        .arg(format!("--max-old-space-size={}", launch.memory_mb))
        .arg(engine_dir.join("main.mjs"))
        .env_clear()
        .env("TMPDIR", private.path())
        // Without it Node would look the user up in /etc/passwd, which the child cannot read.
        .env("HOME", private.path())
        .envs(ALLOCATOR)
        .current_dir(engine_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    setup::prepare(
        &mut command,
        OwnedFd::from(theirs_commands),
        OwnedFd::from(theirs_events),
        sandbox,
    );
    let child = Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&format!("{} cannot be started", node.display()), error))?;
    let pid = child.id();
    #[expect(clippy::cast_precision_loss, reason = "a number of MiB")]
    let confined = launch
        .cgroups
        .as_ref()
        .zip(pid)
        .map(|(cgroups, pid)| cgroups.confine(pid, launch.memory_mb as f64));
    let cgroup = confined.and_then(|confined| match confined {
        Ok(leaf) => Some(leaf),
        Err(error) => {
            log::warn!(
                "cgroup: failed to constrain process {}: {error}",
                pid.unwrap_or_default()
            );
            None
        }
    });
    let stream = |socket: StdUnixStream| {
        socket.set_nonblocking(true)?;
        UnixStream::from_std(socket)
    };
    let commands =
        stream(ours_commands).map_err(|error| failed("the commands of an engine child", error))?;
    let events =
        stream(ours_events).map_err(|error| failed("the events of an engine child", error))?;
    Ok(Spawned {
        child,
        commands,
        events,
        private,
        cgroup,
    })
}

/// Waits for the end of a process, or for the word to kill it, then ends what it has started and removes its folder.
pub(super) async fn reap(
    mut child: Child,
    killed: oneshot::Receiver<()>,
    private: PrivateFolder,
) -> Option<ExitStatus> {
    let group = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .map(nix::unistd::Pid::from_raw);
    tokio::select! {
        _ = child.wait() => {}
        // Also when the `Process` was dropped.
        _ = killed => {}
    }
    // Also after an exit: a process that the child left behind would hold the descriptor of events open.
    if let Some(group) = group
        && let Err(error) = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL)
        && error != nix::errno::Errno::ESRCH
    {
        log::debug!("killing the process group of engine child {group} failed: {error}");
    }
    let status = child.wait().await.ok();
    // A job may have left a million files: removing them must hold up neither the event loop nor, for long, the run's end.
    let removed = tokio::task::spawn_blocking(move || drop(private));
    if tokio::time::timeout(REMOVAL, removed).await.is_err() {
        log::debug!("removing the private folder of an engine child takes long");
    }
    status
}
