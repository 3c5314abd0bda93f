//! The memory of an engine child beyond what V8 counts: Buffers, WebAssembly and native code are limited by nobody else.

use protocol::size::Mebibytes;
use sandbox::Usage;

/// What a child may use besides the limit of its run: Node and the engine with a small adaptor take about 55, V8's young
/// space 48, larger adaptors the rest. The reference allows 128 with no adaptors loaded ahead.
const OVERHEAD: Mebibytes = Mebibytes::new(256.0);

/// Parts of a limit from which on a run is told that it comes near it.
pub(super) const NEAR: f64 = 0.9;

/// How much of a run's memory limit is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemoryUse {
    Within,
    Near,
    Over,
}

/// How much a process of this resident size uses of the limit, given its size when the run began.
pub(super) fn of_limit(resident: u64, at_start: u64, limit: Mebibytes) -> MemoryUse {
    let used = Mebibytes::from_bytes(resident.saturating_sub(at_start));
    if Mebibytes::from_bytes(resident) > with_overhead(limit) {
        MemoryUse::Over
    } else if used.get() >= limit.get() * NEAR {
        MemoryUse::Near
    } else {
        MemoryUse::Within
    }
}

fn with_overhead(limit: Mebibytes) -> Mebibytes {
    Mebibytes::new(limit.get() + OVERHEAD.get())
}

/// The size of a process that shows none while it goes on, or that has so many threads that nothing bounds what they take.
pub(super) const UNBOUNDED: u64 = u64::MAX;

/// Threads that a process may have: far above what Node and adaptors start, and far below what would hurt the machine.
pub(super) const MOST_THREADS: u64 = 512;

/// What a process counts for, bytes.
pub(super) fn counted(usage: Usage) -> u64 {
    if usage.is_hidden() || usage.threads > MOST_THREADS {
        UNBOUNDED
    } else {
        usage.resident.unwrap_or_default()
    }
}

/// The line for a run that comes near its memory limit.
pub(super) fn near_line(limit: Mebibytes) -> String {
    format!("This run has used 90% of its memory limit of {limit}mb")
}

/// What the memory of a process may come to while it executes a run with this limit.
pub(super) fn most_bytes(limit: Mebibytes) -> u64 {
    with_overhead(limit).bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;
    const LIMIT: Mebibytes = Mebibytes::new(100.0);

    #[test]
    fn a_process_that_hides_its_size_or_has_too_many_threads_is_over_every_limit() {
        let judged = |resident, threads| {
            of_limit(counted(Usage { resident, threads }), 0, Mebibytes::new(1e6))
        };
        assert_eq!(judged(None, 2), MemoryUse::Over);
        assert_eq!(judged(Some(MB), 513), MemoryUse::Over);
        assert_eq!(judged(Some(MB), 512), MemoryUse::Within);
        // It has ended.
        assert_eq!(judged(None, 1), MemoryUse::Within);
    }

    #[test]
    fn a_run_is_near_its_limit_by_its_own_growth_and_over_it_by_the_size_of_the_process() {
        assert_eq!(of_limit(150 * MB, 100 * MB, LIMIT), MemoryUse::Within);
        assert_eq!(of_limit(190 * MB, 100 * MB, LIMIT), MemoryUse::Near);
        assert_eq!(of_limit(356 * MB, 300 * MB, LIMIT), MemoryUse::Within);
        assert_eq!(of_limit(357 * MB, 300 * MB, LIMIT), MemoryUse::Over);
    }
}
