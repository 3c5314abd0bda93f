//! Node and npm on this machine, and how far they are confined.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sandbox::SandboxMode;

use crate::command::CommandError;
use crate::policy::AllowedSources;

/// What installs and bundles.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The Node.js executable, found on `PATH` when it is a bare name.
    pub node: PathBuf,
    /// Whether npm and the bundler are sandboxed.
    pub sandbox: SandboxMode,
    /// Where dependencies may come from, besides the registry.
    pub sources: AllowedSources,
}

/// npm, as it is started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NpmFiles {
    /// The file to execute.
    pub(crate) program: PathBuf,
    /// What comes before npm's own arguments.
    pub(crate) first: Vec<OsString>,
    /// Node, whose place npm's own configuration depends on.
    pub(crate) node: PathBuf,
    /// The folder of npm's package.
    pub(crate) installation: PathBuf,
    /// Whether it is a script of somebody else's, which starts programs until it comes to npm.
    pub(crate) is_wrapper: bool,
}

impl Tools {
    /// Node's file.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn node(&self) -> Result<PathBuf, CommandError> {
        let path = std::env::var_os("PATH");
        sandbox::locate(&self.node, path.as_deref()).map_err(|_| CommandError::not_found("node"))
    }

    /// The files of the npm that `program` names.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn npm(&self, program: &Path) -> Result<NpmFiles, CommandError> {
        let path = std::env::var_os("PATH");
        let file = sandbox::locate(program, path.as_deref())
            .ok()
            .filter(|file| file.is_file())
            .ok_or_else(|| CommandError::not_found("npm"))?;
        // The one that npm's first line asks for; the worker's own where that is not to be found.
        let node = sandbox::locate(Path::new("node"), path.as_deref()).or_else(|_| self.node())?;
        let installation = file
            .ancestors()
            .skip(1)
            .find(|folder| folder.join("package.json").is_file())
            .or(file.parent())
            .unwrap_or(&file)
            .to_owned();
        if is_for_node(&file) {
            return Ok(NpmFiles {
                program: node.clone(),
                first: vec![file.into()],
                node,
                installation,
                is_wrapper: false,
            });
        }
        Ok(NpmFiles {
            program: file,
            first: Vec::new(),
            node,
            installation,
            is_wrapper: true,
        })
    }
}

/// Whether a file is a script of Node's, by its name or its first line.
fn is_for_node(file: &Path) -> bool {
    let is_script = ["js", "cjs", "mjs"]
        .iter()
        .any(|ending| file.extension() == Some(OsStr::new(ending)));
    let mut start = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(256).read_to_end(&mut start));
    let line = start
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    is_script || (read.is_ok() && line.starts_with("#!") && line.trim_end().ends_with("node"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn npm_is_started_by_node_and_a_wrapper_by_itself() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let tools = Tools {
            node: PathBuf::from("/bin/sh"),
            sandbox: SandboxMode::Off,
            sources: AllowedSources::default(),
        };
        std::fs::create_dir_all(home.join("npm/bin")).unwrap();
        std::fs::write(home.join("npm/package.json"), "{}").unwrap();
        for (name, line, is_wrapper) in [
            ("npm/bin/npm-cli.js", "", false),
            ("npm/bin/npm", "#!/usr/bin/env node\n", false),
            ("npm/bin/wrapper", "#!/bin/sh\n", true),
        ] {
            let file = home.join(name);
            std::fs::write(&file, line).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            let npm = tools.npm(&file).unwrap();
            assert_eq!(
                (npm.is_wrapper, &npm.installation),
                (is_wrapper, &home.join("npm"))
            );
            assert_eq!(npm.program == file, is_wrapper, "{name}");
        }
    }
}
