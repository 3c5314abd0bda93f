//! The actor: it hands each message to the machine, and performs what the machine decides.

use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use log_events::{Detail, event, table};
use protocol::ids::{RunId, Topic, WorkloopId};
use protocol::lightning::ClaimedRun;
use tokio::sync::Semaphore;

use super::machine::{Chance, Count, Effect, Event, Notice, Origin, Outside, RunMachine};
use super::messages::{GetRunStatus, StopRun};
use super::settings::Settings;
use crate::clock;
use crate::config::Config;
use crate::engine_pool::{EngineEvent, EnginePool, Execute, Prepare, Proceed, StopJob};
use crate::events::{ConnectionReplaced, EngineLost, RunEnded};
use crate::lightning::{ChannelEvent, Join, Leave, LightningConnection, Push};
use crate::tell::Tell as _;

/// What a run needs from its surroundings.
#[derive(Clone)]
pub(crate) struct RunContext {
    pub(crate) config: Arc<Config>,
    pub(crate) collections_version: Option<String>,
    pub(crate) connection: Addr<LightningConnection>,
    pub(crate) engine: Addr<EnginePool>,
    pub(crate) ended: Recipient<RunEnded>,
}

/// See the documentation of [`super`].
pub(crate) struct Run {
    context: RunContext,
    id: RunId,
    workloop: WorkloopId,
    topic: Topic,
    origin: Origin,
    machine: RunMachine,
    /// Bytes that the engine may still hand over before the job has to wait for Lightning.
    budget: Arc<Semaphore>,
}

impl Run {
    pub(crate) fn new(
        context: RunContext,
        claimed: ClaimedRun,
        workloop: WorkloopId,
        origin: Origin,
    ) -> Self {
        let settings = Settings::new(&context.config, context.collections_version.as_deref());
        Self {
            id: claimed.id.clone(),
            topic: Topic::run(&claimed.id),
            budget: Arc::new(Semaphore::new(settings.delivery.outbox_bytes)),
            machine: RunMachine::new(settings, claimed, workloop.clone(), Instant::now()),
            context,
            workloop,
            origin,
        }
    }

    fn on(&mut self, event: Event, ctx: &mut Context<Self>) {
        let outside = Outside {
            now: Instant::now(),
            time: clock::now(),
            chance: &mut Random,
        };
        for effect in self.machine.on(event, outside) {
            self.perform(effect, ctx);
        }
    }

    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        let RunContext {
            connection, engine, ..
        } = &self.context;
        match effect {
            Effect::Join {
                ticket,
                payload,
                turn,
            } => connection.tell(Join {
                topic: self.topic.clone(),
                ticket,
                payload,
                turn,
                subscriber: ctx.address().recipient(),
            }),
            Effect::Push {
                ticket,
                event,
                payload,
            } => connection.tell(Push {
                topic: self.topic.clone(),
                ticket,
                event,
                payload,
            }),
            Effect::Leave => connection.tell(Leave {
                topic: self.topic.clone(),
            }),
            Effect::Prepare(plan) => {
                let prepare = Prepare {
                    run_id: self.id.clone(),
                    plan,
                    traces: self.context.config.traces.clone(),
                };
                let answer = engine.send(prepare).into_actor(self);
                ctx.spawn(answer.map(|answer, this, ctx| {
                    // An engine that died is replaced, and its successor asked again (see `EngineLost`).
                    if let Ok(outcome) = answer {
                        this.on(Event::Prepared(outcome), ctx);
                    }
                }));
            }
            Effect::Execute(execution) => engine.tell(Execute {
                run_id: self.id.clone(),
                workloop: self.workloop.clone(),
                project_id: execution.plan.project_id.clone(),
                plan: execution.plan,
                input: execution.input,
                options: execution.options,
                events: ctx.address().recipient(),
                budget: Arc::clone(&self.budget),
            }),
            Effect::Proceed => engine.tell(Proceed {
                run_id: self.id.clone(),
            }),
            Effect::StopJob => engine.tell(StopJob {
                run_id: self.id.clone(),
            }),
            Effect::Arm { timer, after } => {
                ctx.run_later(after, move |this, ctx| this.on(Event::Fired(timer), ctx));
            }
            Effect::Log(notice) => self.log(&notice),
            Effect::Count(count) => self.count(count),
            Effect::Trace { at, moment } => {
                self.context.config.traces.note_at(&self.id, at, moment);
            }
            Effect::Ended(end) => {
                self.context.ended.tell(RunEnded {
                    run_id: self.id.clone(),
                    end,
                });
                ctx.stop();
            }
        }
    }

    fn log(&self, notice: &Notice) {
        let Notice {
            event,
            fields,
            text,
        } = notice;
        let Some(event) = event else {
            log::debug!(run_id = self.id.as_str(); "{text}");
            return;
        };
        let mut fields = fields.clone();
        fields.push(("run_id", Detail::from(self.id.as_str())));
        event.log(module_path!(), &fields, text);
    }

    fn count(&self, count: Count) {
        let metrics = &self.context.config.metrics;
        match count {
            Count::Refused(event) => metrics.refused(event),
            Count::Resent(event) => metrics.resent(event),
            Count::Started(since) => metrics.run_started(since),
            Count::Step { reason, lasted } => metrics.step_ended(reason.as_str(), lasted),
            Count::LinesDropped(lines) => metrics.log_lines_dropped(lines),
        }
    }
}

/// Of the operating system.
struct Random;

impl Chance for Random {
    fn new_id(&mut self) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    fn random(&mut self) -> f64 {
        rand::random()
    }
}

impl Actor for Run {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.on(Event::Started(self.origin), ctx);
    }
}

impl Handler<ChannelEvent> for Run {
    type Result = ();

    fn handle(&mut self, event: ChannelEvent, ctx: &mut Self::Context) {
        self.on(Event::Channel(event), ctx);
    }
}

impl Handler<EngineEvent> for Run {
    type Result = ();

    fn handle(&mut self, event: EngineEvent, ctx: &mut Self::Context) {
        if event.run_id == self.id {
            self.on(Event::Engine(event.progress, event.permit), ctx);
        } else {
            event!(table::RUN_EVENT_IGNORED, run_id = self.id.as_str(), error = "an event of another run"; "run {} was told of run {} by the engine; ignored", self.id, event.run_id);
        }
    }
}

impl Handler<StopRun> for Run {
    type Result = ();

    fn handle(&mut self, stop: StopRun, ctx: &mut Self::Context) {
        self.on(Event::Stop(stop), ctx);
    }
}

impl Handler<ConnectionReplaced> for Run {
    type Result = ();

    fn handle(&mut self, message: ConnectionReplaced, ctx: &mut Self::Context) {
        self.context.connection = message.connection;
        self.on(Event::ConnectionReplaced, ctx);
    }
}

impl Handler<EngineLost> for Run {
    type Result = ();

    fn handle(&mut self, message: EngineLost, ctx: &mut Self::Context) {
        self.context.engine = message.engine;
        self.on(Event::EngineLost, ctx);
    }
}

impl Handler<GetRunStatus> for Run {
    type Result = MessageResult<GetRunStatus>;

    fn handle(&mut self, _: GetRunStatus, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.machine.status(Instant::now()))
    }
}

#[cfg(test)]
impl Handler<crate::events::Panic> for Run {
    type Result = ();

    fn handle(&mut self, _: crate::events::Panic, _: &mut Self::Context) {
        panic!("run {} was asked to panic by a test", self.id);
    }
}
