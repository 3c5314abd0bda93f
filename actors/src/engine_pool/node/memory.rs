//! The memory of an engine child beyond what V8 counts: Buffers, WebAssembly and native code are limited by nobody else.

use protocol::js;
use sandbox::Usage;

const MIB: f64 = 1_048_576.0;

/// What a child may use besides the limit of its run, MiB: Node and the engine take about 100 with a thread, V8's young
/// space 48, adaptors the rest. The reference allows 128 with one thread and no adaptors loaded ahead.
const OVERHEAD_MB: f64 = 256.0;

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

/// The size of a process that shows none while it goes on, or that has so many threads that nothing bounds what they take.
pub(super) const UNBOUNDED: u64 = u64::MAX;

/// Threads that a process may have: far above what Node and adaptors start, and far below what would hurt the machine.
const MOST_THREADS: u64 = 512;

/// What a process counts for, bytes.
pub(super) fn counted(usage: Usage) -> u64 {
    if usage.is_hidden() || usage.threads > MOST_THREADS {
        UNBOUNDED
    } else {
        usage.resident.unwrap_or_default()
    }
}

/// The line for a run that comes near its memory limit.
pub(super) fn near_line(limit_mb: f64) -> String {
    format!(
        "This run has used 90% of its memory limit of {}mb",
        js::number(limit_mb)
    )
}

/// What the memory of a process may come to while it executes a run with this limit.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "limits are checked to be positive and finite where they come in; a cast saturates"
)]
pub(super) fn most_bytes(limit_mb: f64) -> u64 {
    ((limit_mb + OVERHEAD_MB) * MIB) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    #[test]
    fn a_process_that_hides_its_size_or_has_too_many_threads_is_over_every_limit() {
        let judged = |resident, threads| judge(counted(Usage { resident, threads }), 0, 1e6);
        assert_eq!(judged(None, 2), Verdict::Over);
        assert_eq!(judged(Some(MB), 513), Verdict::Over);
        assert_eq!(judged(Some(MB), 512), Verdict::Fine);
        // It has ended.
        assert_eq!(judged(None, 1), Verdict::Fine);
    }

    #[test]
    fn a_run_is_near_its_limit_by_its_own_growth_and_over_it_by_the_size_of_the_process() {
        assert_eq!(judge(150 * MB, 100 * MB, 100.0), Verdict::Fine);
        assert_eq!(judge(190 * MB, 100 * MB, 100.0), Verdict::Near);
        assert_eq!(judge(356 * MB, 300 * MB, 100.0), Verdict::Fine);
        assert_eq!(judge(357 * MB, 300 * MB, 100.0), Verdict::Over);
    }
}
