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
    "main.cjs",
    "start.cjs",
    "child.mjs",
    "commands.mjs",
    "host.mjs",
    "run.mjs",
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
    "rehearsal.mjs",
    "modules.mjs",
    "scripts.cjs",
    "tracing.mjs",
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
    fn every_file_of_the_program_is_embedded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine");
        let names = fs::read_dir(folder).unwrap().map(|entry| {
            let name = entry.unwrap().file_name();
            name.into_string().unwrap()
        });
        let missing: Vec<_> = names
            .filter(|name| name.ends_with(".mjs") || name.ends_with(".cjs"))
            .filter(|name| !FILES.iter().any(|(known, _)| known == name))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
