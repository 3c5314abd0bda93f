//! What the process says: checked, and passed on to the run.

use actix::prelude::*;
use bytes::Bytes;
use protocol::engine::{ChildEvent, Frame, RunProgress};
use protocol::ids::RunId;
use tokio::sync::OwnedSemaphorePermit;

use super::busy::Stop;
use super::messages::{ChildReady, ChildWarmed};
use super::{EngineChild, OLDEST_NODE, State, is_new_enough};
use crate::engine_pool::messages::EngineEventBody;

/// More than a child can have said before it read of its run.
const MOST_CROSSINGS: u32 = 8;

impl EngineChild {
    pub(super) fn heard(
        &mut self,
        frame: &Frame,
        permit: Option<OwnedSemaphorePermit>,
        ctx: &mut Context<Self>,
    ) {
        match ChildEvent::from_header(&frame.header) {
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
                self.owner.ready.do_send(ChildReady {
                    id: self.id,
                    pid: self.pid(),
                    node,
                    runtime,
                });
            }
            Ok(ChildEvent::Warmed) => self.warmed(),
            Ok(ChildEvent::Run { run, event }) => {
                self.progressed(&run, event, frame.body.clone(), permit, ctx);
            }
        }
    }

    fn warmed(&mut self) {
        match &mut self.state {
            State::Idle => self.owner.warmed.do_send(ChildWarmed { id: self.id }),
            // It crossed the run on its way. A job that goes on with it would keep the worker busy.
            State::Busy(busy) if busy.crossings < MOST_CROSSINGS => busy.crossings += 1,
            State::Busy(_) => self.broke_protocol("it speaks of its spare during a run"),
            State::Spawning | State::Dying => {}
        }
    }

    pub(super) fn progressed(
        &mut self,
        run: &RunId,
        event: RunProgress,
        body: Bytes,
        permit: Option<OwnedSemaphorePermit>,
        ctx: &mut Context<Self>,
    ) {
        let State::Busy(busy) = &mut self.state else {
            if !matches!(self.state, State::Dying) {
                self.violated(format!(
                    "the engine child broke the protocol: it speaks of run {run} without one"
                ));
            }
            return;
        };
        if let Err(violation) = busy.conversation.hear(run, &event) {
            self.violated(violation.to_string());
            return;
        }
        if let RunProgress::WorkflowStart { warm, .. } = &event {
            self.metrics.run_loaded(*warm, busy.begun.elapsed());
            // No other child can have the run any more, so none needs its input, which may have megabytes.
            busy.execution.input = Bytes::new();
        }
        if let RunProgress::Exit {
            cause,
            code,
            message,
            tainted,
        } = event
        {
            self.thread_ended(cause, code, message, tainted, ctx);
            return;
        }
        let Some(told) = EngineEventBody::told(event, body) else {
            return;
        };
        // After a stop was asked for, how the run ends is decided.
        let ends = matches!(
            told,
            EngineEventBody::WorkflowComplete { .. } | EngineEventBody::WorkflowError { .. }
        );
        if busy.stop == Stop::No || !ends {
            busy.tell(told, permit);
        }
        if ends {
            Self::expect_the_end_of(busy.execution.run_id.clone(), ctx);
        }
    }
}
