//! What an adaptor repository is asked for: where adaptors are, with those that are missing installed first (engine spec,
//! section 2.3).
//!
//! One install at a time: the lock inside this process is fair, those between processes are folders (see [`crate::lock`]).
//! Runs that wait for the same adaptor find it installed when their turn comes.

mod error;
mod failures;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use log_events::{event, millis, table};
use tokio::sync::watch;

use self::error::WhyNotBundled;
pub use self::error::{InstallError, WhyNotInstalled};
use self::failures::Failures;
use crate::bundler::Bundler;
use crate::engine_program;
use crate::files::{FileError, blocking};
use crate::lock::{FolderLock, Pace};
use crate::npm::{Npm, NpmError};
use crate::policy;
use crate::repository::Repository;
use crate::specifier::{self, Package, Unsafe, Wanted};
use crate::staging::Copying;
use crate::tools::Tools;

/// How long the answer to `latest` or `next` is good: a burst of runs asks npm once, a new release is seen within a minute.
const LOOKUP_LIFE: Duration = Duration::from_mins(1);

/// Where an adaptor is, for a plan's linker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The package's name.
    pub name: String,
    /// Its version, or `local`.
    pub version: String,
    /// Its folder; `None` for `@local` ones.
    pub path: Option<PathBuf>,
}

/// What an installer works with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The adaptor repository.
    pub repository: PathBuf,
    /// Take the locks that make the repository safe between processes.
    pub lock: bool,
    /// What installs and bundles.
    pub tools: Tools,
}

/// Hears of each adaptor that npm was asked to install: whether it worked, and how long it took.
pub type OnInstall = Box<dyn Fn(bool, Duration) + Send + Sync>;

/// See the module's documentation.
pub struct Installer {
    repository: Repository,
    npm: Npm,
    locks: Option<Pace>,
    /// Held while npm changes the repository.
    installing: tokio::sync::Mutex<()>,
    tools: Tools,
    /// The folder of the engine program that bundles, once there is one.
    engine: watch::Receiver<Option<PathBuf>>,
    /// Aliases of packages that a bundle was or is made of, in this process: a failure would only repeat.
    bundling: Mutex<HashSet<String>>,
    lookups: Mutex<HashMap<String, (Instant, String)>>,
    failures: Mutex<Failures>,
    on_install: OnInstall,
}

impl Installer {
    /// An installer that bundles what it has installed from the moment that `engine` names the engine's folder.
    pub fn new(
        options: Options,
        engine: watch::Receiver<Option<PathBuf>>,
        on_install: OnInstall,
    ) -> Self {
        let npm = Npm::on_path(options.tools.clone());
        Self::with(options, engine, on_install, npm, Pace::default())
    }

    fn with(
        options: Options,
        engine: watch::Receiver<Option<PathBuf>>,
        on_install: OnInstall,
        npm: Npm,
        pace: Pace,
    ) -> Self {
        Self {
            repository: Repository::new(options.repository, engine_program::fingerprint()),
            npm,
            locks: options.lock.then_some(pace),
            installing: tokio::sync::Mutex::new(()),
            tools: options.tools,
            engine,
            bundling: Mutex::new(HashSet::new()),
            lookups: Mutex::new(HashMap::new()),
            failures: Mutex::default(),
            on_install,
        }
    }

    /// Where these adaptors are, installing those that are missing. The answer has an entry for each specifier that the
    /// whitelist lets through, in order.
    ///
    /// # Errors
    /// The first adaptor that cannot be had, and why.
    pub async fn install(
        self: &Arc<Self>,
        specifiers: Vec<String>,
    ) -> Result<IndexMap<String, Located>, InstallError> {
        let mut located = IndexMap::new();
        let mut wanted = Vec::new();
        for specifier in specifiers {
            let read = specifier::read(&specifier).map_err(|refused| match refused {
                Unsafe::Install(spec) => self.failed(&specifier, WhyNotInstalled::Unsafe(spec)),
                Unsafe::Lookup(spec) => InstallError::UnsafeLookup(spec),
            })?;
            let package = match read {
                Wanted::NotWhitelisted { name } => {
                    event!(table::ADAPTOR_BLACKLISTED, adaptor = name; "WARNING: autoinstall skipping blacklisted module {name}");
                    continue;
                }
                Wanted::Local { name } => {
                    event!(table::ADAPTOR_FOUND, adaptor = specifier, version = "local"; "Using local version of {specifier}");
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
                    let version = self.look_up(&name, tag).await?;
                    event!(table::ADAPTOR_FOUND, adaptor = specifier, version = version; "Looked up {tag} version of {specifier}: found {version}");
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
    ) -> Result<(), FileError> {
        if self.bundler().is_none() {
            return Ok(());
        }
        let repository = self.repository.clone();
        let found = blocking(move || {
            let find = |(specifier, package): (String, Package)| {
                let folder = repository.folder_in_bundle(&package);
                (specifier, package, folder)
            };
            Ok::<_, FileError>(packages.into_iter().map(find).collect::<Vec<_>>())
        })
        .await?;
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
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let alias = package.alias();
            let began = Instant::now();
            match this.bundle_now(&package).await {
                Ok(()) => {
                    let seconds = began.elapsed().as_secs_f64();
                    event!(table::ADAPTOR_BUNDLED, adaptor = package.shown(), duration_ms = millis(began.elapsed()); "bundled {alias} in {seconds:.1}s");
                }
                Err(why) => {
                    event!(table::ADAPTOR_UNBUNDLED, adaptor = package.shown(), error:% = why; "{alias} is loaded from its plain files: {why}");
                }
            }
        });
    }

    fn bundler(&self) -> Option<Bundler> {
        let folder = self.engine.borrow().clone()?;
        Some(Bundler::new(self.tools.clone(), folder))
    }

    async fn bundle_now(&self, package: &Package) -> Result<(), WhyNotBundled> {
        let bundler = self.bundler().ok_or(WhyNotBundled::NoEngine)?;
        // npm would change the files that are being read.
        let _turn = self.installing.lock().await;
        let mut held = Vec::new();
        if let Some(pace) = self.locks {
            let target = self.repository.lock();
            held.push(FolderLock::acquire(&target, &package.alias(), pace).await?);
            let repository = self.repository.clone();
            blocking(move || repository.remove_unfinished_bundles()).await?;
        }
        let repository = &self.repository;
        let (folder, target) = (repository.folder(package), repository.bundle(package));
        Ok(bundler.adaptor(repository.root(), &folder, &target).await?)
    }

    async fn install_missing(&self, wanted: Vec<(String, Package)>) -> Result<(), InstallError> {
        let missing = self.missing(wanted).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let _turn = self.installing.lock().await;
        for (specifier, package) in missing {
            self.install_unless_known(&package).await.map_err(|why| {
                event!(table::ADAPTOR_INSTALL_FAILED, adaptor = specifier, error:% = why; "installing {specifier} failed: {why}");
                self.failed(&specifier, why)
            })?;
        }
        Ok(())
    }

    /// Installs a package, unless it is known to fail.
    async fn install_unless_known(&self, package: &Package) -> Result<(), Arc<WhyNotInstalled>> {
        let (npm, root) = (self.npm.clone(), self.repository.root().to_owned());
        let configuration = blocking(move || Ok::<_, FileError>(npm.configuration(&root)))
            .await
            .map_err(WhyNotInstalled::from)?;
        let alias = package.alias();
        let lock = || self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&alias, configuration, tokio::time::Instant::now());
        if let Some(why) = known {
            return Err(why);
        }
        let why = match self.install_one(package).await {
            Ok(()) => return Ok(()),
            Err(why) => Arc::new(why),
        };
        lock().note(alias, configuration, &why, tokio::time::Instant::now());
        Err(why)
    }

    /// Those that are not installed. Reads only: another install may be at work.
    async fn missing(
        &self,
        wanted: Vec<(String, Package)>,
    ) -> Result<Vec<(String, Package)>, FileError> {
        let repository = self.repository.clone();
        blocking(move || {
            Ok(wanted
                .into_iter()
                .filter(|(_, package)| !repository.is_installed(package))
                .collect())
        })
        .await
    }

    async fn install_one(&self, package: &Package) -> Result<(), WhyNotInstalled> {
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
            event!(table::ADAPTOR_FOUND, adaptor = package.shown(), version = package.version; "Skipping {} as already installed", package.alias());
            return Ok(());
        }
        let began = Instant::now();
        event!(table::ADAPTOR_INSTALLING, adaptor = package.shown(); "Will install {} version {}", package.name, package.version);
        let installed = self.install_staged(package).await;
        (self.on_install)(installed.is_ok(), began.elapsed());
        installed?;
        self.bundling
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&package.alias());
        event!(
            table::ADAPTOR_INSTALLED, adaptor = package.shown(), duration_ms = millis(began.elapsed());
            "Installed {}@{} in {:.1}s",
            package.name,
            package.version,
            began.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Has npm install a package beside the repository, which takes it over when it is good: until then nothing there changes.
    async fn install_staged(&self, package: &Package) -> Result<(), WhyNotInstalled> {
        let copying = if self.npm.runs_others() {
            Copying::Content
        } else {
            Copying::Links
        };
        let (repository, wanted) = (self.repository.clone(), package.clone());
        let is_locked = self.locks.is_some();
        let staged = blocking(move || {
            if is_locked {
                repository.remove_stagings()?;
            }
            repository.stage(&wanted, copying)
        })
        .await?;
        let installed = self.npm.install(staged.folder(), package).await;
        let (repository, wanted) = (self.repository.clone(), package.clone());
        let sources = self.tools.sources;
        blocking(move || {
            let adopted = installed.map_err(WhyNotInstalled::from).and_then(|()| {
                if !staged.has(&wanted) {
                    return Err(WhyNotInstalled::NotThere);
                }
                policy::check(&staged.lockfile(), sources, |place, version| {
                    repository.version_at(place).as_deref() != Some(version)
                })?;
                Ok(repository.adopt(&staged, &wanted)?)
            });
            staged.remove()?;
            adopted
        })
        .await
    }

    fn failed(&self, specifier: &str, why: impl Into<Arc<WhyNotInstalled>>) -> InstallError {
        InstallError::Install {
            specifier: specifier.to_owned(),
            repository: self.repository.root().to_owned(),
            why: why.into(),
        }
    }

    async fn is_installed(&self, package: &Package) -> Result<bool, FileError> {
        let (repository, package) = (self.repository.clone(), package.clone());
        blocking(move || Ok(repository.is_installed(&package))).await
    }

    async fn look_up(&self, name: &str, tag: &str) -> Result<String, NpmError> {
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

#[cfg(test)]
mod tests;
