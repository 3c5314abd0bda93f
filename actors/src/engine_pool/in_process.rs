//! Engines without child processes: there is nothing to install or compile for them, and nothing to wait for.

use std::sync::Arc;

use actix::prelude::*;
use protocol::ids::RunId;
use tokio::sync::oneshot;

use super::engine::{Engine, versions};
use super::messages::{EngineState, EngineStatus, Execute, Prepare, PrepareError, Prepared};
use super::pool::EnginePool;
use super::recorded::RecordedEngine;

/// What executes runs by itself, as soon as it is there.
pub(super) trait Executes: 'static {
    fn execute(&self, request: Execute);
    fn proceed(&self, run: &RunId);
    fn stop(&self, run: &RunId);
}

impl Executes for RecordedEngine {
    fn execute(&self, request: Execute) {
        Self::execute(self, &request);
    }

    fn proceed(&self, run: &RunId) {
        Self::proceed(self, run);
    }

    fn stop(&self, run: &RunId) {
        Self::stop(self, run);
    }
}

/// See the module's documentation.
pub(super) struct InProcess<E> {
    state: EngineState,
    engine: E,
}

impl<E: Executes> InProcess<E> {
    /// An engine that is always in this state.
    pub(super) fn new(state: EngineState, engine: E) -> Self {
        Self { state, engine }
    }
}

impl<E: Executes> Engine for InProcess<E> {
    fn prepare(&mut self, request: Prepare) -> ResponseFuture<Result<Prepared, PrepareError>> {
        Box::pin(std::future::ready(Ok(Prepared {
            plan: Arc::unwrap_or_clone(request.plan),
            versions: versions(),
            compiled: Ok(Vec::new()),
        })))
    }

    fn execute(&mut self, request: Execute, _: &mut Context<EnginePool>) {
        self.engine.execute(request);
    }

    fn proceed(&mut self, run: &RunId) {
        self.engine.proceed(run);
    }

    fn stop(&mut self, run: &RunId) {
        self.engine.stop(run);
    }

    fn status(&self) -> EngineStatus {
        EngineStatus::without_children(self.state)
    }

    fn shutdown(&mut self, done: oneshot::Sender<()>) {
        if done.send(()).is_err() {
            log::debug!("nobody waits for the end of the engine any more");
        }
    }
}
