//! Bundles: packages made fast to load by the engine's `bundle.mjs`, which is a program of its own outside the sandbox.
//! Engine children only read what it makes. Where there is no bundle the plain files serve.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::installer::SECRETS;

/// In the folder of a bundle, written when everything else is there.
pub(super) const MARKER: &str = "bundle.json";

/// Bundling the largest adaptor takes a few seconds.
const PATIENCE: Duration = Duration::from_mins(2);

/// Where the bundle of the engine program itself is, below its folder.
const ENGINE_BUNDLE: &str = "bundled";

/// Runs the bundler of one engine folder.
#[derive(Debug, Clone)]
pub(super) struct Bundler {
    node: PathBuf,
    engine_dir: PathBuf,
}

impl Bundler {
    pub(super) fn new(node: PathBuf, engine_dir: PathBuf) -> Self {
        Self { node, engine_dir }
    }

    /// Bundles an installed adaptor into `target`, whose parent is made if need be.
    ///
    /// # Errors
    /// Why there is none; the adaptor may be one that a bundle could change.
    pub(super) async fn adaptor(&self, folder: &Path, target: &Path) -> Result<(), String> {
        self.bundle("adaptor", Some(folder), target).await
    }

    /// Bundles the engine program into its own folder, if that was not done yet.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn engine(&self) -> Result<(), String> {
        let target = self.engine_dir.join(ENGINE_BUNDLE);
        if target.join(MARKER).is_file() {
            return Ok(());
        }
        self.bundle("engine", None, &target).await
    }

    /// The bundle is made beside its place and moved there when it is whole: nobody ever finds half of it.
    async fn bundle(&self, what: &str, folder: Option<&Path>, target: &Path) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", target.display());
        let parent = target.parent().unwrap_or(target);
        tokio::fs::create_dir_all(parent).await.map_err(failed)?;
        let unfinished = unfinished(parent);
        let made = match self.run(what, folder, &unfinished).await {
            Ok(()) => {
                remove(target).await?;
                tokio::fs::rename(&unfinished, target).await.map_err(failed)
            }
            Err(why) => Err(why),
        };
        if made.is_err() {
            remove(&unfinished).await?;
        }
        made
    }

    async fn run(&self, what: &str, folder: Option<&Path>, target: &Path) -> Result<(), String> {
        let mut command = Command::new(&self.node);
        command
            .arg(self.engine_dir.join("bundle.mjs"))
            .arg(what)
            .args(folder)
            .arg(target)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for secret in SECRETS {
            command.env_remove(secret);
        }
        match tokio::time::timeout(PATIENCE, command.output()).await {
            Err(_) => Err(format!("no end after {}s", PATIENCE.as_secs())),
            Ok(Err(error)) => Err(format!("{}: {error}", self.node.display())),
            Ok(Ok(output)) if output.status.success() => Ok(()),
            Ok(Ok(output)) => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(said.trim().to_owned())
            }
        }
    }
}

/// The name of a bundle that is being made, below `parent`.
pub(super) fn unfinished(parent: &Path) -> PathBuf {
    parent.join(format!(".{}", uuid::Uuid::new_v4()))
}

/// Whether a folder is a bundle that is being made, or was when its worker was killed.
pub(super) fn is_unfinished(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".")
}

async fn remove(folder: &Path) -> Result<(), String> {
    match tokio::fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}
