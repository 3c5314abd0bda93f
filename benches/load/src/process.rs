//! What a process and all below it have used, from `/proc`.

use std::collections::HashMap;
use std::fs;

/// The unit of times in `/proc`, whatever the kernel's own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Sums over a process and its descendants.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// CPU seconds, of descendants that are gone and were waited for too.
    pub(crate) cpu_s: f64,
    /// Resident MB, shared pages counted once for each process.
    pub(crate) rss_mb: f64,
    /// Resident MB, shared pages divided among those who share them.
    pub(crate) pss_mb: f64,
}

/// Of the process alone.
pub(crate) fn rss_mb(pid: u32) -> f64 {
    status_kb(pid, "status", "VmRSS:") / 1024.0
}

/// The most that the process alone ever had.
pub(crate) fn peak_mb(pid: u32) -> f64 {
    status_kb(pid, "status", "VmHWM:") / 1024.0
}

/// CPU seconds of the process, and of the children that it waited for.
pub(crate) fn cpu_s(pid: u32) -> f64 {
    // user, system, and both again of the children.
    (13..=16)
        .filter_map(|field| stat_field(pid, field))
        .sum::<f64>()
        / TICKS_PER_SECOND
}

/// CPU seconds of the process without any child.
pub(crate) fn own_cpu_s(pid: u32) -> f64 {
    (13..=14)
        .filter_map(|field| stat_field(pid, field))
        .sum::<f64>()
        / TICKS_PER_SECOND
}

pub(crate) fn usage(root: u32) -> Usage {
    let mut sum = Usage::default();
    for pid in tree(root) {
        sum.cpu_s += cpu_s(pid);
        sum.rss_mb += rss_mb(pid);
        sum.pss_mb += status_kb(pid, "smaps_rollup", "Pss:") / 1024.0;
    }
    sum
}

fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids {
        if let Some(parent) = stat_text(pid, 3).and_then(|text| text.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).into_iter().flatten());
        next += 1;
    }
    found
}

/// A field of `/proc/<pid>/stat`, counted from 0. The name in field 1 may hold spaces and brackets.
fn stat_text(pid: u32, field: usize) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = &text[text.rfind(')')? + 2..];
    rest.split(' ').nth(field - 2).map(str::to_owned)
}

fn stat_field(pid: u32, field: usize) -> Option<f64> {
    stat_text(pid, field)?.parse().ok()
}

/// A line like `VmRSS:    1234 kB`; 0 once the process is gone.
fn status_kb(pid: u32, file: &str, name: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}
