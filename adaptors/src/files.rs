//! File work that may block, and its failures, which name the path.

use std::io;
use std::path::{Path, PathBuf};

/// Why files cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// What the system said of a path.
    #[error("{}: {source}", path.display())]
    At {
        /// Of the file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The thread that did the work panicked.
    #[error("file work failed: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

impl FileError {
    /// For `map_err`: names the path of a failure.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::At { path, source }
    }
}

/// Runs file work where it may block.
pub(crate) async fn blocking<T, E, F>(work: F) -> Result<T, E>
where
    T: Send + 'static,
    E: From<FileError> + Send + 'static,
    F: FnOnce() -> Result<T, E> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(FileError::from(error).into()),
    }
}

/// Removes a folder with all that is in it, if it is there. Whether it was.
///
/// # Errors
/// When it is there and stays.
pub(crate) fn remove_folder(folder: &Path) -> Result<bool, FileError> {
    match std::fs::remove_dir_all(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::at(folder)(error)),
    }
}
