//! The engine children of a pool: which one takes a run, and how many there are.
//!
//! A child serves one project unless the configuration says otherwise, and one unassigned child is kept ready, so that there
//! are never more than the capacity and one.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix::prelude::*;
use indexmap::IndexMap;
use protocol::engine::{EngineFailure, RunProgress};
use protocol::ids::{ProjectId, RunId};
use sandbox::{Cgroups, Root};

use super::child::{Abandon, ChildId, EngineChild, Retire, RunOn, Warm};
use super::launch::Launch;
use super::messages::{ChildStatus, EngineEvent, Execute, Proceed, StopJob};
use super::pool::EnginePool;
use super::process;
use crate::config::{NodeConfig, Reuse};
use crate::metrics::Metrics;
use crate::tell::Tell as _;
use crate::watched::{ActorEnd, start_watched};

/// Adaptor folders that spare threads load; the most recently used ones.
const WARM_ADAPTORS: usize = 4;

/// The heap of a child's main thread and of spares before their first run, MiB; each run's thread has its run's own limit.
const CHILD_MEMORY_MB: u64 = 500;

/// Children that may die before one run has begun: somebody may have killed all idle ones, but a run whose loading kills
/// its child must not go from child to child for ever.
const MOST_DEATHS: u32 = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Use {
    Free,
    Busy(RunId),
    /// It takes no more runs.
    Retired,
}

struct Entry {
    address: Addr<EngineChild>,
    used: Use,
    /// Its process, once it has answered.
    ready: Option<u32>,
    /// It has a thread that is loaded and warm.
    warm: bool,
    /// The project that it has served, which it is bound to; `None` before its first run.
    project: Option<Option<ProjectId>>,
    /// How many runs had ended in all children when its last one did: the smaller, the longer it has had to warm up.
    idle_since: u64,
    runs: u64,
    /// Why its process has died.
    why: Option<String>,
}

/// A run in work, with what was asked of it so far: a child that dies before it has begun may not have heard it.
struct Assigned {
    child: ChildId,
    /// Hears of the run's end should its child be lost.
    listener: Recipient<EngineEvent>,
    proceeded: bool,
    stopped: bool,
    /// Children that have died with it.
    deaths: u32,
}

/// See the module's documentation.
pub(super) struct Children {
    config: NodeConfig,
    capacity: usize,
    cgroups: Option<Cgroups>,
    root: Arc<Root>,
    engine_dir: Option<PathBuf>,
    next: u64,
    children: IndexMap<ChildId, Entry>,
    assigned: HashMap<RunId, Assigned>,
    /// Folders of adaptors, most recently used first.
    recent: Vec<String>,
    draining: bool,
    /// Runs that have ended.
    ended: u64,
    metrics: Metrics,
}

impl Children {
    pub(super) fn new(
        config: NodeConfig,
        capacity: usize,
        cgroups: Option<Cgroups>,
        root: Arc<Root>,
        metrics: Metrics,
    ) -> Self {
        Self {
            config,
            capacity,
            cgroups,
            root,
            engine_dir: None,
            next: 0,
            children: IndexMap::new(),
            assigned: HashMap::new(),
            recent: Vec::new(),
            draining: false,
            ended: 0,
            metrics,
        }
    }

    pub(super) fn use_engine(&mut self, directory: PathBuf) {
        self.engine_dir = Some(directory);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Starts an unassigned child, unless there is one or no room for it.
    pub(super) fn spawn_spare(&mut self, ctx: &mut Context<EnginePool>) {
        let spare = self
            .children
            .values()
            .any(|child| child.used == Use::Free && child.project.is_none());
        if !spare && !self.draining && self.children.len() <= self.capacity {
            self.spawn(ctx);
        }
    }

    fn spawn(&mut self, ctx: &mut Context<EnginePool>) -> Option<ChildId> {
        let engine_dir = self.engine_dir.clone()?;
        self.next += 1;
        let id = ChildId(self.next);
        // A rule of the sandbox needs a folder that exists, and the first child is started before the first install.
        if let Err(error) = std::fs::create_dir_all(&self.config.repo_dir) {
            log::error!("{}: {error}", self.config.repo_dir.display());
        }
        let launch = Launch {
            node: self.config.node.clone(),
            engine_dir,
            readable: [
                Some(self.config.repo_dir.clone()),
                self.config.monorepo_dir.clone(),
            ]
            .into_iter()
            .flatten()
            .collect(),
            root: Arc::clone(&self.root),
            memory_mb: CHILD_MEMORY_MB,
            sandbox: self.config.sandbox,
            cgroups: self.cgroups.clone(),
        };
        let start = Box::new(move |budget, events| process::start(&launch, budget, events));
        let child = EngineChild::new(
            id,
            &self.config,
            ctx.address().recipient(),
            self.metrics.clone(),
            start,
        );
        let address = start_watched(child, ctx, move |end, pool: &mut EnginePool, ctx| {
            pool.child_ended(id, &end, ctx);
        });
        if self.config.warm > 0 && !self.recent.is_empty() {
            address.tell(Warm(self.recent.clone()));
        }
        self.children.insert(
            id,
            Entry {
                address,
                used: Use::Free,
                ready: None,
                warm: false,
                project: None,
                idle_since: 0,
                runs: 0,
                why: None,
            },
        );
        Some(id)
    }

    /// Gives a run to a child of its project or one that no project has used, else to a new one. Of several, to that which
    /// can begin at once: it has a warm thread, or has had the longest time to load one. So runs that follow closely use
    /// more and more children, and others one.
    pub(super) fn execute(&mut self, execution: Execute, ctx: &mut Context<EnginePool>) {
        let project = execution.project_id.clone();
        let any = self.config.reuse == Reuse::Always;
        let is_own = |child: &Entry| any || child.project.as_ref() == Some(&project);
        let chosen = self
            .children
            .iter()
            .filter(|(_, child)| child.used == Use::Free)
            .filter(|(_, child)| is_own(child) || child.project.is_none())
            .max_by_key(|(_, child)| {
                let ready = child.ready.is_some();
                (child.warm, is_own(child), ready, Reverse(child.idle_since))
            })
            .map(|(id, _)| *id);
        let chosen = chosen.or_else(|| {
            self.make_room();
            self.spawn(ctx)
        });
        let run_id = execution.run_id.clone();
        self.remember_adaptors(&execution);
        let child = chosen.and_then(|id| self.children.get_mut(&id).map(|child| (id, child)));
        let Some((id, child)) = child else {
            log::error!(run_id = run_id.as_str(); "no engine child can be started for run {run_id}");
            self.assigned.remove(&run_id);
            let why = "the engine is not available".to_owned();
            execution.refuse(Some(EngineFailure::Unavailable(why)));
            return;
        };
        log::debug!(
            run_id = run_id.as_str(), workloop = execution.workloop.as_str();
            "run {run_id} goes to engine child {}", id.0
        );
        child.used = Use::Busy(run_id.clone());
        child.warm = false;
        child.project = Some(project);
        child.runs += 1;
        let listener = execution.events.clone();
        self.assigned
            .entry(run_id)
            .and_modify(|assigned| assigned.child = id)
            .or_insert(Assigned {
                child: id,
                listener,
                proceeded: false,
                stopped: false,
                deaths: 0,
            });
        child.address.tell(RunOn(execution));
        if self.config.warm > 0 && self.config.reuse != Reuse::Never {
            child.address.tell(Warm(self.recent.clone()));
        }
    }

    /// Retires an idle child of another project when there are as many as there may be.
    fn make_room(&mut self) {
        let living = self
            .children
            .values()
            .filter(|child| child.used != Use::Retired)
            .count();
        if living <= self.capacity {
            return;
        }
        if let Some(child) = self
            .children
            .values_mut()
            .find(|child| child.used == Use::Free)
        {
            child.used = Use::Retired;
            child.address.tell(Retire);
        }
    }

    fn remember_adaptors(&mut self, execution: &Execute) {
        for step in execution.plan.steps.values() {
            for linked in step.linker.values() {
                // By the alias: an adaptor may have moved into a bundle since.
                let alias = Path::new(&linked.path).file_name();
                self.recent
                    .retain(|path| Path::new(path).file_name() != alias);
                self.recent.insert(0, linked.path.clone());
            }
        }
        self.recent.truncate(WARM_ADAPTORS);
    }

    /// Has these folders loaded by the spare threads of every child from now on.
    pub(super) fn preload(&mut self, folders: impl IntoIterator<Item = String>) {
        self.recent.extend(folders);
        self.recent.truncate(WARM_ADAPTORS);
        if self.config.warm > 0 {
            for child in self
                .children
                .values()
                .filter(|child| child.used == Use::Free)
            {
                child.address.tell(Warm(self.recent.clone()));
            }
        }
    }

    pub(super) fn proceed(&mut self, message: Proceed) {
        if let Some(assigned) = self.assigned.get_mut(&message.run_id) {
            assigned.proceeded = true;
            if let Some(child) = self.children.get(&assigned.child) {
                child.address.tell(message);
            }
        }
    }

    pub(super) fn stop(&mut self, message: StopJob) {
        if let Some(assigned) = self.assigned.get_mut(&message.run_id) {
            assigned.stopped = true;
            if let Some(child) = self.children.get(&assigned.child) {
                child.address.tell(message);
            }
        }
    }

    pub(super) fn ready(&mut self, id: ChildId, pid: u32) {
        if let Some(child) = self.children.get_mut(&id) {
            child.ready = Some(pid);
        }
    }

    /// A child has a warm thread. If a run is on its way there, it will take it.
    pub(super) fn warmed(&mut self, id: ChildId) {
        if let Some(child) = self.children.get_mut(&id)
            && child.used == Use::Free
        {
            child.warm = true;
        }
    }

    /// A child's run has ended: it is warmed for the next one, or retired.
    pub(super) fn idle(
        &mut self,
        id: ChildId,
        run: &RunId,
        reusable: bool,
        ctx: &mut Context<EnginePool>,
    ) {
        self.assigned.remove(run);
        self.ended += 1;
        let Some(child) = self.children.get_mut(&id) else {
            return;
        };
        if child.used != Use::Retired {
            if !reusable || self.config.reuse == Reuse::Never || self.draining {
                child.used = Use::Retired;
                child.address.tell(Retire);
            } else {
                child.used = Use::Free;
                child.idle_since = self.ended;
                if self.config.warm > 0 {
                    child.address.tell(Warm(self.recent.clone()));
                }
            }
        }
        self.spawn_spare(ctx);
    }

    /// A run came back from a child that was dead or dying when it got it.
    pub(super) fn declined(
        &mut self,
        id: ChildId,
        execution: Execute,
        ctx: &mut Context<EnginePool>,
    ) {
        if let Some(child) = self.children.get_mut(&id) {
            child.used = Use::Retired;
        }
        let run_id = execution.run_id.clone();
        let Some(assigned) = self.assigned.get_mut(&run_id) else {
            return;
        };
        assigned.deaths += 1;
        let Assigned {
            proceeded,
            stopped,
            deaths,
            ..
        } = *assigned;
        if stopped {
            self.assigned.remove(&run_id);
            execution.refuse(None);
        } else if deaths >= MOST_DEATHS {
            self.assigned.remove(&run_id);
            execution.refuse(Some(EngineFailure::LoadingKills));
        } else {
            log::warn!(run_id = run_id.as_str(); "the engine child of run {run_id} died before it began: trying another");
            self.execute(execution, ctx);
            if proceeded {
                self.proceed(Proceed { run_id });
            }
        }
    }

    /// A child's process is dead: what was sent to it until now comes back, and it gets nothing more.
    pub(super) fn dead(&mut self, id: ChildId, why: String) {
        if let Some(child) = self.children.get_mut(&id) {
            child.why = Some(why);
            child.used = Use::Retired;
            child.address.tell(Abandon);
        }
    }

    /// A child's actor has ended, and why its process did. Its run, if it still had one, was lost with it.
    pub(super) fn gone(
        &mut self,
        id: ChildId,
        end: &ActorEnd,
        ctx: &mut Context<EnginePool>,
    ) -> String {
        if let ActorEnd::Panicked(what) = end {
            log::error!("the actor of engine child {} panicked: {what}", id.0);
        }
        let lost = self.assigned.extract_if(|_, assigned| assigned.child == id);
        for (run_id, assigned) in lost {
            if *end == ActorEnd::Stopped {
                // It has told its run itself.
                continue;
            }
            let failure = (!assigned.stopped).then(|| RunProgress::WorkflowError {
                error: EngineFailure::ChildLost.into(),
            });
            for progress in failure.into_iter().chain([RunProgress::Ended]) {
                assigned.listener.tell(EngineEvent {
                    run_id: run_id.clone(),
                    progress,
                    permit: None,
                });
            }
        }
        let child = self.children.shift_remove(&id);
        let was_ready = child.as_ref().is_some_and(|child| child.ready.is_some());
        // One that never answered is replaced by the validation, or on demand.
        if was_ready {
            self.spawn_spare(ctx);
        }
        child
            .and_then(|child| child.why)
            .unwrap_or_else(|| "its actor died".to_owned())
    }

    pub(super) fn retire_all(&mut self) {
        self.draining = true;
        for child in self.children.values_mut() {
            child.used = Use::Retired;
            child.address.tell(Retire);
        }
    }

    #[cfg(test)]
    pub(super) fn child_of(&self, run: &RunId) -> Option<Addr<EngineChild>> {
        let assigned = self.assigned.get(run)?;
        self.children
            .get(&assigned.child)
            .map(|child| child.address.clone())
    }

    pub(super) fn status(&self) -> Vec<ChildStatus> {
        self.children
            .values()
            .map(|child| {
                let (state, run) = match &child.used {
                    Use::Free if child.ready.is_some() => ("idle", None),
                    Use::Free => ("spawning", None),
                    Use::Busy(run) => ("busy", Some(run.clone())),
                    Use::Retired => ("dying", None),
                };
                ChildStatus {
                    pid: child.ready,
                    state,
                    warm: child.warm,
                    run,
                    project: child.project.clone().flatten(),
                    runs: child.runs,
                }
            })
            .collect()
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in self.children.values() {
            child.address.tell(Abandon);
        }
    }
}
