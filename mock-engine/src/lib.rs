//! The mock engine (engine spec, section 9): executes runs in QuickJS inside this process, without Node, adaptors or
//! compiler, and tells of them exactly as an engine child does.
//!
//! ```text
//! MockEngine ──a thread each──▶ Workflow ──a step each──▶ Scripts (QuickJS)
//!                                  └──▶ Emitter ──▶ Run::events, the caller's
//! ```
//!
//! No actors here, no clock and no I/O: the caller gives the time, and a callback that hears of the run.
//!
//! Each run has a thread while it lives, so that a job that waits or loops keeps no other waiting. Threads are reused.

mod conditions;
mod control;
mod emit;
mod leaves;
mod realm;
mod script;
mod step;
mod validate;
mod workflow;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use log_events::{event, table};
use protocol::engine::{EngineFailure, ExecuteOptions, RunProgress};
use protocol::ids::RunId;
use protocol::lightning::Timestamp;
use protocol::plan::ExecutionPlan;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::control::Control;
use self::emit::Emitter;
use self::workflow::Workflow;

/// A job may use a quarter of it: see `script.rs`.
const STACK_BYTES: usize = 2 << 20;

/// Hears of a run, in order, on the run's own thread; `Ended` last and once. The permit covers the bytes of the event until it
/// is dropped.
pub type Events = Arc<dyn Fn(RunProgress, Option<OwnedSemaphorePermit>) + Send + Sync>;

/// Tells the present time.
pub type Clock = fn() -> Timestamp;

/// A run to execute.
pub struct Run {
    /// Names it.
    pub id: RunId,
    /// With its credentials resolved.
    pub plan: Arc<ExecutionPlan>,
    /// JSON; empty for `{}`.
    pub input: Bytes,
    /// Its limits.
    pub options: ExecuteOptions,
    /// Who hears of it.
    pub events: Events,
    /// Bytes of events that may be held at a time: while they are, the job waits.
    pub budget: Arc<Semaphore>,
}

/// The threads that execute runs.
pub struct MockEngine {
    shared: Arc<Shared>,
    clock: Clock,
}

struct Shared {
    /// Idle threads beyond this number end.
    keep: usize,
    threads: AtomicU64,
    queue: Mutex<Queue>,
    queued: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Run, Control)>,
    runs: HashMap<RunId, Control>,
    idle: usize,
    closed: bool,
}

impl MockEngine {
    /// An engine that keeps this many threads between runs. Threads are started when they are needed.
    pub fn start(threads: usize, clock: Clock) -> Self {
        let shared = Shared {
            keep: threads,
            threads: AtomicU64::new(0),
            queue: Mutex::default(),
            queued: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
            clock,
        }
    }

    /// Loads a run; its first step waits for [`MockEngine::proceed`]. Its last event is `Ended`, whatever happens.
    pub fn execute(&self, request: Run) {
        let control = Control::new(request.options.timeout);
        let mut queue = self.shared.lock();
        if queue.runs.contains_key(&request.id) {
            drop(queue);
            event!(table::RUN_EVENT_IGNORED, run_id = request.id.as_str(), error = "executed twice"; "refused to execute a run a second time while it executes");
            Ending {
                shared: None,
                emitter: emitter(&request, &control, self.clock),
                run_id: request.id,
            }
            .end();
            return;
        }
        queue.runs.insert(request.id.clone(), control.clone());
        queue.waiting.push_back((request, control));
        let busy = queue.waiting.len() > queue.idle;
        drop(queue);
        self.shared.queued.notify_one();
        if busy && let Err(error) = self.spawn() {
            event!(table::ENGINE_THREAD_FAILED, error:% = error; "no further thread for the mock engine: {error}");
            self.fail_newest_without_threads(&error);
        }
    }

    /// Lets the first step of a run start, and its time count.
    pub fn proceed(&self, run: &RunId) {
        match self.shared.lock().runs.get(run) {
            Some(control) => control.proceed(),
            None => log::debug!(run_id = run.as_str(); "cannot proceed: the run is not executing"),
        }
    }

    /// Interrupts a run. It ends without a result, with `Ended`.
    pub fn stop(&self, run: &RunId) {
        match self.shared.lock().runs.get(run) {
            Some(control) => control.stop(),
            None => log::debug!(run_id = run.as_str(); "nothing to stop: the run is not executing"),
        }
    }

    fn spawn(&self) -> std::io::Result<()> {
        let id = self.shared.threads.fetch_add(1, Ordering::Relaxed) + 1;
        let shared = Arc::clone(&self.shared);
        let builder = std::thread::Builder::new()
            .name(format!("mock-engine-{id}"))
            .stack_size(STACK_BYTES);
        let clock = self.clock;
        builder.spawn(move || work(&shared, id, clock)).map(drop)
    }

    /// Without a thread for it, the run that came last ends here.
    fn fail_newest_without_threads(&self, error: &std::io::Error) {
        let Some((request, control)) = self.shared.lock().waiting.pop_back() else {
            return;
        };
        let emitter = emitter(&request, &control, self.clock);
        let message = format!("no thread to execute the run: {error}");
        let error = EngineFailure::Unavailable(message).into();
        emitter.send(RunProgress::WorkflowError { error }, 0);
        Ending {
            shared: Some(Arc::clone(&self.shared)),
            emitter,
            run_id: request.id,
        }
        .end();
    }
}

impl Drop for MockEngine {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        for control in queue.runs.values() {
            control.stop();
        }
        drop(queue);
        self.shared.queued.notify_all();
    }
}

impl Shared {
    // Nothing that holds the lock can panic, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next run for a thread; `None` ends the thread.
    fn next(&self) -> Option<(Run, Control)> {
        let mut queue = self.lock();
        loop {
            if let Some(run) = queue.waiting.pop_front() {
                return Some(run);
            }
            if queue.closed || queue.idle >= self.keep {
                return None;
            }
            queue.idle += 1;
            queue = self
                .queued
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }
}

/// Sends `Ended` when it is dropped, so that not even a panic leaves a run without its end.
struct Ending {
    /// Where the run is registered, if it is.
    shared: Option<Arc<Shared>>,
    emitter: Emitter,
    run_id: RunId,
}

impl Ending {
    fn end(self) {}
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.lock().runs.remove(&self.run_id);
        }
        self.emitter.send(RunProgress::Ended, 0);
    }
}

fn emitter(request: &Run, control: &Control, clock: Clock) -> Emitter {
    Emitter::new(
        Arc::clone(&request.events),
        Arc::clone(&request.budget),
        control.clone(),
        clock,
    )
}

fn work(shared: &Arc<Shared>, id: u64, clock: Clock) {
    let mut warm = false;
    while let Some((request, control)) = shared.next() {
        let emitter = emitter(&request, &control, clock);
        let ending = Ending {
            shared: Some(Arc::clone(shared)),
            emitter,
            run_id: request.id,
        };
        ending.emitter.send(
            RunProgress::WorkflowStart {
                thread_id: id,
                warm,
            },
            0,
        );
        let workflow = Workflow {
            plan: &request.plan,
            input: &request.input,
            options: &request.options,
            control: &control,
            emitter: &ending.emitter,
        };
        workflow.run();
        warm = true;
        ending.end();
    }
}
