//! Runs the engine's `bundle.mjs`, which makes packages fast to load. Engine children only read what it makes, and where
//! there is no bundle the plain files serve.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::bundle;
use crate::command::{CommandError, run_to_end};
use crate::files::{FileError, blocking, remove_folder};

/// Bundling the largest adaptor takes a few seconds.
const PATIENCE: Duration = Duration::from_mins(2);

/// Where the bundle of the engine program itself is, below its folder.
const ENGINE_BUNDLE: &str = "bundled";

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Its folder cannot be made.
    #[error(transparent)]
    File(#[from] FileError),
    /// The bundler cannot be started, or has no end.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The bundler's words: what about the packages a bundle could change.
    #[error("{0}")]
    Refused(String),
}

/// The bundler of one engine folder.
#[derive(Debug, Clone)]
pub(crate) struct Bundler {
    node: PathBuf,
    engine_folder: PathBuf,
}

impl Bundler {
    pub(crate) fn new(node: PathBuf, engine_folder: PathBuf) -> Self {
        Self {
            node,
            engine_folder,
        }
    }

    /// Bundles an installed adaptor into `target`, whose parent is made if need be.
    ///
    /// # Errors
    /// Why there is none; the adaptor may be one that a bundle could change.
    pub(crate) async fn adaptor(&self, folder: &Path, target: &Path) -> Result<(), BundleError> {
        self.bundle("adaptor", Some(folder), target).await
    }

    /// Bundles the engine program into its own folder, if that was not done yet.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn engine(&self) -> Result<(), BundleError> {
        let target = self.engine_folder.join(ENGINE_BUNDLE);
        if bundle::is_whole(&target) {
            return Ok(());
        }
        self.bundle("engine", None, &target).await
    }

    /// The bundle is made beside its place and moved there when it is whole: nobody ever finds half of it.
    async fn bundle(
        &self,
        what: &str,
        folder: Option<&Path>,
        target: &Path,
    ) -> Result<(), BundleError> {
        let parent = target.parent().unwrap_or(target).to_owned();
        let unfinished = bundle::unfinished(&parent);
        blocking(move || std::fs::create_dir_all(&parent).map_err(FileError::at(&parent))).await?;
        let made = self.run(what, folder, &unfinished).await;
        let target = target.to_owned();
        blocking(move || {
            let made = made.and_then(|()| {
                remove_folder(&target)?;
                Ok(std::fs::rename(&unfinished, &target).map_err(FileError::at(&target))?)
            });
            if made.is_err() {
                remove_folder(&unfinished)?;
            }
            made
        })
        .await
    }

    async fn run(
        &self,
        what: &str,
        folder: Option<&Path>,
        target: &Path,
    ) -> Result<(), BundleError> {
        let mut command = Command::new(&self.node);
        command
            .arg(self.engine_folder.join("bundle.mjs"))
            .arg(what)
            .args(folder)
            .arg(target);
        let output = run_to_end("node", &mut command, PATIENCE).await?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(BundleError::Refused(said.trim().to_owned()))
    }
}
