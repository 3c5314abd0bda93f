//! The adaptor repository on disk (engine spec, section 2.1). Blocking file work; knows nothing of npm.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::bundle;
use crate::files::{FileError, remove_folder};
use crate::specifier::Package;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    root: PathBuf,
    /// The engine program's, whose bundles another one may not understand.
    fingerprint: String,
}

impl Repository {
    /// The repository in `root`, with bundles for the engine program of this `fingerprint`.
    pub(crate) fn new(root: PathBuf, fingerprint: String) -> Self {
        Self { root, fingerprint }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a package is, or will be.
    pub(crate) fn folder(&self, package: &Package) -> PathBuf {
        self.root.join("node_modules").join(package.alias())
    }

    /// The folder of a package's bundle, which need not be there; one name deep, so that those of two scopes cannot meet.
    pub(crate) fn bundle(&self, package: &Package) -> PathBuf {
        let name = package.alias().trim_start_matches('@').replace('/', "-");
        self.bundles().join(name)
    }

    /// Where the bundles are of this version of the engine.
    pub(crate) fn bundles(&self) -> PathBuf {
        self.root.join("bundles").join(&self.fingerprint)
    }

    /// Where a package is in its bundle, if there is a whole one.
    pub(crate) fn folder_in_bundle(&self, package: &Package) -> Option<PathBuf> {
        let bundle = self.bundle(package);
        bundle::is_whole(&bundle).then(|| bundle.join("node_modules").join(package.alias()))
    }

    /// The lock target of one package.
    pub(crate) fn lock_of(&self, package: &Package) -> PathBuf {
        self.root
            .join(".locks")
            .join(format!("{}.lock", package.alias()))
    }

    /// The lock target of the whole repository: npm rewrites `package.json` and shared folders whatever it installs, so one
    /// lock a package, as the reference has, is not enough.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join(".locks").join("repository.lock")
    }

    /// Makes the repository if it is missing, and its `package.json` if that cannot be read.
    ///
    /// # Errors
    /// When its files cannot be read or changed.
    pub(crate) fn ensure(&self) -> Result<(), FileError> {
        fs::create_dir_all(&self.root).map_err(FileError::at(&self.root))?;
        if self.manifest().is_some_and(|manifest| manifest.is_object()) {
            return Ok(());
        }
        let manifest = json!({
            "name": "openfn-repo",
            "description": "A repository for modules used by the openfn runtime",
            "private": true,
            "author": "Open Function Group <admin@openfn.org>",
            "version": "1.0.0",
            "dependencies": {},
        });
        let path = self.manifest_path();
        fs::write(&path, format!("{manifest:#}")).map_err(FileError::at(&path))
    }

    /// Whether a package is there: npm writes its key into `package.json` when everything else is done, and somebody may have
    /// removed the folder since.
    pub(crate) fn is_installed(&self, package: &Package) -> bool {
        let key = package.alias();
        let has_key = self
            .manifest()
            .is_some_and(|manifest| manifest["dependencies"].get(&key).is_some());
        has_key && self.folder(package).join("package.json").is_file()
    }

    /// Removes what an interrupted install has left of a package, which npm would take for the whole.
    ///
    /// # Errors
    /// When its files cannot be read or changed.
    pub(crate) fn remove_partial(&self, package: &Package) -> Result<(), FileError> {
        // What is installed next may have other dependencies than those that were bundled.
        let name = self.bundle(package);
        let name = name.file_name().unwrap_or_default();
        let versions = fs::read_dir(self.root.join("bundles"));
        for version in versions.into_iter().flatten().flatten() {
            remove_folder(&version.path().join(name))?;
        }
        if remove_folder(&self.folder(package))? {
            log::info!(
                "removed what was left of an interrupted install of {}",
                package.alias()
            );
        }
        Ok(())
    }

    /// Removes bundles that a worker had not finished when it was killed. Only under the lock: one that is being made looks
    /// the same.
    ///
    /// # Errors
    /// When its files cannot be read or changed.
    pub(crate) fn remove_unfinished_bundles(&self) -> Result<(), FileError> {
        let bundles = self.bundles();
        let entries = match fs::read_dir(&bundles) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(FileError::at(&bundles))?,
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if bundle::is_unfinished(&path) {
                remove_folder(&path)?;
            }
        }
        Ok(())
    }

    fn manifest_path(&self) -> PathBuf {
        self.root.join("package.json")
    }

    fn manifest(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.manifest_path()).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(root: &Path) -> Repository {
        Repository::new(root.to_owned(), "v1".to_owned())
    }

    fn package() -> Package {
        Package {
            name: "@openfn/a".to_owned(),
            version: "1.0.0".to_owned(),
        }
    }

    #[test]
    fn a_missing_or_broken_repository_is_made_anew() {
        let home = tempfile::tempdir().unwrap();
        let repository = repository(&home.path().join("a/repo"));
        repository.ensure().unwrap();
        assert_eq!(repository.manifest().unwrap()["name"], "openfn-repo");
        fs::write(repository.manifest_path(), "{").unwrap();
        repository.ensure().unwrap();
        assert_eq!(repository.manifest().unwrap()["dependencies"], json!({}));
    }

    #[test]
    fn a_repository_that_is_there_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let repository = repository(home.path());
        fs::write(repository.manifest_path(), r#"{"dependencies":{"x":"1"}}"#).unwrap();
        repository.ensure().unwrap();
        assert_eq!(repository.manifest().unwrap()["dependencies"]["x"], "1");
    }

    #[test]
    fn installed_means_listed_and_on_disk() {
        let home = tempfile::tempdir().unwrap();
        let repository = repository(home.path());
        repository.ensure().unwrap();
        let folder = repository.folder(&package());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("package.json"), "{}").unwrap();
        assert!(!repository.is_installed(&package()), "not listed");
        fs::write(
            repository.manifest_path(),
            r#"{"dependencies":{"@openfn/a_1.0.0":"npm:@openfn/a@1.0.0"}}"#,
        )
        .unwrap();
        assert!(repository.is_installed(&package()));
        fs::remove_file(folder.join("package.json")).unwrap();
        assert!(!repository.is_installed(&package()), "not on disk");
        repository.remove_partial(&package()).unwrap();
        assert!(!folder.exists());
        repository.remove_partial(&package()).unwrap();
    }

    #[test]
    fn bundles_that_were_not_finished_are_removed() {
        let home = tempfile::tempdir().unwrap();
        let repository = repository(home.path());
        repository.remove_unfinished_bundles().unwrap();
        let whole = repository.bundle(&package());
        let unfinished = bundle::unfinished(whole.parent().unwrap());
        for folder in [&whole, &unfinished] {
            fs::create_dir_all(folder.join("node_modules")).unwrap();
        }
        repository.remove_unfinished_bundles().unwrap();
        assert!(whole.exists() && !unfinished.exists());
    }
}
