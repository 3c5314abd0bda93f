//! The adaptor repository, and the Node program that loads adaptors from it.
//!
//! | file | what |
//! | --- | --- |
//! | [`specifier`], [`policy`] | what a run may ask for, and where that may come from; no I/O |
//! | [`tools`], [`environment`] | Node and npm on this machine, and what npm needs of the worker's environment |
//! | [`npm`], [`bundler`] | the two programs that are run, both confined, by [`command`] |
//! | [`registry`] | whether the registry answers |
//! | [`lock`] | a lock between workers |
//! | [`repository`], [`staging`], [`bundle`] | what is where on the disk |
//! | [`engine_program`] | the files of `engine/`, as they were when this binary was built |
//! | [`engine_folder`] | that program with its packages |
//! | [`installer`] | decides what is installed, looked up and bundled, and when |
//!
//! No actors here. Arrows go from the bottom of this table to the top.

mod bundle;
mod bundler;
mod command;
mod engine_folder;
mod engine_program;
mod environment;
mod files;
mod installer;
mod lock;
mod npm;
mod policy;
mod registry;
mod repository;
mod specifier;
mod staging;
mod tools;

pub use self::bundler::BundleError;
pub use self::command::CommandError;
pub use self::engine_folder::{EngineFolderError, ensure_engine_folder};
pub use self::engine_program::runtime_version;
pub use self::files::FileError;
pub use self::installer::{InstallError, Installer, Located, OnInstall, Options, WhyNotInstalled};
pub use self::lock::LockError;
pub use self::npm::NpmError;
pub use self::policy::{AllowedSources, DependencySource, Refused};
pub use self::registry::{Offer, ask_registry};
pub use self::specifier::is_installable;
pub use self::tools::Tools;

/// The package whose newest version is looked up for collections.
const COLLECTIONS: &str = "@openfn/language-collections";

/// The newest version of the collections adaptor.
///
/// # Errors
/// When npm does not say.
pub async fn latest_collections_version(tools: Tools) -> Result<String, NpmError> {
    npm::Npm::on_path(tools).view(COLLECTIONS, "latest").await
}
