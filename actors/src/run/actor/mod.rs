//! The actor itself: it carries messages between channel, engine and the pure parts beside this file.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use protocol::ids::{CredentialId, Topic, WorkloopId};
use protocol::lightning::{
    ClaimedRun, FetchCredential, FetchDataclip, PushPayload, Refusal, RefusalMeaning, RunEvent,
    RunJoin, RunPush, dataclip_bytes,
};
use protocol::logs;
use protocol::phoenix::{Payload, ReplyStatus, error_detail};
use protocol::plan::{ConvertOptions, Converted, Input, LightningPlan, convert};
use protocol::reasons::{ExitReason, Outcome};
use protocol::token::unverified_expiry;
use tokio::sync::Semaphore;

use super::link::{Link, LinkState};
use super::loading::{Fetch, Loaded, Loading, exception};
use super::messages::{GetRunStatus, RunPhase, RunStatus, StopRun};
use super::outbox::{self, Outbox, Silence};
use super::report::{Kind, Report, refusal};
use super::reporter::{Reporter, Said};
use crate::clock;
use crate::config::Config;
use crate::engine_pool::{
    CompileFailure, EngineEvent, EnginePool, Execute, Prepare, PrepareError, Prepared, Proceed,
    StopJob,
};
use crate::events::{ConnectionReplaced, EngineLost, RunEnded};
use crate::lightning::{
    Blame, ChannelEvent, Join, Leave, LightningConnection, Push, Subscribe, Ticket,
};

mod channel;
mod handlers;
mod life;
mod reports;
mod requests;
mod time;

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

/// The end of the run's token, after which its channel cannot be joined any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deadline {
    Ahead,
    /// The channel that is open still takes the end of the run (protocol spec, section 10.2).
    Over,
}

impl Phase {
    fn name(&self) -> RunPhase {
        match self {
            Self::Joining { .. } => RunPhase::Joining,
            Self::Loading(_) => RunPhase::Loading,
            Self::Starting => RunPhase::Starting,
            Self::Executing => RunPhase::Executing,
            Self::Stopping(_) => RunPhase::Stopping,
            Self::Settling => RunPhase::Settling,
            Self::Done => RunPhase::Done,
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
    /// Credentials that the server has to hear of after a rejoin, or its scrubber lets them through (protocol spec,
    /// W16).
    credentials: Vec<CredentialId>,
    /// Those that were asked for again, and not answered yet.
    restoring: HashMap<Ticket, CredentialId>,
    /// Crashes of the channel under such a request.
    restore_crashes: u32,
    deadline: Deadline,
    webhook_response_sent: bool,
    reason: Option<ExitReason>,
    /// Lightning did not let it be started, for it is not this worker's.
    taken_away: bool,
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
            phase: Phase::Joining { plan: Fetch::new() },
            since: now,
            born: now,
            outbox: Outbox::new(delivery.window, delivery.batch.map(|batch| batch.limit)),
            reporter: Reporter::new(
                claimed.id.clone(),
                delivery.batch.is_some(),
                delivery.frames,
            ),
            budget: Arc::new(Semaphore::new(delivery.outbox_bytes)),
            credentials: Vec::new(),
            restoring: HashMap::new(),
            restore_crashes: 0,
            deadline: Deadline::Ahead,
            webhook_response_sent: false,
            reason: None,
            taken_away: false,
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
        if self.phase.name() != phase.name() {
            log::debug!(run_id = self.claimed.id.as_str(); "run {}: {} -> {}", self.claimed.id, self.phase.name(), phase.name());
        }
        self.phase = phase;
        self.since = Instant::now();
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    fn push(&self, ticket: Ticket, event: &'static str, payload: PushPayload) {
        self.context.connection.do_send(Push {
            topic: self.topic.clone(),
            ticket,
            event,
            payload,
        });
    }
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
            self.end_unstarted(&exception("RunActorCrashed", why), ctx);
        }
    }
}
