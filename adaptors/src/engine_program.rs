//! The Node program that runs inside a child, as it was when this binary was built.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use crate::files::FileError;

macro_rules! engine_files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../engine/", $name)))),*]
    };
}

/// Its files, by name.
const FILES: &[(&str, &str)] = &engine_files![
    "package.json",
    "package-lock.json",
    ".npmrc",
    "main.mjs",
    "threads.mjs",
    "thread.mjs",
    "run_thread.mjs",
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

/// The version of `@openfn/runtime` that the program is built for; `None` if the lock file does not say.
pub fn runtime_version() -> Option<String> {
    let (_, lock) = FILES
        .iter()
        .find(|(name, _)| *name == "package-lock.json")?;
    let lock: serde_json::Value = serde_json::from_str(lock).ok()?;
    let version = lock.pointer("/packages/node_modules~1@openfn~1runtime/version")?;
    version.as_str().map(str::to_owned)
}

/// Writes the program into a folder, which is made if need be.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn write_to(folder: &Path) -> Result<(), FileError> {
    fs::create_dir_all(folder).map_err(FileError::at(folder))?;
    for (name, text) in FILES {
        let path = folder.join(name);
        fs::write(&path, text).map_err(FileError::at(&path))?;
    }
    Ok(())
}

/// Differs whenever the program does.
pub(crate) fn fingerprint() -> String {
    let mut hasher = DefaultHasher::new();
    FILES.hash(&mut hasher);
    format!("{:08x}", hasher.finish() & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

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
