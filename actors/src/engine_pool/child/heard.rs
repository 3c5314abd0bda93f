//! What the process says: checked, and passed on to the run.

use actix::prelude::*;
use protocol::engine::{ChildEvent, Frame, RunProgress};
use protocol::ids::RunId;
use tokio::sync::OwnedSemaphorePermit;

use super::busy::Stop;
use super::messages::ChildUpdate;
use super::{EngineChild, OLDEST_NODE, State, is_new_enough};

/// More than a child can have said before it read of its run.
const MOST_CROSSINGS: u32 = 8;

impl EngineChild {
    pub(super) fn heard(
        &mut self,
        frame: &Frame,
        permit: Option<OwnedSemaphorePermit>,
        ctx: &mut Context<Self>,
    ) {
        match ChildEvent::from_frame(frame) {
            Err(error) => self.broke_protocol(&error.to_string()),
            Ok(ChildEvent::ProtocolError { message }) => {
                self.violated(format!("the engine child refuses a command: {message}"));
            }
            Ok(ChildEvent::Ready {
                protocol,
                node,
                runtime,
            }) => {
                if protocol != 1 || self.is_ready {
                    self.violated(
                        "the engine child broke the protocol: a second or unknown handshake"
                            .to_owned(),
                    );
                    return;
                }
                if !is_new_enough(&node) {
                    self.kill(format!(
                        "Node {node} is too old: {OLDEST_NODE} or newer is needed"
                    ));
                    return;
                }
                self.is_ready = true;
                self.metrics.child_spawned(self.born.elapsed());
                if matches!(self.state, State::Spawning) {
                    self.state = State::Idle;
                }
                self.tell_pool(ChildUpdate::Ready {
                    pid: self.pid(),
                    node,
                    runtime,
                });
            }
            Ok(ChildEvent::Warmed) => self.warmed(),
            Ok(ChildEvent::Run { run, event }) => {
                self.progressed(&run, event, permit, ctx);
            }
            Ok(ChildEvent::Exit { run, exit }) => self.thread_ended(&run, exit, ctx),
        }
    }

    fn warmed(&mut self) {
        match &mut self.state {
            State::Idle => self.tell_pool(ChildUpdate::Warmed),
            // It crossed the run on its way. A job that goes on with it would keep the worker busy.
            State::Busy(busy) if busy.crossings < MOST_CROSSINGS => busy.crossings += 1,
            State::Busy(_) => self.broke_protocol("it speaks of its spare during a run"),
            State::Spawning | State::Dying => {}
        }
    }

    /// Whether the child executes a run; one that speaks of a run without one is killed.
    fn is_busy(&mut self, run: &RunId) -> bool {
        if matches!(self.state, State::Spawning | State::Idle) {
            self.violated(format!(
                "the engine child broke the protocol: it speaks of run {run} without one"
            ));
        }
        matches!(self.state, State::Busy(_))
    }

    /// Whether this is the run that the child executes; one that speaks of another is killed.
    pub(super) fn speaks_of(&mut self, run: &RunId) -> bool {
        if !self.is_busy(run) {
            return false;
        }
        let State::Busy(busy) = &self.state else {
            return false;
        };
        if let Err(violation) = busy.conversation.is_about(run) {
            self.violated(violation.to_string());
            return false;
        }
        true
    }

    pub(super) fn progressed(
        &mut self,
        run: &RunId,
        event: RunProgress,
        permit: Option<OwnedSemaphorePermit>,
        ctx: &mut Context<Self>,
    ) {
        if !self.is_busy(run) {
            return;
        }
        let State::Busy(busy) = &mut self.state else {
            return;
        };
        if let Err(violation) = busy.conversation.hear(run, &event) {
            self.violated(violation.to_string());
            return;
        }
        if let RunProgress::WorkflowStart { warm, .. } = &event {
            self.metrics.run_loaded(*warm, busy.begun.elapsed());
            // No other child can have the run any more, so none needs its input, which may have megabytes.
            busy.execution.input = bytes::Bytes::new();
        }
        // After a stop was asked for, how the run ends is decided.
        let ends = matches!(
            event,
            RunProgress::WorkflowComplete { .. } | RunProgress::WorkflowError { .. }
        );
        if busy.stop == Stop::No || !ends {
            busy.tell(event, permit);
        }
        if ends {
            Self::expect_the_end_of(busy.execution.run_id.clone(), ctx);
        }
    }
}
