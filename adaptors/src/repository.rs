//! The adaptor repository on disk (engine spec, section 2.1). Blocking file work; knows nothing of npm.

use std::fs;
use std::path::{Path, PathBuf};

use log_events::{event, table};
use serde_json::{Map, Value, json};

use crate::bundle;
use crate::files::{FileError, remove_folder};
use crate::specifier::Package;
use crate::staging::{Copying, copy_tree, exchange, replace_file};

/// Where npm puts packages, below a repository.
const PACKAGES: &str = "node_modules";

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    root: PathBuf,
    /// The engine program's, whose bundles another one may not understand.
    fingerprint: String,
}

/// A folder in which a package is installed, before the repository takes it over.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    folder: PathBuf,
}

impl Staged {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether npm has put the package there, as a folder of its own.
    pub(crate) fn has(&self, package: &Package) -> bool {
        let folder = self.folder.join(PACKAGES).join(package.alias());
        let is_folder = fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir());
        is_folder && folder.join("package.json").is_file()
    }

    /// npm's own list of what is there; null without one.
    pub(crate) fn lockfile(&self) -> Value {
        let list = fs::read(self.folder.join(PACKAGES).join(".package-lock.json"));
        list.ok()
            .and_then(|list| serde_json::from_slice(&list).ok())
            .unwrap_or_default()
    }

    /// Removes it.
    ///
    /// # Errors
    /// When something of it stays.
    pub(crate) fn remove(&self) -> Result<(), FileError> {
        remove_folder(&self.folder).map(|_| ())
    }
}

impl Repository {
    /// The repository in `root`, with bundles for the engine program of this `fingerprint`.
    pub(crate) fn new(root: PathBuf, fingerprint: String) -> Self {
        Self { root, fingerprint }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where all packages are.
    fn packages(&self) -> PathBuf {
        self.root.join(PACKAGES)
    }

    /// Where a package is, or will be.
    pub(crate) fn folder(&self, package: &Package) -> PathBuf {
        self.packages().join(package.alias())
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
        bundle::is_whole(&bundle).then(|| bundle.join(PACKAGES).join(package.alias()))
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
        replace_file(&path, &format!("{manifest:#}"))
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

    /// Makes a folder for npm to install a package in: a copy of the repository, without what an interrupted install may have
    /// left of that package, which npm would take for the whole.
    ///
    /// # Errors
    /// When its files cannot be read or copied.
    pub(crate) fn stage(&self, package: &Package, copying: Copying) -> Result<Staged, FileError> {
        self.ensure()?;
        let parent = self.stagings();
        fs::create_dir_all(&parent).map_err(FileError::at(&parent))?;
        let staged = Staged {
            folder: parent.join(uuid::Uuid::new_v4().to_string()),
        };
        fs::create_dir(&staged.folder).map_err(FileError::at(&staged.folder))?;
        // npm's settings for this repository are the operator's.
        for name in ["package.json", ".npmrc"] {
            let (from, to) = (self.root.join(name), staged.folder.join(name));
            if from.exists() {
                fs::copy(&from, &to).map_err(FileError::at(&to))?;
            }
        }
        let packages = self.packages();
        if packages.exists() {
            copy_tree(&packages, &staged.folder.join(PACKAGES), copying)?;
        }
        if remove_folder(&staged.folder.join(PACKAGES).join(package.alias()))? {
            event!(
                table::REPOSITORY_CLEANED, adaptor = package.shown();
                "leaving out what an interrupted install has left of {}",
                package.alias()
            );
        }
        Ok(staged)
    }

    /// Takes over what npm has installed. Until the last step the package counts as not installed.
    ///
    /// # Errors
    /// When files cannot be changed.
    pub(crate) fn adopt(&self, staged: &Staged, package: &Package) -> Result<(), FileError> {
        // What is installed next may have other dependencies than those that were bundled.
        let name = self.bundle(package);
        let name = name.file_name().unwrap_or_default();
        let versions = fs::read_dir(self.root.join("bundles"));
        for version in versions.into_iter().flatten().flatten() {
            remove_folder(&version.path().join(name))?;
        }
        exchange(&staged.folder.join(PACKAGES), &self.packages())?;
        let mut manifest = self.manifest().unwrap_or_default();
        let mut dependencies = match manifest["dependencies"].take() {
            Value::Object(dependencies) => dependencies,
            _ => Map::new(),
        };
        // Without a caret: a repository that is restored from this file has to get the very same packages.
        let version = format!("npm:{}@{}", package.name, package.version);
        dependencies.insert(package.alias(), version.into());
        dependencies.sort_keys();
        manifest["dependencies"] = dependencies.into();
        replace_file(&self.manifest_path(), &format!("{manifest:#}\n"))
    }

    /// The version of a package that is there, by its place below the repository.
    pub(crate) fn version_at(&self, place: &str) -> Option<String> {
        let manifest = fs::read(self.root.join(place).join("package.json")).ok()?;
        let manifest: Value = serde_json::from_slice(&manifest).ok()?;
        manifest["version"].as_str().map(str::to_owned)
    }

    fn stagings(&self) -> PathBuf {
        self.root.join(".staging")
    }

    /// Removes what installs have left that were killed. Only under the lock: one that is at work looks the same.
    ///
    /// # Errors
    /// When its files cannot be changed.
    pub(crate) fn remove_stagings(&self) -> Result<(), FileError> {
        remove_folder(&self.stagings()).map(|_| ())
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
    }

    #[test]
    fn nothing_changes_until_a_staged_package_is_taken_over() {
        let home = tempfile::tempdir().unwrap();
        let repository = repository(home.path());
        let half = repository.folder(&package());
        fs::create_dir_all(&half).unwrap();
        fs::write(half.join("half.js"), "").unwrap();
        let other = repository.root().join("node_modules/other");
        fs::create_dir_all(&other).unwrap();
        let staged = repository.stage(&package(), Copying::Links).unwrap();
        let folder = staged.folder().join("node_modules/@openfn/a_1.0.0");
        assert!(!staged.has(&package()) && !folder.exists());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("package.json"), r#"{"version":"1.0.0"}"#).unwrap();
        assert!(staged.has(&package()));
        assert!(half.join("half.js").exists() && !repository.is_installed(&package()));
        repository.adopt(&staged, &package()).unwrap();
        staged.remove().unwrap();
        assert!(repository.is_installed(&package()) && other.exists());
        assert!(!half.join("half.js").exists());
        let version = repository.version_at("node_modules/@openfn/a_1.0.0");
        assert_eq!(version.as_deref(), Some("1.0.0"));
    }

    #[test]
    fn a_package_that_is_only_a_link_is_none() {
        let home = tempfile::tempdir().unwrap();
        let repository = repository(&home.path().join("repo"));
        let elsewhere = home.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("package.json"), "{}").unwrap();
        let staged = repository.stage(&package(), Copying::Links).unwrap();
        let scope = staged.folder().join("node_modules/@openfn");
        fs::create_dir_all(&scope).unwrap();
        std::os::unix::fs::symlink(&elsewhere, scope.join("a_1.0.0")).unwrap();
        assert!(!staged.has(&package()));
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
