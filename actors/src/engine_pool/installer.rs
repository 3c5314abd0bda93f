//! `AdaptorInstaller`: asks the adaptor repository ([`adaptors::Installer`]) on behalf of runs.
//!
//! *Owns* its installer, which installs one adaptor at a time. *Accepts* [`Install`]. *Emits* nothing. *Started* by the
//! pool. *If it dies* a running npm is killed with the future that waits for it, the runs that wait are told, and the next
//! install repairs what is half there. It hears of the engine through a channel that the pool owns, so that one which takes
//! the place of a dead one hears of it as well.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use adaptors::{InstallError, Installer, Located, NpmError, Offer, Options};
use indexmap::IndexMap;
use protocol::ids::RunId;
use tokio::sync::watch;

use crate::config::{Config, EngineConfig, NodeConfig};
use crate::log_context::on_behalf_of;
use crate::metrics::Metrics;

/// Asks where these adaptors are, installing those that are missing. The answer has an entry for each specifier that the
/// whitelist lets through, in order.
#[derive(Message)]
#[rtype(result = "Result<IndexMap<String, Located>, InstallError>")]
pub(super) struct Install {
    /// For which run, if for one.
    pub(super) run: Option<RunId>,
    pub(super) specifiers: Vec<String>,
}

/// See the module's documentation.
pub(super) struct AdaptorInstaller {
    installer: Arc<Installer>,
}

impl AdaptorInstaller {
    /// One that has adaptors bundled by the engine in this folder, as soon as there is one.
    pub(super) fn new(
        config: &NodeConfig,
        engine: watch::Receiver<Option<PathBuf>>,
        metrics: Metrics,
    ) -> Self {
        let options = Options {
            repository: config.repo_dir.clone(),
            lock: config.repo_lock,
            tools: config.tools(),
        };
        let on_install = Box::new(move |worked, took| metrics.installed(worked, took));
        Self {
            installer: Arc::new(Installer::new(options, engine, on_install)),
        }
    }
}

impl Actor for AdaptorInstaller {
    type Context = Context<Self>;
}

impl Handler<Install> for AdaptorInstaller {
    type Result = ResponseFuture<Result<IndexMap<String, Located>, InstallError>>;

    fn handle(&mut self, message: Install, _: &mut Self::Context) -> Self::Result {
        let installer = Arc::clone(&self.installer);
        Box::pin(on_behalf_of(message.run, async move {
            installer.install(message.specifiers).await
        }))
    }
}

/// The newest version of the collections adaptor, asked of npm. Engines that install nothing need no npm either.
pub(crate) fn latest_collections_version(
    config: &Config,
) -> impl Future<Output = Result<String, adaptors::NpmError>> + use<> {
    let tools = match &config.engine {
        EngineConfig::Node(node) => Some(node.tools()),
        EngineConfig::Mock | EngineConfig::Recorded(_) => None,
    };
    async move {
        match tools {
            Some(tools) => adaptors::latest_collections_version(tools).await,
            None => Ok("latest".to_owned()),
        }
    }
}

/// Asks npm's registry, as a worker with these settings would, for an adaptor that every OpenFn has. Nothing is installed.
///
/// # Errors
/// When npm cannot be asked, or gets no answer within `patience`.
pub async fn ask_registry(node: &NodeConfig, patience: Duration) -> Result<Offer, NpmError> {
    adaptors::ask_registry(node.tools(), patience).await
}
