//! A worker of any user, with a copy of all that it needs.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lightning_mock::MockServer;
use nix::unistd::geteuid;

use super::rows::{ended, enqueue, one};
use super::{MONOREPO, Worker, command, lightning, until};

/// Any user but the superuser.
pub(crate) const NOBODY_SPECIAL: u32 = 1000;

/// A copy of all that a worker needs in a folder that every user may enter, with a repository of `user`'s.
pub(crate) struct Stage {
    home: tempfile::TempDir,
    user: u32,
}

impl Stage {
    pub(crate) fn new(user: u32) -> io::Result<Self> {
        let home = tempfile::tempdir()?;
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
        let stage = Self { home, user };
        fs::copy(env!("CARGO_BIN_EXE_ws-worker"), stage.path("ws-worker"))?;
        copy(&engine()?, &stage.path("engine"))?;
        copy(Path::new(MONOREPO), &stage.path("monorepo"))?;
        for folder in ["tmp", "repo", "home"] {
            fs::create_dir(stage.path(folder))?;
        }
        stage.give(&stage.path(""))?;
        Ok(stage)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// The worst case: the user owns everything.
    fn give(&self, path: &Path) -> io::Result<()> {
        if self.user != geteuid().as_raw() {
            chown(path, Some(self.user), Some(self.user))?;
        }
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                self.give(&entry?.path())?;
            }
        }
        Ok(())
    }

    pub(crate) fn worker(&self, lightning: &MockServer) -> Worker {
        Worker::start(&mut self.command(lightning))
    }

    pub(crate) fn command(&self, lightning: &MockServer) -> Command {
        let given = command(lightning);
        let mut command = Command::new(self.path("ws-worker"));
        command
            .args(given.get_args())
            .args([
                "--engine-dir",
                &self.text("engine"),
                "--repo-dir",
                &self.text("repo"),
            ])
            .args(["--monorepo-dir", &self.text("monorepo"), "--capacity", "2"])
            .env("TMPDIR", self.path("tmp"))
            .env("HOME", self.path("home"));
        if self.user != geteuid().as_raw() {
            command.uid(self.user).gid(self.user);
        }
        command
    }
}

/// The engine with its packages, as a worker has installed it: the folder that its children work in.
fn engine() -> io::Result<PathBuf> {
    let lightning = lightning();
    let worker = Worker::with_engine(&lightning, &["--monorepo-dir", MONOREPO]);
    ended(&lightning, &enqueue(&lightning, &one("fn(s => s)")));
    // The run's has ended or is about to, and others come.
    Ok(until("a child has a folder", || {
        let folder = |child: &u32| fs::read_link(format!("/proc/{child}/cwd")).ok();
        worker.children().iter().find_map(folder)
    }))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
