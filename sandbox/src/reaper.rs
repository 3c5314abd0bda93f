//! The end of a process: of all of its group, before anybody else can have its id.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::sync::oneshot;

use crate::pre_exec;
use crate::private_folder::PrivateFolder;

/// How long the end of a process waits for the removal of its private folder.
const REMOVAL: Duration = Duration::from_secs(2);

/// Waits for the end of a process. Dropping it kills the process.
#[derive(Debug)]
pub struct Reaper {
    child: Child,
    group: Pid,
    ended: Ended,
    killed: oneshot::Receiver<()>,
    private: PrivateFolder,
}

impl Reaper {
    pub(crate) fn new(
        child: Child,
        pid: u32,
        killed: oneshot::Receiver<()>,
        private: PrivateFolder,
    ) -> io::Result<Self> {
        let group = i32::try_from(pid).map_err(io::Error::other)?;
        Ok(Self {
            child,
            group: Pid::from_raw(group),
            ended: Ended::of(pid),
            killed,
            private,
        })
    }

    /// Waits until the process has ended or is to be killed, ends what is left of its group, reaps it and removes its private
    /// folder. How it ended, if that is known.
    pub async fn reap(mut self) -> Option<ExitStatus> {
        tokio::select! {
            () = self.ended.wait() => {}
            // Also when its `Control` was dropped.
            _ = &mut self.killed => {}
        }
        // Also after an exit: a process that was left behind would hold the sockets open. Before the leader is reaped, since
        // its id, which is the group's, may belong to others afterwards.
        if let Err(error) = killpg(self.group, Signal::SIGKILL)
            && error != Errno::ESRCH
        {
            log::debug!("killing process group {} failed: {error}", self.group);
        }
        let status = self.child.wait().await.ok();
        let private = self.private;
        // There may be a million files: removing them must hold up neither the event loop nor, for long, the caller.
        let removed = tokio::task::spawn_blocking(move || drop(private));
        if tokio::time::timeout(REMOVAL, removed).await.is_err() {
            log::debug!(
                "removing the private folder of process {} takes long",
                self.group
            );
        }
        status
    }
}

/// The end of a process that is not reaped by hearing of it.
#[derive(Debug)]
enum Ended {
    /// A descriptor of the kernel's.
    #[cfg(target_os = "linux")]
    Descriptor(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>),
    /// A thread that waits for it, where there are no such descriptors.
    Thread(oneshot::Receiver<()>),
}

impl Ended {
    fn of(pid: u32) -> Self {
        #[cfg(target_os = "linux")]
        if let Ok(descriptor) = pre_exec::linux::open_process(pid) {
            return Self::Descriptor(descriptor);
        }
        Self::by_thread(pid)
    }

    fn by_thread(pid: u32) -> Self {
        let (tell, told) = oneshot::channel::<()>();
        // Not one of tokio's threads, whose end the runtime would wait for.
        std::thread::spawn(move || {
            if let Err(error) = pre_exec::wait_without_reaping(pid) {
                log::debug!("process {pid} cannot be waited for: {error}");
            }
            // By its end, of which nobody hears when the process was killed.
            drop(tell);
        });
        Self::Thread(told)
    }

    async fn wait(&mut self) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Descriptor(descriptor) => drop(descriptor.readable().await),
            Self::Thread(told) => drop(told.await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_zombie(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('Z')
    }

    /// So that its id, by which its group is killed, is nobody else's.
    #[tokio::test]
    async fn a_process_that_has_ended_is_heard_of_before_it_is_reaped() {
        for of in [Ended::of, Ended::by_thread] {
            let mut child = tokio::process::Command::new("true").spawn().unwrap();
            let pid = child.id().unwrap();
            of(pid).wait().await;
            assert!(is_zombie(pid));
            assert!(child.wait().await.unwrap().success());
        }
    }
}
