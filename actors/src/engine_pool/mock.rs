//! The mock engine ([`mock_engine`]), which is there with the cargo feature of its name.

use std::sync::Arc;

use mock_engine::{MockEngine, Run};
use protocol::ids::RunId;

use super::in_process::Executes;
use super::messages::{EngineEvent, Execute};
use crate::clock;
use crate::tell::Tell as _;

/// Threads that it keeps: enough for both cores of a small machine.
const THREADS: usize = 2;

pub(super) fn start() -> MockEngine {
    MockEngine::start(THREADS, clock::now)
}

impl Executes for MockEngine {
    fn execute(&self, request: Execute) {
        let Execute {
            run_id,
            plan,
            input,
            options,
            events,
            budget,
            ..
        } = request;
        let id = run_id.clone();
        let events = Arc::new(move |progress, permit| {
            events.tell(EngineEvent {
                run_id: id.clone(),
                progress,
                permit,
            });
        });
        Self::execute(
            self,
            Run {
                id: run_id,
                plan,
                input,
                options,
                events,
                budget,
            },
        );
    }

    fn proceed(&self, run: &RunId) {
        Self::proceed(self, run);
    }

    fn stop(&self, run: &RunId) {
        Self::stop(self, run);
    }
}
