//! What the supervisor does with each message of its children and of `src/`.

use actix::prelude::*;
use protocol::ids::{RunId, WorkloopId};
use protocol::reasons::ExitReason;

use super::Supervisor;
use super::messages::{
    CancelRun, ClaimEverywhere, ClaimOutcome, Drain, Exit, StartRun, StopNow, TokenRefused,
    WorkloopDrained,
};
use crate::engine_pool::EngineFailed;
use crate::events::RunEnded;
use crate::metrics::UNREPORTED;
use crate::run::{Origin, StopRun};
use crate::workloop::{ClaimNow, SlotFreed};

impl Handler<StartRun> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: StartRun, ctx: &mut Self::Context) {
        if let Some(run) = self.runs.get(&message.run.id) {
            log::warn!(run_id = message.run.id.as_str(); "Lightning handed run {} out again while it is in hand", message.run.id);
            // A group that has it in hand keeps its own second claim.
            if run.workloop != message.workloop {
                let id = message.run.id.clone();
                let again = (message.run, message.workloop);
                if let Some((run, group)) = self.again.insert(id, again) {
                    self.slot_freed(run.id, &group, false);
                }
            }
            return;
        }
        self.start_run(message.run, message.workloop, Origin::Claimed, ctx);
    }
}

impl Supervisor {
    fn slot_freed(&self, run_id: RunId, group: &WorkloopId, taken_away: bool) {
        if let Some(group) = self.groups.get(group) {
            group.address.do_send(SlotFreed { run_id, taken_away });
        }
    }
}

impl Handler<RunEnded> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: RunEnded, ctx: &mut Self::Context) {
        let Some(run) = self.runs.remove(&message.run_id) else {
            return;
        };
        let reason = message.reason.map_or(UNREPORTED, ExitReason::as_str);
        self.config
            .metrics
            .run_ended(&message.workloop, reason, run.since.elapsed());
        let RunEnded {
            run_id, taken_away, ..
        } = message;
        self.slot_freed(run_id.clone(), &message.workloop, taken_away);
        match self.again.remove(&run_id) {
            Some((run, group)) if taken_away => self.start_run(run, group, Origin::Claimed, ctx),
            Some((run, group)) => self.slot_freed(run.id, &group, false),
            None => {}
        }
        self.finish_if_drained(ctx);
    }
}

impl Handler<TokenRefused> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: TokenRefused, ctx: &mut Self::Context) {
        log::error!(
            run_id = message.run_id.as_str();
            "Error validating run token of run {}: {}; check WORKER_LIGHTNING_PUBLIC_KEY. The worker takes no more work",
            message.run_id,
            message.why
        );
        self.drain(Exit::BadToken, ctx);
    }
}

impl Handler<WorkloopDrained> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: WorkloopDrained, ctx: &mut Self::Context) {
        if let Some(group) = self.groups.get_mut(&message.workloop) {
            group.drained = true;
        }
        self.finish_if_drained(ctx);
    }
}

impl Handler<EngineFailed> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: EngineFailed, ctx: &mut Self::Context) {
        log::error!("the engine cannot be started: {}", message.why);
        // Runs are claimed while the engine still starts.
        self.give_up(Exit::EngineUnavailable(message.why), ctx);
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
                run.address.do_send(StopRun::Cancel);
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
