//! The engine of a replay: it executes nothing, and says of a run what it is told to say. No child, no thread.
//!
//! What is told before the run is executed waits for that, and its steps wait for [`super::Proceed`], as with any engine.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::Recipient;
use protocol::engine::RunProgress;
use protocol::ids::RunId;

use super::messages::{EngineEvent, Execute};
use crate::tell::Tell as _;

/// See the module's documentation. Cheap to clone; the clones are one engine.
#[derive(Clone, Default)]
pub struct RecordedEngine(Arc<Mutex<HashMap<RunId, Execution>>>);

impl fmt::Debug for RecordedEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordedEngine")
    }
}

#[derive(Default)]
struct Execution {
    stage: Stage,
    told: VecDeque<RunProgress>,
}

#[derive(Default)]
enum Stage {
    /// Not executed yet.
    #[default]
    Unknown,
    Loaded(Recipient<EngineEvent>),
    Running(Recipient<EngineEvent>),
    /// Its end was told: whatever is told beyond that is for nobody.
    Over,
}

impl RecordedEngine {
    /// What the engine says next of this run.
    pub fn tell(&self, run: &RunId, progress: RunProgress) {
        let mut runs = self.lock();
        let execution = runs.entry(run.clone()).or_default();
        execution.told.push_back(progress);
        execution.go_on(run);
    }

    pub(super) fn execute(&self, request: &Execute) {
        let mut runs = self.lock();
        let execution = runs.entry(request.run_id.clone()).or_default();
        execution.stage = Stage::Loaded(request.events.clone());
        execution.go_on(&request.run_id);
    }

    pub(super) fn proceed(&self, run: &RunId) {
        let mut runs = self.lock();
        let Some(execution) = runs.get_mut(run) else {
            return;
        };
        if let Stage::Loaded(events) = &execution.stage {
            execution.stage = Stage::Running(events.clone());
            execution.go_on(run);
        }
    }

    pub(super) fn stop(&self, run: &RunId) {
        if let Some(execution) = self.lock().get_mut(run) {
            execution.end(run);
        }
    }

    // Nothing that holds the lock can panic, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Execution>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Execution {
    fn go_on(&mut self, run: &RunId) {
        loop {
            let (events, runs) = match &self.stage {
                Stage::Unknown => return,
                Stage::Loaded(events) => (events, false),
                Stage::Running(events) => (events, true),
                Stage::Over => {
                    self.told.clear();
                    return;
                }
            };
            let Some(next) = self.told.front() else {
                return;
            };
            let is_early = matches!(
                next,
                RunProgress::WorkflowStart { .. }
                    | RunProgress::Log { .. }
                    | RunProgress::WorkflowError { .. }
            );
            if !runs && !is_early {
                return;
            }
            let Some(progress) = self.told.pop_front() else {
                return;
            };
            let ends = matches!(
                progress,
                RunProgress::WorkflowComplete { .. } | RunProgress::WorkflowError { .. }
            );
            say(events, run, progress);
            if ends {
                self.end(run);
            }
        }
    }

    fn end(&mut self, run: &RunId) {
        let last = std::mem::replace(&mut self.stage, Stage::Over);
        if let Stage::Loaded(events) | Stage::Running(events) = last {
            say(&events, run, RunProgress::Ended);
        }
        self.told.clear();
    }
}

fn say(events: &Recipient<EngineEvent>, run: &RunId, progress: RunProgress) {
    events.tell(EngineEvent {
        run_id: run.clone(),
        progress,
        permit: None,
    });
}
