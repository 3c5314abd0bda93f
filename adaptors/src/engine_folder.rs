//! The folder of the engine program with its packages: where the configuration says, or installed from this binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use log_events::{event, millis, table};

use crate::bundler::Bundler;
use crate::engine_program;
use crate::files::{FileError, blocking, remove_folder};
use crate::lock::{FolderLock, LockError, Pace};
use crate::npm::{Npm, NpmError};
use crate::tools::Tools;

/// Why there is no engine to run.
#[derive(Debug, thiserror::Error)]
pub enum EngineFolderError {
    /// The folder that the configuration names is not an engine's.
    #[error("the engine folder {} has no {missing}", folder.display())]
    Incomplete {
        /// As it was given.
        folder: PathBuf,
        /// The first file that is not there.
        missing: &'static str,
    },
    /// npm cannot install the engine's packages.
    #[error("the engine cannot be installed: {0}")]
    Install(#[from] NpmError),
    /// npm says that it has, and has not.
    #[error("npm has installed the engine without {0}")]
    InstalledWithout(&'static str),
    /// Another worker is installing the engine, or its lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The folder cannot be made.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The folder of the engine program with its packages: the `given` one, or one in `cache`, installed if need be.
///
/// # Errors
/// What is missing or failed.
pub async fn ensure_engine_folder(
    given: Option<&Path>,
    cache: &Path,
    tools: &Tools,
) -> Result<PathBuf, EngineFolderError> {
    match given {
        Some(folder) => check_given(folder.to_owned()).await,
        None => ensure_installed(cache, &Npm::on_path(tools.clone()), tools).await,
    }
}

async fn check_given(folder: PathBuf) -> Result<PathBuf, EngineFolderError> {
    blocking(move || {
        if let Some(missing) = missing_from(&folder) {
            return Err(EngineFolderError::Incomplete { folder, missing });
        }
        Ok(fs::canonicalize(&folder).map_err(FileError::at(&folder))?)
    })
    .await
}

async fn ensure_installed(
    cache: &Path,
    npm: &Npm,
    tools: &Tools,
) -> Result<PathBuf, EngineFolderError> {
    let folder = cache.join(folder_name());
    if is_whole(&folder).await? {
        return Ok(folder);
    }
    let lock = cache.join(format!("{}.lock", folder_name()));
    let _held = FolderLock::acquire(&lock, "the engine", Pace::default()).await?;
    if is_whole(&folder).await? {
        return Ok(folder);
    }
    event!(
        table::ENGINE_INSTALLING, file:% = folder.display();
        "installing the engine into {}; this is done once",
        folder.display()
    );
    let began = Instant::now();
    // Made beside its place and moved there when it is whole: nobody ever finds half of it.
    let unfinished = cache.join(format!(".{}-{}", folder_name(), uuid::Uuid::new_v4()));
    let installed = install(&unfinished, &folder, npm, tools).await;
    if installed.is_err() {
        let left = unfinished.clone();
        if let Err(error) = blocking(move || remove_folder(&left)).await {
            event!(table::ENGINE_FOLDER_LEFT, file:% = unfinished.display(), error:% = error; "an engine that was not installed cannot be removed: {error}");
        }
    }
    installed?;
    event!(
        table::ENGINE_INSTALLED, duration_ms = millis(began.elapsed());
        "installed the engine in {:.1}s",
        began.elapsed().as_secs_f64()
    );
    Ok(folder)
}

async fn install(
    unfinished: &Path,
    folder: &Path,
    npm: &Npm,
    tools: &Tools,
) -> Result<(), EngineFolderError> {
    let target = unfinished.to_owned();
    blocking(move || engine_program::write_to(&target)).await?;
    npm.ci(unfinished).await?;
    let bundler = Bundler::new(tools.clone(), unfinished.to_owned());
    if let Err(why) = bundler.engine().await {
        event!(table::ENGINE_UNBUNDLED, error:% = why; "the engine is not bundled, so runs cost more: {why}");
    }
    let (from, to) = (unfinished.to_owned(), folder.to_owned());
    blocking(move || {
        if let Some(missing) = missing_from(&from) {
            return Err(EngineFolderError::InstalledWithout(missing));
        }
        // What an earlier worker may have left there is not whole, or we would have used it.
        remove_folder(&to)?;
        Ok(fs::rename(&from, &to).map_err(FileError::at(&to))?)
    })
    .await
}

async fn is_whole(folder: &Path) -> Result<bool, FileError> {
    let folder = folder.to_owned();
    blocking(move || Ok(missing_from(&folder).is_none())).await
}

/// The first thing that is missing from an engine folder.
fn missing_from(folder: &Path) -> Option<&'static str> {
    ["main.cjs", "node_modules/@openfn/runtime/package.json"]
        .into_iter()
        .find(|name| !folder.join(name).is_file())
}

/// Differs whenever the program does, so that workers of two versions share a cache.
fn folder_name() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("engine-{version}-{}", engine_program::fingerprint())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_given_folder_must_hold_the_program_and_its_packages() {
        let home = tempfile::tempdir().unwrap();
        let missing = ensure_given(home.path()).await.unwrap_err().to_string();
        assert!(missing.ends_with("has no main.cjs"), "{missing}");
        engine_program::write_to(home.path()).unwrap();
        let missing = ensure_given(home.path()).await.unwrap_err().to_string();
        assert!(
            missing.ends_with("has no node_modules/@openfn/runtime/package.json"),
            "{missing}"
        );
        let package = home.path().join("node_modules/@openfn/runtime");
        fs::create_dir_all(&package).unwrap();
        fs::write(package.join("package.json"), "{}").unwrap();
        assert_eq!(
            ensure_given(home.path()).await.unwrap(),
            home.path().canonicalize().unwrap()
        );
    }

    async fn ensure_given(folder: &Path) -> Result<PathBuf, EngineFolderError> {
        let tools = Tools {
            node: PathBuf::from("node"),
            sandbox: sandbox::SandboxMode::Auto,
            sources: crate::AllowedSources::default(),
        };
        ensure_engine_folder(Some(folder), Path::new("/nonexistent"), &tools).await
    }
}
