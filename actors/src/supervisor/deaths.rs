//! What follows the death of a child.

use std::time::{Duration, Instant};

use actix::prelude::*;
use log_events::{event, millis, table};
use protocol::ids::{RunId, WorkloopId};
use protocol::words::Word as _;

use super::child::ActorEnd;
use super::messages::Exit;
use super::{State, Supervisor, start_engine};
use crate::engine_pool::{EnginePool, StopJob};
use crate::events::{End, EngineLost, RunEnded, Unreported};
use crate::metrics::WatchedActor;
use crate::run::Origin;
use crate::tell::Tell as _;
use crate::workloop;

impl Supervisor {
    /// Whether a child that died may be started again, and after which wait; ends the worker if not.
    pub(super) fn death(
        &mut self,
        actor: WatchedActor,
        what: &str,
        run: Option<&RunId>,
        ended: &ActorEnd,
        wait: Option<Duration>,
        ctx: &mut Context<Self>,
    ) -> Option<Duration> {
        if self.state == State::Stopped {
            return None;
        }
        self.config.metrics.restarted(actor);
        let run = run.map(RunId::as_str);
        let how = match ended {
            ActorEnd::Stopped => "stopped unexpectedly".to_owned(),
            ActorEnd::Panicked(text) => format!("panicked: {text}"),
            ActorEnd::Killed => "was killed".to_owned(),
        };
        if let Some(wait) = wait {
            event!(table::WORKER_ACTOR_DIED, actor = actor.word(), run_id = run, error = how, retry_ms = millis(wait); "{what} {how}; restarting it in {} ms", wait.as_millis());
        } else {
            event!(table::WORKER_ACTOR_GIVEN_UP, actor = actor.word(), run_id = run, error = how; "{what} {how}; it died too often to be restarted");
            let why = format!("{what} died too often, last: it {how}");
            self.give_up(Exit::GaveUp(why), ctx);
        }
        wait
    }

    pub(super) fn engine_ended(&mut self, ended: &ActorEnd, ctx: &mut Context<Self>) {
        let wait = self.engine_intensity.died(Instant::now());
        let Some(wait) = self.death(
            WatchedActor::EnginePool,
            "the engine pool",
            None,
            ended,
            wait,
            ctx,
        ) else {
            self.tell_engine_lost();
            return;
        };
        ctx.run_later(wait, |this, ctx| {
            this.engine = start_engine(EnginePool::new(&this.config), ctx);
            this.tell_engine_lost();
        });
    }

    fn tell_engine_lost(&self) {
        for run in self.runs.values() {
            run.address.tell(EngineLost {
                engine: self.engine.clone(),
            });
        }
    }

    pub(super) fn workloop_ended(
        &mut self,
        id: &WorkloopId,
        ended: &ActorEnd,
        ctx: &mut Context<Self>,
    ) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let wait = group.intensity.died(Instant::now());
        let what = format!("workloop {id}");
        let Some(wait) = self.death(WatchedActor::Workloop, &what, None, ended, wait, ctx) else {
            if let Some(group) = self.groups.get_mut(id) {
                group.drained = true;
            }
            self.finish_if_drained(ctx);
            return;
        };
        let id = id.clone();
        ctx.run_later(wait, move |this, ctx| {
            let Some(address) = this.start_workloop(&id, ctx) else {
                return;
            };
            if matches!(this.state, State::Draining { .. }) {
                address.tell(workloop::Drain);
            }
            if let Some(group) = this.groups.get_mut(&id) {
                group.address = address;
            }
        });
    }

    pub(super) fn run_actor_ended(
        &mut self,
        id: &RunId,
        ended: &ActorEnd,
        ctx: &mut Context<Self>,
    ) {
        // A run that ended in order has said so before its actor stopped, and is not in the list any more.
        let Some(run) = self.runs.get(id) else { return };
        let (claimed, workloop, origin) = (run.claimed.clone(), run.workloop.clone(), run.origin);
        self.engine.tell(StopJob { run_id: id.clone() });
        let wait = self.run_intensity.died(Instant::now());
        let what = format!("the actor of run {id}");
        let restart = self
            .death(WatchedActor::Run, &what, Some(id), ended, wait, ctx)
            .is_some();
        if restart && origin == Origin::Claimed {
            // At once: the slot stays taken, and Lightning hears of it as soon as it can.
            self.start_run(claimed, workloop, Origin::Successor, ctx);
            return;
        }
        let why = if restart {
            "its successor died as well"
        } else {
            "it died too often"
        };
        event!(table::RUN_LOST, run_id = id.as_str(), workloop = workloop.as_str(), cause = "actor_died"; "run {id} is given up unreported: {why}");
        ctx.notify(RunEnded {
            run_id: id.clone(),
            end: End::Unreported(Unreported::GivenUp),
        });
    }
}
