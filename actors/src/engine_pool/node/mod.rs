//! The engine of this worker: Node processes that run `@openfn/runtime`.
//!
//! ```text
//! Validating ──first handshake──▶ Ready ──shutdown──▶ Draining ──no child left──▶ (answered)
//!     └──no handshake after all tries──▶ the pool gives up
//! ```
//!
//! `children.rs` starts and tells the children (`child/`), `placement.rs` decides which one takes a run, `prepare.rs` gets what a
//! run needs before.

mod ahead;
mod child;
mod children;
mod conversation;
mod error;
mod launch;
mod memory;
mod placement;
mod prepare;
mod process;
mod surroundings;
mod validation;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use actix::prelude::*;
use adaptors::{EngineFolderError, Located};
use indexmap::IndexMap;
use log_events::{event, millis, table};
use protocol::ids::RunId;
use tokio::sync::{oneshot, watch};

use self::child::{ChildId, ChildUpdate};
use self::children::Children;
use self::error::NodeEngineError;
pub use self::launch::missing_egress;
use self::surroundings::Surroundings;
use self::validation::Validation;
use super::engine::{Engine, EngineUnavailable, News};
use super::installer::{AdaptorInstaller, Install};
use super::messages::{EngineState, EngineStatus, Execute, Prepare, PrepareError, Prepared};
use super::pool::EnginePool;
use crate::config::NodeConfig;
use crate::metrics::Metrics;
use crate::watched::ActorEnd;

/// What the engine's children and tasks have found out.
enum NodeNews {
    /// The engine program is in this folder, or nowhere.
    Program(Result<PathBuf, EngineFolderError>),
    /// It is time for another try.
    Validate,
    /// Some time has passed, after which other children may be needed.
    Settled,
    /// These adaptor folders are to be loaded ahead.
    Preloaded(Vec<String>),
    /// A child has something to say.
    Child(ChildId, ChildUpdate),
    /// A child's actor has ended.
    ChildEnded(ChildId, ActorEnd),
}

/// What a handshake says.
#[derive(Debug, Clone)]
struct Handshake {
    node: String,
    runtime: String,
}

/// The adaptors with their versions, as a field of the log.
fn named(located: &IndexMap<String, Located>) -> String {
    let named = located
        .values()
        .map(|located| format!("{}@{}", located.name, located.version));
    named.collect::<Vec<_>>().join(",")
}

enum State {
    Validating(Validation),
    Ready,
    Draining(Vec<oneshot::Sender<()>>),
}

/// See the module's documentation.
pub(in crate::engine_pool) struct NodeEngine {
    config: NodeConfig,
    metrics: Metrics,
    state: State,
    children: Children,
    /// The engine program's, once it is known.
    folder: watch::Sender<Option<PathBuf>>,
    installer: Option<Addr<AdaptorInstaller>>,
    handshake: watch::Sender<Option<Handshake>>,
}

impl NodeEngine {
    pub(in crate::engine_pool) fn new(
        config: NodeConfig,
        capacity: usize,
        metrics: Metrics,
    ) -> Self {
        Self {
            state: State::Validating(Validation::new(config.validation_retries)),
            children: Children::new(config.clone(), capacity, metrics.clone()),
            folder: watch::Sender::new(None),
            installer: None,
            handshake: watch::Sender::new(None),
            config,
            metrics,
        }
    }

    /// The installer, another one if the last one has died.
    fn installer(&mut self) -> Addr<AdaptorInstaller> {
        if let Some(installer) = &self.installer {
            if installer.connected() {
                return installer.clone();
            }
            event!(table::INSTALLER_DIED; "the adaptor installer had died; starting another");
        }
        let folder = self.folder.subscribe();
        let installer = AdaptorInstaller::new(&self.config, folder, self.metrics.clone()).start();
        self.installer = Some(installer.clone());
        installer
    }

    fn validate(&self, ctx: &mut Context<EnginePool>) {
        let config = self.config.clone();
        let finding = async move {
            let given = config.engine_dir.as_deref();
            adaptors::ensure_engine_folder(given, &config.cache_dir, &config.tools()).await
        };
        ctx.spawn(
            actix::fut::wrap_future::<_, EnginePool>(finding).map(|found, pool, ctx| {
                pool.hear(News::new(NodeNews::Program(found)), ctx);
            }),
        );
    }

    fn validation_failed(
        &mut self,
        why: NodeEngineError,
        ctx: &mut Context<EnginePool>,
    ) -> Result<(), NodeEngineError> {
        let State::Validating(validation) = &mut self.state else {
            return Ok(());
        };
        let Some(wait) = validation.failed() else {
            return Err(why);
        };
        event!(
            table::ENGINE_VALIDATION_FAILED, error:% = why, retry_ms = millis(wait);
            "Worker validation failed: will retry in {}ms: {why}",
            wait.as_millis()
        );
        ctx.run_later(wait, |pool, ctx| {
            pool.hear(News::new(NodeNews::Validate), ctx);
        });
        Ok(())
    }

    /// Installs the adaptors that the configuration names, and has them loaded ahead.
    fn preload(&mut self, ctx: &mut Context<EnginePool>) {
        if self.config.preload.is_empty() {
            return;
        }
        let installing = self.installer().send(Install {
            run: None,
            specifiers: self.config.preload.clone(),
        });
        ctx.spawn(actix::fut::wrap_future::<_, EnginePool>(installing).map(
            |installed, pool, ctx| {
                let why = match installed {
                    Ok(Ok(located)) => {
                        event!(table::ADAPTORS_PRELOADED, adaptors = named(&located); "{} adaptors are preloaded", located.len());
                        let folders = located.into_values().filter_map(|located| located.path);
                        let folders = folders.map(|path| path.to_string_lossy().into_owned());
                        let folders = NodeNews::Preloaded(folders.collect());
                        pool.hear(News::new(folders), ctx);
                        return;
                    }
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                };
                event!(table::ADAPTORS_PRELOAD_FAILED, error = why; "preloading adaptors failed; runs will try again: {why}");
            },
        ));
    }

    fn child_updated(&mut self, id: ChildId, update: ChildUpdate, ctx: &mut Context<EnginePool>) {
        match update {
            ChildUpdate::Ready { pid, node, runtime } => {
                self.children.ready(id, pid);
                if matches!(self.state, State::Validating(_)) {
                    event!(table::ENGINE_READY, node = node, runtime = runtime; "the engine is ready: Node {node}, @openfn/runtime {runtime}");
                    self.state = State::Ready;
                }
                self.handshake
                    .send_replace(Some(Handshake { node, runtime }));
            }
            ChildUpdate::Preloaded => self.children.preloaded(id, ctx),
            ChildUpdate::Ended { run, later } => self.children.ended(id, &run, later, ctx),
            ChildUpdate::Declined(request) => self.children.declined(id, *request, ctx),
            ChildUpdate::Dead { why } => self.children.dead(id, why),
        }
    }

    fn learn(
        &mut self,
        news: NodeNews,
        ctx: &mut Context<EnginePool>,
    ) -> Result<(), NodeEngineError> {
        match news {
            NodeNews::Program(Ok(folder)) => {
                self.folder.send_replace(Some(folder.clone()));
                self.children.use_engine(folder, ctx);
            }
            NodeNews::Program(Err(error)) => return self.validation_failed(error.into(), ctx),
            NodeNews::Validate => self.validate(ctx),
            NodeNews::Settled => self.children.settled(ctx),
            NodeNews::Preloaded(folders) => self.children.preload(folders),
            NodeNews::Child(id, update) => self.child_updated(id, update, ctx),
            NodeNews::ChildEnded(id, end) => {
                let why = NodeEngineError::Child(self.children.gone(id, &end, ctx));
                let validated = self.validation_failed(why, ctx);
                self.finish_draining();
                return validated;
            }
        }
        Ok(())
    }

    fn finish_draining(&mut self) {
        if let State::Draining(answers) = &mut self.state
            && self.children.is_empty()
        {
            for answer in answers.drain(..) {
                if answer.send(()).is_err() {
                    log::debug!("nobody waits for the end of the engine any more");
                }
            }
        }
    }
}

impl Engine for NodeEngine {
    fn start(&mut self, ctx: &mut Context<EnginePool>) -> Result<(), EngineUnavailable> {
        event!(table::ENGINE_SETTINGS, file:% = self.config.repo_dir.display(); "repoDir set to {}", self.config.repo_dir.display());
        event!(
            table::ENGINE_SETTINGS;
            "statePropsToRemove set to: {}",
            self.config.state_props_to_remove.join(", ")
        );
        let found = Surroundings::find(&self.config).map_err(EngineUnavailable::because)?;
        self.children.begin(found);
        self.validate(ctx);
        self.preload(ctx);
        Ok(())
    }

    fn prepare(&mut self, request: Prepare) -> ResponseFuture<Result<Prepared, PrepareError>> {
        let installer = self.installer();
        Box::pin(prepare::prepare(
            request,
            installer,
            self.handshake.subscribe(),
        ))
    }

    fn execute(&mut self, request: Execute, ctx: &mut Context<EnginePool>) {
        self.children.execute(request, ctx);
    }

    fn proceed(&mut self, run: &RunId) {
        self.children.proceed(run);
    }

    fn stop(&mut self, run: &RunId) {
        self.children.stop(run);
    }

    fn status(&self) -> EngineStatus {
        let handshake = self.handshake.borrow().clone();
        let (node, runtime) = handshake
            .map(|handshake| (handshake.node, handshake.runtime))
            .unzip();
        EngineStatus {
            state: match self.state {
                State::Validating(_) => EngineState::Validating,
                State::Ready => EngineState::Ready,
                State::Draining(_) => EngineState::Draining,
            },
            node,
            runtime,
            egress: self.children.egress(),
            memory: self.children.memory(),
            children: self.children.status(),
        }
    }

    fn shutdown(&mut self, done: oneshot::Sender<()>) {
        match &mut self.state {
            State::Draining(answers) => answers.push(done),
            State::Validating(_) | State::Ready => self.state = State::Draining(vec![done]),
        }
        self.children.retire_all();
        self.finish_draining();
    }

    fn hear(&mut self, news: News, ctx: &mut Context<EnginePool>) -> Result<(), EngineUnavailable> {
        match news.of() {
            Some(news) => self.learn(news, ctx).map_err(EngineUnavailable::because),
            None => Ok(()),
        }
    }
}
