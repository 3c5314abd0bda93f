//! The one folder that an engine child may write.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A fresh folder below the system's temporary one, that nobody else may enter; removed with everything in it when dropped.
#[derive(Debug)]
pub(super) struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// # Errors
    /// When the folder cannot be made.
    pub(super) fn create() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("ws-worker-{}", uuid::Uuid::new_v4()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            log::warn!(
                "the private folder {} of an engine child cannot be removed: {error}",
                self.0.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_the_owners_alone_and_goes_with_its_content() {
        let folder = PrivateFolder::create().unwrap();
        let path = folder.path().to_owned();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        fs::create_dir(path.join("a")).unwrap();
        fs::write(path.join("a/b"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
