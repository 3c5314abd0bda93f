//! What a bundle's folder looks like: the engine's `bundle.mjs` makes it, children read it.

use std::path::{Path, PathBuf};

/// In the folder of a bundle, written when everything else is there.
const MARKER: &str = "bundle.json";

/// Whether a folder holds a bundle that is complete.
pub(crate) fn is_whole(folder: &Path) -> bool {
    folder.join(MARKER).is_file()
}

/// A new name for a bundle that is being made, below `parent`.
pub(crate) fn unfinished(parent: &Path) -> PathBuf {
    parent.join(format!(".{}", uuid::Uuid::new_v4()))
}

/// Whether a folder is a bundle that is being made, or was when its worker was killed.
pub(crate) fn is_unfinished(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".")
}
