//! The run's channel: joins, rejoins, and what has to be said again after one.

use super::{
    AsyncContext, Context, CredentialId, Deadline, Duration, Fetch, FetchCredential, Instant, Join,
    LinkState, Payload, Phase, Refusal, RefusalMeaning, ReplyStatus, Run, RunEvent, RunJoin,
    Ticket, error_detail, exception,
};
use protocol::backoff::jittered;

/// Crashes of the channel under a repeated request for a credential after which none is made any more.
const MOST_RESTORE_CRASHES: u32 = 3;

/// How long a run that is under suspicion lets others go first, at most.
const LONGEST_TURN: Duration = Duration::from_secs(1);

impl Run {
    pub(super) fn join(&mut self) {
        let ticket = self.ticket();
        let Ok(payload) = serde_json::to_vec(&RunJoin {
            token: self.claimed.token.clone(),
        }) else {
            log::error!(run_id = self.claimed.id.as_str(); "the token of run {} cannot be written as JSON", self.claimed.id);
            return;
        };
        self.link.joining(ticket, Instant::now());
        self.context.connection.do_send(Join {
            topic: self.topic.clone(),
            ticket,
            payload: payload.into(),
        });
        // The plan is asked for in the same flight: the server handles the frames of a socket in order.
        self.ask_for_plan();
    }

    pub(super) fn rejoin(&mut self, ctx: &mut Context<Self>) {
        self.outbox.link_lost();
        self.requests_lost();
        self.rejoin_later(ctx);
    }

    /// Joins on a new socket, at some moment of the `spread` that all its runs have. Which of several runs has the report
    /// over which Lightning closes every socket shows when each is the first to send: the others have theirs answered before.
    pub(super) fn join_in_turn(&mut self, spread: Duration, ctx: &mut Context<Self>) {
        let spread = if self.outbox.is_suspected() {
            LONGEST_TURN
        } else {
            spread
        };
        if spread.is_zero() {
            self.join();
        } else {
            self.join_after(spread.mul_f64(rand::random::<f64>()), ctx);
        }
    }

    /// The channel is gone. Beyond the deadline it cannot be joined again.
    pub(super) fn link_gone(&mut self, ctx: &mut Context<Self>) {
        self.restoring.clear();
        if self.deadline == Deadline::Over {
            self.give_up("its token has expired, and its channel is gone", ctx);
        }
    }

    pub(super) fn rejoin_later(&mut self, ctx: &mut Context<Self>) {
        self.link_gone(ctx);
        if matches!(self.phase, Phase::Done) {
            return;
        }
        let delay = self.link.rejoin_delay();
        if delay.is_zero() {
            self.join();
            return;
        }
        self.join_after(jittered(delay, rand::random::<f64>()), ctx);
    }

    fn join_after(&mut self, delay: Duration, ctx: &mut Context<Self>) {
        self.next_timer += 1;
        let timer = self.next_timer;
        self.link.state = LinkState::Waiting { timer };
        ctx.run_later(delay, move |this, _| {
            if this.link.state == (LinkState::Waiting { timer }) {
                this.join();
            }
        });
    }

    pub(super) fn requests_lost(&mut self) {
        match &mut self.phase {
            Phase::Joining { plan } => plan.link_lost(),
            Phase::Loading(loading) => loading.link_lost(),
            Phase::Starting
            | Phase::Executing
            | Phase::Stopping(_)
            | Phase::Settling
            | Phase::Done => {}
        }
    }

    /// The channel crashed with this as the first push that was unanswered: which request it was, if any, counts it.
    pub(super) fn request_crashed(&mut self, suspect: Ticket) {
        if self.restoring.contains_key(&suspect) {
            self.restore_crashes += 1;
        }
        match &mut self.phase {
            Phase::Joining { plan } => plan.crashed(suspect, RunEvent::FetchPlan.name()),
            Phase::Loading(loading) => loading.crashed(suspect),
            Phase::Starting
            | Phase::Executing
            | Phase::Stopping(_)
            | Phase::Settling
            | Phase::Done => {}
        }
    }

    /// Ends the run when what it needs cannot be had.
    pub(super) fn end_when_denied(&mut self, ctx: &mut Context<Self>) {
        if let Phase::Joining {
            plan: Fetch::Failed(why),
        } = &self.phase
        {
            let outcome = exception("LightningError", why.clone());
            self.end_unstarted(&outcome, ctx);
        } else {
            self.start_when_loaded(ctx);
        }
    }

    pub(super) fn join_answered(
        &mut self,
        status: &ReplyStatus,
        response: &Payload,
        ctx: &mut Context<Self>,
    ) {
        if *status == ReplyStatus::Ok {
            if self.link.joined() {
                let again = self.outbox.unsettled();
                log::info!(run_id = self.claimed.id.as_str(), resent = again; "run {} is back on its channel; reports to send again: {again}", self.claimed.id);
                if self.webhook_response_sent {
                    log::warn!(run_id = self.claimed.id.as_str(); "run {}: Lightning may have forgotten the webhook response that it was sent before the connection was lost", self.claimed.id);
                }
                self.fetch_credentials_again();
            }
            self.ask();
            self.send(ctx);
            return;
        }
        let words = error_detail("phx_join", response);
        if Refusal::from_payload(response).meaning() == RefusalMeaning::RunDenied {
            self.give_up(&format!("Lightning does not let it join: {words}"), ctx);
        } else {
            log::warn!(run_id = self.claimed.id.as_str(); "run {} could not join its channel: {words}", self.claimed.id);
            self.requests_lost();
            self.rejoin_later(ctx);
        }
    }

    /// The server's scrubber lives in the channel's process and died with it (protocol spec, W16).
    pub(super) fn fetch_credentials_again(&mut self) {
        if self.restore_crashes >= MOST_RESTORE_CRASHES {
            log::warn!(run_id = self.claimed.id.as_str(); "run {}: its channel crashes when credentials are read again; its log may show them", self.claimed.id);
            return;
        }
        for id in self.credentials.clone() {
            // What the run has yet to get is read with that.
            if matches!(&self.phase, Phase::Loading(loading) if loading.lacks_credential(&id)) {
                continue;
            }
            let ticket = self.ticket();
            if let Ok(payload) = serde_json::to_vec(&FetchCredential { id: id.clone() }) {
                self.restoring.insert(ticket, id);
                self.push(ticket, RunEvent::FetchCredential.name(), payload.into());
            }
        }
    }

    /// Lightning has read a credential for its scrubber again, or not.
    pub(super) fn restored(&self, id: &CredentialId, status: &ReplyStatus, response: &Payload) {
        if *status != ReplyStatus::Ok {
            let words = error_detail(RunEvent::FetchCredential.name(), response);
            log::warn!(run_id = self.claimed.id.as_str(); "run {}: Lightning did not read credential {id} again, its log may show it: {words}", self.claimed.id);
        }
    }
}
