//! The seam between the worker and whatever executes its runs.
//!
//! Runs and the supervisor know the messages of [`EnginePool`] only, and the pool knows [`Engine`] only. A further engine is a
//! folder beside `node/` that implements it, a variant of `EngineConfig`, and a line in `engine_of` of `pool.rs`.

use std::any::Any;
use std::error::Error;
use std::sync::Arc;

use actix::prelude::*;
use protocol::ids::RunId;
use protocol::versions::EngineVersions;
use tokio::sync::oneshot;

use super::messages::{EngineStatus, Execute, Prepare, PrepareError, Prepared};
use super::pool::EnginePool;

/// Why an engine will never execute a run, in the engine's own words.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub(crate) struct EngineUnavailable(Arc<dyn Error + Send + Sync>);

impl EngineUnavailable {
    /// For this reason.
    pub(super) fn because(why: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(why))
    }
}

/// What an engine's own children and tasks tell it, by way of the pool, which cannot look inside.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct News(Box<dyn Any + Send>);

impl News {
    pub(super) fn new(news: impl Any + Send) -> Self {
        Self(Box::new(news))
    }

    /// The news, if they are of this kind: others are for an engine that was given up since.
    pub(super) fn of<T: Any>(self) -> Option<T> {
        self.0.downcast().ok().map(|news| *news)
    }
}

/// What executes runs.
pub(super) trait Engine: Any {
    /// Begins whatever takes time.
    ///
    /// # Errors
    /// Why it can never execute a run.
    fn start(&mut self, _: &mut Context<EnginePool>) -> Result<(), EngineUnavailable> {
        Ok(())
    }

    /// Gets everything that a run needs before it can be executed; may take as long as an install.
    fn prepare(&mut self, request: Prepare) -> ResponseFuture<Result<Prepared, PrepareError>>;

    /// Loads a run, and tells of it from here on; its steps wait for [`Engine::proceed`]. `Ended` is told last, whatever happens.
    fn execute(&mut self, request: Execute, ctx: &mut Context<EnginePool>);

    /// Lets the first step of a run begin.
    fn proceed(&mut self, run: &RunId);

    /// Ends the job of a run at once.
    fn stop(&mut self, run: &RunId);

    /// What status pages show.
    fn status(&self) -> EngineStatus;

    /// Takes no further run, ends when those in work have ended, and says so.
    fn shutdown(&mut self, done: oneshot::Sender<()>);

    /// What its own children and tasks have found out.
    ///
    /// # Errors
    /// Why it will never execute a run.
    fn hear(&mut self, _: News, _: &mut Context<EnginePool>) -> Result<(), EngineUnavailable> {
        Ok(())
    }
}

/// The versions that every run is told, whatever executes it.
pub(super) fn versions() -> EngineVersions {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    EngineVersions {
        engine: version.clone(),
        compiler: version,
        ..EngineVersions::default()
    }
}
