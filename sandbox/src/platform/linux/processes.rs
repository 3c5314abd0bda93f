//! What `/proc` tells of a process.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

use crate::files::{Count, Files, Scope};
use crate::usage::{Survey, Usage};

/// What a process takes at this moment; `None` when it is gone.
#[must_use]
pub fn usage(pid: u32) -> Option<Usage> {
    Some(read_usage(
        &fs::read_to_string(format!("/proc/{pid}/status")).ok()?,
    ))
}

/// Reads a process's `status`.
fn read_usage(status: &str) -> Usage {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim)
    };
    // In kB, as the kernel calls 1,024 bytes. `statm` would be shorter, but it counts in pages, whose size is queried.
    let kilobytes = field("VmRSS:").and_then(|text| text.strip_suffix("kB")?.trim().parse().ok());
    Usage {
        resident: kilobytes.map(|kilobytes: u64| kilobytes << 10),
        threads: field("Threads:")
            .and_then(|text| text.parse().ok())
            .unwrap_or_default(),
    }
}

/// What a process with this private folder takes and has open; `None` when it is gone.
pub(crate) fn survey(pid: u32, folder: &Path, largest_file: u64, most: Files) -> Option<Survey> {
    let usage = usage(pid)?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(Survey {
        usage,
        cpu: read_cpu(&stat, ticks_a_second())?,
        descriptors: fs::read_dir(format!("/proc/{pid}/fd"))
            .ok()
            .map(|open| u64::try_from(open.count()).unwrap_or(u64::MAX)),
        files: files(pid, folder, largest_file, most, Scope::All),
    })
}

fn ticks_a_second() -> u64 {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    // What every Linux has.
    ticks.and_then(|ticks| ticks.try_into().ok()).unwrap_or(100)
}

/// Reads the CPU time in a process's `stat`, user's and kernel's.
fn read_cpu(stat: &str, ticks_a_second: u64) -> Option<Duration> {
    // The name, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    // The first of these is the third of the line.
    let mut times = fields.split(' ').skip(11);
    let mut next = || times.next()?.parse::<u64>().ok();
    let ticks = next()?.saturating_add(next()?);
    Some(Duration::from_millis(
        ticks.saturating_mul(1000) / ticks_a_second.max(1),
    ))
}

/// What a process has in files of its own; counted until it is more than `most`.
pub(crate) fn files(
    pid: u32,
    folder: &Path,
    largest_file: u64,
    most: Files,
    scope: Scope,
) -> Files {
    let mut count = Count::new(most);
    count.add_folder(folder);
    if scope == Scope::All && !count.is_over() {
        add_open(&mut count, pid, folder);
        add_mapped(&mut count, pid, folder, largest_file);
    }
    count.files()
}

/// Sockets of which what waits in them is not looked for: on loopback, where both ends are the process's, the kernel gives 2.2 MB to
/// each on average, measured with a thousand.
const FEW_SOCKETS: usize = 64;

/// Counts files that the process has open and that have lost their names, and what waits in its sockets.
fn add_open(count: &mut Count, pid: u32, folder: &Path) {
    let mut sockets = HashSet::new();
    // A process that shows none is told of by the number of its descriptors.
    let open = fs::read_dir(format!("/proc/{pid}/fd"));
    for entry in open.into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(target) = fs::read_link(&path) else {
            continue;
        };
        sockets.extend(read_socket(&target));
        if !target.starts_with(folder) {
            continue;
        }
        if let Ok(found) = fs::metadata(&path)
            && found.nlink() == 0
        {
            count.add(&found);
        }
        if count.is_over() {
            return;
        }
    }
    if sockets.len() > FEW_SOCKETS {
        for table in ["tcp", "tcp6", "udp", "udp6"] {
            // The worker's own are the process's: there is one network.
            let table = fs::read_to_string(format!("/proc/self/net/{table}"));
            count.add_queued(read_queued(&table.unwrap_or_default(), &sockets));
        }
    }
}

/// Reads the name that a socket has as an open file, `socket:[123]`.
fn read_socket(target: &Path) -> Option<u64> {
    let name = target.to_str()?.strip_prefix("socket:[")?;
    name.strip_suffix(']')?.parse().ok()
}

/// The bytes that wait in these sockets, in both directions, by one of the kernel's tables.
fn read_queued(table: &str, sockets: &HashSet<u64>) -> u64 {
    let lines = table.lines().skip(1);
    let queued = lines.filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(4);
        let (sent, received) = fields.next()?.split_once(':')?;
        let socket: u64 = fields.nth(4)?.parse().ok()?;
        let bytes = |text| u64::from_str_radix(text, 16).ok();
        let waiting = bytes(sent)?.saturating_add(bytes(received)?);
        sockets.contains(&socket).then_some(waiting)
    });
    queued.fold(0, u64::saturating_add)
}

/// Counts files that are mapped, and have lost their names. How large they are is not told: as large as they may be.
fn add_mapped(count: &mut Count, pid: u32, folder: &Path, largest_file: u64) {
    let maps = match fs::read(format!("/proc/{pid}/maps")) {
        Ok(maps) => maps,
        Err(error) if is_gone(&error) => return,
        Err(_) => Vec::new(),
    };
    let Some(folder) = folder.to_str() else {
        return;
    };
    let maps = String::from_utf8_lossy(&maps);
    let mut counted = None;
    for line in maps.lines().filter(|line| line.ends_with(" (deleted)")) {
        // Range, rights, offset, device, inode, and the path, which may have blanks.
        let mut fields = line.split_ascii_whitespace();
        let (Some(device), Some(inode)) = (fields.nth(3), fields.next()) else {
            continue;
        };
        if !line.contains(folder) || counted == Some((device, inode)) {
            continue;
        }
        counted = Some((device, inode));
        let is_open = read_device(device)
            .zip(inode.parse().ok())
            .is_some_and(|(device, inode)| count.has(device, inode));
        if !is_open {
            count.add_unseen(largest_file);
        }
        if count.is_over() {
            return;
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}

/// Reads a device as `maps` has it, `08:01`.
fn read_device(text: &str) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    let [major, minor] = [major, minor].map(|number| u32::from_str_radix(number, 16).ok());
    Some(nix::libc::makedev(major?, minor?))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_size_of_a_living_process_is_known_and_that_of_a_dead_one_is_not() {
        let own = usage(std::process::id()).unwrap();
        assert!(own.resident.unwrap() > 1 << 20 && own.threads > 0);
        assert_eq!(usage(u32::MAX), None);
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_hides_its_size_while_others_go_on() {
        let zombie = "Name:\tnode\nState:\tZ (zombie)\nThreads:\t";
        assert!(read_usage(&format!("{zombie}12\n")).is_hidden());
        // It has ended, and is about to be reaped.
        assert!(!read_usage(&format!("{zombie}1\n")).is_hidden());
        assert!(!read_usage("VmRSS:\t  100 kB\nThreads:\t2\n").is_hidden());
    }

    #[test]
    fn what_waits_in_the_sockets_of_a_process_is_summed_up() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F90 00000000:0000 0A 00000010:00000001 00:00000000 00000000     0        0 7 1 0 100\n   \
            1: 0100007F:1F90 00000000:0000 01 00000100:00000000 00:00000000 00000000     0        0 8 1 0 100\n   \
            2: 0100007F:1F90 00000000:0000 01 00FF0000:00000000 00:00000000 00000000     0        0 9 1 0 100\n";
        assert_eq!(read_queued(table, &HashSet::from([7, 8])), 0x111);
        assert_eq!(read_socket(Path::new("socket:[7]")), Some(7));
        assert_eq!(read_socket(Path::new("/dev/null")), None);
    }

    #[test]
    fn cpu_time_is_read_past_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 25 3 4 20 0";
        assert_eq!(read_cpu(stat, 100), Some(Duration::from_millis(1750)));
        assert_eq!(read_cpu("7 (a) S 1", 100), None);
    }

    #[test]
    fn files_without_names_are_counted_as_long_as_they_are_open() {
        const MOST: Files = Files {
            bytes: u64::MAX,
            count: 100,
            queued: 0,
        };
        let folder = tempfile::tempdir().unwrap();
        let pid = std::process::id();
        let survey = || survey(pid, folder.path(), 256 << 20, MOST).unwrap();
        let before = survey();
        assert_eq!(before.files, Files::default());
        let path = folder.path().join("file");
        let mut file = File::create(&path).unwrap();
        file.write_all(&vec![1; 1 << 20]).unwrap();
        file.sync_all().unwrap();
        fs::remove_file(&path).unwrap();
        let second = file.try_clone().unwrap();
        let found = survey();
        assert_eq!(found.files.count, 1);
        assert!(found.files.bytes >= 1 << 20, "{found:?}");
        let named = files(pid, folder.path(), 256 << 20, MOST, Scope::Named);
        assert_eq!(named, Files::default());
        drop((file, second));
        assert_eq!(survey().files, Files::default());
    }
}
