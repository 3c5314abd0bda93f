//! The memory of an engine child beyond what V8 counts: Buffers, WebAssembly and native code are limited by nobody else.

use std::fs;

use protocol::js;

const MIB: f64 = 1_048_576.0;

/// What a child may use besides the limit of its run, MiB: Node and the engine take about 100 with a thread, V8's young
/// space 48, adaptors the rest. The reference allows 128 with one thread and no adaptors loaded ahead.
pub(super) const OVERHEAD_MB: f64 = 256.0;

/// Parts of a limit from which on a run is told that it comes near it.
pub(super) const NEAR: f64 = 0.9;

/// What the size of a child means for its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    Near,
    Over,
}

/// Judges a resident size, given that of the same process when the run began.
#[expect(
    clippy::cast_precision_loss,
    reason = "sizes of processes are far below 2^52 bytes"
)]
pub(super) fn judge(resident: u64, at_start: u64, limit_mb: f64) -> Verdict {
    let used_mb = resident.saturating_sub(at_start) as f64 / MIB;
    if resident as f64 / MIB > limit_mb + OVERHEAD_MB {
        Verdict::Over
    } else if used_mb >= limit_mb * NEAR {
        Verdict::Near
    } else {
        Verdict::Fine
    }
}

/// The line for a run that comes near its memory limit.
pub(super) fn near_line(limit_mb: f64) -> String {
    format!(
        "This run has used 90% of its memory limit of {}mb",
        js::number(limit_mb)
    )
}

/// The resident size of a process in bytes; `None` when it is gone.
pub(super) fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    // In kB, as the kernel calls 1,024 bytes. `statm` would be shorter, but counts pages of a size to be asked for.
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    #[test]
    fn a_run_is_near_its_limit_by_its_own_growth_and_over_it_by_the_size_of_the_process() {
        assert_eq!(judge(150 * MB, 100 * MB, 100.0), Verdict::Fine);
        assert_eq!(judge(190 * MB, 100 * MB, 100.0), Verdict::Near);
        assert_eq!(judge(356 * MB, 300 * MB, 100.0), Verdict::Fine);
        assert_eq!(judge(357 * MB, 300 * MB, 100.0), Verdict::Over);
    }

    #[test]
    fn the_size_of_a_living_process_is_known_and_that_of_a_dead_one_is_not() {
        assert!(resident(std::process::id()).is_some_and(|bytes| bytes > MB));
        assert_eq!(resident(u32::MAX), None);
    }
}
