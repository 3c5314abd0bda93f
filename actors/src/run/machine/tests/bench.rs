//! A run whose surroundings are a test: Lightning, the engine, the clock and chance.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::engine::{FinishedStep, RunProgress, Shape};
use protocol::ids::{JobId, RunId, WorkloopId};
use protocol::lightning::{ClaimedRun, Timestamp};
use protocol::phoenix::{Payload, ReplyStatus};
use protocol::plan::ExecutionPlan;
use protocol::reasons::{ExitReason, Outcome};
use protocol::size::Mebibytes;
use protocol::versions::EngineVersions;
use serde_json::json;
use serde_json::value::RawValue;

use super::super::RunMachine;
use super::super::events::{Chance, Effect, Event, Origin, Outside, Timer};
use crate::config::{DeliveryConfig, FrameLimit, RunLimits};
use crate::engine_pool::{CompileFailure, Prepared};
use crate::events::End;
use crate::lightning::{ChannelEvent, JoinTurn, Ticket};
use crate::run::messages::RunPhase;
use crate::run::settings::Settings;

/// What Lightning says to a run that may not be joined, to one of somebody else, and of what is not valid.
pub(super) const DENIED: &str = r#"{"reason":"unauthorized"}"#;
pub(super) const NOT_CLAIMED: &str =
    r#"{"errors":{"state":["cannot mark run started that has not been claimed by a worker"]}}"#;
pub(super) const INVALID: &str = r#"{"errors":{"x":["is invalid"]}}"#;

/// The run's token expires.
pub(super) const EXPIRED: fn() -> Event = || Event::Fired(Timer::Deadline);

/// A token that expires in the year 2033.
const TOKEN: &str = "e30.eyJleHAiOjIwMDAwMDAwMDB9.x";

const CREDENTIAL: &str = "c";

#[derive(Debug)]
struct Counted(u64);

impl Chance for Counted {
    fn new_id(&mut self) -> String {
        self.0 += 1;
        format!("id {}", self.0)
    }

    fn random(&mut self) -> f64 {
        0.5
    }
}

#[derive(Debug)]
pub(super) struct Bench {
    machine: RunMachine,
    pub(super) now: Instant,
    micros: u64,
    chance: Counted,
    effects: Vec<Effect>,
    /// What the engine was asked to prepare.
    plan: Option<Arc<ExecutionPlan>>,
    /// The join that waits for its turn.
    join: Option<(Ticket, JoinTurn)>,
    /// What was sent and not answered.
    open: Vec<(Ticket, &'static str)>,
    end: Option<End>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::of(Origin::Claimed)
    }

    pub(super) fn of(origin: Origin) -> Self {
        let settings = Settings {
            delivery: DeliveryConfig {
                window: 32,
                outbox_bytes: 1 << 20,
                request_attempts: 3,
                retry_delay: Duration::from_secs(30),
                batch: None,
                frames: FrameLimit::new(Mebibytes::new(0.0)),
            },
            message_timeout: Duration::from_secs(30),
            limits: RunLimits {
                timeout: Duration::from_secs(60),
                memory: Mebibytes::new(500.0),
                payload: Mebibytes::new(10.0),
                log_payload: Mebibytes::new(1.0),
                state: None,
            },
            worker_version: "1.2.3".to_owned(),
            collections: None,
            monorepo_dir: None,
            traced: false,
        };
        let claimed = ClaimedRun {
            id: RunId::new("r"),
            token: TOKEN.to_owned(),
        };
        let now = Instant::now();
        let mut bench = Self {
            machine: RunMachine::new(settings, claimed, WorkloopId::new("*"), now),
            now,
            micros: 1_900_000_000_000_000,
            chance: Counted(0),
            effects: Vec::new(),
            plan: None,
            join: None,
            open: Vec::new(),
            end: None,
        };
        bench.on(Event::Started(origin));
        bench
    }

    /// Its channel is open, and its plan asked for.
    pub(super) fn joined() -> Self {
        let mut bench = Self::new();
        bench.join_sent();
        bench.accept("phx_join");
        bench
    }

    pub(super) fn loading() -> Self {
        let mut bench = Self::joined();
        bench.plan();
        bench
    }

    /// The engine has loaded it, and its start is on the way.
    pub(super) fn starting() -> Self {
        let mut bench = Self::loading();
        bench.prepared();
        bench.loaded();
        bench
    }

    pub(super) fn executing() -> Self {
        let mut bench = Self::starting();
        bench.accept("run:start");
        bench
    }

    pub(super) fn on(&mut self, event: Event) {
        let outside = Outside {
            now: self.now,
            time: Timestamp::from_micros(self.micros),
            chance: &mut self.chance,
        };
        for effect in self.machine.on(event, outside) {
            match &effect {
                Effect::Join { ticket, turn, .. } => self.join = Some((*ticket, *turn)),
                Effect::Push { ticket, event, .. } => self.open.push((*ticket, event)),
                Effect::Prepare(plan) => self.plan = Some(Arc::clone(plan)),
                Effect::Ended(end) => self.end = Some(*end),
                _ => {}
            }
            self.effects.push(effect);
        }
    }

    /// Time goes by, and the run looks for silence.
    pub(super) fn wait(&mut self, time: Duration) {
        self.now += time;
        self.on(Event::Fired(Timer::Tick));
    }

    pub(super) fn phase(&self) -> RunPhase {
        self.machine.status(self.now).phase
    }

    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// What was done since this was last asked, without timers, lines and counts.
    pub(super) fn deeds(&mut self) -> Vec<&'static str> {
        let effects = std::mem::take(&mut self.effects);
        effects.iter().filter_map(deed).collect()
    }

    /// The timers that were armed since the deeds were last asked for.
    pub(super) fn timers(&self) -> Vec<(Timer, Duration)> {
        let armed = |effect: &Effect| match effect {
            Effect::Arm { timer, after } => Some((*timer, *after)),
            _ => None,
        };
        self.effects.iter().filter_map(armed).collect()
    }

    /// The lines since the deeds were last asked for.
    pub(super) fn log(&self) -> Vec<&str> {
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Log(notice) => Some(notice.text.as_str()),
                _ => None,
            })
            .collect()
    }

    /// The join that waits is on its way.
    pub(super) fn join_sent(&mut self) {
        let (ticket, _) = self.join.take().expect("no join waits");
        // A join ends what was open before.
        self.open.clear();
        self.open.push((ticket, "phx_join"));
        self.on(Event::Channel(ChannelEvent::JoinSent { ticket }));
    }

    /// When the join that waits wants to be sent.
    pub(super) fn turn(&self) -> Option<JoinTurn> {
        self.join.map(|(_, turn)| turn)
    }

    pub(super) fn crash(&mut self) {
        let unanswered = std::mem::take(&mut self.open);
        let unanswered = unanswered.into_iter().map(|(ticket, _)| ticket).collect();
        self.on(Event::Channel(ChannelEvent::Crashed { unanswered }));
    }

    fn answer(&mut self, event: &str, status: ReplyStatus, json: &str) {
        let place = self.open.iter().position(|(_, open)| *open == event);
        let (ticket, _) = self.open.remove(place.unwrap_or_else(|| {
            panic!("{event} is not on its way, but {:?}", self.open);
        }));
        let response = Payload::Json(RawValue::from_string(json.to_owned()).unwrap());
        self.on(Event::Channel(ChannelEvent::Reply {
            ticket,
            status,
            response,
        }));
    }

    /// Answers the oldest of these that is on its way with this JSON.
    pub(super) fn reply(&mut self, event: &str, json: &str) {
        self.answer(event, ReplyStatus::Ok, json);
    }

    pub(super) fn accept(&mut self, event: &str) {
        self.reply(event, "{}");
    }

    pub(super) fn refuse(&mut self, event: &str, json: &str) {
        self.answer(event, ReplyStatus::Error, json);
    }

    /// Whatever is on its way is accepted, and what follows from that, until nothing is left.
    pub(super) fn accept_all(&mut self) {
        while let Some((_, event)) = self.open.first() {
            let event = *event;
            self.accept(event);
        }
    }

    /// Lightning gives the plan of one job.
    pub(super) fn plan(&mut self) {
        let plan = json!({"id": "r", "jobs": [{"id": "a", "body": "fn(s => s)", "adaptor": "x"}], "edges": [], "triggers": []});
        self.reply("fetch:plan", &plan.to_string());
    }

    /// The same with a credential.
    pub(super) fn plan_with_credential(&mut self) {
        let job =
            json!({"id": "a", "body": "fn(s => s)", "adaptor": "x", "credential_id": CREDENTIAL});
        let plan = json!({"id": "r", "jobs": [job], "edges": [], "triggers": []});
        self.reply("fetch:plan", &plan.to_string());
    }

    pub(super) fn prepared(&mut self) {
        let prepared = self.prepared_with(Ok(()));
        self.on(Event::Prepared(Ok(prepared)));
    }

    pub(super) fn not_compiled(&mut self) {
        let prepared = self.prepared_with(Err(CompileFailure {
            lines: Vec::new(),
            outcome: Outcome {
                reason: ExitReason::Crash,
                error_type: Some("SyntaxError".to_owned()),
                error_message: None,
            },
        }));
        self.on(Event::Prepared(Ok(prepared)));
    }

    fn prepared_with(&self, compiled: Result<(), CompileFailure>) -> Prepared {
        let plan = self.plan.as_deref().expect("the engine was asked");
        Prepared {
            plan: plan.clone(),
            versions: EngineVersions::default(),
            compiled: compiled.map(|()| Vec::new()),
        }
    }

    fn engine(&mut self, body: RunProgress) {
        self.micros += 1_000;
        self.on(Event::Engine(body, None));
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_micros(self.micros)
    }

    /// The engine has loaded the run.
    pub(super) fn loaded(&mut self) {
        self.engine(RunProgress::WorkflowStart {
            thread_id: 1,
            warm: true,
        });
    }

    pub(super) fn ended(&mut self) {
        self.engine(RunProgress::Ended);
    }

    /// The only step begins and ends.
    pub(super) fn step(&mut self) {
        self.step_with(None);
    }

    pub(super) fn step_with(&mut self, webhook_response: Option<serde_json::Value>) {
        let (job, time) = (JobId::new("a"), self.time());
        self.engine(RunProgress::JobStart {
            job: job.clone(),
            time,
        });
        let step = FinishedStep {
            job,
            time: self.time(),
            duration: 1.0,
            next: Vec::new(),
            size: None,
            redacted: false,
            shape: Shape::Object,
            webhook_response,
            state_error: None,
        };
        self.engine(RunProgress::JobComplete {
            step,
            mem: None,
            state: Some(Bytes::from_static(b"{}")),
        });
    }

    pub(super) fn workflow_complete(&mut self) {
        let time = self.time();
        self.engine(RunProgress::WorkflowComplete {
            time,
            shape: Shape::Object,
            state: Some(Bytes::from_static(b"{}")),
        });
    }
}

fn deed(effect: &Effect) -> Option<&'static str> {
    Some(match effect {
        Effect::Join { .. } => "join",
        Effect::Push { event, .. } => event,
        Effect::Leave => "leave",
        Effect::Prepare(_) => "prepare",
        Effect::Execute(_) => "execute",
        Effect::Proceed => "proceed",
        Effect::StopJob => "stop",
        Effect::Ended(_) => "ended",
        Effect::Arm { .. } | Effect::Log(_) | Effect::Count(_) | Effect::Trace { .. } => {
            return None;
        }
    })
}
