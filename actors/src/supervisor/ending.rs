//! How the worker ends: drained, stopped, or given up.

use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::future::join_all;
use log_events::{event, table};

use super::messages::Exit;
use super::patience::{DrainStep, Patience};
use super::status::STATUS_PATIENCE;
use super::{State, Supervisor};
use crate::config::ShutdownGrace;
use crate::engine_pool::StopEngine;
use crate::lightning::{Disconnect, GetConnectionStatus};
use crate::metrics::UNREPORTED;
use crate::run::{GetRunStatus, StopRun};
use crate::tell::Tell as _;
use crate::traces::Moment;
use crate::workloop;

/// How long a run may take to report its end after it was told to stop for good.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How often a drain is looked after.
const LOOK: Duration = Duration::from_secs(1);

impl Supervisor {
    pub(super) fn drain(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        if self.state != State::Running {
            return;
        }
        event!(table::WORKER_DRAINING, runs = self.runs.len(); "draining: {} runs in hand", self.runs.len());
        self.state = State::Draining {
            exit,
            stopping: false,
        };
        for group in self.groups.values() {
            group.address.tell(workloop::Drain);
        }
        if let ShutdownGrace::After(grace) = self.config.shutdown_grace {
            ctx.run_later(grace, |this, ctx| {
                if !this.runs.is_empty() {
                    event!(
                        table::WORKER_DRAIN_FORCED, runs = this.runs.len(), cause = "grace";
                        "{} runs are still in hand after the shutdown grace; ending them",
                        this.runs.len()
                    );
                }
                this.stop_runs(ctx);
            });
        }
        self.finish_if_drained(ctx);
        self.watch(
            Patience::new(self.config.shutdown_grace, Instant::now()),
            ctx,
        );
    }

    /// Looks after a drain until it is over: says who is waited for, and gives up on a Lightning that stays away.
    fn watch(&self, mut patience: Patience, ctx: &mut Context<Self>) {
        let connection = self
            .connections
            .with_queue()
            .send(GetConnectionStatus)
            .timeout(STATUS_PATIENCE);
        let runs = join_all(
            self.runs
                .values()
                .map(|run| run.address.send(GetRunStatus).timeout(STATUS_PATIENCE)),
        );
        let looking = async move { (connection.await.ok(), runs.await) };
        let looked = looking.into_actor(self).map(move |(connection, runs), this, ctx| {
            if !matches!(this.state, State::Draining { stopping: false, .. }) {
                return;
            }
            let now = Instant::now();
            let reachable = connection.as_ref().is_some_and(|found| found.queue_joined);
            match patience.look(now, reachable) {
                DrainStep::Wait => {}
                DrainStep::Tell => {
                    let runs: Vec<_> = runs.into_iter().flatten().collect();
                    let claiming = this.groups.values().filter(|group| !group.drained).count();
                    let line = patience.waiting_for(now, &runs, claiming, connection.as_ref());
                    if patience.is_away() {
                        event!(table::WORKER_DRAIN_BLOCKED, runs = this.runs.len(); "{line}");
                    } else {
                        event!(table::WORKER_DRAIN_WAITS, runs = this.runs.len(); "{line}");
                    }
                }
                DrainStep::GiveUp => {
                    event!(
                        table::WORKER_DRAIN_FORCED, runs = this.runs.len(), cause = "lightning_away";
                        "Lightning stays out of reach while the worker drains: ending the {} runs in hand",
                        this.runs.len()
                    );
                    this.stop_runs(ctx);
                    return;
                }
            }
            ctx.run_later(LOOK, |this, ctx| this.watch(patience, ctx));
        });
        ctx.spawn(looked);
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
            run.address.tell(StopRun::Shutdown);
        }
        ctx.run_later(STOP_PATIENCE, |this, _| {
            let exit = match &this.state {
                State::Draining { exit, .. } => exit.clone(),
                State::Running | State::Stopped => return,
            };
            let exit = match (exit, this.runs.len()) {
                (Exit::Drained, left @ 1..) => Exit::GaveUp(format!(
                    "{left} runs are left unreported: Lightning could not be told in time"
                )),
                (exit, _) => exit,
            };
            for (id, run) in &this.runs {
                event!(table::RUN_LOST, run_id = id.as_str(), workloop = run.workloop.as_str(), cause = "end_of_worker"; "run {id} is left unreported: Lightning could not be told in time");
                this.config
                    .traces
                    .note(id, || Moment::Ended { reason: UNREPORTED });
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
