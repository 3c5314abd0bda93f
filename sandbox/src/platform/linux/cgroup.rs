//! Limits of memory and threads by the kernel: a cgroup v2 per program (engine spec, section 6.3).
//!
//! The kernel kills a program over its limit at once, where a watch on its size looks ten times a second. It needs a cgroup
//! that the worker may write; all file work here is on the kernel's own small files.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use log_events::{event, table};
use nix::errno::Errno;

use crate::error::Missing;
use crate::pre_exec;
use crate::spec::MemoryEnforcement;

const ROOT: &str = "/sys/fs/cgroup";
/// Says which group this process is in.
const OWN: &str = "/proc/self/cgroup";

/// The group that the worker's own processes move to: one with limits for others may not hold processes itself.
const LEADER: &str = "leader";

/// Tries to remove a group whose last process is still going, and the wait between them.
const REMOVALS: u32 = 10;
const REMOVAL_WAIT: Duration = Duration::from_millis(50);

/// Why programs get no group of their own.
#[derive(Debug, thiserror::Error)]
pub(super) enum CgroupError {
    /// The system has the older kind, or none.
    #[error("no cgroup v2")]
    NoV2,
    /// Nobody has given the worker a group.
    #[error("the worker is in the root group")]
    RootGroup,
    /// The group was not given the right to limit memory.
    #[error("{} has no memory controller", .0.display())]
    NoMemory(PathBuf),
    /// One of the kernel's files cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    /// The group is somebody else's.
    #[error("{}: {error}", path.display())]
    NotWritable {
        path: PathBuf,
        #[source]
        error: Errno,
    },
}

/// The group below which programs get theirs.
#[derive(Debug, Clone)]
pub struct Cgroups {
    parent: PathBuf,
}

/// The group of one program; removed when dropped.
#[derive(Debug)]
pub(crate) struct Leaf {
    folder: PathBuf,
}

impl Cgroups {
    /// Those of this process, if the configuration wants them.
    ///
    /// # Errors
    /// What is missing, where the configuration insists.
    pub fn find(wanted: MemoryEnforcement) -> Result<Option<Self>, Missing> {
        if wanted == MemoryEnforcement::Heap {
            return Ok(None);
        }
        let may_move = wanted == MemoryEnforcement::Cgroup;
        let found =
            read(Path::new(OWN)).and_then(|own| Self::find_below(Path::new(ROOT), &own, may_move));
        match (found, wanted) {
            (Ok(found), _) => Ok(Some(found)),
            (Err(why), MemoryEnforcement::Cgroup) => Err(Missing {
                layer: "cgroup",
                why: format!(
                    "memory cannot be limited by cgroup: {why}; start the worker inside a writable, delegated cgroup v2"
                ),
            }),
            (Err(why), _) => {
                event!(table::ENGINE_MEMORY, cause = "watched", error:% = why; "memory is limited by heap and resident size only, no cgroup: {why}");
                Ok(None)
            }
        }
    }

    /// Whether there are any here, without changing anything.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn probe() -> Result<(), CgroupError> {
        let own = read(Path::new(OWN))?;
        let parent = Self::parent_below(Path::new(ROOT), &own)?;
        let path = parent.join("cgroup.subtree_control");
        nix::unistd::access(&path, nix::unistd::AccessFlags::W_OK)
            .map_err(|error| CgroupError::NotWritable { path, error })
    }

    /// The group that this process is in, if it has a memory controller.
    fn parent_below(root: &Path, own: &str) -> Result<PathBuf, CgroupError> {
        let path = own
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .ok_or(CgroupError::NoV2)?;
        let mut parent = root.join(path);
        if path.is_empty() {
            return Err(CgroupError::RootGroup);
        }
        if parent.file_name().is_some_and(|name| name == LEADER) {
            parent.pop();
        }
        if has_memory(&read(&parent.join("cgroup.controllers"))?) {
            Ok(parent)
        } else {
            Err(CgroupError::NoMemory(parent))
        }
    }

    /// `own` is the content of `/proc/self/cgroup`; only `may_move` moves this worker's processes to make room.
    fn find_below(root: &Path, own: &str, may_move: bool) -> Result<Self, CgroupError> {
        let parent = Self::parent_below(root, own)?;
        if !has_memory(&read(&parent.join("cgroup.subtree_control"))?) {
            enable(&parent, may_move).map_err(|error| CgroupError::File {
                path: parent.clone(),
                error,
            })?;
        }
        if has(&read(&parent.join("cgroup.controllers"))?, "pids")
            && let Err(error) = fs::write(parent.join("cgroup.subtree_control"), "+pids")
        {
            log::debug!("threads are not limited by cgroup: {error}");
        }
        Ok(Self { parent })
    }

    /// A group for one program, which joins it by its [entrance](Leaf::entrance).
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn leaf(&self, bytes: u64, threads: u64) -> io::Result<Leaf> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (worker, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let leaf = Leaf {
            folder: self.parent.join(format!("run-{worker}-{count}")),
        };
        match fs::create_dir(&leaf.folder) {
            // Left over from an earlier worker with this id.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made?,
        }
        leaf.limit(bytes)?;
        for (file, most) in [
            ("memory.swap.max", "0"),
            // There where the controller is.
            ("pids.max", &*threads.to_string()),
        ] {
            if let Err(error) = fs::write(leaf.folder.join(file), most) {
                log::debug!("{file} of a program is not limited: {error}");
            }
        }
        Ok(leaf)
    }
}

fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|error| CgroupError::File {
        path: path.to_owned(),
        error,
    })
}

fn has_memory(list: &str) -> bool {
    has(list, "memory")
}

fn has(list: &str, controller: &str) -> bool {
    list.split_whitespace().any(|name| name == controller)
}

/// Lets groups below `parent` have memory limits.
fn enable(parent: &Path, may_move: bool) -> io::Result<()> {
    let control = parent.join("cgroup.subtree_control");
    match fs::write(&control, "+memory") {
        Err(error) if error.kind() == ErrorKind::ResourceBusy && may_move => {
            let leader = parent.join(LEADER);
            if let Err(error) = fs::create_dir(&leader)
                && error.kind() != ErrorKind::AlreadyExists
            {
                return Err(error);
            }
            for pid in fs::read_to_string(parent.join("cgroup.procs"))?.lines() {
                if let Err(error) = fs::write(leader.join("cgroup.procs"), pid) {
                    log::debug!(
                        "process {pid} cannot be moved to {}: {error}",
                        leader.display()
                    );
                }
            }
            fs::write(&control, "+memory")
        }
        written => written,
    }
}

impl Leaf {
    /// Sets the limit for the next run.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn limit(&self, bytes: u64) -> io::Result<()> {
        fs::write(self.folder.join("memory.max"), bytes.to_string())
    }

    /// The file by which a process joins the group, which it does before it is the program.
    pub(super) fn entrance(&self) -> Option<OwnedFd> {
        let opened = File::options()
            .write(true)
            .open(self.folder.join("cgroup.procs"))
            .and_then(|file| pre_exec::lift(&OwnedFd::from(file)));
        opened
            .inspect_err(|error| log::debug!("{}: {error}", self.folder.display()))
            .ok()
    }

    /// Whether a process has joined the group.
    pub(crate) fn holds(&self, pid: u32) -> bool {
        let members = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        members.lines().any(|member| member == pid.to_string())
    }

    /// Whether the kernel killed a process of the group for its memory.
    pub(crate) fn has_killed(&self) -> bool {
        let events = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        events.lines().any(|line| {
            let killed = line
                .strip_prefix("oom_kill ")
                .or_else(|| line.strip_prefix("oom_group_kill "));
            killed.is_some_and(|count| count.trim() != "0")
        })
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        let folder = std::mem::take(&mut self.folder);
        let remove = move || match fs::remove_dir(&folder) {
            Ok(()) => true,
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        if remove() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        // Its last process may not be gone yet.
        tokio::spawn(async move {
            for _ in 0..REMOVALS {
                tokio::time::sleep(REMOVAL_WAIT).await;
                if remove() {
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like a delegated group; writes to it go nowhere, as files.
    fn group(controllers: &str, enabled: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("worker");
        fs::create_dir(&own).unwrap();
        fs::write(own.join("cgroup.controllers"), controllers).unwrap();
        fs::write(own.join("cgroup.subtree_control"), enabled).unwrap();
        root
    }

    #[test]
    fn a_delegated_group_is_used_as_it_is() {
        let root = group("cpu memory pids\n", "memory\n");
        let found = Cgroups::find_below(root.path(), "1:name=x:/y\n0::/worker\n", false).unwrap();
        assert_eq!(found.parent, root.path().join("worker"));
        let found = Cgroups::find_below(root.path(), "0::/worker/leader\n", false).unwrap();
        assert_eq!(found.parent, root.path().join("worker"));
    }

    #[test]
    fn the_controller_is_enabled_where_it_is_not() {
        let root = group("memory\n", "\n");
        Cgroups::find_below(root.path(), "0::/worker\n", false).unwrap();
        assert_eq!(
            fs::read_to_string(root.path().join("worker/cgroup.subtree_control")).unwrap(),
            "+memory"
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let root = group("cpu\n", "\n");
        let find = |own| {
            Cgroups::find_below(root.path(), own, false)
                .unwrap_err()
                .to_string()
        };
        assert!(find("0::/worker\n").ends_with("worker has no memory controller"));
        assert!(find("0::/elsewhere\n").contains("elsewhere/cgroup.controllers"));
        assert_eq!(find("4:memory:/x\n"), "no cgroup v2");
        assert_eq!(find("0::/\n"), "the worker is in the root group");
    }

    #[tokio::test]
    async fn a_program_is_in_a_group_with_its_limit_before_it_begins() {
        let root = group("memory\n", "memory\n");
        let groups = Cgroups::find_below(root.path(), "0::/worker\n", false).unwrap();
        let leaf = groups.leaf(500 << 20, 512).unwrap();
        let read = |name: &str| fs::read_to_string(leaf.folder.join(name)).unwrap();
        assert_eq!(read("memory.max"), (500_u64 << 20).to_string());
        assert_eq!(read("memory.swap.max"), "0");
        assert_eq!(read("pids.max"), "512");
        leaf.limit(100 << 20).unwrap();
        assert_eq!(read("memory.max"), (100_u64 << 20).to_string());

        // The kernel has this file in every group. What is in it when the program reads it was written before that.
        let members = leaf.folder.join("cgroup.procs");
        fs::write(&members, "").unwrap();
        let mut spec = crate::tests::spec("/bin/cat", &[members.as_os_str()]);
        spec.confinement.mode = crate::SandboxMode::Off;
        let private = Path::new("/nowhere");
        let prepared = super::super::Prepared::build(
            &spec.confinement,
            &spec.program,
            &spec.current_dir,
            private,
            Some(&leaf),
        );
        let mut command = std::process::Command::new(&spec.program);
        command.args(&spec.args);
        pre_exec::prepare(&mut command, None, prepared.unwrap());
        assert_eq!(command.output().unwrap().stdout, b"0");
    }

    #[test]
    fn a_kill_by_the_kernel_is_read_from_the_groups_events() {
        let root = group("memory\n", "memory\n");
        let groups = Cgroups::find_below(root.path(), "0::/worker\n", false).unwrap();
        let leaf = groups.leaf(500 << 20, 512).unwrap();
        assert!(!leaf.has_killed());
        let events = leaf.folder.join("memory.events");
        fs::write(&events, "low 0\noom 1\noom_kill 0\noom_group_kill 0\n").unwrap();
        assert!(!leaf.has_killed());
        fs::write(&events, "oom 1\noom_kill 1\n").unwrap();
        assert!(leaf.has_killed());
    }

    #[test]
    fn a_process_is_found_in_its_group_by_its_whole_number() {
        let root = group("memory\n", "memory\n");
        let groups = Cgroups::find_below(root.path(), "0::/worker\n", false).unwrap();
        let leaf = groups.leaf(500 << 20, 512).unwrap();
        fs::write(leaf.folder.join("cgroup.procs"), "7\n77\n").unwrap();
        assert!(leaf.holds(77) && !leaf.holds(777));
    }
}
