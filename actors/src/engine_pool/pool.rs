//! The actor: messages to whichever engine this worker has.

use actix::prelude::*;
use tokio::sync::oneshot;

use super::engine::{Engine, EngineUnavailable, News};
use super::in_process::InProcess;
use super::messages::{
    EngineFailed, EngineState, EngineStatus, Execute, GetEngineStatus, Prepare, PrepareError,
    Prepared, Proceed, StopEngine, StopJob,
};
use super::node::NodeEngine;
use super::unavailable::Unavailable;
use crate::config::{Config, EngineConfig};
use crate::metrics::Metrics;
use crate::tell::Tell as _;

/// See the documentation of [`super`].
pub(crate) struct EnginePool {
    engine: Box<dyn Engine>,
    failed: Option<Recipient<EngineFailed>>,
}

/// The engine of this configuration.
fn engine_of(config: EngineConfig, capacity: usize, metrics: Metrics) -> Box<dyn Engine> {
    match config {
        #[cfg(feature = "mock-engine")]
        EngineConfig::Mock => Box::new(InProcess::new(EngineState::Mock, super::mock::start())),
        #[cfg(not(feature = "mock-engine"))]
        EngineConfig::Mock => Box::new(Unavailable(EngineUnavailable::because(
            crate::config::NoMockEngine,
        ))),
        EngineConfig::Recorded(engine) => Box::new(InProcess::new(EngineState::Recorded, engine)),
        EngineConfig::Node(config) => Box::new(NodeEngine::new(config, capacity, metrics)),
    }
}

impl EnginePool {
    /// A pool for this configuration; it starts with the actor.
    pub(crate) fn new(config: &Config) -> Self {
        Self::with_engine(
            config.engine.clone(),
            config.capacity(),
            config.metrics.clone(),
        )
    }

    /// A pool of this engine that executes up to `capacity` runs at a time.
    pub(crate) fn with_engine(config: EngineConfig, capacity: u32, metrics: Metrics) -> Self {
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
        Self {
            engine: engine_of(config, capacity, metrics),
            failed: None,
        }
    }

    /// Who hears when the engine cannot be started.
    pub(crate) fn reporting_to(mut self, failed: Recipient<EngineFailed>) -> Self {
        self.failed = Some(failed);
        self
    }

    /// The engine will never execute a run: runs that come all the same are told why.
    fn give_up(&mut self, why: EngineUnavailable) {
        if let Some(failed) = &self.failed {
            failed.tell(EngineFailed { why: why.clone() });
        }
        self.engine = Box::new(Unavailable(why));
    }

    /// News of the engine's own children and tasks.
    pub(super) fn hear(&mut self, news: News, ctx: &mut Context<Self>) {
        if let Err(why) = self.engine.hear(news, ctx) {
            self.give_up(why);
        }
    }

    /// The engine, if it is of this kind.
    #[cfg(test)]
    pub(super) fn engine<E: Engine>(&self) -> Option<&E> {
        let engine: &dyn std::any::Any = &*self.engine;
        engine.downcast_ref()
    }
}

impl Actor for EnginePool {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Err(why) = self.engine.start(ctx) {
            // No further try would find another answer.
            self.give_up(why);
        }
    }
}

impl Handler<Prepare> for EnginePool {
    type Result = ResponseFuture<Result<Prepared, PrepareError>>;

    fn handle(&mut self, message: Prepare, _: &mut Self::Context) -> Self::Result {
        log::debug!(run_id = message.run_id.as_str(); "preparing run {}", message.run_id);
        self.engine.prepare(message)
    }
}

impl Handler<Execute> for EnginePool {
    type Result = ();

    fn handle(&mut self, message: Execute, ctx: &mut Self::Context) {
        self.engine.execute(message, ctx);
    }
}

impl Handler<Proceed> for EnginePool {
    type Result = ();

    fn handle(&mut self, message: Proceed, _: &mut Self::Context) {
        self.engine.proceed(&message.run_id);
    }
}

impl Handler<StopJob> for EnginePool {
    type Result = ();

    fn handle(&mut self, message: StopJob, _: &mut Self::Context) {
        self.engine.stop(&message.run_id);
    }
}

impl Handler<News> for EnginePool {
    type Result = ();

    fn handle(&mut self, news: News, ctx: &mut Self::Context) {
        self.hear(news, ctx);
    }
}

impl Handler<StopEngine> for EnginePool {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopEngine, _: &mut Self::Context) -> Self::Result {
        let (sender, stopped) = oneshot::channel();
        self.engine.shutdown(sender);
        // A pool that dies first has no children left either.
        Box::pin(async move { stopped.await.unwrap_or(()) })
    }
}

impl Handler<GetEngineStatus> for EnginePool {
    type Result = MessageResult<GetEngineStatus>;

    fn handle(&mut self, _: GetEngineStatus, _: &mut Self::Context) -> Self::Result {
        let status: EngineStatus = self.engine.status();
        MessageResult(status)
    }
}

#[cfg(test)]
impl Handler<crate::events::Panic> for EnginePool {
    type Result = ();

    fn handle(&mut self, _: crate::events::Panic, _: &mut Self::Context) {
        panic!("the engine pool was asked to panic by a test");
    }
}
