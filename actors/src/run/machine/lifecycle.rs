//! How the run starts, and every way in which it ends.

use std::sync::Arc;

use log_events::table;
use protocol::engine::RunProgress;
use protocol::logs;
use protocol::reasons::{ExitReason, Outcome};
use tokio::sync::OwnedSemaphorePermit;

use super::events::{Effect, Execution, Turn};
use super::{Deadline, Fact, Farewell, RunMachine, State};
use crate::engine_pool::{CompileFailure, Prepared};
use crate::events::{End, Unreported};
use crate::run::loading::Loaded;
use crate::traces::Moment;

pub(super) fn engine_lost() -> Outcome {
    Outcome {
        reason: ExitReason::Crash,
        error_type: Some("EngineLost".to_owned()),
        error_message: Some("the engine that executed the run was lost".to_owned()),
    }
}

pub(super) fn cancelled() -> Outcome {
    Outcome {
        reason: ExitReason::Cancel,
        error_type: Some("CancelError".to_owned()),
        error_message: Some("the run was cancelled".to_owned()),
    }
}

impl RunMachine {
    pub(super) fn start_when_loaded(&mut self, turn: &mut Turn<'_>) {
        let State::Loading(loading) = &mut self.state else {
            return;
        };
        if !loading.settled() {
            return;
        }
        match loading.finish() {
            Ok(loaded) => self.start(loaded, turn),
            Err(outcome) => self.end_unstarted(Fact::NotLoaded, &outcome, turn),
        }
    }

    fn start(&mut self, loaded: Loaded, turn: &mut Turn<'_>) {
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
        let options = self.settings.effective(&options);
        plan.resolve_credentials(&credentials);
        let plan = Arc::new(plan);
        self.summary.adaptors = versions.adaptors.clone();
        self.reporter
            .begin(Arc::clone(&plan), dataclip_id, options.output_dataclips);
        self.enter(Fact::Loaded, State::Starting, turn);
        let now = turn.time;
        // As the reference dates them: ahead of everything that is said at the same instant (protocol spec, section 5.2).
        let earlier = now.minus_millis(10);
        for text in logs::limit_lines(options.memory_limit_mb, options.timeout) {
            let line = self.reporter.engine_line("RTE", "info", &text, earlier);
            self.report(line, turn);
        }
        let worker = &self.settings.worker_version;
        let block = versions.block(worker);
        let start = self.reporter.run_start(versions.for_run_start(worker), now);
        self.report(start, turn);
        for (source, text) in [
            ("RTE", logs::payload_line(options.payload_limit_mb)),
            ("VER", block),
        ] {
            let line = self.reporter.worker_line(source, "info", &text, earlier);
            self.report(line, turn);
        }
        let (lines, failure) = match compiled {
            Ok(lines) => (lines, None),
            Err(CompileFailure { lines, outcome }) => (lines, Some(outcome)),
        };
        // Jobs are compiled while the run is loaded; the log shows it after the start, in order.
        for line in lines {
            let line = self
                .reporter
                .engine_line("R/T", line.level, &line.text, line.timestamp);
            self.report(line, turn);
        }
        if let Some(outcome) = failure {
            let line = self
                .reporter
                .engine_line("RTE", "info", logs::COMPILE_FAILED, now);
            self.report(line, turn);
            self.end_with(Fact::NotCompiled, &outcome, turn);
            return;
        }
        turn.perform(Effect::Execute(Box::new(Execution {
            plan,
            input,
            options,
        })));
    }

    /// The engine tells of the job; the permit covers the bytes of what it tells.
    pub(super) fn engine_told(
        &mut self,
        progress: RunProgress,
        permit: Option<OwnedSemaphorePermit>,
        turn: &mut Turn<'_>,
    ) {
        if let RunProgress::WorkflowStart { warm, .. } = &progress {
            let warm = *warm;
            self.trace(turn, || Moment::Loaded { warm });
            let temperature = if warm { "warm" } else { "cold" };
            turn.debug(format!(
                "run {} was loaded by a {temperature} child",
                self.claimed.id
            ));
        }
        if matches!(progress, RunProgress::Ended) {
            self.job_over(Fact::JobOver, turn);
            return;
        }
        if matches!(self.state, State::Stopping(_)) {
            return;
        }
        let said = {
            let now = turn.time;
            self.reporter.on(progress, &now, &mut || turn.new_id())
        };
        // The permit covers the event's bytes, which the last report made of it carries.
        let mut permit = permit;
        let last = said.len().saturating_sub(1);
        for (index, outgoing) in said.into_iter().enumerate() {
            let permit = if index == last { permit.take() } else { None };
            self.queue(outgoing, permit, turn);
        }
        self.send(turn);
    }

    /// Nothing of the job is there any more.
    fn job_over(&mut self, fact: Fact, turn: &mut Turn<'_>) {
        match &self.state {
            // A pool that dies lets go of its runs before the supervisor can say so.
            State::Starting | State::Executing if !self.reporter.ended() => {
                self.end_with(fact, &engine_lost(), turn);
            }
            State::Starting | State::Executing => {
                self.enter(fact, State::Settling(Deadline::Ahead), turn);
            }
            State::Stopping(Farewell::Report(outcome)) => {
                let outcome = outcome.clone();
                self.end_with(fact, &outcome, turn);
            }
            State::Stopping(Farewell::Nothing(why)) => {
                let end = End::Unreported(*why);
                self.done(fact, end, turn);
            }
            State::Joining(_) | State::Loading(_) | State::Settling(_) | State::Done => {}
        }
    }

    /// The engine died, and was started again.
    pub(super) fn engine_lost(&mut self, turn: &mut Turn<'_>) {
        if let State::Loading(loading) = &self.state {
            if loading.prepared.is_none() {
                turn.perform(Effect::Prepare(Arc::clone(&loading.plan)));
            }
        } else {
            self.job_over(Fact::EngineLost, turn);
        }
    }

    /// The run ends before its job has begun.
    pub(super) fn end_unstarted(&mut self, fact: Fact, outcome: &Outcome, turn: &mut Turn<'_>) {
        // No job had them, so no line shows them.
        self.memory.need_no_credentials();
        self.end_with(fact, outcome, turn);
    }

    fn end_with(&mut self, fact: Fact, outcome: &Outcome, turn: &mut Turn<'_>) {
        let said = {
            let now = turn.time;
            self.reporter.end_with(outcome, &now, &mut || turn.new_id())
        };
        for outgoing in said {
            self.report(outgoing, turn);
        }
        let deadline = match self.state {
            State::Settling(deadline) => deadline,
            _ => Deadline::Ahead,
        };
        self.enter(fact, State::Settling(deadline), turn);
        self.send(turn);
    }

    /// Stops the job, if there is one; the run then ends with this outcome.
    pub(super) fn stop_job(&mut self, outcome: Outcome, turn: &mut Turn<'_>) {
        if self.reporter.ended() {
            // How it ended is on its way to Lightning already.
            return;
        }
        match &self.state {
            State::Starting | State::Executing => {
                turn.perform(Effect::StopJob);
                let farewell = Farewell::Report(outcome);
                self.enter(Fact::Stopped, State::Stopping(farewell), turn);
            }
            State::Joining(_) | State::Loading(_) | State::Settling(_) => {
                self.end_with(Fact::Stopped, &outcome, turn);
            }
            // The first reason stands.
            State::Stopping(_) | State::Done => {}
        }
    }

    /// Nothing more can be reported: stops the job and frees the slot.
    pub(super) fn give_up(&mut self, why: Unreported, words: &str, turn: &mut Turn<'_>) {
        let lost = self.outbox.clear();
        turn.log(
            &table::RUN_LOST,
            [
                ("workloop", self.workloop.as_str().into()),
                ("cause", why.word().into()),
                ("lost", lost.into()),
                ("error", words.into()),
            ],
            format!(
                "run {} is given up with {lost} unreported events: {words}",
                self.claimed.id
            ),
        );
        match &self.state {
            State::Starting | State::Executing => {
                turn.perform(Effect::StopJob);
                let farewell = Farewell::Nothing(why);
                self.enter(Fact::GivenUp, State::Stopping(farewell), turn);
            }
            State::Stopping(Farewell::Report(_)) => {
                let farewell = Farewell::Nothing(why);
                self.enter(Fact::GivenUp, State::Stopping(farewell), turn);
            }
            State::Joining(_) | State::Loading(_) | State::Settling(_) => {
                self.done(Fact::GivenUp, End::Unreported(why), turn);
            }
            State::Stopping(Farewell::Nothing(_)) | State::Done => {}
        }
    }

    pub(super) fn done(&mut self, fact: Fact, end: End, turn: &mut Turn<'_>) {
        self.enter(fact, State::Done, turn);
        turn.perform(Effect::Leave);
        if let End::Reported(reason) = end {
            self.log_end(reason, turn);
        }
        turn.perform(Effect::Ended(end));
    }
}
