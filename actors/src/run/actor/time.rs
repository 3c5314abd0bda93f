//! What happens because time has passed.

use super::{
    AsyncContext, Context, Deadline, Duration, Instant, LONGEST_TICK, LinkState, Phase, Run,
    RunEvent, SHORTEST_TICK, Silence, Subscribe, clock, unverified_expiry,
};

impl Run {
    pub(super) fn tick(&mut self, ctx: &mut Context<Self>) {
        if matches!(self.phase, Phase::Done) {
            return;
        }
        let now = Instant::now();
        let (late, too_long) = (self.link.late(), self.link.too_long());
        match self.link.state {
            LinkState::Joining { sent, .. }
                if now.duration_since(sent) >= self.link.join_too_long() =>
            {
                log::warn!(run_id = self.claimed.id.as_str(); "run {}: Lightning does not answer its join; joining again", self.claimed.id);
                self.requests_lost();
                self.rejoin_later(ctx);
            }
            LinkState::Up => {
                self.look_for_silence(now, late, too_long, ctx);
            }
            LinkState::Joining { .. } | LinkState::Down | LinkState::Waiting { .. } => {}
        }
        self.schedule_tick(ctx);
    }

    pub(super) fn look_for_silence(
        &mut self,
        now: Instant,
        late: Duration,
        too_long: Duration,
        ctx: &mut Context<Self>,
    ) {
        let since = now.checked_sub(late).unwrap_or(now);
        let expired = match &mut self.phase {
            // A plan can be fetched again at will.
            Phase::Joining { plan } if plan.is_overdue(since) => {
                plan.again();
                Some(RunEvent::FetchPlan.name())
            }
            Phase::Loading(loading) => loading
                .expire(since, self.context.config.delivery.request_attempts)
                .then_some("a request for its dataclip or a credential"),
            _ => None,
        };
        if let Some(what) = expired {
            log::warn!(run_id = self.claimed.id.as_str(); "run {}: Lightning does not answer {what}", self.claimed.id);
            self.start_when_loaded(ctx);
        }
        self.ask();
        match self.outbox.silence(now, late, too_long) {
            Silence::None => {}
            Silence::Late { event } => {
                log::warn!(run_id = self.claimed.id.as_str(), event = event; "run {}: Lightning has not answered {event} for {} ms; waiting", self.claimed.id, late.as_millis());
            }
            Silence::TooLong { event } => {
                log::warn!(run_id = self.claimed.id.as_str(), event = event; "run {}: Lightning has not answered {event} for {} ms; joining its channel anew", self.claimed.id, too_long.as_millis());
                self.rejoin(ctx);
            }
        }
    }

    pub(super) fn schedule_tick(&self, ctx: &mut Context<Self>) {
        let tick =
            (self.context.config.lightning.message_timeout / 4).clamp(SHORTEST_TICK, LONGEST_TICK);
        ctx.run_later(tick, Self::tick);
    }

    pub(super) fn schedule_deadline(&self, ctx: &mut Context<Self>) {
        let Some(expiry) = unverified_expiry(&self.claimed.token) else {
            return;
        };
        let now = clock::now_seconds();
        if expiry <= now {
            // Lightning has only just given it out, so it is one of the clocks that is wrong.
            log::warn!(run_id = self.claimed.id.as_str(); "the token of run {} had expired {} s before it was claimed: is the clock right? Its end is ignored", self.claimed.id, now - expiry);
            return;
        }
        ctx.run_later(Duration::from_secs(expiry - now), |this, ctx| {
            if matches!(this.phase, Phase::Settling) && this.link.is_up() {
                log::warn!(run_id = this.claimed.id.as_str(); "run {}: its token has expired; what is left goes out while its channel is open", this.claimed.id);
                this.deadline = Deadline::Over;
                return;
            }
            this.give_up("its token has expired, Lightning counts it as lost", ctx);
        });
    }

    pub(super) fn subscribe(&self, ctx: &Context<Self>) {
        self.context.connection.do_send(Subscribe {
            topic: self.topic.clone(),
            subscriber: ctx.address().recipient(),
        });
    }
}
