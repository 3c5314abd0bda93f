//! What stands in for an engine that cannot be started, until the worker has ended.

use actix::prelude::*;
use protocol::engine::EngineFailure;
use protocol::ids::RunId;
use tokio::sync::oneshot;

use super::engine::{Engine, EngineUnavailable};
use super::messages::{EngineState, EngineStatus, Execute, Prepare, PrepareError, Prepared};
use super::pool::EnginePool;

/// Refuses every run, and says why.
pub(super) struct Unavailable(pub(super) EngineUnavailable);

impl Engine for Unavailable {
    fn prepare(&mut self, _: Prepare) -> ResponseFuture<Result<Prepared, PrepareError>> {
        let why = PrepareError::from(self.0.clone());
        Box::pin(std::future::ready(Err(why)))
    }

    fn execute(&mut self, request: Execute, _: &mut Context<EnginePool>) {
        request.refuse(Some(EngineFailure::Unavailable(self.0.to_string())));
    }

    fn proceed(&mut self, _: &RunId) {}

    fn stop(&mut self, _: &RunId) {}

    fn status(&self) -> EngineStatus {
        EngineStatus::without_children(EngineState::Validating)
    }

    fn shutdown(&mut self, done: oneshot::Sender<()>) {
        if done.send(()).is_err() {
            log::debug!("nobody waits for the end of the engine any more");
        }
    }
}
