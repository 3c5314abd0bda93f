//! Memory limits by the kernel: a cgroup v2 per engine child (engine spec, section 6.3).
//!
//! The kernel kills a child over its limit at once, where the watch of [`super::memory`] looks ten times a second. It needs
//! a cgroup that the worker may write; all file work here is on the kernel's own small files.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::MemoryEnforcement;

const ROOT: &str = "/sys/fs/cgroup";

/// The group that the worker's own processes move to: one with limits for others may not hold processes itself.
const LEADER: &str = "leader";

/// What a group may use besides the limit of the run, MiB; as the watch on the resident size has it, so that whichever is
/// first means the same.
const OVERHEAD_MB: f64 = super::memory::OVERHEAD_MB;

/// Tries to remove a group whose last process is still going, and the wait between them.
const REMOVALS: u32 = 10;
const REMOVAL_WAIT: Duration = Duration::from_millis(50);

/// The group below which children get theirs.
#[derive(Debug, Clone)]
pub(super) struct Cgroups {
    parent: PathBuf,
}

/// The group of one child; removed when dropped.
#[derive(Debug)]
pub(super) struct Leaf {
    folder: PathBuf,
}

impl Cgroups {
    /// Those of this process, if the configuration wants them.
    ///
    /// # Errors
    /// What is missing, where the configuration insists.
    pub(super) fn find(wanted: MemoryEnforcement) -> Result<Option<Self>, String> {
        if wanted == MemoryEnforcement::Heap {
            return Ok(None);
        }
        let found = fs::read_to_string("/proc/self/cgroup")
            .map_err(|error| format!("/proc/self/cgroup: {error}"))
            .and_then(|own| {
                Self::find_below(Path::new(ROOT), &own, wanted == MemoryEnforcement::Cgroup)
            });
        match (found, wanted) {
            (Ok(found), _) => Ok(Some(found)),
            (Err(why), MemoryEnforcement::Cgroup) => Err(format!(
                "memory cannot be limited by cgroup: {why}; start the worker inside a writable, delegated cgroup v2"
            )),
            (Err(why), _) => {
                log::info!("memory is limited by heap and resident size only, no cgroup: {why}");
                Ok(None)
            }
        }
    }

    /// `own` is the content of `/proc/self/cgroup`; only `may_move` moves this worker's processes to make room.
    fn find_below(root: &Path, own: &str, may_move: bool) -> Result<Self, String> {
        let path = own
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .ok_or("no cgroup v2")?;
        let mut parent = root.join(path);
        if path.is_empty() {
            return Err("the worker is in the root group".to_owned());
        }
        if parent.file_name().is_some_and(|name| name == LEADER) {
            parent.pop();
        }
        let read = |name: &str| {
            let path = parent.join(name);
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let has_memory = |list: &str| list.split_whitespace().any(|name| name == "memory");
        if !has_memory(&read("cgroup.controllers")?) {
            return Err(format!("{} has no memory controller", parent.display()));
        }
        if !has_memory(&read("cgroup.subtree_control")?) {
            enable(&parent, may_move).map_err(|error| format!("{}: {error}", parent.display()))?;
        }
        Ok(Self { parent })
    }

    /// Puts a process into a group of its own.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn confine(&self, pid: u32, limit_mb: f64) -> io::Result<Leaf> {
        let leaf = Leaf {
            folder: self.parent.join(format!("run-{pid}")),
        };
        match fs::create_dir(&leaf.folder) {
            // Left over from an earlier process with this id.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made?,
        }
        leaf.limit(limit_mb)?;
        if let Err(error) = fs::write(leaf.folder.join("memory.swap.max"), "0") {
            log::debug!("swap of an engine child is not limited: {error}");
        }
        fs::write(leaf.folder.join("cgroup.procs"), pid.to_string())?;
        Ok(leaf)
    }
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
    pub(super) fn limit(&self, limit_mb: f64) -> io::Result<()> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "limits are checked to be positive and finite where they come in; a cast saturates"
        )]
        let bytes = ((limit_mb + OVERHEAD_MB) * 1_048_576.0) as u64;
        fs::write(self.folder.join("memory.max"), bytes.to_string())
    }

    /// Whether the kernel killed a process of the group for its memory.
    pub(super) fn has_killed(&self) -> bool {
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
        actix_rt::spawn(async move {
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
        let find = |own| Cgroups::find_below(root.path(), own, false).unwrap_err();
        assert!(find("0::/worker\n").ends_with("worker has no memory controller"));
        assert!(find("0::/elsewhere\n").contains("elsewhere/cgroup.controllers"));
        assert_eq!(find("4:memory:/x\n"), "no cgroup v2");
        assert_eq!(find("0::/\n"), "the worker is in the root group");
    }

    #[test]
    fn a_child_gets_a_group_with_the_limit_of_its_run() {
        let root = group("memory\n", "memory\n");
        let groups = Cgroups::find_below(root.path(), "0::/worker\n", false).unwrap();
        let leaf = groups.confine(77, 500.0).unwrap();
        let read =
            |name: &str| fs::read_to_string(root.path().join("worker/run-77").join(name)).unwrap();
        assert_eq!(read("memory.max"), (756_u64 << 20).to_string());
        assert_eq!(
            (read("memory.swap.max"), read("cgroup.procs")),
            ("0".to_owned(), "77".to_owned())
        );
        leaf.limit(100.0).unwrap();
        assert_eq!(read("memory.max"), (356_u64 << 20).to_string());
    }

    #[test]
    fn a_kill_by_the_kernel_is_read_from_the_groups_events() {
        let root = group("memory\n", "memory\n");
        let groups = Cgroups::find_below(root.path(), "0::/worker\n", false).unwrap();
        let leaf = groups.confine(77, 500.0).unwrap();
        assert!(!leaf.has_killed());
        let events = root.path().join("worker/run-77/memory.events");
        fs::write(&events, "low 0\noom 1\noom_kill 0\noom_group_kill 0\n").unwrap();
        assert!(!leaf.has_killed());
        fs::write(&events, "oom 1\noom_kill 1\n").unwrap();
        assert!(leaf.has_killed());
    }
}
