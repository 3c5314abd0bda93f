//! What the run does with each message.

use super::{
    Blame, ChannelEvent, ConnectionReplaced, Context, EngineEvent, EngineLost, ExitReason,
    GetRunStatus, Handler, Instant, LinkState, MessageResult, Outcome, Payload, Phase, Refusal,
    ReplyStatus, Run, RunPush, RunStatus, StopRun, Ticket, clock, exception, new_id, outbox,
};

use protocol::engine::RunProgress;

impl Handler<ChannelEvent> for Run {
    type Result = ();

    fn handle(&mut self, event: ChannelEvent, ctx: &mut Self::Context) {
        match event {
            ChannelEvent::SocketUp { spread } => self.join_in_turn(spread, ctx),
            ChannelEvent::SocketDown(blame) => {
                self.link.state = LinkState::Down;
                self.requests_lost();
                let outcome = match blame {
                    Blame::Nobody => {
                        self.outbox.link_lost();
                        outbox::Outcome::Resend
                    }
                    Blame::Frame => self.outbox.socket_crashed(),
                    Blame::TooLarge(ticket) => {
                        log::warn!(run_id = self.claimed.id.as_str(); "run {}: Lightning closed the connection over its largest report on the way, as too large", self.claimed.id);
                        self.outbox.frame_too_large(ticket)
                    }
                };
                self.report_settled(outcome, ctx);
                self.link_gone(ctx);
            }
            ChannelEvent::Crashed { unanswered } => {
                log::warn!(run_id = self.claimed.id.as_str(); "the channel of run {} crashed; joining it again", self.claimed.id);
                if let Some(suspect) = unanswered.first() {
                    self.request_crashed(*suspect);
                }
                self.requests_lost();
                let outcome = self.outbox.channel_crashed(&unanswered);
                let rejoins = outcome == outbox::Outcome::Rejoin;
                // Nothing can be sent until it is joined again; a culprit that is found makes that join an early one.
                self.link.state = LinkState::Down;
                self.report_settled(outcome, ctx);
                if !rejoins {
                    self.rejoin_later(ctx);
                }
                self.end_when_denied(ctx);
            }
            ChannelEvent::Closed => {
                log::warn!(run_id = self.claimed.id.as_str(); "Lightning closed the channel of run {}; joining it again", self.claimed.id);
                self.rejoin(ctx);
            }
            ChannelEvent::Pushed(RunPush::Cancel) => {
                log::info!(run_id = self.claimed.id.as_str(); "Lightning cancels run {}", self.claimed.id);
                self.stop_job(Some(cancelled()), ctx);
            }
            ChannelEvent::Reply {
                ticket,
                status,
                response,
            } => self.replied(ticket, &status, &response, ctx),
        }
    }
}

impl Run {
    fn replied(
        &mut self,
        ticket: Ticket,
        status: &ReplyStatus,
        response: &Payload,
        ctx: &mut Context<Self>,
    ) {
        if matches!(self.link.state, LinkState::Joining { ticket: joining, .. } if joining == ticket)
        {
            self.join_answered(status, response, ctx);
            return;
        }
        if let Some(id) = self.restoring.remove(&ticket) {
            self.restored(&id, status, response);
            return;
        }
        match &self.phase {
            Phase::Joining { plan } if plan.is_asked_by(ticket) => {
                self.plan_answered(status, response, ctx);
                return;
            }
            Phase::Loading(loading) if loading.dataclip.is_asked_by(ticket) => {
                self.dataclip_answered(status, response, ctx);
                return;
            }
            Phase::Loading(loading) => {
                let asked = loading
                    .credentials
                    .iter()
                    .find(|(_, fetch)| fetch.is_asked_by(ticket));
                if let Some(id) = asked.map(|(id, _)| id.clone()) {
                    self.credential_answered(&id, status, response, ctx);
                    return;
                }
            }
            _ => {}
        }
        let refusal = match status {
            ReplyStatus::Ok => None,
            ReplyStatus::Error | ReplyStatus::Other(_) => Some(Refusal::from_payload(response)),
        };
        let event = self.outbox.event_of(ticket);
        let outcome = self
            .outbox
            .answered(ticket, refusal.clone(), Instant::now());
        if let (Some(refusal), Some(event)) = (refusal, event) {
            self.context.config.metrics.refused(event);
            let next = match &outcome {
                outbox::Outcome::Resend => Some("what it objects to is mended and sent again"),
                outbox::Outcome::Retry(_) => Some("it is sent again in a moment"),
                outbox::Outcome::Split => Some("its lines are sent in halves"),
                outbox::Outcome::Delivered(_) => Some("it counts as delivered"),
                // Every other outcome has a line of its own.
                _ => None,
            };
            if let Some(next) = next {
                log::warn!(run_id = self.claimed.id.as_str(), event = event; "Lightning refused {event} of run {}, {next}: {refusal}", self.claimed.id);
            }
        }
        self.report_settled(outcome, ctx);
    }
}

impl Handler<EngineEvent> for Run {
    type Result = ();

    fn handle(&mut self, event: EngineEvent, ctx: &mut Self::Context) {
        let EngineEvent {
            run_id,
            progress,
            permit,
        } = event;
        if run_id != self.claimed.id {
            log::error!(run_id = self.claimed.id.as_str(); "run {} was told of run {run_id} by the engine; ignored", self.claimed.id);
            return;
        }
        if let RunProgress::WorkflowStart { warm, .. } = &progress {
            let temperature = if *warm { "warm" } else { "cold" };
            log::debug!(run_id = self.claimed.id.as_str(); "run {} was loaded by a {temperature} thread", self.claimed.id);
        }
        let over = matches!(progress, RunProgress::Ended);
        if let Phase::Stopping(outcome) = &mut self.phase {
            if over {
                match outcome.take() {
                    Some(outcome) => self.end_with(&outcome, ctx),
                    None => self.done(ctx),
                }
            }
            return;
        }
        if over {
            if matches!(self.phase, Phase::Starting | Phase::Executing) && !self.reporter.ended() {
                // A pool that dies lets go of its runs before the supervisor can say so.
                self.end_with(&engine_lost(), ctx);
            } else if !matches!(self.phase, Phase::Settling | Phase::Done) {
                self.enter(Phase::Settling);
            }
            return;
        }
        let said = self.reporter.on(progress, &clock::now(), &mut new_id);
        if self.reporter.ended() && self.reason.is_none() {
            self.reason = self.reporter.reason();
        }
        // The permit covers the event's bytes, which the last report made of it carries.
        let mut permit = permit;
        let last = said.len().saturating_sub(1);
        for (index, said) in said.into_iter().enumerate() {
            let permit = if index == last { permit.take() } else { None };
            if self.queue(said, permit) {
                self.arm_batch(ctx);
            }
        }
        self.send(ctx);
    }
}

fn engine_lost() -> Outcome {
    Outcome {
        reason: ExitReason::Crash,
        error_type: Some("EngineLost".to_owned()),
        error_message: Some("the engine that executed the run was lost".to_owned()),
    }
}

fn cancelled() -> Outcome {
    Outcome {
        reason: ExitReason::Cancel,
        error_type: Some("CancelError".to_owned()),
        error_message: Some("the run was cancelled".to_owned()),
    }
}

impl Handler<StopRun> for Run {
    type Result = ();

    fn handle(&mut self, message: StopRun, ctx: &mut Self::Context) {
        let outcome = match message {
            StopRun::Cancel => cancelled(),
            StopRun::Shutdown => exception(
                "WorkerShutdown",
                "the worker was shut down before the run had finished".to_owned(),
            ),
        };
        self.stop_job(Some(outcome), ctx);
    }
}

impl Handler<ConnectionReplaced> for Run {
    type Result = ();

    fn handle(&mut self, message: ConnectionReplaced, ctx: &mut Self::Context) {
        self.context.connection = message.connection;
        self.link.state = LinkState::Down;
        self.outbox.link_lost();
        self.requests_lost();
        self.subscribe(ctx);
    }
}

impl Handler<EngineLost> for Run {
    type Result = ();

    fn handle(&mut self, message: EngineLost, ctx: &mut Self::Context) {
        self.context.engine = message.engine;
        match &mut self.phase {
            Phase::Loading(loading) => {
                if loading.prepared.is_none() {
                    self.prepare(ctx);
                }
            }
            Phase::Starting | Phase::Executing => {
                self.end_with(&engine_lost(), ctx);
            }
            Phase::Stopping(outcome) => match outcome.take() {
                Some(outcome) => self.end_with(&outcome, ctx),
                None => self.done(ctx),
            },
            Phase::Joining { .. } | Phase::Settling | Phase::Done => {}
        }
    }
}

impl Handler<GetRunStatus> for Run {
    type Result = MessageResult<GetRunStatus>;

    fn handle(&mut self, _: GetRunStatus, _: &mut Self::Context) -> Self::Result {
        MessageResult(RunStatus {
            id: self.claimed.id.clone(),
            workloop: self.workloop.clone(),
            phase: self.phase.name(),
            phase_seconds: self.since.elapsed().as_secs(),
            age_seconds: self.born.elapsed().as_secs(),
            job: self.reporter.active_job().cloned(),
        })
    }
}

#[cfg(test)]
impl Handler<crate::events::Panic> for Run {
    type Result = ();

    fn handle(&mut self, _: crate::events::Panic, _: &mut Self::Context) {
        panic!("run {} was asked to panic by a test", self.claimed.id);
    }
}
