//! A system whose means are not used: programs are started, and nothing confines them but their own group, environment and
//! descriptors.

use std::io;
use std::path::Path;

use crate::egress::Entrance;
use crate::error::Missing;
use crate::files::{Count, Files, Scope};
use crate::layers::Layer;
use crate::spec::{Confinement, MemoryEnforcement, SandboxMode};
use crate::usage::{Survey, Usage};

const WHY: &str = "this system is not Linux";

/// What is built before the fork: nothing.
#[derive(Debug)]
pub(crate) struct Prepared;

impl Prepared {
    pub(crate) fn build(
        confinement: &Confinement,
        _program: &Path,
        _current_dir: &Path,
        _private: &Path,
        _leaf: Option<&Leaf>,
    ) -> Result<Self, Missing> {
        if confinement.mode == SandboxMode::Strict {
            return Err(Missing {
                layer: "the kernel",
                why: WHY.to_owned(),
            });
        }
        Ok(Self)
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "the same on each system")]
    pub(crate) fn become_user(&mut self, user: User) {
        match user {}
    }

    pub(crate) fn guard(&mut self, _egress: Entrance) {}

    #[expect(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        clippy::needless_pass_by_ref_mut,
        reason = "the same on each system"
    )]
    pub(crate) fn enter(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What of the sandbox this machine lacks, for the operator; empty when it is whole.
#[must_use]
pub fn missing() -> Vec<Missing> {
    vec![Missing {
        layer: "the kernel",
        why: WHY.to_owned(),
    }]
}

/// All layers, on or off.
#[must_use]
pub fn layers() -> Vec<Layer> {
    vec![Layer::off("the kernel", WHY)]
}

/// What a process takes at this moment; `None` when it is gone, or not known.
#[must_use]
pub fn usage(_pid: u32) -> Option<Usage> {
    None
}

/// What a process takes and has open; `None` when it is gone, or not known.
pub(crate) fn survey(
    _pid: u32,
    _folder: &Path,
    _largest_file: u64,
    _most: Files,
) -> Option<Survey> {
    None
}

/// What a process has in its private folder; counted until it is more than `most`.
pub(crate) fn files(
    _pid: u32,
    folder: &Path,
    _largest_file: u64,
    most: Files,
    _scope: Scope,
) -> Files {
    let mut count = Count::new(most);
    count.add_folder(folder);
    count.files()
}

/// Where programs get groups with limits: nowhere, so there is no value of it.
#[derive(Debug, Clone)]
pub enum Cgroups {}

/// The group of one program.
#[derive(Debug)]
pub(crate) enum Leaf {}

impl Cgroups {
    /// Those of this process, if the configuration wants them.
    ///
    /// # Errors
    /// What is missing, where the configuration insists.
    pub fn find(wanted: MemoryEnforcement) -> Result<Option<Self>, Missing> {
        match wanted {
            MemoryEnforcement::Cgroup => Err(Missing {
                layer: "cgroup",
                why: WHY.to_owned(),
            }),
            MemoryEnforcement::Heap | MemoryEnforcement::Auto => Ok(None),
        }
    }

    pub(crate) fn leaf(&self, _bytes: u64, _threads: u64) -> io::Result<Leaf> {
        match *self {}
    }
}

impl Leaf {
    pub(crate) fn limit(&self, _bytes: u64) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn has_killed(&self) -> bool {
        match *self {}
    }

    pub(crate) fn holds(&self, _pid: u32) -> bool {
        match *self {}
    }
}

/// A program that was started, as it is written down: nowhere.
#[derive(Debug)]
pub(crate) enum Mark {}

impl Mark {
    pub(crate) fn of(_pid: u32) -> Option<Self> {
        None
    }

    pub(crate) fn to_text(&self) -> String {
        match *self {}
    }
}

/// Ends what the programs written down in this folder have left: none.
pub(crate) fn end_all(_folder: &Path, _suffix: &str) -> usize {
    0
}

/// A user of a program's own: there are none.
#[derive(Debug, Clone, Copy)]
pub(crate) enum User {}

impl User {
    pub(crate) fn own(self, _folder: &Path) -> io::Result<()> {
        match self {}
    }
}

/// A user for the next program: it stays the worker's.
pub(crate) fn own_user(
    _confinement: &Confinement,
    _program: &Path,
    _current_dir: &Path,
    _root: &Path,
) -> Option<User> {
    None
}
