//! Memory headroom: whether one more run fits below the memory ceiling that a cgroup or container sets.
//!
//! A run may use its whole limit, so that a worker that claims more runs than the ceiling has room for is killed with all
//! of them. Where no ceiling is known there is always headroom, and a group without a run may always claim one: a ceiling that
//! is lower than a single limit must not stop a worker for ever.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::ids::WorkloopId;
use protocol::size::Mebibytes;

const ROOT: &str = "/sys/fs/cgroup";

/// A limit from here on is none: the kernel's own for "unlimited" in cgroup v1 is a little below 2^63.
const UNLIMITED: u64 = 1 << 60;

/// How long what was read is good: the kernel adds statistics up when they are read.
const FRESH: Duration = Duration::from_millis(250);

/// One group with a limit.
#[derive(Debug, PartialEq, Eq)]
struct Ceiling {
    limit: u64,
    usage: PathBuf,
    stat: PathBuf,
    /// The line of `stat` that counts what the kernel gives back on demand.
    inactive: &'static str,
}

#[derive(Debug)]
struct Shared {
    ceilings: Vec<Ceiling>,
    run_limit: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Runs and claims of each group.
    runs: HashMap<WorkloopId, usize>,
    /// What each ceiling's group used when it was last read.
    used: Option<(Instant, Vec<u64>)>,
}

/// The headroom of one worker; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryHeadroom(Option<Arc<Shared>>);

impl MemoryHeadroom {
    /// The headroom below the ceiling of this process for runs with this limit.
    pub(crate) fn find(run_limit: Mebibytes) -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::below(Path::new(ROOT), &own, run_limit)
    }

    fn below(root: &Path, own: &str, run_limit: Mebibytes) -> Self {
        let ceilings = ceilings(root, own);
        Self((!ceilings.is_empty()).then(|| {
            Arc::new(Shared {
                ceilings,
                run_limit: run_limit.bytes(),
                state: Mutex::default(),
            })
        }))
    }

    /// The lowest ceiling in bytes, if one is known.
    pub(crate) fn ceiling(&self) -> Option<u64> {
        let shared = self.0.as_ref()?;
        shared.ceilings.iter().map(|ceiling| ceiling.limit).min()
    }

    /// Takes in how many runs and claims a group has.
    pub(crate) fn uses(&self, workloop: &WorkloopId, runs: usize) {
        if let Some(shared) = &self.0 {
            let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.runs.insert(workloop.clone(), runs);
        }
    }

    /// How many runs and claims a group may have, those it has included: so many more fit with their limits besides what
    /// is used, and with the limits of all those in hand.
    pub(crate) fn allows(&self, workloop: &WorkloopId) -> usize {
        let Some(shared) = &self.0 else {
            return usize::MAX;
        };
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let own = state.runs.get(workloop).copied().unwrap_or(0);
        let others = state.runs.values().sum::<usize>() - own;
        let fresh = |(at, _): &(Instant, Vec<u64>)| at.elapsed() < FRESH;
        let used = state.used.take().filter(fresh).unwrap_or_else(|| {
            let used = shared.ceilings.iter().map(Ceiling::used).collect();
            (Instant::now(), used)
        });
        let fitting = |bytes: u64| {
            let runs = bytes / shared.run_limit.max(1);
            usize::try_from(runs).unwrap_or(usize::MAX)
        };
        let allowed = shared.ceilings.iter().zip(&used.1).map(|(ceiling, used)| {
            let by_limits = fitting(ceiling.limit).saturating_sub(others);
            let by_use = own.saturating_add(fitting(ceiling.limit.saturating_sub(*used)));
            by_limits.min(by_use)
        });
        let allowed = allowed.min().unwrap_or(usize::MAX);
        state.used = Some(used);
        allowed
    }
}

/// What this process and its children may take beside what is used, bytes: of the machine's memory, or of the ceiling's if that is
/// lower. `None` where the kernel does not tell.
pub(crate) fn available_bytes() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let ceilings = ceilings(Path::new(ROOT), &own);
    let below = ceilings
        .iter()
        .map(|ceiling| ceiling.limit.saturating_sub(ceiling.used()));
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    below.chain(available_of(&machine)).min()
}

fn available_of(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

impl Ceiling {
    /// What is used and would not be given back on demand; 0 where the kernel does not tell.
    fn used(&self) -> u64 {
        let usage = number(&self.usage).unwrap_or(0);
        let stat = fs::read_to_string(&self.stat).unwrap_or_default();
        let inactive = stat
            .lines()
            .find_map(|line| line.strip_prefix(self.inactive)?.trim().parse().ok())
            .unwrap_or(0);
        usage.saturating_sub(inactive)
    }
}

/// The limits that hold for a process whose `/proc/self/cgroup` is `own`: its group's and those of the groups above.
fn ceilings(root: &Path, own: &str) -> Vec<Ceiling> {
    let hierarchy = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let found = controllers.split(',').any(|name| name == "memory");
        found.then_some((root.join("memory"), path, true))
    });
    // cgroup v2 where memory is not a hierarchy of its own.
    let (root, path, v1) = match hierarchy {
        Some(hierarchy) => hierarchy,
        None => match own.lines().find_map(|line| line.strip_prefix("0::")) {
            Some(path) => (root.to_path_buf(), path, false),
            None => return Vec::new(),
        },
    };
    let files = if v1 {
        (
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file ",
        )
    } else {
        ("memory.max", "memory.current", "inactive_file ")
    };
    // In a container the path may be the host's, of which nothing is mounted but the end: the root then is the container's.
    let own = root.join(path.trim_start_matches('/'));
    own.ancestors()
        .take_while(|group| group.starts_with(&root))
        .filter_map(|group| {
            let limit = number(&group.join(files.0)).filter(|limit| *limit < UNLIMITED)?;
            Some(Ceiling {
                limit,
                usage: group.join(files.1),
                stat: group.join("memory.stat"),
                inactive: files.2,
            })
        })
        .collect()
}

/// The number in one of the kernel's files; `None` for `max`, and where there is no such file.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const MIB: u64 = 1 << 20;
    const RUN: Mebibytes = Mebibytes::new(100.0);

    fn group(root: &Path, path: &str, files: &[(&str, String)]) {
        let folder = root.join(path);
        fs::create_dir_all(&folder).unwrap();
        for (name, content) in files {
            fs::write(folder.join(name), content).unwrap();
        }
    }

    fn unified(root: &TempDir, limit: &str, used_mib: u64) -> MemoryHeadroom {
        group(root.path(), "", &[("memory.max", "max\n".to_owned())]);
        group(
            root.path(),
            "pod/worker",
            &[
                ("memory.max", limit.to_owned()),
                ("memory.current", format!("{}\n", (used_mib + 50) * MIB)),
                (
                    "memory.stat",
                    format!("anon 1\ninactive_file {}\n", 50 * MIB),
                ),
            ],
        );
        MemoryHeadroom::below(root.path(), "0::/pod/worker\n", RUN)
    }

    #[test]
    fn without_a_ceiling_any_number_is_allowed() {
        let root = TempDir::new().unwrap();
        let headroom = unified(&root, "max\n", 5000);
        headroom.uses(&WorkloopId::new("a"), 1000);
        assert_eq!(headroom.allows(&WorkloopId::new("a")), usize::MAX);
        assert_eq!(headroom.ceiling(), None);
    }

    #[test]
    fn the_limits_of_all_groups_runs_have_to_fit() {
        let (a, b) = (WorkloopId::new("a"), WorkloopId::new("b"));
        let root = TempDir::new().unwrap();
        let headroom = unified(&root, &format!("{}\n", 350 * MIB), 20);
        assert_eq!(headroom.ceiling(), Some(350 * MIB));
        assert_eq!(headroom.allows(&a), 3);
        headroom.uses(&b, 2);
        assert_eq!(headroom.allows(&a), 1);
        headroom.uses(&a, 1);
        assert_eq!(headroom.allows(&b), 2);
        headroom.uses(&a, 0);
        assert_eq!(headroom.allows(&b), 3);
    }

    #[test]
    fn what_is_used_already_counts_but_for_caches() {
        let a = WorkloopId::new("a");
        let root = TempDir::new().unwrap();
        let headroom = unified(&root, &format!("{}\n", 350 * MIB), 250);
        assert_eq!(headroom.allows(&a), 1);
        let root = TempDir::new().unwrap();
        let headroom = unified(&root, &format!("{}\n", 350 * MIB), 251);
        assert_eq!(headroom.allows(&a), 0);
        headroom.uses(&a, 1);
        assert_eq!(headroom.allows(&a), 1);
    }

    #[test]
    fn the_older_hierarchy_is_read_as_well_and_the_groups_above_count() {
        let a = WorkloopId::new("a");
        let root = TempDir::new().unwrap();
        let usage = |used: u64| ("memory.usage_in_bytes", used.to_string());
        let limit = |limit: u64| ("memory.limit_in_bytes", limit.to_string());
        group(
            root.path(),
            "memory",
            &[limit(9_223_372_036_854_771_712), usage(0)],
        );
        group(
            root.path(),
            "memory/pod",
            &[limit(150 * MIB), usage(60 * MIB)],
        );
        group(
            root.path(),
            "memory/pod/w",
            &[limit(400 * MIB), usage(10 * MIB)],
        );
        let own = "4:cpu,memory:/pod/w\n0::/\n";
        let headroom = MemoryHeadroom::below(root.path(), own, RUN);
        assert_eq!(
            (headroom.ceiling(), headroom.allows(&a)),
            (Some(150 * MIB), 0)
        );
        assert_eq!(
            MemoryHeadroom::below(root.path(), own, Mebibytes::new(90.0)).allows(&a),
            1
        );
    }

    #[test]
    fn what_the_machine_has_left_is_read() {
        let meminfo = "MemTotal:       16000000 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(available_of(meminfo), Some(2 << 20));
        assert_eq!(available_of(""), None);
    }
}
