//! How a run ends on this child, and how the child itself does.

use actix::prelude::*;
use bytes::Bytes;
use protocol::engine::{Command, EngineFailure, ExitCause, ThreadExit};
use protocol::ids::RunId;

use super::busy::Stop;
use super::messages::ChildUpdate;
use super::{DEAF, EngineChild, State};
use crate::engine_pool::process::Process;

impl EngineChild {
    pub(super) fn thread_ended(&mut self, run: &RunId, exit: ThreadExit, ctx: &mut Context<Self>) {
        if !self.speaks_of(run) {
            return;
        }
        let ThreadExit {
            cause,
            code,
            message,
            tainted,
        } = exit;
        let State::Busy(mut busy) = std::mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        match (busy.stop, cause) {
            (Stop::TimedOut, _) => busy.timed_out(),
            (Stop::OverMemory, _) => busy.out_of_memory(),
            _ if busy.conversation.is_over() => {}
            (Stop::Asked, _) => {}
            (Stop::No, ExitCause::Oom) => {
                busy.out_of_memory();
            }
            (Stop::No, ExitCause::Error) => {
                let message = message.unwrap_or_else(|| "the engine thread failed".to_owned());
                busy.fail(EngineFailure::Internal(message));
            }
            (Stop::No, ExitCause::Exit | ExitCause::Cancelled | ExitCause::Done) => {
                let code = code.unwrap_or_default();
                busy.fail(EngineFailure::ThreadExited { code });
            }
        }
        let run = busy.execution.run_id.clone();
        drop(busy);
        self.run_ended(run, tainted, ctx);
    }

    pub(super) fn run_ended(&mut self, run: RunId, tainted: bool, ctx: &mut Context<Self>) {
        self.guest.borrow_mut().allowance = None;
        // The next run must not find what this one wrote or changed.
        let left_nothing = |process: &Process| !tainted && !process.control.has_files();
        let reusable = self.process.as_ref().is_some_and(left_nothing);
        self.tell_pool(ChildUpdate::Idle { run, reusable });
        if self.retiring {
            self.retire(ctx);
        }
    }

    /// One of the sockets has ended. Both do when the process ends, which then says how; one that lives on has closed it.
    pub(super) fn closed(&mut self, what: String, ctx: &mut Context<Self>) {
        // The next run would find a child that is about to be killed.
        self.retiring = true;
        ctx.run_later(DEAF, move |this, _| {
            if this.exited.is_none() {
                this.broke_protocol(&what);
            }
        });
    }

    pub(super) fn broke_protocol(&mut self, what: &str) {
        self.violated(format!("the engine child broke the protocol: {what}"));
    }

    pub(super) fn violated(&mut self, what: String) {
        if !self.why.is_empty() {
            // It is being killed already: what it says meanwhile is of no interest.
            return;
        }
        log::error!(run_id = self.run(); "engine child {}: {what}", self.pid());
        if let State::Busy(mut busy) = std::mem::replace(&mut self.state, State::Dying) {
            if !busy.conversation.is_over() && busy.stop == Stop::No {
                busy.fail(EngineFailure::ProtocolBroken(what.clone()));
            } else if busy.stop == Stop::TimedOut {
                busy.timed_out();
            } else if busy.stop == Stop::OverMemory {
                busy.out_of_memory();
            }
            self.guest.borrow_mut().allowance = None;
        }
        self.kill(what);
    }

    pub(super) fn retire(&mut self, ctx: &mut Context<Self>) {
        self.retiring = true;
        if matches!(self.state, State::Busy(_)) {
            return;
        }
        if self.send(&Command::Shutdown, &Bytes::new()).is_err() {
            self.kill("it is not needed any more".to_owned());
        }
        ctx.run_later(DEAF, |this, _| {
            this.kill("it did not shut down in time".to_owned());
        });
    }

    pub(super) fn gone(&mut self) {
        let status = self.exited.flatten();
        let stderr = self
            .process
            .as_ref()
            .map(Process::stderr)
            .unwrap_or_default();
        let killed_for_memory = self
            .process
            .as_ref()
            .is_some_and(|process| process.control.was_killed_for_memory());
        let how = status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string());
        if let State::Busy(mut busy) = std::mem::replace(&mut self.state, State::Dying) {
            log::error!(run_id = busy.execution.run_id.as_str(); "engine child {} died during run {}: {how}", self.pid(), busy.execution.run_id);
            match busy.stop {
                // It may have been dead before the run came: another child can have it.
                Stop::No if busy.conversation.is_untouched() => {
                    let execution = busy.hand_back();
                    self.tell_pool(ChildUpdate::Declined(Box::new(execution)));
                }
                Stop::TimedOut => busy.timed_out(),
                Stop::OverMemory => busy.out_of_memory(),
                Stop::Asked => {}
                Stop::No if busy.conversation.is_over() => {}
                Stop::No if killed_for_memory || stderr.contains("heap out of memory") => {
                    busy.out_of_memory();
                }
                Stop::No => {
                    let code = status.and_then(|status| status.code());
                    busy.fail(EngineFailure::ProcessExited { code });
                }
            }
            self.guest.borrow_mut().allowance = None;
        }
        let mut why = std::mem::take(&mut self.why);
        if why.is_empty() {
            why = format!("it ended with {how}");
        }
        if let Some(line) = stderr.lines().find(|line| !line.trim().is_empty()) {
            why = format!("{why}; its stderr begins: {line}");
        }
        self.why = why;
        self.tell_pool(ChildUpdate::Dead);
    }
}
