//! What the supervisor does with each message of its children and of `src/`.

use actix::prelude::*;
use log_events::{event, table};
use protocol::ids::{RunId, WorkloopId};
use protocol::lightning::ClaimedRun;

use super::messages::{CancelRun, ClaimEverywhere, ClaimOutcome, Drain, Exit, StopNow};
use super::{State, Supervisor};
use crate::engine_pool::EngineFailed;
use crate::events::RunEnded;
use crate::metrics::UNREPORTED;
use crate::run::{Origin, StopRun};
use crate::tell::Tell as _;
use crate::traces::Moment;
use crate::workloop::{ClaimNow, SlotFreed, WorkloopEvent};

impl Handler<WorkloopEvent> for Supervisor {
    type Result = ();

    fn handle(&mut self, event: WorkloopEvent, ctx: &mut Self::Context) {
        match event {
            WorkloopEvent::Claimed { run, workloop } => self.run_claimed(run, workloop, ctx),
            WorkloopEvent::TokenRefused { run_id, why } => {
                event!(
                    table::RUN_TOKEN_INVALID, run_id = run_id.as_str(), error:% = why;
                    "Error validating run token of run {run_id}: {why}; check WORKER_LIGHTNING_PUBLIC_KEY. The worker takes no more work"
                );
                self.drain(Exit::BadToken, ctx);
            }
            WorkloopEvent::Drained { workloop } => {
                if let Some(group) = self.groups.get_mut(&workloop) {
                    group.drained = true;
                }
                self.finish_if_drained(ctx);
            }
        }
    }
}

impl Supervisor {
    fn run_claimed(&mut self, run: ClaimedRun, workloop: WorkloopId, ctx: &mut Context<Self>) {
        if self.state == State::Stopped {
            event!(table::RUN_LOST, run_id = run.id.as_str(), workloop = workloop.as_str(), cause = "after_the_end"; "run {} was handed out after the worker had ended: Lightning counts it as lost", run.id);
            self.config
                .traces
                .note(&run.id, || Moment::Ended { reason: UNREPORTED });
            return;
        }
        let Some(in_hand) = self.runs.get(&run.id) else {
            self.start_run(run, workloop, Origin::Claimed, ctx);
            return;
        };
        event!(table::RUN_CLAIMED_AGAIN, run_id = run.id.as_str(), workloop = workloop.as_str(); "Lightning handed run {} out again while it is in hand", run.id);
        // A group that has it in hand keeps its own second claim.
        if in_hand.workloop != workloop
            && let Some((run, group)) = self.again.insert(run.id.clone(), (run, workloop))
        {
            self.slot_freed(run.id, &group, false);
        }
    }

    fn slot_freed(&self, run_id: RunId, group: &WorkloopId, taken_away: bool) {
        if let Some(group) = self.groups.get(group) {
            group.address.tell(SlotFreed { run_id, taken_away });
        }
    }
}

impl Handler<RunEnded> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: RunEnded, ctx: &mut Self::Context) {
        let Some(run) = self.runs.remove(&message.run_id) else {
            return;
        };
        let RunEnded { run_id, end } = message;
        self.config
            .metrics
            .run_ended(&run.workloop, end.word(), run.since.elapsed());
        let reason = end.word();
        self.config
            .traces
            .note(&run_id, || Moment::Ended { reason });
        let taken_away = end.is_taken_away();
        self.slot_freed(run_id.clone(), &run.workloop, taken_away);
        match self.again.remove(&run_id) {
            Some((run, group)) if taken_away => self.start_run(run, group, Origin::Claimed, ctx),
            Some((run, group)) => self.slot_freed(run.id, &group, false),
            None => {}
        }
        self.finish_if_drained(ctx);
    }
}

impl Handler<EngineFailed> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: EngineFailed, ctx: &mut Self::Context) {
        event!(table::ENGINE_UNAVAILABLE, error:% = message.why; "the engine cannot be started: {}", message.why);
        // Runs are claimed while the engine still starts.
        self.give_up(Exit::EngineUnavailable(message.why.to_string()), ctx);
    }
}

impl Handler<Drain> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.drain(Exit::Drained, ctx);
    }
}

impl Handler<StopNow> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: StopNow, ctx: &mut Self::Context) {
        self.drain(Exit::Drained, ctx);
        self.stop_runs(ctx);
    }
}

impl Handler<CancelRun> for Supervisor {
    type Result = bool;

    fn handle(&mut self, message: CancelRun, _: &mut Self::Context) -> Self::Result {
        match self.runs.get(&message.run_id) {
            Some(run) => {
                run.address.tell(StopRun::Cancel);
                true
            }
            None => false,
        }
    }
}

impl Handler<ClaimEverywhere> for Supervisor {
    type Result = ResponseFuture<ClaimOutcome>;

    fn handle(&mut self, _: ClaimEverywhere, _: &mut Self::Context) -> Self::Result {
        let claims: Vec<_> = self
            .groups
            .values()
            .map(|group| Box::pin(group.address.send(ClaimNow)))
            .collect();
        // Answered as soon as one group got a run (protocol spec, section 9.1).
        Box::pin(async move {
            let mut left = claims;
            while !left.is_empty() {
                let (claimed, _, rest) = futures_util::future::select_all(left).await;
                if claimed.unwrap_or(false) {
                    // Dropping a claim that was sent does not withdraw it: its runs are executed.
                    return ClaimOutcome::Claimed;
                }
                left = rest;
            }
            ClaimOutcome::Nothing
        })
    }
}
