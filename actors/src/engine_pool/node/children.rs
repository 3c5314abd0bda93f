//! The children of a Node engine: starts them, tells them what `placement.rs` has decided.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use log_events::{event, table};
use protocol::engine::{EngineFailure, RunProgress};
use protocol::ids::RunId;
use protocol::size::Mebibytes;

use super::NodeNews;
use super::ahead::Ahead;
use super::child::{Abandon, ChildId, EngineChild, Retire, RunOn};
use super::launch::Launch;
use super::placement::{Begin, GivenBack, Lost, Needs, Placement, REMEMBERED, Start};
use super::process;
use super::surroundings::Surroundings;
use crate::config::{NodeConfig, Spares};
use crate::engine_pool::engine::News;
use crate::engine_pool::messages::{
    ChildStatus, EgressState, EngineEvent, Execute, MemoryState, Proceed, StopJob,
};
use crate::engine_pool::pool::EnginePool;
use crate::headroom;
use crate::metrics::Metrics;
use crate::tell::Tell as _;
use crate::watched::{ActorEnd, start_watched};

/// How long after a run has taken a child the next one is started, unless the run ends before: a short run would feel it.
const LONG_RUN: Duration = Duration::from_millis(250);

/// The heap of children that are started before a run has said how much it may have: the default of `--run-memory`.
const FIRST_HEAP: Mebibytes = Mebibytes::new(500.0);

/// What a child takes that waits for a run.
const SPARE: Mebibytes = Mebibytes::new(64.0);

/// A child, which is abandoned with its pool: the tasks that read its process would keep both alive.
struct Child {
    address: Addr<EngineChild>,
    /// The adaptor folders of its run.
    adaptors: Vec<String>,
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.address.connected() {
            self.address.tell(Abandon);
        }
    }
}

/// See the module's documentation.
pub(super) struct Children {
    config: NodeConfig,
    placement: Placement,
    surroundings: Option<Surroundings>,
    engine_dir: Option<PathBuf>,
    children: HashMap<ChildId, Child>,
    /// Who hears of a run's end should its child be lost.
    listeners: HashMap<RunId, Recipient<EngineEvent>>,
    ahead: Ahead,
    /// The heap of the latest run, which the next one will most likely have.
    heap: Mebibytes,
    metrics: Metrics,
}

impl Children {
    pub(super) fn new(config: NodeConfig, capacity: usize, metrics: Metrics) -> Self {
        // More at a time than cores would only slow each other.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let spares = match config.spares {
            Spares::UpTo(most) => Spares::UpTo(most.min(capacity).min(fitting()).max(1)),
            exactly @ Spares::Exactly(_) => exactly,
        };
        Self {
            placement: Placement::new(capacity, spares, cores),
            config,
            surroundings: None,
            engine_dir: None,
            children: HashMap::new(),
            listeners: HashMap::new(),
            ahead: Ahead::default(),
            heap: FIRST_HEAP,
            metrics,
        }
    }

    /// Children may be started from here on, as soon as there is an engine program.
    pub(super) fn begin(&mut self, surroundings: Surroundings) {
        self.surroundings = Some(surroundings);
    }

    /// Starts the first child of an engine program.
    pub(super) fn use_engine(&mut self, directory: PathBuf, ctx: &mut Context<EnginePool>) {
        self.engine_dir = Some(directory);
        self.start_spares(ctx);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.placement.is_empty()
    }

    fn start_spares(&mut self, ctx: &mut Context<EnginePool>) {
        while self.placement.lacks_spare(self.heap, Instant::now()) {
            let waiting = self.placement.waiting();
            let preload = self.ahead.next(waiting.map(|has| has.adaptors.as_slice()));
            let has = Needs {
                heap: self.heap,
                adaptors: preload.adaptors.clone(),
            };
            let id = self.placement.spare(has.clone());
            if !self.start(id, &has, ctx) {
                return;
            }
            self.tell(id, preload);
            self.retire_surplus();
            // When the need for it may have passed.
            ctx.run_later(REMEMBERED, |pool, ctx| {
                pool.hear(News::new(NodeNews::Settled), ctx);
            });
        }
    }

    /// Some time has passed in which a run may have begun or the need for children has become less.
    pub(super) fn settled(&mut self, ctx: &mut Context<EnginePool>) {
        self.retire_surplus();
        self.start_spares(ctx);
    }

    fn retire_surplus(&mut self) {
        while let Some(id) = self.placement.surplus(self.heap, Instant::now()) {
            self.tell(id, Retire);
        }
    }

    /// Starts a child; whether that can be tried at all.
    fn start(&mut self, id: ChildId, has: &Needs, ctx: &mut Context<EnginePool>) -> bool {
        let (Some(engine_dir), Some(found)) = (&self.engine_dir, &self.surroundings) else {
            self.placement.not_started(id);
            return false;
        };
        // A rule of the sandbox needs a folder that exists, and the first child is started before the first install.
        if let Err(error) = std::fs::create_dir_all(&self.config.repo_dir) {
            event!(table::ENGINE_NO_CHILD, file:% = self.config.repo_dir.display(), error:% = error; "{}: {error}", self.config.repo_dir.display());
        }
        let launch = Launch {
            node: self.config.node.clone(),
            engine_dir: engine_dir.clone(),
            readable: [
                Some(self.config.repo_dir.clone()),
                self.config.monorepo_dir.clone(),
            ]
            .into_iter()
            .flatten()
            .collect(),
            root: Arc::clone(&found.root),
            memory: has.heap,
            sandbox: self.config.sandbox,
            egress: Arc::new(self.config.egress.clone()),
            cgroups: found.cgroups.clone(),
        };
        let child = EngineChild::new(
            id,
            &self.config,
            ctx.address().recipient(),
            self.metrics.clone(),
            Box::new(move |active, events| process::start(&launch, active, events)),
        );
        let address = start_watched(child, ctx, move |end, pool: &mut EnginePool, ctx| {
            pool.hear(News::new(NodeNews::ChildEnded(id, end)), ctx);
        });
        let child = Child {
            address,
            adaptors: Vec::new(),
        };
        self.children.insert(id, child);
        true
    }

    fn tell<M>(&self, id: ChildId, message: M)
    where
        EngineChild: Handler<M>,
        M: Message<Result = ()> + Send + 'static,
    {
        if let Some(child) = self.children.get(&id) {
            child.address.tell(message);
        }
    }

    /// Hands a run to a child.
    pub(super) fn execute(&mut self, request: Execute, ctx: &mut Context<EnginePool>) {
        let run_id = request.run_id.clone();
        let project = request.project_id.clone();
        let needs = Needs {
            heap: Mebibytes::new(request.options.memory_limit_mb),
            adaptors: adaptor_folders(&request),
        };
        let placed = (self.placement).place(&run_id, project, &needs, Instant::now());
        let id = placed.child;
        if let Start::ChildInPlaceOf(other) = placed.start {
            self.tell(other, Retire);
        }
        if placed.start != Start::Nothing && !self.start(id, &needs, ctx) {
            event!(table::ENGINE_NO_CHILD, run_id = run_id.as_str(); "no engine child can be started for run {run_id}");
            self.listeners.remove(&run_id);
            let why = "the engine is not available".to_owned();
            request.refuse(Some(EngineFailure::Unavailable(why)));
            return;
        }
        log::debug!(
            run_id = run_id.as_str(), workloop = request.workloop.as_str();
            "run {run_id} goes to engine child {}", id.0
        );
        self.listeners.insert(run_id, request.events.clone());
        self.heap = needs.heap;
        self.ahead.used(needs.adaptors.clone());
        if let Some(child) = self.children.get_mut(&id) {
            child.adaptors = needs.adaptors;
        }
        self.tell(id, RunOn(request));
        ctx.run_later(LONG_RUN, |pool, ctx| {
            pool.hear(News::new(NodeNews::Settled), ctx);
        });
    }

    pub(super) fn proceed(&mut self, run: &RunId) {
        if let Some(id) = self.placement.proceed(run) {
            let run_id = run.clone();
            self.tell(id, Proceed { run_id });
        }
    }

    pub(super) fn stop(&mut self, run: &RunId) {
        if let Some(id) = self.placement.stop(run) {
            let run_id = run.clone();
            self.tell(id, StopJob { run_id });
        }
    }

    pub(super) fn ready(&mut self, id: ChildId, pid: u32) {
        self.placement.ready(id, pid);
    }

    /// A child has loaded what it was to preload: there may be a core for the next one.
    pub(super) fn preloaded(&mut self, id: ChildId, ctx: &mut Context<EnginePool>) {
        self.placement.preloaded(id);
        self.start_spares(ctx);
    }

    /// A child's run has ended, and it ends with it; `later` is what the run used of what is loaded only when used.
    pub(super) fn ended(
        &mut self,
        id: ChildId,
        run: &RunId,
        later: u32,
        ctx: &mut Context<EnginePool>,
    ) {
        self.listeners.remove(run);
        self.placement.ended(id, run);
        if let Some(child) = self.children.get_mut(&id) {
            self.ahead
                .used_later(std::mem::take(&mut child.adaptors), later);
        }
        self.start_spares(ctx);
    }

    /// Has these folders loaded by children that wait until runs have told what they use.
    pub(super) fn preload(&mut self, folders: Vec<String>) {
        self.ahead.want(folders);
        for id in self.placement.free().collect::<Vec<_>>() {
            let preload = self.ahead.next(std::iter::empty());
            self.placement.loads(id, preload.adaptors.clone());
            self.tell(id, preload);
        }
    }

    /// A run came back from a child that was dead or dying when it got it.
    pub(super) fn declined(
        &mut self,
        id: ChildId,
        request: Execute,
        ctx: &mut Context<EnginePool>,
    ) {
        let run_id = request.run_id.clone();
        match self.placement.declined(id, &run_id) {
            GivenBack::Unknown => {}
            GivenBack::Ends(failure) => {
                self.listeners.remove(&run_id);
                request.refuse(failure);
            }
            GivenBack::Again(begin) => {
                event!(table::RUN_CHILD_REPLACED, run_id = run_id.as_str(); "the engine child of run {run_id} died before it began: trying another");
                self.execute(request, ctx);
                if begin == Begin::AtOnce {
                    self.proceed(&run_id);
                }
            }
        }
    }

    /// A child's process is dead: what was sent to it until now comes back, and it gets nothing more.
    pub(super) fn dead(&mut self, id: ChildId, why: String) {
        self.placement.dead(id, why);
        self.tell(id, Abandon);
    }

    /// A child's actor has ended, and why its process did. Its run, if it still had one, was lost with it.
    pub(super) fn gone(
        &mut self,
        id: ChildId,
        end: &ActorEnd,
        ctx: &mut Context<EnginePool>,
    ) -> String {
        if let ActorEnd::Panicked(what) = end {
            event!(table::WORKER_ACTOR_DIED, actor = "engine child", error = what; "the actor of engine child {} panicked: {what}", id.0);
        }
        let gone = self.placement.gone(id);
        self.children.remove(&id);
        for (run_id, lost) in gone.runs {
            let Some(listener) = self.listeners.remove(&run_id) else {
                continue;
            };
            // One that has stopped by itself has told its run.
            if *end != ActorEnd::Stopped {
                tell_lost(&run_id, lost, &listener);
            }
        }
        // One that never answered is replaced by the validation, or on demand.
        if gone.was_ready {
            self.start_spares(ctx);
        }
        gone.why.unwrap_or_else(|| "its actor died".to_owned())
    }

    /// Every child ends, at the latest with its run.
    pub(super) fn retire_all(&mut self) {
        self.placement.close();
        for child in self.children.values() {
            child.address.tell(Retire);
        }
    }

    #[cfg(test)]
    pub(super) fn child_of(&self, run: &RunId) -> Option<Addr<EngineChild>> {
        let id = self.placement.child_of(run)?;
        self.children.get(&id).map(|child| child.address.clone())
    }

    /// Whether it is judged where jobs connect to, once that is known.
    pub(super) fn egress(&self) -> Option<EgressState> {
        self.surroundings.as_ref().map(|found| found.egress)
    }

    /// Who keeps children to their memory, once that is known.
    pub(super) fn memory(&self) -> Option<MemoryState> {
        let found = self.surroundings.as_ref()?;
        Some(match found.cgroups {
            Some(_) => MemoryState::Enforced,
            None => MemoryState::Watched,
        })
    }

    pub(super) fn status(&self) -> Vec<ChildStatus> {
        self.placement.status()
    }
}

fn tell_lost(run_id: &RunId, lost: Lost, listener: &Recipient<EngineEvent>) {
    let failure = match lost {
        Lost::Failed => Some(RunProgress::WorkflowError {
            error: EngineFailure::ChildLost.into(),
        }),
        Lost::Stopped => None,
    };
    for progress in failure.into_iter().chain([RunProgress::Ended]) {
        listener.tell(EngineEvent {
            run_id: run_id.clone(),
            progress,
            permit: None,
        });
    }
}

fn adaptor_folders(request: &Execute) -> Vec<String> {
    let links = request.plan.steps.values().map(|step| step.linker.values());
    let mut folders: Vec<String> = links.flatten().map(|link| link.path.clone()).collect();
    folders.sort_unstable();
    folders.dedup();
    folders
}

/// How many children that wait fit into a quarter of the memory that there is.
fn fitting() -> usize {
    let available = headroom::available_bytes().unwrap_or(u64::MAX);
    usize::try_from(available / 4 / SPARE.bytes()).unwrap_or(usize::MAX)
}
