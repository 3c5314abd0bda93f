//! The Node program that runs inside a child: found where the configuration says, or installed from this binary.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::bundler::Bundler;
use super::installer::{FolderLock, Npm, Pace, blocking};
use crate::config::NodeConfig;

macro_rules! engine_files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../engine/", $name)))),*]
    };
}

/// The program as it was when this binary was built.
const FILES: &[(&str, &str)] = &engine_files![
    "package.json",
    "package-lock.json",
    ".npmrc",
    "main.mjs",
    "threads.mjs",
    "thread.mjs",
    "life.mjs",
    "report.mjs",
    "console.mjs",
    "adaptors.mjs",
    "globals.mjs",
    "state.mjs",
    "errors.mjs",
    "clock.mjs",
    "wire.mjs",
    "bundle.mjs",
    "probe.mjs",
    "common.mjs",
    "packing.mjs",
    "flags.mjs",
    "rehearsal.mjs",
];

/// The folder of the engine program with its packages, installing it if need be.
///
/// # Errors
/// A text that names what is missing or failed.
pub(super) async fn ensure_engine_dir(config: &NodeConfig) -> Result<PathBuf, String> {
    ensure(
        config.engine_dir.clone(),
        config.cache_dir.clone(),
        &Npm::on_path(),
        &config.node,
    )
    .await
}

async fn ensure(
    given: Option<PathBuf>,
    cache: PathBuf,
    npm: &Npm,
    node: &Path,
) -> Result<PathBuf, String> {
    if let Some(folder) = given {
        let checked = folder.clone();
        return blocking(move || {
            check(&checked).map_err(|missing| {
                format!("the engine folder {} has no {missing}", checked.display())
            })?;
            fs::canonicalize(&checked).map_err(|error| format!("{}: {error}", checked.display()))
        })
        .await;
    }
    let folder = cache.join(folder_name());
    if is_whole(&folder).await {
        return Ok(folder);
    }
    let lock = cache.join(format!("{}.lock", folder_name()));
    let _held = FolderLock::acquire(&lock, "the engine", Pace::default()).await?;
    if is_whole(&folder).await {
        return Ok(folder);
    }
    log::info!(
        "installing the engine into {}; this is done once",
        folder.display()
    );
    let began = Instant::now();
    // Made beside its place and moved there when it is whole: nobody ever finds half of it.
    let unfinished = cache.join(format!(".{}-{}", folder_name(), uuid::Uuid::new_v4()));
    let installed = install(&unfinished, &folder, npm, node).await;
    if installed.is_err() {
        let left = unfinished.clone();
        if let Err(error) =
            blocking(move || fs::remove_dir_all(&left).map_err(|error| error.to_string())).await
        {
            log::warn!("{} cannot be removed: {error}", unfinished.display());
        }
    }
    installed?;
    log::info!(
        "installed the engine in {:.1}s",
        began.elapsed().as_secs_f64()
    );
    Ok(folder)
}

async fn install(unfinished: &Path, folder: &Path, npm: &Npm, node: &Path) -> Result<(), String> {
    let target = unfinished.to_owned();
    blocking(move || write_files(&target)).await?;
    npm.ci(unfinished)
        .await
        .map_err(|why| format!("the engine cannot be installed: {why}"))?;
    let bundler = Bundler::new(node.to_owned(), unfinished.to_owned());
    if let Err(why) = bundler.engine().await {
        log::warn!("the engine is not bundled, so runs cost more: {why}");
    }
    let (from, to) = (unfinished.to_owned(), folder.to_owned());
    blocking(move || {
        check(&from)
            .map_err(|missing| format!("npm has installed the engine without {missing}"))?;
        // What an earlier worker may have left there is not whole, or we would have used it.
        if let Err(error) = fs::remove_dir_all(&to)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(format!("{}: {error}", to.display()));
        }
        fs::rename(&from, &to).map_err(|error| format!("{}: {error}", to.display()))
    })
    .await
}

async fn is_whole(folder: &Path) -> bool {
    let folder = folder.to_owned();
    blocking(move || check(&folder).map_err(str::to_owned))
        .await
        .is_ok()
}

fn write_files(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for (name, text) in FILES {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// The first thing that is missing from an engine folder.
fn check(folder: &Path) -> Result<(), &'static str> {
    ["main.mjs", "node_modules/@openfn/runtime/package.json"]
        .into_iter()
        .find(|name| !folder.join(name).is_file())
        .map_or(Ok(()), Err)
}

/// Differs whenever the program does, so that workers of two versions share a cache.
fn folder_name() -> String {
    format!("engine-{}-{}", env!("CARGO_PKG_VERSION"), fingerprint())
}

/// Stands for the program that this binary was built with.
pub(super) fn fingerprint() -> String {
    let mut hasher = DefaultHasher::new();
    FILES.hash(&mut hasher);
    format!("{:08x}", hasher.finish() & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_given_folder_must_hold_the_program_and_its_packages() {
        let home = tempfile::tempdir().unwrap();
        let missing = ensure_given(home.path()).await.unwrap_err();
        assert!(missing.ends_with("has no main.mjs"), "{missing}");
        write_files(home.path()).unwrap();
        let missing = ensure_given(home.path()).await.unwrap_err();
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

    async fn ensure_given(folder: &Path) -> Result<PathBuf, String> {
        ensure(
            Some(folder.to_owned()),
            PathBuf::from("/nonexistent"),
            &Npm::on_path(),
            Path::new("node"),
        )
        .await
    }

    #[test]
    fn every_module_that_the_program_imports_is_embedded() {
        for (name, text) in FILES.iter().filter(|(name, _)| name.ends_with(".mjs")) {
            let imported = text
                .lines()
                .filter_map(|line| line.split("from \"./").nth(1)?.split('"').next());
            for module in imported {
                assert!(
                    FILES.iter().any(|(name, _)| *name == module),
                    "{name} imports {module}"
                );
            }
        }
    }
}
