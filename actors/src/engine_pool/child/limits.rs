//! What stops a run: its time, its memory, a request.

use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use protocol::engine::Command;
use protocol::ids::RunId;

use super::busy::Stop;
use super::{EngineChild, OVERSTAY, State, UNSTOPPED, WATCH};
use crate::engine_pool::memory::{self, Verdict};

impl EngineChild {
    /// Looks at the size of the process while it executes this run.
    pub(super) fn watch(&mut self, run: RunId, ctx: &mut Context<Self>) {
        let Some(process) = &mut self.process else {
            return;
        };
        let State::Busy(busy) = &mut self.state else {
            return;
        };
        if *busy.conversation.run() != run || busy.conversation.is_over() || busy.stop != Stop::No {
            return;
        }
        let limit_mb = busy.execution.options.memory_limit_mb;
        let resident = process.control.resident().unwrap_or_default();
        match memory::judge(resident, busy.resident, limit_mb) {
            Verdict::Over => {
                busy.stop = Stop::OverMemory;
                log::warn!(run_id = run.as_str(); "run {run} uses {} MiB: killing its engine child", resident >> 20);
                // Not by a cancel: a thread that allocates outside the heap may not end in time.
                process.control.kill();
                return;
            }
            Verdict::Near if !busy.warned => {
                busy.warned = true;
                busy.warn(&memory::near_line(limit_mb));
            }
            Verdict::Near | Verdict::Fine => {}
        }
        ctx.run_later(WATCH, move |this, ctx| this.watch(run, ctx));
    }

    /// Kills the child unless the thread of its run, which is over, ends soon.
    pub(super) fn expect_the_end_of(run: RunId, ctx: &mut Context<Self>) {
        ctx.run_later(OVERSTAY, move |this, _| {
            if matches!(&this.state, State::Busy(busy) if *busy.conversation.run() == run) {
                this.kill("the thread of a run that was over did not end".to_owned());
            }
        });
    }

    /// Tells the run that its time is nearly over.
    pub(super) fn warn_of_time(&self, run: &RunId, timeout: Duration) {
        if let State::Busy(busy) = &self.state
            && busy.conversation.run() == run
            && !busy.conversation.is_over()
            && busy.stop == Stop::No
        {
            let seconds = protocol::js::number(timeout.as_secs_f64());
            busy.warn(&format!(
                "This run has used 90% of its time limit of {seconds}s"
            ));
        }
    }

    pub(super) fn stop_run(&mut self, run: &RunId, stop: Stop, ctx: &mut Context<Self>) {
        let State::Busy(busy) = &mut self.state else {
            return;
        };
        if busy.conversation.run() != run || busy.conversation.is_over() || busy.stop != Stop::No {
            return;
        }
        busy.stop = stop;
        // A thread that waits in a write cannot end: from here on nothing of it waits for the outbox.
        busy.execution.budget.close();
        if let Err(error) = self.send(&Command::Cancel { run }, &Bytes::new()) {
            self.kill(error);
            return;
        }
        let run = run.clone();
        ctx.run_later(UNSTOPPED, move |this, _| {
            if matches!(&this.state, State::Busy(busy) if *busy.conversation.run() == run) {
                this.kill("it did not end a thread in time".to_owned());
            }
        });
    }
}
