//! What an engine child does in more than one state.

use log_events::table;
use protocol::engine::{ChildEvent, EncodeError, EngineFailure, RunProgress, ThreadExit};
use protocol::ids::RunId;
use protocol::size::Mebibytes;
use tokio::sync::OwnedSemaphorePermit;

use super::execution::{Execution, Memory, Stop};
use super::exit;
use super::machine::{
    DEAF, Effect, Event, Files, MOST_CROSSINGS, Machine, Next, Order, State, Timer, UNSTOPPED,
    WATCH,
};
use super::messages::ChildUpdate;
use super::table::StateKind;
use crate::engine_pool::node::memory::{self, MemoryUse};

impl Machine {
    /// The run may begin, and its time.
    pub(super) fn go(&mut self, execution: &mut Execution) {
        execution.conversation.proceed();
        let run = execution.run().clone();
        self.act(Effect::Send(Order::Go(run.clone())));
        if let Some(limit) = execution.request.options.timeout {
            let near = Timer::TimeNear(run.clone());
            self.act(Effect::Arm(near, limit.mul_f64(memory::NEAR)));
            self.act(Effect::Arm(Timer::TimeOver(run), limit));
        }
    }

    pub(super) fn stop(&mut self, execution: Box<Execution>, stop: Stop, next: Next) -> State {
        let run = execution.run().clone();
        // A thread that waits in a write cannot end: from here on nothing of it waits for the outbox.
        self.act(Effect::CloseBudget);
        self.act(Effect::Send(Order::Cancel(run.clone())));
        self.act(Effect::Arm(Timer::Unstopped(run), UNSTOPPED));
        State::Stopping {
            execution,
            stop,
            next,
        }
    }

    pub(super) fn measured(
        &mut self,
        run: RunId,
        resident: u64,
        mut execution: Box<Execution>,
        next: Next,
    ) -> State {
        let limit = Mebibytes::new(execution.request.options.memory_limit_mb);
        let at_start = match execution.memory {
            Memory::Unmeasured => resident,
            Memory::Watched { at_start }
            | Memory::Near { at_start }
            | Memory::Unbounded { at_start } => at_start,
        };
        match (
            memory::of_limit(resident, at_start, limit),
            execution.memory,
        ) {
            (_, Memory::Unmeasured) => execution.memory = Memory::Watched { at_start },
            // For a moment a process that ends looks like one that hides its size.
            (_, Memory::Watched { .. } | Memory::Near { .. }) if resident == memory::UNBOUNDED => {
                execution.memory = Memory::Unbounded { at_start };
            }
            (MemoryUse::Over, _) => {
                // Not by a cancel: a thread that allocates outside the heap may not end in time.
                let why = if resident == memory::UNBOUNDED {
                    format!("run {run} hides the size of its process, or has too many threads")
                } else {
                    format!(
                        "run {run} uses {} MiB",
                        Mebibytes::from_bytes(resident).whole()
                    )
                };
                self.act(Effect::Complain {
                    event: &table::ENGINE_CHILD_OVER_MEMORY,
                    run: Some(run),
                    what: why.clone(),
                });
                return self.kill(why, Some(execution), Some(Stop::OverMemory));
            }
            (MemoryUse::Near, Memory::Watched { .. }) => {
                execution.memory = Memory::Near { at_start };
                self.act(Effect::Warn(memory::near_line(limit)));
            }
            (MemoryUse::Near | MemoryUse::Within, _) => {}
        }
        self.act(Effect::Arm(Timer::Watch(run), WATCH));
        State::Busy { execution, next }
    }

    pub(super) fn files_over(&mut self, run: RunId, execution: Box<Execution>) -> State {
        let why = format!("run {run} has more files than it may");
        self.act(Effect::Complain {
            event: &table::ENGINE_CHILD_OVER_FILES,
            run: Some(run),
            what: why.clone(),
        });
        self.kill(why, Some(execution), Some(Stop::OverFiles))
    }

    pub(super) fn warn_of_time(&mut self, execution: &Execution) {
        let limit = execution.request.options.timeout.unwrap_or_default();
        let seconds = protocol::js::number(limit.as_secs_f64());
        self.act(Effect::Warn(format!(
            "This run has used 90% of its time limit of {seconds}s"
        )));
    }

    /// How a run ends that is being stopped is decided already.
    pub(super) fn tell_unless_end(
        &mut self,
        progress: RunProgress,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        if !matches!(
            progress,
            RunProgress::WorkflowComplete { .. } | RunProgress::WorkflowError { .. }
        ) {
            self.act(Effect::Tell(progress, permit));
        }
    }

    pub(super) fn thread_ended(
        &mut self,
        run: &RunId,
        exit: &ThreadExit,
        files: Files,
        execution: Box<Execution>,
        stop: Option<Stop>,
        next: Next,
    ) -> State {
        if let Err(violation) = execution.conversation.is_about(run) {
            return self.violated(violation.to_string(), Some(execution), stop);
        }
        self.end(execution.failure(stop, exit::of_thread(exit)));
        // The next run must not find what this one wrote or changed.
        let reusable = !exit.tainted && files == Files::None;
        let run = run.clone();
        self.act(Effect::Report(ChildUpdate::Idle { run, reusable }));
        match next {
            Next::Idle => State::Idle,
            Next::Retire => self.retire(),
        }
    }

    /// The run's command could not be written. The process has not heard of the run, if that was its first.
    pub(super) fn unsendable(
        &mut self,
        why: &EncodeError,
        execution: Box<Execution>,
        stop: Option<Stop>,
        next: Next,
        state: StateKind,
    ) -> State {
        let why = why.to_string();
        if execution.conversation.may_begin() {
            return self.kill(why, Some(execution), stop);
        }
        let run = execution.run().clone();
        self.end(Some(EngineFailure::Unavailable(why)));
        self.act(Effect::Report(ChildUpdate::Idle {
            run,
            reusable: true,
        }));
        match (state, next) {
            (StateKind::Handshake, next) => State::Handshake {
                execution: None,
                next,
            },
            (_, Next::Idle) => State::Idle,
            (_, Next::Retire) => self.retire(),
        }
    }

    /// The run's last words: why it failed, if the worker has to say so, and that it has ended.
    pub(super) fn end(&mut self, failure: Option<EngineFailure>) {
        if let Some(failure) = failure {
            let error = failure.into();
            self.act(Effect::Tell(RunProgress::WorkflowError { error }, None));
        }
        self.act(Effect::Tell(RunProgress::Ended, None));
        self.act(Effect::Dismiss);
    }

    pub(super) fn retire(&mut self) -> State {
        self.act(Effect::Send(Order::Shutdown));
        self.act(Effect::Arm(Timer::Shutdown, DEAF));
        State::Retiring
    }

    /// Kills the process; its run ends when it is dead.
    pub(super) fn kill(
        &mut self,
        why: String,
        execution: Option<Box<Execution>>,
        stop: Option<Stop>,
    ) -> State {
        self.act(Effect::Kill(why.clone()));
        State::Dying {
            why,
            last: execution.map(|execution| (execution, stop)),
        }
    }

    /// The process cannot be trusted any more: its run ends here and now.
    pub(super) fn violated(
        &mut self,
        what: String,
        execution: Option<Box<Execution>>,
        stop: Option<Stop>,
    ) -> State {
        let run = execution.as_ref().map(|execution| execution.run().clone());
        self.act(Effect::Complain {
            event: &table::ENGINE_CHILD_ODD,
            run,
            what: what.clone(),
        });
        if let Some(execution) = execution {
            self.end(execution.failure(stop, EngineFailure::ProtocolBroken(what.clone())));
        }
        self.kill(what, None, None)
    }
}

/// What a process may not say while it executes a run, if this is such a thing.
pub(super) fn breach(event: Event, execution: &mut Execution) -> Option<String> {
    match event {
        Event::Said(ChildEvent::Warmed, _) if execution.crossings < MOST_CROSSINGS => {
            // It crossed the run on its way. A job that goes on with it would keep the worker busy.
            execution.crossings += 1;
            None
        }
        Event::Said(ChildEvent::Warmed, _) => Some(broke("it speaks of its spare during a run")),
        Event::Said(ChildEvent::Ready { .. }, _) => Some(broke("a second or unknown handshake")),
        Event::Said(ChildEvent::ProtocolError { message }, _) => Some(refuses(&message)),
        Event::Broke(what) | Event::Elapsed(Timer::Closed(what)) => Some(broke(&what)),
        _ => None,
    }
}

pub(super) fn broke(what: &str) -> String {
    format!("the engine child broke the protocol: {what}")
}

pub(super) fn refuses(message: &str) -> String {
    format!("the engine child refuses a command: {message}")
}
