//! How the worker ends: drained, stopped, or given up.

use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;

use super::messages::Exit;
use super::{State, Supervisor};
use crate::engine_pool::StopEngine;
use crate::lightning::Disconnect;
use crate::run::StopRun;
use crate::workloop;

/// How long a run may take to report its end after it was told to stop for good.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

impl Supervisor {
    pub(super) fn drain(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        if self.state != State::Running {
            return;
        }
        log::info!("draining: {} runs in hand", self.runs.len());
        self.state = State::Draining {
            exit,
            stopping: false,
        };
        for group in self.groups.values() {
            group.address.do_send(workloop::Drain);
        }
        if let Some(grace) = self.config.shutdown_grace {
            ctx.run_later(grace, |this, ctx| {
                if !this.runs.is_empty() {
                    log::warn!(
                        "{} runs are still in hand after the shutdown grace; ending them",
                        this.runs.len()
                    );
                }
                this.stop_runs(ctx);
            });
        }
        self.finish_if_drained(ctx);
    }

    /// The worker cannot go on: it ends, but not before the runs in hand had a chance to say how they end.
    pub(super) fn give_up(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        if let State::Draining { exit: planned, .. } = &mut self.state {
            *planned = exit;
        } else {
            self.drain(exit, ctx);
        }
        self.stop_runs(ctx);
    }

    /// Ends the runs in hand; those that cannot be reported in time are named.
    pub(super) fn stop_runs(&mut self, ctx: &mut Context<Self>) {
        if let State::Draining { stopping, .. } = &mut self.state {
            *stopping = true;
        }
        for run in self.runs.values() {
            run.address.do_send(StopRun::Shutdown);
        }
        ctx.run_later(STOP_PATIENCE, |this, _| {
            let exit = match &this.state {
                State::Draining { exit, .. } => exit.clone(),
                State::Running | State::Stopped => return,
            };
            for id in this.runs.keys() {
                log::error!(run_id = id.as_str(); "run {id} is left unreported: Lightning could not be told in time");
            }
            this.finish(exit);
        });
    }

    pub(super) fn finish_if_drained(&mut self, ctx: &mut Context<Self>) {
        let State::Draining { exit, .. } = &self.state else {
            return;
        };
        if !self.runs.is_empty() || !self.groups.values().all(|group| group.drained) {
            return;
        }
        let exit = exit.clone();
        self.state = State::Stopped;
        let left = join_all(self.connections.all().map(|each| each.send(Disconnect)));
        let engine = self.engine.clone();
        let ending = async move {
            let left = left.await;
            let stopped = engine.send(StopEngine).await;
            if left.iter().any(Result::is_err) || stopped.is_err() {
                log::debug!("a connection or the engine had ended before it was asked to");
            }
        };
        ctx.spawn(
            ending
                .into_actor(self)
                .map(move |(), this, _| this.finish(exit)),
        );
    }

    pub(super) fn finish(&mut self, exit: Exit) {
        self.state = State::Stopped;
        self.exit.send_if_modified(|slot| {
            let first = slot.is_none();
            if first {
                *slot = Some(exit);
            }
            first
        });
    }
}
