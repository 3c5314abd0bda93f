//! Reports on their way out, and what their answers mean for the run.

use super::{
    AsyncContext, Context, Duration, Instant, Kind, Phase, Proceed, Report, Run, Said, clock,
    outbox, refusal,
};

impl Run {
    pub(super) fn say(&mut self, said: Said, ctx: &mut Context<Self>) {
        if self.queue(said, None) {
            self.arm_batch(ctx);
        }
    }

    /// Puts a report into the outbox; whether a batch was opened.
    pub(super) fn queue(
        &mut self,
        said: Said,
        permit: Option<tokio::sync::OwnedSemaphorePermit>,
    ) -> bool {
        match said {
            Said::Line(lines) => self.outbox.push_log(lines, permit),
            Said::Report(report) => {
                if let Report::StepComplete(step) = &report {
                    self.webhook_response_sent |= step.event.webhook_response.is_some();
                    let lasted = Duration::from_millis(step.event.duration.unwrap_or_default());
                    let metrics = &self.context.config.metrics;
                    metrics.step_ended(step.event.reason.as_str(), lasted);
                }
                self.outbox.push(report, permit.into_iter().collect());
                false
            }
        }
    }

    pub(super) fn arm_batch(&mut self, ctx: &mut Context<Self>) {
        if let Some(batch) = self.context.config.delivery.batch
            && !self.flush_armed
        {
            self.flush_armed = true;
            ctx.run_later(batch.interval, |this, ctx| {
                this.flush_armed = false;
                this.outbox.close_batch();
                this.send(ctx);
            });
        }
    }

    /// Sends as many reports as the window takes.
    pub(super) fn send(&mut self, ctx: &mut Context<Self>) {
        while self.link.is_up() && !matches!(self.phase, Phase::Done) {
            let ticket = self.ticket();
            let Some(report) = self.outbox.next(ticket, Instant::now()) else {
                return;
            };
            let (event, payload) = (report.event(), report.payload());
            let starts = matches!(report, Report::RunStart(_));
            let metrics = &self.context.config.metrics;
            if self.outbox.is_resent(ticket) {
                log::debug!(run_id = self.claimed.id.as_str(), event = event; "run {}: {event} is sent again", self.claimed.id);
                metrics.resent(event);
            } else if starts {
                metrics.run_started(self.born.elapsed());
            }
            match payload {
                Ok(payload)
                    if self
                        .context
                        .config
                        .delivery
                        .frames
                        .take_payload(payload.bytes()) =>
                {
                    self.push(ticket, event, payload);
                }
                Ok(payload) => {
                    let bytes = payload.bytes();
                    log::warn!(run_id = self.claimed.id.as_str(), event = event; "run {}: {event} with {bytes} bytes is larger than a message to Lightning may be", self.claimed.id);
                    let outcome = self.outbox.not_sent(ticket);
                    self.act_on(outcome, ctx);
                }
                Err(error) => {
                    // Only what was valid JSON before goes into a report, so this cannot be the job's doing.
                    log::error!(run_id = self.claimed.id.as_str(); "{event} cannot be written as JSON: {error}");
                    let dropped = self.outbox.answered(ticket, None, Instant::now());
                    log::debug!(run_id = self.claimed.id.as_str(); "{event} was dropped: {dropped:?}");
                }
            }
        }
    }

    pub(super) fn report_settled(&mut self, outcome: outbox::Outcome, ctx: &mut Context<Self>) {
        if outcome != outbox::Outcome::Unknown {
            self.act_on(outcome, ctx);
            self.send(ctx);
        }
    }

    fn act_on(&mut self, outcome: outbox::Outcome, ctx: &mut Context<Self>) {
        match outcome {
            outbox::Outcome::Unknown | outbox::Outcome::Resend => {}
            outbox::Outcome::Delivered(kind) => {
                self.link.works();
                match kind {
                    Kind::RunStart if matches!(self.phase, Phase::Starting) => {
                        self.enter(Phase::Executing);
                        self.context.engine.do_send(Proceed {
                            run_id: self.claimed.id.clone(),
                        });
                    }
                    Kind::RunComplete => self.done(ctx),
                    Kind::RunStart | Kind::Other => {}
                }
            }
            outbox::Outcome::Retry(wait) => {
                ctx.run_later(wait, |this, ctx| this.send(ctx));
            }
            outbox::Outcome::Split => self.link.works(),
            outbox::Outcome::Withheld {
                dataclip,
                too_large,
            } => {
                self.link.works();
                log::warn!(run_id = self.claimed.id.as_str(); "run {}: Lightning refuses the dataclip {dataclip}; its step is completed without it", self.claimed.id);
                self.reporter.withhold(&dataclip);
                if too_large {
                    let now = clock::now();
                    let line = self.reporter.too_large_line(now);
                    let end = self.reporter.time(now);
                    self.outbox.push_before_end(Report::Logs(line), end);
                }
            }
            outbox::Outcome::Rejoin => self.rejoin(ctx),
            outbox::Outcome::LinesDropped(lines, words) => {
                self.link.works();
                self.context.config.metrics.log_lines_dropped(lines);
                log::warn!(run_id = self.claimed.id.as_str(); "Lightning refused {lines} log lines of run {}: {words}", self.claimed.id);
            }
            outbox::Outcome::Abandoned(words) => {
                self.taken_away = true;
                self.give_up(
                    &format!("Lightning says that it is not this worker's: {words}"),
                    ctx,
                );
            }
            outbox::Outcome::Refused { event, why, open } => {
                log::error!(run_id = self.claimed.id.as_str(), event = event; "Lightning refused {event} of run {}: {why}", self.claimed.id);
                self.outbox.clear();
                self.reporter.refused(open);
                self.stop_job(Some(refusal(event, &why)), ctx);
            }
            outbox::Outcome::GaveUp(words) => {
                self.give_up(
                    &format!("Lightning refuses every form of its end: {words}"),
                    ctx,
                );
            }
        }
    }
}
