//! Why a run does not get its adaptors. The texts are those of the engine spec, section 2.4.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bundler::BundleError;
use crate::files::FileError;
use crate::lock::LockError;
use crate::npm::NpmError;
use crate::policy::Refused;

/// Why adaptors cannot be had, in words for a run's report.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// This one cannot be installed.
    #[error("Error installing {specifier}: {}", without_root(why, repository))]
    Install {
        /// As the run's plan has it.
        specifier: String,
        /// Where the repository is: concerns the operator only, so it is in no report.
        repository: PathBuf,
        /// The reason.
        why: Arc<WhyNotInstalled>,
    },
    /// What `latest` or `next` stands for is not to be asked of npm, since this is no plain name.
    #[error("Unsafe module specifier: {0}")]
    UnsafeLookup(String),
    /// npm does not tell what `latest` or `next` stands for.
    #[error(transparent)]
    Lookup(#[from] NpmError),
    /// The repository cannot be read.
    #[error(transparent)]
    Repository(#[from] FileError),
}

impl InstallError {
    /// The `error_type` of the run.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Install { .. } => "AutoinstallError",
            Self::UnsafeLookup(_) | Self::Lookup(_) | Self::Repository(_) => "ExecutionError",
        }
    }
}

/// Why one adaptor cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum WhyNotInstalled {
    /// It is more than a plain name and a plain version; what npm would have been asked to install.
    #[error("Unsafe module specifier: {0}")]
    Unsafe(String),
    /// Another worker is installing, or the lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The repository cannot be prepared for npm.
    #[error(transparent)]
    File(#[from] FileError),
    /// npm cannot.
    #[error(transparent)]
    Npm(#[from] NpmError),
    /// Something that it depends on is from a place that is not allowed.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// npm says that it has, and has not.
    #[error("npm reported success, but the package is not in the repository")]
    NotThere,
}

impl WhyNotInstalled {
    /// Whether it would be the same if it was tried again at once: the registry has said so, or the operator does not allow it.
    pub(super) fn is_lasting(&self) -> bool {
        match self {
            Self::Npm(error) => error.is_lasting(),
            Self::Unsafe(_) | Self::Refused(_) => true,
            Self::Lock(_) | Self::File(_) | Self::NotThere => false,
        }
    }
}

/// Why an adaptor is loaded from its plain files.
#[derive(Debug, thiserror::Error)]
pub(super) enum WhyNotBundled {
    #[error("there is no engine yet")]
    NoEngine,
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

fn without_root(why: &WhyNotInstalled, repository: &Path) -> String {
    why.to_string()
        .replace(&*repository.to_string_lossy(), "<repo>")
}
