//! `AdaptorInstaller`: the adaptor repository (engine spec, section 2).
//!
//! *Owns* the repository folder as far as this worker is concerned, and the answers of npm about `latest` and `next`.
//! *Accepts* [`Install`]. *Emits* nothing. *Started* by the pool. *If it dies* a running npm is killed with the future that
//! waits for it, the runs that wait are told, and the next install repairs what is half there.
//!
//! One install at a time: the lock inside this process is fair, those between processes are folders (see [`lock`]). Runs that
//! wait for the same adaptor find it installed when their turn comes. npm never sees a shell, and only specifiers that
//! [`specifier`] lets through.

mod lock;
mod npm;
mod specifier;

mod repository;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use actix::prelude::*;
use indexmap::IndexMap;
use protocol::ids::RunId;

pub(super) use self::lock::{FolderLock, Pace, blocking};
pub(super) use self::npm::{Npm, SECRETS};
use self::repository::Repository;
pub use self::specifier::is_installable;
use self::specifier::{Package, Unsafe, Wanted};
use super::bundler::Bundler;
use super::messages::{Located, PrepareError};
use crate::config::{Config, NodeConfig};
use crate::errand::on_behalf_of;
use crate::metrics::Metrics;

/// How long the answer to `latest` or `next` is good: a burst of runs asks npm once, a new release is seen within a minute.
const LOOKUP_LIFE: Duration = Duration::from_mins(1);

/// The package whose newest version is looked up for collections.
const COLLECTIONS: &str = "@openfn/language-collections";

/// Asks where these adaptors are, installing those that are missing. The answer has an entry for each specifier that the
/// whitelist lets through, in order.
#[derive(Message)]
#[rtype(result = "Result<IndexMap<String, Located>, PrepareError>")]
pub(super) struct Install {
    /// For which run, if for one.
    pub(super) run: Option<RunId>,
    pub(super) specifiers: Vec<String>,
}

/// The engine program that bundles what is installed from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct UseEngine(pub(super) PathBuf);

/// See the module's documentation.
pub(super) struct AdaptorInstaller {
    work: Arc<Work>,
}

struct Work {
    repository: Repository,
    npm: Npm,
    locks: Option<Pace>,
    /// Held while npm changes the repository.
    installing: tokio::sync::Mutex<()>,
    node: PathBuf,
    bundler: std::sync::OnceLock<Bundler>,
    /// Aliases of packages that a bundle was or is made of, in this process: a failure would only repeat.
    bundling: std::sync::Mutex<HashSet<String>>,
    lookups: std::sync::Mutex<HashMap<String, (Instant, String)>>,
    metrics: Metrics,
}

impl AdaptorInstaller {
    pub(super) fn new(config: &NodeConfig, metrics: Metrics) -> Self {
        Self::with(config, Npm::on_path(), Pace::default(), metrics)
    }

    fn with(config: &NodeConfig, npm: Npm, pace: Pace, metrics: Metrics) -> Self {
        let work = Work {
            repository: Repository::new(config.repo_dir.clone()),
            npm,
            locks: config.repo_lock.then_some(pace),
            installing: tokio::sync::Mutex::new(()),
            node: config.node.clone(),
            bundler: std::sync::OnceLock::new(),
            bundling: std::sync::Mutex::new(HashSet::new()),
            lookups: std::sync::Mutex::new(HashMap::new()),
            metrics,
        };
        Self {
            work: Arc::new(work),
        }
    }
}

impl Actor for AdaptorInstaller {
    type Context = Context<Self>;
}

impl Handler<Install> for AdaptorInstaller {
    type Result = ResponseFuture<Result<IndexMap<String, Located>, PrepareError>>;

    fn handle(&mut self, message: Install, _: &mut Self::Context) -> Self::Result {
        let work = Arc::clone(&self.work);
        Box::pin(on_behalf_of(message.run, async move {
            work.install(message.specifiers).await
        }))
    }
}

impl Handler<UseEngine> for AdaptorInstaller {
    type Result = ();

    fn handle(&mut self, UseEngine(engine_dir): UseEngine, _: &mut Self::Context) {
        let node = self.work.node.clone();
        self.work
            .bundler
            .get_or_init(|| Bundler::new(node, engine_dir));
    }
}

impl Work {
    async fn install(
        self: &Arc<Self>,
        specifiers: Vec<String>,
    ) -> Result<IndexMap<String, Located>, PrepareError> {
        let mut located = IndexMap::new();
        let mut wanted = Vec::new();
        for specifier in specifiers {
            let read = specifier::read(&specifier).map_err(|refused| match refused {
                Unsafe::Install(spec) => {
                    autoinstall(&specifier, format!("Unsafe module specifier: {spec}"))
                }
                Unsafe::Lookup(spec) => {
                    PrepareError::Lookup(format!("Unsafe module specifier: {spec}"))
                }
            })?;
            let package = match read {
                Wanted::NotWhitelisted { name } => {
                    log::warn!("WARNING: autoinstall skipping blacklisted module {name}");
                    continue;
                }
                Wanted::Local { name } => {
                    log::info!("Using local version of {specifier}");
                    located.insert(
                        specifier,
                        Located {
                            name,
                            version: "local".to_owned(),
                            path: None,
                        },
                    );
                    continue;
                }
                Wanted::Tagged { name, tag } => {
                    let version = self
                        .look_up(&name, tag)
                        .await
                        .map_err(PrepareError::Lookup)?;
                    log::info!("Looked up {tag} version of {specifier}: found {version}");
                    Package { name, version }
                }
                Wanted::Exact(package) => package,
            };
            let path = Some(self.repository.folder(&package));
            let Package { name, version } = package.clone();
            located.insert(
                specifier.clone(),
                Located {
                    name,
                    version,
                    path,
                },
            );
            wanted.push((specifier, package));
        }
        let packages = wanted.clone();
        self.install_missing(wanted).await?;
        self.use_bundles(packages, &mut located).await?;
        Ok(located)
    }

    /// Points to the bundles of packages that have one, and has the others bundled for later runs.
    async fn use_bundles(
        self: &Arc<Self>,
        packages: Vec<(String, Package)>,
        located: &mut IndexMap<String, Located>,
    ) -> Result<(), PrepareError> {
        if self.bundler.get().is_none() {
            return Ok(());
        }
        let repository = self.repository.clone();
        let found = blocking(move || {
            let find = |(specifier, package): (String, Package)| {
                let folder = repository.folder_in_bundle(&package);
                (specifier, package, folder)
            };
            Ok(packages.into_iter().map(find).collect::<Vec<_>>())
        })
        .await
        .map_err(PrepareError::Engine)?;
        for (specifier, package, folder) in found {
            match (folder, located.get_mut(&specifier)) {
                (Some(folder), Some(located)) => located.path = Some(folder),
                _ => self.bundle(package),
            }
        }
        Ok(())
    }

    /// Bundles a package in the background, once.
    fn bundle(self: &Arc<Self>, package: Package) {
        let mut bundling = self.bundling.lock().unwrap_or_else(PoisonError::into_inner);
        if !bundling.insert(package.alias()) {
            return;
        }
        let work = Arc::clone(self);
        actix::spawn(async move {
            let alias = package.alias();
            let began = Instant::now();
            match work.bundle_now(&package).await {
                Ok(()) => {
                    let seconds = began.elapsed().as_secs_f64();
                    log::info!("bundled {alias} in {seconds:.1}s");
                }
                Err(why) => log::info!("{alias} is loaded from its plain files: {why}"),
            }
        });
    }

    async fn bundle_now(&self, package: &Package) -> Result<(), String> {
        let Some(bundler) = self.bundler.get() else {
            return Err("there is no engine yet".to_owned());
        };
        // npm would change the files that are being read.
        let _turn = self.installing.lock().await;
        let mut held = Vec::new();
        if let Some(pace) = self.locks {
            let target = self.repository.lock();
            held.push(FolderLock::acquire(&target, &package.alias(), pace).await?);
            let repository = self.repository.clone();
            blocking(move || repository.remove_unfinished_bundles()).await?;
        }
        let (folder, target) = (
            self.repository.folder(package),
            self.repository.bundle(package),
        );
        bundler.adaptor(&folder, &target).await
    }

    async fn install_missing(&self, wanted: Vec<(String, Package)>) -> Result<(), PrepareError> {
        let missing = self.missing(wanted).await.map_err(PrepareError::Engine)?;
        if missing.is_empty() {
            return Ok(());
        }
        let _turn = self.installing.lock().await;
        for (specifier, package) in missing {
            self.install_one(&package).await.map_err(|why| {
                log::error!("installing {specifier} failed: {why}");
                autoinstall(&specifier, self.without_root(&why))
            })?;
        }
        Ok(())
    }

    /// Those that are not installed. Reads only: another install may be at work.
    async fn missing(
        &self,
        wanted: Vec<(String, Package)>,
    ) -> Result<Vec<(String, Package)>, String> {
        let repository = self.repository.clone();
        blocking(move || {
            Ok(wanted
                .into_iter()
                .filter(|(_, package)| !repository.is_installed(package))
                .collect())
        })
        .await
    }

    async fn install_one(&self, package: &Package) -> Result<(), String> {
        if self.is_installed(package).await? {
            return Ok(());
        }
        // The whole repository first, always: a fixed order cannot deadlock with another worker of ours, and the reference's
        // workers take only the second.
        let mut held = Vec::new();
        if let Some(pace) = self.locks {
            for target in [self.repository.lock(), self.repository.lock_of(package)] {
                held.push(FolderLock::acquire(&target, &package.alias(), pace).await?);
            }
        }
        if self.is_installed(package).await? {
            log::info!("Skipping {} as already installed", package.alias());
            return Ok(());
        }
        let (repository, partial) = (self.repository.clone(), package.clone());
        // Only under the locks: npm writes `package.json` in place, and one that is half written would be replaced.
        blocking(move || {
            repository.ensure()?;
            repository.remove_partial(&partial)
        })
        .await?;
        let began = Instant::now();
        log::info!("Will install {} version {}", package.name, package.version);
        let installed = self.npm.install(self.repository.root(), package).await;
        self.metrics.installed(installed.is_ok(), began.elapsed());
        installed?;
        if !self.is_installed(package).await? {
            return Err(
                "npm reported success, but the package is not in the repository".to_owned(),
            );
        }
        self.bundling
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&package.alias());
        log::info!(
            "Installed {}@{} in {:.1}s",
            package.name,
            package.version,
            began.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// A failure as a run's report may tell it: where the repository is concerns the operator only.
    fn without_root(&self, why: &str) -> String {
        why.replace(&*self.repository.root().to_string_lossy(), "<repo>")
    }

    async fn is_installed(&self, package: &Package) -> Result<bool, String> {
        let (repository, package) = (self.repository.clone(), package.clone());
        blocking(move || Ok(repository.is_installed(&package))).await
    }

    async fn look_up(&self, name: &str, tag: &str) -> Result<String, String> {
        let key = format!("{name}@{tag}");
        let known = {
            let lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
            lookups
                .get(&key)
                .filter(|(at, _)| at.elapsed() < LOOKUP_LIFE)
                .map(|(_, version)| version.clone())
        };
        if let Some(version) = known {
            return Ok(version);
        }
        let version = self.npm.view(name, tag).await?;
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        // Names come from plans: without this the table would grow with every name that somebody made up and npm knows.
        lookups.retain(|_, (at, _)| at.elapsed() < LOOKUP_LIFE);
        lookups.insert(key, (Instant::now(), version.clone()));
        Ok(version)
    }
}

fn autoinstall(specifier: &str, why: String) -> PrepareError {
    PrepareError::Autoinstall {
        specifier: specifier.to_owned(),
        why,
    }
}

/// The newest version of the collections adaptor, asked of npm. The mock engine installs nothing, so it needs no npm either.
pub(crate) fn latest_collections_version(
    config: &Config,
) -> impl Future<Output = Result<String, String>> + use<> {
    let mocked = matches!(config.engine, crate::config::EngineConfig::Mock);
    async move {
        if mocked {
            return Ok("latest".to_owned());
        }
        Npm::on_path().view(COLLECTIONS, "latest").await
    }
}

#[cfg(test)]
mod tests;
