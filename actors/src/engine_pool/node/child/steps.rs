//! What an engine child does in more than one state.

use log_events::table;
use protocol::engine::{ChildEvent, EncodeError, EngineFailure, RunExit, RunProgress};
use protocol::ids::RunId;
use protocol::size::Mebibytes;
use tokio::sync::OwnedSemaphorePermit;

use super::execution::{Execution, Memory, Stop};
use super::exit;
use super::machine::{DEAF, Effect, Event, MOST_CROSSINGS, Machine, Order, State, Timer, WATCH};
use super::messages::ChildUpdate;
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

    /// Ends the run with its process. What it has said until then is still told, but not how it ended.
    pub(super) fn stop(&mut self, execution: Box<Execution>, stop: Stop) -> State {
        // What it has said may wait for the outbox, and be read only then.
        self.act(Effect::CloseBudget);
        let why = match stop {
            Stop::TimedOut => "its run's time was over",
            Stop::Asked | Stop::OverMemory | Stop::OverFiles => "its run was stopped",
        };
        self.kill(why.to_owned(), Some(execution), Some(stop))
    }

    pub(super) fn measured(
        &mut self,
        run: RunId,
        resident: u64,
        mut execution: Box<Execution>,
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
        State::Busy(execution)
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

    pub(super) fn run_ended(
        &mut self,
        run: RunId,
        exit: RunExit,
        execution: Box<Execution>,
    ) -> State {
        if let Err(violation) = execution.conversation.is_about(&run) {
            return self.violated(violation.to_string(), Some(execution), None);
        }
        self.end(execution.failure(None, exit::of_run(exit)));
        let later = exit.later;
        self.act(Effect::Report(ChildUpdate::Ended { run, later }));
        self.kill("its run has ended".to_owned(), None, None)
    }

    /// The run's command could not be written, or the next one.
    pub(super) fn unsendable(&mut self, why: &EncodeError, execution: Box<Execution>) -> State {
        let why = why.to_string();
        if execution.conversation.may_begin() {
            return self.kill(why, Some(execution), None);
        }
        let run = execution.run().clone();
        self.end(Some(EngineFailure::Unavailable(why.clone())));
        self.act(Effect::Report(ChildUpdate::Ended { run, later: 0 }));
        self.kill(why, None, None)
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
        Event::Said(ChildEvent::Preloaded, _) if execution.crossings < MOST_CROSSINGS => {
            // It crossed the run on its way. A job that goes on with it would keep the worker busy.
            execution.crossings += 1;
            None
        }
        Event::Said(ChildEvent::Preloaded, _) => Some(broke("it preloads during a run")),
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
