//! What a killed worker leaves running: the kernel ends the programs that it has started, but not those that these have started.
//!
//! A program leads a session and a process group, which it and what it starts cannot leave (the system calls for that are refused),
//! so that its id finds all of them, also when it is gone itself. Each is written down for as long as it runs; a worker that starts
//! reads what dead ones have written down. An id is believed only as long as nobody else can have got it.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use log_events::{event, table};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A program that was started, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pid: u32,
    /// When it was started, in the kernel's ticks since the machine was.
    started: u64,
    /// Of which run of the machine, and of which process namespace, these are.
    place: String,
}

impl Mark {
    /// Of a running process; `None` when it is gone.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            started: Member::read(pid)?.started,
            place: place()?,
        })
    }

    pub(crate) fn to_text(&self) -> String {
        format!("{} {} {}\n", self.pid, self.started, self.place)
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.splitn(3, ' ');
        Some(Self {
            pid: words.next()?.parse().ok()?,
            started: words.next()?.parse().ok()?,
            place: words.next()?.to_owned(),
        })
    }

    /// Kills what is left of the program, and what it has started; how many processes.
    pub(crate) fn end(&self) -> usize {
        if place().as_ref() != Some(&self.place) {
            return 0;
        }
        // Another process has its id.
        if Member::read(self.pid).is_some_and(|leader| leader.started != self.started) {
            return 0;
        }
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|pid| self.has(*pid))
            .filter(|pid| end(*pid))
            .count()
    }

    /// Whether a process is one that the program has started, or itself.
    fn has(&self, pid: u32) -> bool {
        Member::read(pid).is_some_and(|member| {
            member.session == self.pid && member.started >= self.started && !member.is_zombie
        }) && is_confined(pid)
    }
}

fn end(pid: u32) -> bool {
    let Ok(id) = i32::try_from(pid) else {
        return false;
    };
    match kill(Pid::from_raw(id), Signal::SIGKILL) {
        Ok(()) => true,
        Err(Errno::ESRCH) => false,
        Err(error) => {
            event!(table::SANDBOX_LEFTOVER, pid = pid, error:% = error; "process {pid}, which a killed worker left, cannot be ended: {error}");
            false
        }
    }
}

/// What the kernel tells of a process.
struct Member {
    session: u32,
    started: u64,
    is_zombie: bool,
}

impl Member {
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in brackets, may hold anything. After it: state, parent, group, session, and the start as the 22nd field.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<_> = fields.split(' ').collect();
        Some(Self {
            session: fields.get(3)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            is_zombie: fields.first() == Some(&"Z"),
        })
    }
}

/// Whether it can gain no privileges, as everything that a worker starts.
fn is_confined(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .is_ok_and(|status| status.lines().any(|line| line == "NoNewPrivs:\t1"))
}

/// Where ids and times of processes are what they are: this run of the machine, and this process namespace.
fn place() -> Option<String> {
    static PLACE: OnceLock<Option<String>> = OnceLock::new();
    PLACE.get_or_init(find_place).clone()
}

fn find_place() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// Ends what the programs written down in this folder have left; how many processes.
pub(crate) fn end_all(folder: &Path, suffix: &str) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let marks = entries
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .filter_map(|path| Mark::from_text(&fs::read_to_string(path).ok()?));
    marks.map(|mark| mark.end()).sum()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let own = Mark::of(std::process::id()).unwrap();
        assert_eq!(Mark::from_text(&own.to_text()), Some(own));
        assert_eq!(Mark::from_text("7 8"), None);
    }

    #[test]
    fn a_process_that_only_has_the_id_is_left_alone() {
        let mut other = Command::new("sleep").arg("100").spawn().unwrap();
        let mark = Mark::of(other.id()).unwrap();
        let later = Mark {
            started: mark.started + 1,
            ..mark.clone()
        };
        let elsewhere = Mark {
            place: "another machine".to_owned(),
            ..mark.clone()
        };
        // It leads no session, and nobody has confined it.
        for mark in [later, elsewhere, mark] {
            assert_eq!(mark.end(), 0);
        }
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
