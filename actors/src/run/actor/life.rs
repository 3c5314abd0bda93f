//! How the run starts, and every way in which it ends.

use super::{
    ActorContext, Arc, AsyncContext, CompileFailure, Context, Duration, Execute, ExitReason, Leave,
    Loaded, Outcome, Phase, Prepared, Run, RunEnded, StopJob, clock, logs, new_id,
};
use protocol::engine::ExecuteOptions;

use crate::metrics::UNREPORTED;

impl Run {
    pub(super) fn start_when_loaded(&mut self, ctx: &mut Context<Self>) {
        if !matches!(&self.phase, Phase::Loading(loading) if loading.settled()) {
            return;
        }
        if let Phase::Loading(loading) = std::mem::replace(&mut self.phase, Phase::Starting) {
            match loading.finish() {
                Ok(loaded) => self.start(loaded, ctx),
                Err(outcome) => self.end_unstarted(&outcome, ctx),
            }
        }
    }

    pub(super) fn start(&mut self, loaded: Loaded, ctx: &mut Context<Self>) {
        let Loaded {
            prepared,
            options,
            dataclip_id,
            input,
            credentials,
        } = loaded;
        let Prepared {
            mut plan,
            versions,
            compiled,
        } = *prepared;
        let options = self.effective(&options);
        self.reporter
            .begin(plan.clone(), dataclip_id, options.output_dataclips);
        self.enter(Phase::Starting);
        let now = clock::now();
        // As the reference dates them: ahead of everything that is said at the same instant (protocol spec, section 5.2).
        let earlier = now.minus_millis(10);
        for text in logs::limit_lines(options.memory_limit_mb, options.timeout) {
            let line = self.reporter.engine_line("RTE", "info", &text, earlier);
            self.say(line, ctx);
        }
        let worker = &self.context.config.identity.version;
        let block = versions.block(worker);
        let start = self.reporter.run_start(versions.for_run_start(worker), now);
        self.say(start, ctx);
        for (source, text) in [
            ("RTE", logs::payload_line(options.payload_limit_mb)),
            ("VER", block),
        ] {
            let line = self.reporter.worker_line(source, "info", &text, earlier);
            self.say(line, ctx);
        }
        let (lines, failure) = match compiled {
            Ok(lines) => (lines, None),
            Err(CompileFailure { lines, outcome }) => (lines, Some(outcome)),
        };
        // Jobs are compiled while the run is loaded; the log shows it after the start, in order.
        for line in lines {
            let said = self
                .reporter
                .engine_line("R/T", line.level, &line.text, line.timestamp);
            self.say(said, ctx);
        }
        if let Some(outcome) = failure {
            let line = self
                .reporter
                .engine_line("RTE", "info", logs::COMPILE_FAILED, clock::now());
            self.say(line, ctx);
            self.end_with(&outcome, ctx);
            return;
        }
        plan.resolve_credentials(&credentials);
        self.context.engine.do_send(Execute {
            run_id: self.claimed.id.clone(),
            workloop: self.workloop.clone(),
            project_id: plan.project_id.clone(),
            plan,
            input,
            options,
            events: ctx.address().recipient(),
            budget: Arc::clone(&self.budget),
        });
    }

    pub(super) fn effective(&self, options: &protocol::plan::RunOptions) -> ExecuteOptions {
        let limits = &self.context.config.limits;
        let timeout = options
            .run_timeout_ms
            .map_or(limits.timeout, Duration::from_millis);
        let memory_mb = options.memory_limit_mb.unwrap_or(limits.memory.get());
        ExecuteOptions {
            timeout: (!timeout.is_zero()).then_some(timeout),
            memory_limit_mb: memory_mb,
            state_limit_mb: options
                .state_limit_mb
                .or(limits.state.map(protocol::size::Mebibytes::get))
                .unwrap_or(memory_mb),
            payload_limit_mb: options.payload_limit_mb.unwrap_or(limits.payload.get()),
            log_payload_limit_mb: options
                .log_payload_limit_mb
                .unwrap_or(limits.log_payload.get()),
            job_log_level: options.job_log_level.clone(),
            sanitize: options.sanitize.clone(),
            output_dataclips: options.output_dataclips,
        }
    }

    /// The run ends before its job has begun.
    pub(super) fn end_unstarted(&mut self, outcome: &Outcome, ctx: &mut Context<Self>) {
        // No job had them, so no line shows them.
        self.credentials.clear();
        let said = self.reporter.end_with(outcome, &clock::now(), &mut new_id);
        self.reason = self.reporter.reason();
        for said in said {
            self.queue(said, None);
        }
        self.enter(Phase::Settling);
        self.send(ctx);
    }

    pub(super) fn end_with(&mut self, outcome: &Outcome, ctx: &mut Context<Self>) {
        let said = self.reporter.end_with(outcome, &clock::now(), &mut new_id);
        self.reason = self.reporter.reason();
        for said in said {
            self.say(said, ctx);
        }
        self.enter(Phase::Settling);
        self.send(ctx);
    }

    /// Stops the job, if there is one; the run then ends with this outcome, or without a word.
    pub(super) fn stop_job(&mut self, outcome: Option<Outcome>, ctx: &mut Context<Self>) {
        if outcome.is_some() && self.reporter.ended() {
            // How it ended is on its way to Lightning already.
            return;
        }
        match &self.phase {
            Phase::Starting | Phase::Executing => {
                self.context.engine.do_send(StopJob {
                    run_id: self.claimed.id.clone(),
                });
                self.enter(Phase::Stopping(outcome));
            }
            Phase::Stopping(_) => {
                // The first reason stands, except that a run which is not ours is not reported at all.
                if outcome.is_none() {
                    self.phase = Phase::Stopping(None);
                }
            }
            Phase::Joining { .. } | Phase::Loading(_) | Phase::Settling => match outcome {
                Some(outcome) => self.end_with(&outcome, ctx),
                None => self.done(ctx),
            },
            Phase::Done => {}
        }
    }

    /// Nothing more can be reported: stops the job and frees the slot.
    pub(super) fn give_up(&mut self, why: &str, ctx: &mut Context<Self>) {
        let lost = self.outbox.clear();
        log::error!(run_id = self.claimed.id.as_str(); "run {} is given up with {lost} unreported events: {why}", self.claimed.id);
        self.reason = None;
        self.stop_job(None, ctx);
    }

    pub(super) fn done(&mut self, ctx: &mut Context<Self>) {
        if matches!(self.phase, Phase::Done) {
            return;
        }
        self.enter(Phase::Done);
        self.context.connection.do_send(Leave {
            topic: self.topic.clone(),
        });
        let reason = self.reason.map_or(UNREPORTED, ExitReason::as_str);
        let elapsed = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        log::info!(run_id = self.claimed.id.as_str(), duration_ms = elapsed; "run {} ended: {reason} ({elapsed} ms)", self.claimed.id);
        self.context.ended.do_send(RunEnded {
            run_id: self.claimed.id.clone(),
            workloop: self.workloop.clone(),
            reason: self.reason,
            taken_away: self.taken_away,
        });
        ctx.stop();
    }
}
