//! Runs the engine's `bundle.mjs`, which makes packages fast to load. Engine children only read what it makes, and where
//! there is no bundle the plain files serve.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sandbox::{Confinement, Limits, Network, Processes, Spec};

use crate::bundle;
use crate::command::{CommandError, private_root, run_to_end};
use crate::files::{FileError, blocking, remove_folder};
use crate::tools::Tools;

/// Bundling the largest adaptor takes a few seconds of CPU. At its low priority they are minutes where no core is idle, and an
/// adaptor without a bundle keeps the cores busy.
const PATIENCE: Duration = Duration::from_mins(15);

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
    tools: Tools,
    engine_folder: PathBuf,
}

impl Bundler {
    pub(crate) fn new(tools: Tools, engine_folder: PathBuf) -> Self {
        Self {
            tools,
            engine_folder,
        }
    }

    /// Bundles an adaptor that is installed in `folder`, below that of the `repository`, into `target`, whose parent is made if
    /// need be.
    ///
    /// # Errors
    /// Why there is none; the adaptor may be one that a bundle could change.
    pub(crate) async fn adaptor(
        &self,
        repository: &Path,
        folder: &Path,
        target: &Path,
    ) -> Result<(), BundleError> {
        self.bundle("adaptor", Some((repository, folder)), target)
            .await
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
        adaptor: Option<(&Path, &Path)>,
        target: &Path,
    ) -> Result<(), BundleError> {
        let parent = target.parent().unwrap_or(target).to_owned();
        let unfinished = bundle::unfinished(&parent);
        let folder = unfinished.clone();
        // What is not there cannot be allowed to the bundler.
        blocking(move || std::fs::create_dir_all(&folder).map_err(FileError::at(&folder))).await?;
        let made = self.run(what, adaptor, &unfinished).await;
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
        adaptor: Option<(&Path, &Path)>,
        target: &Path,
    ) -> Result<(), BundleError> {
        let node = self.tools.node()?;
        let mut args: Vec<OsString> =
            vec![self.engine_folder.join("bundle.mjs").into(), what.into()];
        let mut readable = vec![self.engine_folder.clone()];
        if let Some((repository, folder)) = adaptor {
            args.push(folder.into());
            // All of it: esbuild finds `node_modules` by listing the folder that they are in.
            readable.push(repository.to_owned());
        }
        args.push(target.into());
        let spec = Spec {
            program: node,
            args,
            env: Vec::new(),
            current_dir: self.engine_folder.clone(),
            sockets: false,
            root: private_root("node")?,
            egress: None,
            confinement: Confinement {
                mode: self.tools.sandbox,
                readable,
                writable: vec![target.to_owned()],
                // esbuild is a program of its own, and the probe another Node.
                executable: vec![self.engine_folder.join("node_modules/@esbuild")],
                processes: Processes::Allowed,
                network: Network::Nobody,
                limits: Limits::default(),
                memory: None,
            },
        };
        let ended = run_to_end("node", &spec, PATIENCE).await?;
        if ended.status.success() {
            return Ok(());
        }
        Err(BundleError::Refused(ended.stderr.trim().to_owned()))
    }
}
