//! The actor itself: it carries messages between channel, engine and the pure parts beside this file.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::Bytes;
use protocol::ids::{CredentialId, Topic, WorkloopId};
use protocol::lightning::{
    ClaimedRun, FetchCredential, FetchDataclip, RunEvent, RunJoin, RunStart, dataclip_bytes,
};
use protocol::logs;
use protocol::phoenix::{Payload, ReplyStatus, error_detail};
use protocol::plan::{ConvertOptions, Converted, Input, LightningPlan, convert};
use protocol::reasons::{ExitReason, Outcome};
use protocol::token::unverified_expiry;
use tokio::sync::Semaphore;

use super::link::{Link, LinkState};
use super::loading::{Fetch, Loaded, Loading, exception};
use super::messages::{GetRunStatus, RunStatus, StopRun};
use super::outbox::{self, Kind, Outbox, Silence};
use super::report::{Report, refusal};
use super::reporter::{Reporter, Said};
use crate::clock;
use crate::config::Config;
use crate::engine_pool::{
    CompileFailure, EngineEvent, EngineEventBody, EnginePool, Execute, ExecuteOptions, Prepare,
    PrepareError, Prepared, Proceed, StopJob,
};
use crate::events::{ConnectionReplaced, EngineLost, RunEnded};
use crate::lightning::{ChannelEvent, Join, Leave, LightningConnection, Push, Subscribe, Ticket};

/// How often silence is looked for: often enough for the shortest useful message timeout, rarely enough to cost nothing.
const SHORTEST_TICK: Duration = Duration::from_millis(50);
const LONGEST_TICK: Duration = Duration::from_secs(1);

/// What a run needs from its surroundings.
#[derive(Clone)]
pub(crate) struct RunContext {
    pub(crate) config: Arc<Config>,
    pub(crate) collections_version: Option<String>,
    pub(crate) connection: Addr<LightningConnection>,
    pub(crate) engine: Addr<EnginePool>,
    pub(crate) ended: Recipient<RunEnded>,
}

/// Why a run actor is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The run was just claimed.
    Claimed,
    /// Its first actor died: only its end is left to report.
    Successor,
}

#[derive(Debug)]
enum Phase {
    Joining {
        plan: Fetch<()>,
    },
    Loading(Box<Loading>),
    /// The engine loads the run; the job begins when `run:start` is accepted.
    Starting,
    Executing,
    /// The job is being stopped; how the run ends then, `None` without a report.
    Stopping(Option<Outcome>),
    /// The job is over; the outbox empties.
    Settling,
    Done,
}

impl Phase {
    fn name(&self) -> &'static str {
        match self {
            Self::Joining { .. } => "joining",
            Self::Loading(_) => "loading",
            Self::Starting => "starting",
            Self::Executing => "executing",
            Self::Stopping(_) => "stopping",
            Self::Settling => "settling",
            Self::Done => "done",
        }
    }
}

/// See the documentation of [`super`].
pub(crate) struct Run {
    context: RunContext,
    claimed: ClaimedRun,
    workloop: WorkloopId,
    origin: Origin,
    topic: Topic,
    link: Link,
    phase: Phase,
    since: Instant,
    born: Instant,
    outbox: Outbox,
    reporter: Reporter,
    /// Bytes that the engine may still hand over before the job has to wait for Lightning.
    budget: Arc<Semaphore>,
    /// Credentials that the server has to hear of after a rejoin, or its scrubber lets them through (W16).
    credentials: Vec<CredentialId>,
    webhook_response_sent: bool,
    reason: Option<ExitReason>,
    next_ticket: u64,
    next_timer: u64,
    flush_armed: bool,
}

impl Run {
    pub(crate) fn new(
        context: RunContext,
        claimed: ClaimedRun,
        workloop: WorkloopId,
        origin: Origin,
    ) -> Self {
        let delivery = &context.config.delivery;
        let timeout = context.config.lightning.message_timeout;
        let now = Instant::now();
        Self {
            topic: Topic::run(&claimed.id),
            link: Link::new(timeout, delivery.retry_delay),
            phase: Phase::Joining { plan: Fetch::NEW },
            since: now,
            born: now,
            outbox: Outbox::new(delivery.window, delivery.batch.map(|batch| batch.limit)),
            reporter: Reporter::new(claimed.id.clone(), delivery.batch.is_some()),
            budget: Arc::new(Semaphore::new(delivery.outbox_bytes)),
            credentials: Vec::new(),
            webhook_response_sent: false,
            reason: None,
            next_ticket: 0,
            next_timer: 0,
            flush_armed: false,
            context,
            claimed,
            workloop,
            origin,
        }
    }

    fn enter(&mut self, phase: Phase) {
        log::debug!(run_id = self.claimed.id.as_str(); "run {}: {} -> {}", self.claimed.id, self.phase.name(), phase.name());
        self.phase = phase;
        self.since = Instant::now();
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    fn push(&self, ticket: Ticket, event: &'static str, payload: Bytes) {
        self.context.connection.do_send(Push {
            topic: self.topic.clone(),
            ticket,
            event,
            payload,
        });
    }

    // ---- the channel ----

    fn join(&mut self) {
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

    fn rejoin(&mut self, ctx: &mut Context<Self>) {
        self.outbox.link_lost();
        self.requests_lost();
        self.rejoin_later(ctx);
    }

    fn rejoin_later(&mut self, ctx: &mut Context<Self>) {
        let delay = self.link.rejoin_delay();
        if delay.is_zero() {
            self.join();
            return;
        }
        self.next_timer += 1;
        let timer = self.next_timer;
        self.link.state = LinkState::Waiting { timer };
        ctx.run_later(delay, move |this, _| {
            if this.link.state == (LinkState::Waiting { timer }) {
                this.join();
            }
        });
    }

    fn requests_lost(&mut self) {
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

    fn join_answered(&mut self, status: &ReplyStatus, response: &Payload, ctx: &mut Context<Self>) {
        if *status == ReplyStatus::Ok {
            if self.link.joined() {
                log::info!(run_id = self.claimed.id.as_str(); "run {} is back on its channel", self.claimed.id);
                if self.webhook_response_sent {
                    log::warn!(run_id = self.claimed.id.as_str(); "run {}: Lightning may have forgotten the webhook response that it was sent before the connection was lost", self.claimed.id);
                }
                self.fetch_credentials_again();
            }
            self.ask();
            self.send();
            return;
        }
        let words = error_detail("phx_join", response);
        if [
            "unauthorized",
            "not_found",
            "invalid_run_id",
            "invalid_token",
        ]
        .iter()
        .any(|text| words.contains(text))
        {
            self.give_up(&format!("Lightning does not let it join: {words}"), ctx);
        } else {
            log::warn!(run_id = self.claimed.id.as_str(); "run {} could not join its channel: {words}", self.claimed.id);
            self.requests_lost();
            self.rejoin_later(ctx);
        }
    }

    /// The server's scrubber lives in the channel's process and died with it (protocol spec, 10.1, W16).
    fn fetch_credentials_again(&mut self) {
        for id in self.credentials.clone() {
            let ticket = self.ticket();
            if let Ok(payload) = serde_json::to_vec(&FetchCredential { id }) {
                self.push(ticket, RunEvent::FetchCredential.name(), payload.into());
            }
        }
    }

    // ---- requests ----

    fn ask_for_plan(&mut self) {
        let ticket = self.ticket();
        if let Phase::Joining { plan } = &mut self.phase
            && plan.ask(ticket, Instant::now())
        {
            self.push(
                ticket,
                RunEvent::FetchPlan.name(),
                Bytes::from_static(b"{}"),
            );
        }
    }

    /// Sends whatever request is not on the way.
    fn ask(&mut self) {
        if !self.link.is_up() {
            return;
        }
        self.ask_for_plan();
        let now = Instant::now();
        let mut pushes = Vec::new();
        if let Phase::Loading(loading) = &mut self.phase {
            if let Some(id) = loading.dataclip_id.clone() {
                self.next_ticket += 1;
                let ticket = Ticket(self.next_ticket);
                if loading.dataclip.ask(ticket, now) {
                    pushes.push((
                        ticket,
                        RunEvent::FetchDataclip,
                        serde_json::to_vec(&FetchDataclip { id }),
                    ));
                }
            }
            for (id, fetch) in &mut loading.credentials {
                self.next_ticket += 1;
                let ticket = Ticket(self.next_ticket);
                if fetch.ask(ticket, now) {
                    let payload = serde_json::to_vec(&FetchCredential { id: id.clone() });
                    pushes.push((ticket, RunEvent::FetchCredential, payload));
                }
            }
        }
        for (ticket, event, payload) in pushes {
            match payload {
                Ok(payload) => self.push(ticket, event.name(), payload.into()),
                Err(error) => {
                    log::error!(run_id = self.claimed.id.as_str(); "{} cannot be written as JSON: {error}", event.name());
                }
            }
        }
    }

    fn plan_answered(&mut self, status: &ReplyStatus, response: &Payload, ctx: &mut Context<Self>) {
        if *status != ReplyStatus::Ok {
            let words = error_detail(RunEvent::FetchPlan.name(), response);
            if words.contains("unmatched topic") {
                // The join has not been handled yet, or was refused: its own answer says which.
                self.requests_lost();
                self.ask();
                return;
            }
            self.end_unstarted(&exception("LightningError", words));
            return;
        }
        let parsed = match response {
            Payload::Json(json) => {
                LightningPlan::from_json(json.get()).map_err(|error| error.to_string())
            }
            Payload::Binary(_) => Err("it is not JSON".to_owned()),
        };
        let converted =
            parsed.and_then(|plan| self.convert(plan).map_err(|error| error.to_string()));
        match converted {
            Err(why) => self.end_unstarted(&exception(
                "PlanError",
                format!("the plan cannot be used: {why}"),
            )),
            Ok(converted) => self.load(converted, ctx),
        }
    }

    fn convert(&self, plan: LightningPlan) -> Result<Converted, protocol::plan::PlanError> {
        let config = &self.context.config;
        let node = match &config.engine {
            crate::config::EngineConfig::Node(node) => node.monorepo_dir.as_deref(),
            crate::config::EngineConfig::Mock => None,
        };
        let monorepo_dir = node.map(|dir| dir.to_string_lossy().into_owned());
        let collections = config
            .collections
            .as_ref()
            .zip(self.context.collections_version.as_deref());
        let options = ConvertOptions {
            collections_version: collections.map(|(_, version)| version),
            collections_url: collections.map(|(collections, _)| collections.url.as_str()),
            run_token: &self.claimed.token,
            monorepo_dir: monorepo_dir.as_deref(),
        };
        convert(plan, &options, &mut new_id)
    }

    fn load(&mut self, converted: Converted, ctx: &mut Context<Self>) {
        let Converted {
            plan,
            options,
            input,
            warnings,
        } = converted;
        for warning in warnings {
            log::warn!(run_id = self.claimed.id.as_str(); "run {}: {warning}", self.claimed.id);
        }
        let dataclip_id = match input {
            Input::Dataclip(id) => Some(id),
            Input::Empty => None,
        };
        let loading = Loading::new(plan, options, dataclip_id);
        self.credentials = loading.credentials.keys().cloned().collect();
        self.enter(Phase::Loading(Box::new(loading)));
        self.prepare(ctx);
        self.ask();
        self.start_when_loaded(ctx);
    }

    fn prepare(&mut self, ctx: &mut Context<Self>) {
        let Phase::Loading(loading) = &self.phase else {
            return;
        };
        let prepare = Prepare {
            run_id: self.claimed.id.clone(),
            plan: loading.plan.clone(),
        };
        let answer = self.context.engine.send(prepare).into_actor(self);
        ctx.spawn(answer.map(|answer, this, ctx| {
            // A pool that died is replaced, and its successor asked again (see `EngineLost`).
            if let Ok(outcome) = answer {
                this.prepared(outcome, ctx);
            }
        }));
    }

    fn prepared(&mut self, outcome: Result<Prepared, PrepareError>, ctx: &mut Context<Self>) {
        if let Phase::Loading(loading) = &mut self.phase {
            loading.prepared = Some(outcome.map(Box::new));
            self.start_when_loaded(ctx);
        }
    }

    fn dataclip_answered(
        &mut self,
        status: &ReplyStatus,
        response: &Payload,
        ctx: &mut Context<Self>,
    ) {
        let Phase::Loading(loading) = &mut self.phase else {
            return;
        };
        let event = RunEvent::FetchDataclip.name();
        if *status == ReplyStatus::Ok {
            match dataclip_bytes(response) {
                Ok(bytes) => loading.got_dataclip(bytes),
                Err(error) => loading.dataclip = Fetch::Failed(format!("[{event}] {error}")),
            }
        } else {
            let words = error_detail(event, response);
            if words.contains("unmatched topic") {
                self.rejoin(ctx);
                return;
            }
            loading.dataclip = Fetch::Failed(words);
        }
        self.start_when_loaded(ctx);
    }

    fn credential_answered(
        &mut self,
        id: &CredentialId,
        status: &ReplyStatus,
        response: &Payload,
        ctx: &mut Context<Self>,
    ) {
        let Phase::Loading(loading) = &mut self.phase else {
            return;
        };
        let Some(fetch) = loading.credentials.get_mut(id) else {
            return;
        };
        let event = RunEvent::FetchCredential.name();
        if *status == ReplyStatus::Ok {
            *fetch = match response {
                Payload::Json(body) => Fetch::Got(body.clone()),
                Payload::Binary(_) => {
                    Fetch::Failed(format!("[{event}] the credential is not JSON"))
                }
            };
        } else {
            let words = error_detail(event, response);
            if words.contains("unmatched topic") {
                self.rejoin(ctx);
                return;
            }
            // The one error that Lightning itself calls temporary (protocol spec, section 4.4).
            if words.contains("Try again later") && fetch.tries() < super::loading::TRIES {
                fetch.link_lost();
                return;
            }
            *fetch = Fetch::Failed(words);
        }
        self.start_when_loaded(ctx);
    }

    // ---- start and end ----

    fn start_when_loaded(&mut self, ctx: &mut Context<Self>) {
        if !matches!(&self.phase, Phase::Loading(loading) if loading.settled()) {
            return;
        }
        if let Phase::Loading(loading) = std::mem::replace(&mut self.phase, Phase::Starting) {
            match loading.finish() {
                Ok(loaded) => self.start(loaded, ctx),
                Err(outcome) => self.end_unstarted(&outcome),
            }
        }
    }

    fn start(&mut self, loaded: Loaded, ctx: &mut Context<Self>) {
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
        for text in logs::limit_lines(options.memory_mb, options.timeout) {
            let line = self.reporter.worker_line("RTE", "info", &text, now);
            self.say(line, ctx);
        }
        let worker = &self.context.config.identity.version;
        let block = versions.block(worker);
        let versions = versions.for_run_start(worker);
        let payload_line = logs::payload_line(options.payload_mb);
        self.say(
            Said::Report(Report::RunStart(RunStart {
                versions,
                timestamp: Some(now),
            })),
            ctx,
        );
        let earlier = now.minus_millis(10);
        for (source, text) in [("RTE", payload_line), ("VER", block)] {
            let line = self.reporter.worker_line(source, "info", &text, earlier);
            self.say(line, ctx);
        }
        let (lines, failure) = match compiled {
            Ok(lines) => (lines, None),
            Err(CompileFailure { lines, outcome }) => (lines, Some(outcome)),
        };
        for line in lines {
            let said = self
                .reporter
                .worker_line("R/T", line.level, &line.text, line.timestamp);
            self.say(said, ctx);
        }
        if let Some(outcome) = failure {
            let line = self
                .reporter
                .worker_line("RTE", "info", logs::COMPILE_FAILED, clock::now());
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

    fn effective(&self, options: &protocol::plan::RunOptions) -> ExecuteOptions {
        let limits = &self.context.config.limits;
        let timeout = options
            .run_timeout_ms
            .map_or(limits.timeout, Duration::from_millis);
        let memory_mb = options.memory_limit_mb.unwrap_or(limits.memory_mb);
        ExecuteOptions {
            timeout: (!timeout.is_zero()).then_some(timeout),
            memory_mb,
            state_mb: options
                .state_limit_mb
                .or(limits.state_mb)
                .unwrap_or(memory_mb),
            payload_mb: options.payload_limit_mb.unwrap_or(limits.payload_mb),
            log_payload_mb: options
                .log_payload_limit_mb
                .unwrap_or(limits.log_payload_mb),
            job_log_level: options.job_log_level.clone(),
            sanitize: options.sanitize.clone(),
            output_dataclips: options.output_dataclips,
        }
    }

    /// The run ends before its job has begun.
    fn end_unstarted(&mut self, outcome: &Outcome) {
        let said = self.reporter.end_with(outcome, &clock::now(), &mut new_id);
        self.reason = Some(outcome.reason);
        for said in said {
            self.queue(said, None);
        }
        self.enter(Phase::Settling);
        self.send();
    }

    fn end_with(&mut self, outcome: &Outcome, ctx: &mut Context<Self>) {
        let said = self.reporter.end_with(outcome, &clock::now(), &mut new_id);
        self.reason = Some(outcome.reason);
        for said in said {
            self.say(said, ctx);
        }
        self.enter(Phase::Settling);
        self.send();
    }

    /// Stops the job, if there is one; the run then ends with this outcome, or without a word.
    fn stop_job(&mut self, outcome: Option<Outcome>, ctx: &mut Context<Self>) {
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
    fn give_up(&mut self, why: &str, ctx: &mut Context<Self>) {
        let lost = self.outbox.clear();
        log::error!(run_id = self.claimed.id.as_str(); "run {} is given up with {lost} unreported events: {why}", self.claimed.id);
        self.reason = None;
        self.stop_job(None, ctx);
    }

    fn done(&mut self, ctx: &mut Context<Self>) {
        if matches!(self.phase, Phase::Done) {
            return;
        }
        self.enter(Phase::Done);
        self.context.connection.do_send(Leave {
            topic: self.topic.clone(),
        });
        let reason = self.reason.map_or("unreported", ExitReason::as_str);
        let elapsed = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        log::info!(run_id = self.claimed.id.as_str(), duration_ms = elapsed; "run {} ended: {reason} ({elapsed} ms)", self.claimed.id);
        self.context.ended.do_send(RunEnded {
            run_id: self.claimed.id.clone(),
            workloop: self.workloop.clone(),
            reason: self.reason,
        });
        ctx.stop();
    }

    // ---- reports ----

    fn say(&mut self, said: Said, ctx: &mut Context<Self>) {
        if self.queue(said, None) {
            self.arm_batch(ctx);
        }
    }

    /// Puts a report into the outbox; whether a batch was opened.
    fn queue(&mut self, said: Said, permit: Option<tokio::sync::OwnedSemaphorePermit>) -> bool {
        match said {
            Said::Line(lines) => self.outbox.push_log(lines, permit),
            Said::Report(report) => {
                if let Report::StepComplete(step) = &report {
                    self.webhook_response_sent |= step.event.webhook_response.is_some();
                }
                self.outbox.push(report, permit.into_iter().collect());
                false
            }
        }
    }

    fn arm_batch(&mut self, ctx: &mut Context<Self>) {
        if let Some(batch) = self.context.config.delivery.batch
            && !self.flush_armed
        {
            self.flush_armed = true;
            ctx.run_later(batch.interval, |this, _| {
                this.flush_armed = false;
                this.outbox.close_batch();
                this.send();
            });
        }
    }

    /// Sends as many reports as the window takes.
    fn send(&mut self) {
        while self.link.is_up() {
            let ticket = self.ticket();
            let Some(report) = self.outbox.next(ticket, Instant::now()) else {
                return;
            };
            let event = report.event();
            match report.payload() {
                Ok(payload) => self.push(ticket, event, payload),
                Err(error) => {
                    // Only what was valid JSON before goes into a report, so this cannot be the job's doing.
                    log::error!(run_id = self.claimed.id.as_str(); "{event} cannot be written as JSON: {error}");
                    let _dropped = self.outbox.answered(ticket, None);
                }
            }
        }
    }

    fn report_settled(&mut self, outcome: outbox::Outcome, ctx: &mut Context<Self>) {
        match outcome {
            outbox::Outcome::Unknown => return,
            outbox::Outcome::Delivered(kind) => {
                self.link.works();
                match kind {
                    Kind::RunStart if matches!(self.phase, Phase::Starting) => {
                        self.enter(Phase::Executing);
                        self.context.engine.do_send(Proceed {
                            run_id: self.claimed.id.clone(),
                        });
                    }
                    Kind::RunComplete => {
                        self.done(ctx);
                        return;
                    }
                    Kind::RunStart | Kind::Other => {}
                }
            }
            outbox::Outcome::Resend => {}
            outbox::Outcome::Withheld(dataclip) => {
                log::warn!(run_id = self.claimed.id.as_str(); "run {}: Lightning refuses the dataclip {dataclip}; its step is completed without it", self.claimed.id);
                self.reporter.withhold(&dataclip);
            }
            outbox::Outcome::Rejoin => self.rejoin(ctx),
            outbox::Outcome::LinesDropped(lines, words) => {
                log::warn!(run_id = self.claimed.id.as_str(); "Lightning refused {lines} log lines of run {}: {words}", self.claimed.id);
            }
            outbox::Outcome::Abandoned(words) => {
                self.give_up(
                    &format!("Lightning says that it is not this worker's: {words}"),
                    ctx,
                );
                return;
            }
            outbox::Outcome::Refused { event, why } => {
                log::error!(run_id = self.claimed.id.as_str(), event = event; "Lightning refused {event} of run {}: {why}", self.claimed.id);
                self.outbox.clear();
                self.stop_job(Some(refusal(event, &why)), ctx);
            }
            outbox::Outcome::GaveUp(words) => {
                self.give_up(
                    &format!("Lightning refuses every form of its end: {words}"),
                    ctx,
                );
                return;
            }
        }
        self.send();
    }

    // ---- time ----

    fn tick(&mut self, ctx: &mut Context<Self>) {
        if matches!(self.phase, Phase::Done) {
            return;
        }
        let now = Instant::now();
        let (late, too_long) = (self.link.late(), self.link.too_long());
        match self.link.state {
            LinkState::Joining { sent, .. } if now.duration_since(sent) >= too_long => {
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

    fn look_for_silence(
        &mut self,
        now: Instant,
        late: Duration,
        too_long: Duration,
        ctx: &mut Context<Self>,
    ) {
        let since = now.checked_sub(late).unwrap_or(now);
        let expired = match &mut self.phase {
            // A plan can be fetched again at will.
            Phase::Joining { plan } if is_overdue(plan, since) => {
                plan.link_lost();
                Some(RunEvent::FetchPlan.name())
            }
            Phase::Loading(loading) => loading
                .expire(since)
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

    fn schedule_tick(&self, ctx: &mut Context<Self>) {
        let tick =
            (self.context.config.lightning.message_timeout / 4).clamp(SHORTEST_TICK, LONGEST_TICK);
        ctx.run_later(tick, Self::tick);
    }

    fn schedule_deadline(&self, ctx: &mut Context<Self>) {
        if let Some(expiry) = unverified_expiry(&self.claimed.token) {
            let left = Duration::from_secs(expiry.saturating_sub(clock::now_seconds()));
            ctx.run_later(left, |this, ctx| {
                this.give_up("its token has expired, Lightning counts it as lost", ctx);
            });
        }
    }

    fn subscribe(&self, ctx: &Context<Self>) {
        self.context.connection.do_send(Subscribe {
            topic: self.topic.clone(),
            subscriber: ctx.address().recipient(),
        });
    }
}

/// Whether a request has been unanswered since before `since`.
fn is_overdue<T>(fetch: &Fetch<T>, since: Instant) -> bool {
    matches!(fetch, Fetch::Asked { sent, .. } if *sent <= since)
}

/// A random UUID, version 4.
fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

impl Actor for Run {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        log::info!(run_id = self.claimed.id.as_str(), workloop = self.workloop.as_str(); "run {} claimed by workloop {}", self.claimed.id, self.workloop);
        self.subscribe(ctx);
        self.schedule_deadline(ctx);
        self.schedule_tick(ctx);
        if self.origin == Origin::Successor {
            let why =
                "the worker failed while it was handling this run; its job was stopped".to_owned();
            self.end_unstarted(&exception("RunActorCrashed", why));
        }
    }
}

impl Handler<ChannelEvent> for Run {
    type Result = ();

    fn handle(&mut self, event: ChannelEvent, ctx: &mut Self::Context) {
        match event {
            ChannelEvent::SocketUp => self.join(),
            ChannelEvent::SocketDown => {
                self.link.state = LinkState::Down;
                self.outbox.link_lost();
                self.requests_lost();
            }
            ChannelEvent::Crashed => {
                log::warn!(run_id = self.claimed.id.as_str(); "the channel of run {} crashed; joining it again", self.claimed.id);
                self.requests_lost();
                let outcome = self.outbox.channel_crashed();
                if outcome != outbox::Outcome::Rejoin {
                    self.rejoin_later(ctx);
                }
                self.report_settled(outcome, ctx);
            }
            ChannelEvent::Closed => {
                log::warn!(run_id = self.claimed.id.as_str(); "Lightning closed the channel of run {}; joining it again", self.claimed.id);
                self.rejoin(ctx);
            }
            ChannelEvent::Pushed { event, .. } if event == "run:cancel" => {
                log::info!(run_id = self.claimed.id.as_str(); "Lightning cancels run {}", self.claimed.id);
                self.stop_job(Some(cancelled()), ctx);
            }
            ChannelEvent::Pushed { event, .. } => {
                log::debug!(run_id = self.claimed.id.as_str(); "ignored the event {event} of run {}", self.claimed.id);
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
        let error = match status {
            ReplyStatus::Ok => None,
            ReplyStatus::Error | ReplyStatus::Other(_) => {
                Some(protocol::phoenix::response_detail(response))
            }
        };
        let outcome = self.outbox.answered(ticket, error.as_deref());
        self.report_settled(outcome, ctx);
    }
}

impl Handler<EngineEvent> for Run {
    type Result = ();

    fn handle(&mut self, event: EngineEvent, ctx: &mut Self::Context) {
        let EngineEvent {
            run_id,
            body,
            permit,
        } = event;
        if run_id != self.claimed.id {
            log::error!(run_id = self.claimed.id.as_str(); "run {} was told of run {run_id} by the engine; ignored", self.claimed.id);
            return;
        }
        if let EngineEventBody::Started { time, warm, .. } = &body {
            let temperature = if *warm { "warm" } else { "cold" };
            log::debug!(run_id = self.claimed.id.as_str(); "run {} was loaded by a {temperature} thread at {time}", self.claimed.id);
        }
        let over = matches!(body, EngineEventBody::Ended);
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
                let why = "the engine ended the run without a result".to_owned();
                self.end_with(&exception("ExecutionError", why), ctx);
            } else if !matches!(self.phase, Phase::Settling | Phase::Done) {
                self.enter(Phase::Settling);
            }
            return;
        }
        let said = self.reporter.on(body, &clock::now(), &mut new_id);
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
        self.send();
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
        if !self.reporter.ended() {
            self.stop_job(Some(outcome), ctx);
        }
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
                let outcome = Outcome {
                    reason: ExitReason::Crash,
                    error_type: Some("EngineLost".to_owned()),
                    error_message: Some("the engine that executed the run was lost".to_owned()),
                };
                self.end_with(&outcome, ctx);
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

#[cfg(feature = "test-hooks")]
impl Handler<super::messages::Panic> for Run {
    type Result = ();

    fn handle(&mut self, _: super::messages::Panic, _: &mut Self::Context) {
        panic!("run {} was asked to panic by a test", self.claimed.id);
    }
}
