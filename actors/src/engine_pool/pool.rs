//! The actor: messages to whichever engine this worker has.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use adaptors::Located;
use indexmap::IndexMap;
use protocol::plan::Linked;
use protocol::versions::EngineVersions;
use sandbox::{Cgroups, Root};
use tokio::sync::{oneshot, watch};

use super::child::{ChildId, ChildUpdate, ChildUpdated};
use super::compile::{CompiledPlan, compile_plan};
use super::installer::{AdaptorInstaller, Install};
use super::messages::{
    EngineFailed, EngineStatus, Execute, GetEngineStatus, Prepare, PrepareError, Prepared, Proceed,
    StopEngine, StopJob,
};
use super::mock::MockEngine;
use super::node::Children;
use super::recorded::RecordedEngine;
use crate::config::{Config, EngineConfig, MemoryEnforcement, NodeConfig, SandboxMode};
use crate::metrics::Metrics;
use crate::tell::Tell as _;
use crate::watched::ActorEnd;

/// Threads of the mock engine: enough for both cores of a small machine.
const MOCK_THREADS: usize = 2;

/// Waits before the engine is validated again, the last one repeated (engine spec, section 8.5).
const VALIDATION_WAITS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// What a handshake says.
#[derive(Debug, Clone)]
struct Handshake {
    node: String,
    runtime: String,
}

enum State {
    Validating { failures: u32 },
    Ready,
    Draining { answers: Vec<oneshot::Sender<()>> },
}

enum Backend {
    Mock(MockEngine),
    Recorded(RecordedEngine),
    Node(Box<NodeEngine>),
}

struct NodeEngine {
    config: NodeConfig,
    children: Children,
    /// The engine program's, once it is known.
    folder: watch::Sender<Option<PathBuf>>,
    installer: Addr<AdaptorInstaller>,
    handshake: watch::Sender<Option<Handshake>>,
}

/// See the documentation of [`super`].
pub(crate) struct EnginePool {
    state: State,
    config: EngineConfig,
    capacity: usize,
    backend: Option<Backend>,
    failed: Option<Recipient<EngineFailed>>,
    metrics: Metrics,
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
        Self {
            state: State::Validating { failures: 0 },
            config,
            capacity: usize::try_from(capacity).unwrap_or(usize::MAX),
            backend: None,
            failed: None,
            metrics,
        }
    }

    /// Who hears when the engine cannot be started.
    pub(crate) fn reporting_to(mut self, failed: Recipient<EngineFailed>) -> Self {
        self.failed = Some(failed);
        self
    }

    fn validate(&mut self, ctx: &mut Context<Self>) {
        let Some(Backend::Node(engine)) = &self.backend else {
            return;
        };
        let config = engine.config.clone();
        let installing = async move {
            let given = config.engine_dir.as_deref();
            adaptors::ensure_engine_folder(given, &config.cache_dir, &config.tools()).await
        };
        ctx.spawn(installing.into_actor(self).map(|installed, this, ctx| {
            let Some(Backend::Node(engine)) = &mut this.backend else {
                return;
            };
            match installed {
                Ok(directory) => {
                    engine.folder.send_replace(Some(directory.clone()));
                    engine.children.use_engine(directory);
                    engine.children.spawn_spare(ctx);
                }
                Err(why) => this.validation_failed(why.to_string(), ctx),
            }
        }));
    }

    /// Installs the adaptors that the configuration names, and has them loaded ahead.
    fn preload(&self, ctx: &mut Context<Self>) {
        let Some(Backend::Node(engine)) = &self.backend else {
            return;
        };
        if engine.config.preload.is_empty() {
            return;
        }
        let specifiers = engine.config.preload.clone();
        let installing = engine.installer.send(Install {
            run: None,
            specifiers,
        });
        ctx.spawn(
            installing
                .into_actor(self)
                .map(|installed, this, _| match installed {
                    Ok(Ok(located)) => {
                        log::info!("{} adaptors are preloaded", located.len());
                        let folders = located.into_values().filter_map(|located| located.path);
                        if let Some(Backend::Node(engine)) = &mut this.backend {
                            engine
                                .children
                                .preload(folders.map(|path| path.to_string_lossy().into_owned()));
                        }
                    }
                    Ok(Err(error)) => {
                        log::warn!("preloading adaptors failed; runs will try again: {error}");
                    }
                    Err(error) => {
                        log::warn!("preloading adaptors failed; runs will try again: {error}");
                    }
                }),
        );
    }

    #[cfg(test)]
    pub(super) fn installer(&self) -> Option<&Addr<AdaptorInstaller>> {
        match &self.backend {
            Some(Backend::Node(engine)) => Some(&engine.installer),
            Some(Backend::Mock(_) | Backend::Recorded(_)) | None => None,
        }
    }

    #[cfg(test)]
    pub(super) fn child_of(
        &self,
        run: &protocol::ids::RunId,
    ) -> Option<Addr<super::child::EngineChild>> {
        match &self.backend {
            Some(Backend::Node(engine)) => engine.children.child_of(run),
            Some(Backend::Mock(_) | Backend::Recorded(_)) | None => None,
        }
    }

    fn give_up(&self, why: String) {
        if let Some(failed) = &self.failed {
            failed.tell(EngineFailed { why });
        }
    }

    fn validation_failed(&mut self, why: String, ctx: &mut Context<Self>) {
        let State::Validating { failures } = &mut self.state else {
            return;
        };
        let retries = match &self.config {
            EngineConfig::Node(node) => node.validation_retries,
            EngineConfig::Mock | EngineConfig::Recorded(_) => 0,
        };
        if *failures >= retries {
            self.give_up(why);
            return;
        }
        let index = usize::try_from(*failures)
            .unwrap_or(usize::MAX)
            .min(VALIDATION_WAITS.len() - 1);
        let wait = VALIDATION_WAITS[index];
        *failures += 1;
        log::warn!(
            "Worker validation failed: will retry in {}ms: {why}",
            wait.as_millis()
        );
        ctx.run_later(wait, |this, ctx| this.validate(ctx));
    }

    /// The actor of a child has ended, however it did.
    pub(super) fn child_ended(&mut self, id: ChildId, end: &ActorEnd, ctx: &mut Context<Self>) {
        if let Some(Backend::Node(engine)) = &mut self.backend {
            let why = engine.children.gone(id, end, ctx);
            self.validation_failed(why, ctx);
        }
        self.finish_draining();
    }

    fn finish_draining(&mut self) {
        let empty = match &self.backend {
            Some(Backend::Node(engine)) => engine.children.is_empty(),
            Some(Backend::Mock(_) | Backend::Recorded(_)) | None => true,
        };
        if let State::Draining { answers } = &mut self.state
            && empty
        {
            for answer in answers.drain(..) {
                if answer.send(()).is_err() {
                    log::debug!("nobody waits for the end of the engine any more");
                }
            }
        }
    }
}

impl Actor for EnginePool {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        match self.config.clone() {
            EngineConfig::Mock => {
                self.backend = Some(Backend::Mock(MockEngine::start(MOCK_THREADS)));
                self.state = State::Ready;
            }
            EngineConfig::Recorded(engine) => {
                self.backend = Some(Backend::Recorded(engine));
                self.state = State::Ready;
            }
            EngineConfig::Node(config) => {
                log::info!("repoDir set to {}", config.repo_dir.display());
                log::info!(
                    "statePropsToRemove set to: {}",
                    config.state_props_to_remove.join(", ")
                );
                let surroundings = check_sandbox(config.sandbox)
                    .and_then(|()| Ok((find_cgroups(config.memory_enforcement)?, make_root()?)));
                let (cgroups, root) = match surroundings {
                    Ok(surroundings) => surroundings,
                    Err(why) => {
                        // No further try would find another answer.
                        self.give_up(why);
                        return;
                    }
                };
                sweep_behind();
                let folder = watch::Sender::new(None);
                let installer =
                    AdaptorInstaller::new(&config, folder.subscribe(), self.metrics.clone());
                self.backend = Some(Backend::Node(Box::new(NodeEngine {
                    children: Children::new(
                        config.clone(),
                        self.capacity,
                        cgroups,
                        root,
                        self.metrics.clone(),
                    ),
                    folder,
                    installer: installer.start(),
                    handshake: watch::channel(None).0,
                    config,
                })));
                self.validate(ctx);
                self.preload(ctx);
            }
        }
    }
}

impl Handler<Prepare> for EnginePool {
    type Result = ResponseFuture<Result<Prepared, PrepareError>>;

    fn handle(&mut self, message: Prepare, _: &mut Self::Context) -> Self::Result {
        log::debug!(run_id = message.run_id.as_str(); "preparing run {}", message.run_id);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let mut versions = EngineVersions {
            engine: version.clone(),
            compiler: version,
            ..EngineVersions::default()
        };
        let Some(Backend::Node(engine)) = &mut self.backend else {
            return Box::pin(std::future::ready(Ok(Prepared {
                plan: Arc::unwrap_or_clone(message.plan),
                versions,
                compiled: Ok(Vec::new()),
            })));
        };
        if !engine.installer.connected() {
            log::error!("the adaptor installer had died; starting another");
            let folder = engine.folder.subscribe();
            let installer = AdaptorInstaller::new(&engine.config, folder, self.metrics.clone());
            engine.installer = installer.start();
        }
        let installer = engine.installer.clone();
        let mut handshake = engine.handshake.subscribe();
        Box::pin(async move {
            let mut plan = Arc::unwrap_or_clone(message.plan);
            let lost =
                || PrepareError::Engine("the engine ended while the run was prepared".to_owned());
            let mut specifiers: Vec<String> = Vec::new();
            for specifier in plan
                .steps
                .values()
                .flat_map(|step| step.adaptors.iter().flatten())
            {
                if !specifiers.contains(specifier) {
                    specifiers.push(specifier.clone());
                }
            }
            let located = installer
                .send(Install {
                    run: Some(message.run_id.clone()),
                    specifiers,
                })
                .await
                .map_err(|_| lost())??;
            link(&mut plan, &located);
            for Located { name, version, .. } in located.values() {
                let list: &mut Vec<String> = versions.adaptors.entry(name.clone()).or_default();
                if !list.contains(version) {
                    list.push(version.clone());
                }
            }
            let CompiledPlan { plan, compiled } = compile_plan(plan).await;
            let handshake = handshake
                .wait_for(Option::is_some)
                .await
                .map_err(|_| lost())?
                .clone();
            if let Some(Handshake { node, runtime }) = handshake {
                versions.node = Some(node);
                versions.runtime = Some(runtime);
            }
            Ok(Prepared {
                plan,
                versions,
                compiled,
            })
        })
    }
}

fn find_cgroups(wanted: MemoryEnforcement) -> Result<Option<Cgroups>, String> {
    Cgroups::find(wanted).map_err(|missing| missing.why)
}

fn make_root() -> Result<Arc<Root>, String> {
    Root::create().map_err(|error| {
        let folder = std::env::temp_dir();
        format!(
            "engine children need the temporary folder {}: {error}",
            folder.display()
        )
    })
}

/// Removes what killed workers have left, beside everything else: it may be a lot.
fn sweep_behind() {
    actix_rt::task::spawn_blocking(|| {
        let swept = sandbox::sweep();
        if swept > 0 {
            log::info!("removed the temporary files of {swept} workers that were killed");
        }
    });
}

/// Says once what the operator has to know of the sandbox.
///
/// # Errors
/// What is missing of it, where it must be whole.
fn check_sandbox(mode: SandboxMode) -> Result<(), String> {
    let missing = match mode {
        SandboxMode::Off => {
            log::warn!("engine children are not sandboxed: jobs can read what the worker can");
            return Ok(());
        }
        SandboxMode::Auto | SandboxMode::Strict => {
            let missing = sandbox::missing();
            let texts: Vec<_> = missing.iter().map(ToString::to_string).collect();
            texts.join("; ")
        }
    };
    if missing.is_empty() {
        log::info!("engine children are sandboxed by Landlock and seccomp");
        Ok(())
    } else if mode == SandboxMode::Strict {
        Err(format!("the sandbox is not whole; missing: {missing}"))
    } else {
        log::warn!("engine children are sandboxed in part only; missing: {missing}");
        Ok(())
    }
}

/// Tells each step where its adaptors are.
fn link(plan: &mut protocol::plan::ExecutionPlan, located: &IndexMap<String, Located>) {
    for step in plan.steps.values_mut() {
        for specifier in step.adaptors.iter().flatten() {
            if let Some(Located {
                name,
                version,
                path: Some(path),
            }) = located.get(specifier)
            {
                let path = path.to_string_lossy().into_owned();
                step.linker.insert(
                    name.clone(),
                    Linked {
                        path,
                        version: version.clone(),
                    },
                );
            }
        }
    }
}

impl Handler<Execute> for EnginePool {
    type Result = ();

    fn handle(&mut self, message: Execute, ctx: &mut Self::Context) {
        match &mut self.backend {
            Some(Backend::Mock(engine)) => engine.execute(message),
            Some(Backend::Recorded(engine)) => engine.execute(&message),
            Some(Backend::Node(engine)) => {
                engine.children.execute(message, ctx);
            }
            None => message.refuse(None),
        }
    }
}

impl Handler<Proceed> for EnginePool {
    type Result = ();

    fn handle(&mut self, message: Proceed, _: &mut Self::Context) {
        match &mut self.backend {
            Some(Backend::Mock(engine)) => engine.proceed(&message.run_id),
            Some(Backend::Recorded(engine)) => engine.proceed(&message.run_id),
            Some(Backend::Node(engine)) => engine.children.proceed(message),
            None => {}
        }
    }
}

impl Handler<StopJob> for EnginePool {
    type Result = ();

    fn handle(&mut self, message: StopJob, _: &mut Self::Context) {
        match &mut self.backend {
            Some(Backend::Mock(engine)) => engine.stop(&message.run_id),
            Some(Backend::Recorded(engine)) => engine.stop(&message.run_id),
            Some(Backend::Node(engine)) => engine.children.stop(message),
            None => {}
        }
    }
}

impl Handler<ChildUpdated> for EnginePool {
    type Result = ();

    fn handle(&mut self, message: ChildUpdated, ctx: &mut Self::Context) {
        let Some(Backend::Node(engine)) = &mut self.backend else {
            return;
        };
        let id = message.id;
        match message.update {
            ChildUpdate::Ready { pid, node, runtime } => {
                engine.children.ready(id, pid);
                if matches!(self.state, State::Validating { .. }) {
                    log::info!("the engine is ready: Node {node}, @openfn/runtime {runtime}");
                    self.state = State::Ready;
                }
                engine
                    .handshake
                    .send_replace(Some(Handshake { node, runtime }));
            }
            ChildUpdate::Warmed => engine.children.warmed(id),
            ChildUpdate::Idle { run, reusable } => engine.children.idle(id, &run, reusable, ctx),
            ChildUpdate::Declined(execution) => engine.children.declined(id, *execution, ctx),
            ChildUpdate::Dead { why } => engine.children.dead(id, why),
        }
    }
}

impl Handler<StopEngine> for EnginePool {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopEngine, _: &mut Self::Context) -> Self::Result {
        let (sender, stopped) = oneshot::channel();
        match &mut self.state {
            State::Draining { answers } => answers.push(sender),
            State::Validating { .. } | State::Ready => {
                self.state = State::Draining {
                    answers: vec![sender],
                }
            }
        }
        if let Some(Backend::Node(engine)) = &mut self.backend {
            engine.children.retire_all();
        }
        self.finish_draining();
        // A pool that dies first has no children left either.
        Box::pin(async move { stopped.await.unwrap_or(()) })
    }
}

impl Handler<GetEngineStatus> for EnginePool {
    type Result = MessageResult<GetEngineStatus>;

    fn handle(&mut self, _: GetEngineStatus, _: &mut Self::Context) -> Self::Result {
        let state = match (&self.backend, &self.state) {
            (Some(Backend::Mock(_)), _) => "mock",
            (Some(Backend::Recorded(_)), _) => "recorded",
            (_, State::Validating { .. }) => "validating",
            (_, State::Ready) => "ready",
            (_, State::Draining { .. }) => "draining",
        };
        let (handshake, children) = match &self.backend {
            Some(Backend::Node(engine)) => {
                (engine.handshake.borrow().clone(), engine.children.status())
            }
            Some(Backend::Mock(_) | Backend::Recorded(_)) | None => (None, Vec::new()),
        };
        let (node, runtime) = handshake
            .map(|handshake| (handshake.node, handshake.runtime))
            .unzip();
        MessageResult(EngineStatus {
            state,
            node,
            runtime,
            children,
        })
    }
}

#[cfg(test)]
impl Handler<crate::events::Panic> for EnginePool {
    type Result = ();

    fn handle(&mut self, _: crate::events::Panic, _: &mut Self::Context) {
        panic!("the engine pool was asked to panic by a test");
    }
}
