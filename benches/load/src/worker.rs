//! The worker under test, as a process.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::LoadError;
use crate::lightning::SECRET;

/// How long a worker may drain before it is killed.
const DRAIN: Duration = Duration::from_secs(10);

/// How a worker is started.
pub(crate) struct Start<'a> {
    pub(crate) command: &'a [String],
    pub(crate) lightning_port: u16,
    pub(crate) capacity: usize,
    pub(crate) repo_dir: &'a Path,
    pub(crate) extra: &'a [&'a str],
    pub(crate) log: Option<&'a Path>,
}

/// A running worker; it ends with this value.
pub(crate) struct Worker {
    child: Child,
    /// Microseconds since the epoch.
    pub(crate) started_at: u64,
}

impl Worker {
    pub(crate) fn start(start: &Start<'_>) -> Result<Self, LoadError> {
        let failed = |source| LoadError::System {
            what: format!("start the worker {:?}", start.command.join(" ")),
            source,
        };
        let (program, arguments) = start.command.split_first().ok_or_else(|| {
            LoadError::WorkerEnded("before it began, its command being empty".to_owned())
        })?;
        // Not every worker takes port 0.
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .map_err(failed)?
            .port();
        let output = || {
            start.log.map_or(Ok(Stdio::null()), |log| {
                File::options()
                    .create(true)
                    .append(true)
                    .open(log)
                    .map(Stdio::from)
            })
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .args(["--port", &port.to_string()])
            .arg("--lightning")
            .arg(format!("ws://127.0.0.1:{}/worker", start.lightning_port))
            .args(["--secret", SECRET])
            .args(["--capacity", &start.capacity.to_string()])
            .arg("--repo-dir")
            .arg(start.repo_dir)
            .args(start.extra)
            .stdin(Stdio::null())
            .stdout(output().map_err(failed)?)
            .stderr(output().map_err(failed)?);
        let started_at = now();
        let child = command.spawn().map_err(failed)?;
        Ok(Self { child, started_at })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails if the worker has ended.
    pub(crate) fn check(&mut self) -> Result<(), LoadError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(LoadError::WorkerEnded(status.to_string())),
            Err(error) => Err(LoadError::WorkerEnded(error.to_string())),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // Fails when the worker has ended, which is what is wanted.
            kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
        }
        let deadline = Instant::now() + DRAIN;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            #[expect(clippy::disallowed_methods, reason = "nothing else runs by now")]
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Microseconds since the epoch.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}
