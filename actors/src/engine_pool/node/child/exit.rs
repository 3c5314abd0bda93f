//! What the end of a process means for the run in it.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use protocol::engine::{EngineFailure, RunExit};

use crate::engine_pool::node::process::FATAL;

const SIGTRAP: i32 = 5;
const SIGABRT: i32 = 6;
/// V8 aborts, or traps, after it has said why.
const DEATHS_OF_V8: [i32; 2] = [SIGABRT, SIGTRAP];

/// How a process ended, with the evidence of why.
#[derive(Debug, Clone, Default)]
pub(super) struct ProcessExit {
    /// `None` when the system does not tell.
    pub(super) status: Option<ExitStatus>,
    /// The kernel killed it for its memory.
    pub(super) killed_for_memory: bool,
    /// The end of what it wrote to stderr during its last run, or before its first one.
    pub(super) stderr: String,
}

impl ProcessExit {
    /// The status in words.
    pub(super) fn how(&self) -> String {
        self.status
            .map_or_else(|| "unknown status".to_owned(), |status| status.to_string())
    }

    /// What a run that was in the process died of.
    pub(super) fn failure(&self) -> EngineFailure {
        if self.killed_for_memory || self.is_death_of_v8_without_memory() {
            return EngineFailure::OutOfMemory;
        }
        let code = self.status.and_then(|status| status.code());
        EngineFailure::ProcessExited { code }
    }

    /// A job can write V8's words. It cannot write them and die of V8's death, unless it wants to have failed by this.
    fn is_death_of_v8_without_memory(&self) -> bool {
        let signal = self.status.and_then(|status| status.signal());
        signal.is_some_and(|signal| DEATHS_OF_V8.contains(&signal))
            && self
                .stderr
                .lines()
                .any(|line| line.starts_with(FATAL) && line.ends_with("out of memory"))
    }
}

/// What a run died of whose code has ended the process before the run was over: the reference says it of a thread.
pub(super) fn of_run(exit: RunExit) -> EngineFailure {
    EngineFailure::ThreadExited {
        code: exit.code.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BANNER: &str = "\n<--- Last few GCs --->\n\n[1:0x1] 100 ms: Mark-sweep\n\n<--- JS stacktrace --->\n\n\
        FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n----- Native stack trace -----\n";

    fn exit(raw_status: i32, stderr: &str) -> EngineFailure {
        ProcessExit {
            status: Some(ExitStatus::from_raw(raw_status)),
            killed_for_memory: false,
            stderr: stderr.to_owned(),
        }
        .failure()
    }

    #[test]
    fn v8_is_believed_when_the_process_dies_as_v8_makes_it_die() {
        for signal in DEATHS_OF_V8 {
            assert_eq!(exit(signal, BANNER), EngineFailure::OutOfMemory);
        }
    }

    #[test]
    fn a_job_that_writes_the_words_of_v8_and_exits_has_exited() {
        assert_eq!(
            exit(7 << 8, BANNER),
            EngineFailure::ProcessExited { code: Some(7) }
        );
        assert_eq!(exit(9, BANNER), EngineFailure::ProcessExited { code: None });
    }

    #[test]
    fn an_abort_without_the_words_or_with_others_is_an_exit() {
        for stderr in [
            "",
            "the heap is out of memory",
            "FATAL ERROR: v8::ToLocalChecked Empty MaybeLocal",
        ] {
            assert_eq!(
                exit(SIGABRT, stderr),
                EngineFailure::ProcessExited { code: None }
            );
        }
    }

    #[test]
    fn a_process_that_the_kernel_killed_for_its_memory_ran_out_of_it() {
        let exit = ProcessExit {
            killed_for_memory: true,
            ..ProcessExit::default()
        };
        assert_eq!(exit.failure(), EngineFailure::OutOfMemory);
    }
}
