//! npm, started with a list of arguments and never through a shell.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::command::{CommandError, run_to_end};
use crate::specifier::{self, Package};

/// Longest time for one install: a large adaptor on a slow line takes minutes, a hanging connection for ever.
const INSTALL_PATIENCE: Duration = Duration::from_mins(10);
const LOOKUP_PATIENCE: Duration = Duration::from_mins(1);

/// The longest text of a failure that goes into a run's error message, in characters.
const LONGEST_FAILURE: usize = 4000;

/// Why npm did not do what it was asked for; in words that have no path of this machine, for they go into a run's report.
#[derive(Debug, thiserror::Error)]
pub enum NpmError {
    /// It cannot be started, or has no end.
    #[error("Command failed: {command}\n{source}")]
    Command {
        /// npm and its arguments.
        command: String,
        /// What is wrong with it.
        source: CommandError,
    },
    /// It failed.
    #[error("Command failed: {command}\n{said}")]
    Failed {
        /// npm and its arguments.
        command: String,
        /// Its words.
        said: String,
    },
    /// It found no version that a tag stands for.
    #[error("npm knows no version of {0}")]
    UnknownVersion(String),
}

/// The npm on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Npm {
    program: PathBuf,
}

impl Npm {
    /// The one on `PATH`.
    pub(crate) fn on_path() -> Self {
        Self {
            program: PathBuf::from("npm"),
        }
    }

    #[cfg(test)]
    pub(crate) fn at(program: PathBuf) -> Self {
        Self { program }
    }

    /// Installs a package under its alias, with its exact version.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) async fn install(&self, repo: &Path, package: &Package) -> Result<(), NpmError> {
        let spec = package.npm_spec();
        // `--` because what follows is never an option. The version is written without a caret: a repository that is restored
        // from its `package.json` has to get the very same packages.
        let args = [
            "install",
            "--no-audit",
            "--no-fund",
            "--no-package-lock",
            "--ignore-scripts",
            "--save-exact",
            "--",
            &spec,
        ];
        self.run(repo, &args, INSTALL_PATIENCE).await.map(|_| ())
    }

    /// The version that a tag stands for.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) async fn view(&self, name: &str, tag: &str) -> Result<String, NpmError> {
        let spec = format!("{name}@{tag}");
        let output = self
            .run(Path::new("/"), &["view", &spec, "version"], LOOKUP_PATIENCE)
            .await?;
        let version = output.trim();
        if specifier::is_version(version) {
            Ok(version.to_owned())
        } else {
            Err(NpmError::UnknownVersion(spec))
        }
    }

    /// Installs what the lock file of `directory` says.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) async fn ci(&self, directory: &Path) -> Result<(), NpmError> {
        let args = [
            "ci",
            "--omit=dev",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ];
        self.run(directory, &args, INSTALL_PATIENCE)
            .await
            .map(|_| ())
    }

    async fn run(
        &self,
        directory: &Path,
        args: &[&str],
        patience: Duration,
    ) -> Result<String, NpmError> {
        let shown = format!("npm {}", args.join(" "));
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(directory);
        let output = match run_to_end("npm", &mut command, patience).await {
            Ok(output) => output,
            Err(source) => {
                return Err(NpmError::Command {
                    command: shown,
                    source,
                });
            }
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        log::debug!("{shown} failed: {stderr}");
        Err(NpmError::Failed {
            said: without_paths(&stderr, directory),
            command: shown,
        })
    }
}

/// npm's words without what only the operator may know: where its logs, its cache and the repository are.
fn without_paths(stderr: &str, directory: &Path) -> String {
    let directory = directory.to_string_lossy();
    let is_private = |line: &str| {
        let words = line
            .trim_start_matches("npm ")
            .trim_start_matches("error ")
            .trim_start_matches("ERR! ")
            .trim_start();
        line.contains("_logs/")
            || words.starts_with("A complete log of this run")
            || words.starts_with("path ")
            || words.starts_with("dest ")
            || words.starts_with("Log files were not written")
            || words.starts_with("You can rerun the command with")
    };
    let mut text: String = stderr
        .lines()
        .filter(|line| !is_private(line))
        .collect::<Vec<_>>()
        .join("\n");
    if directory.len() > 1 {
        text = text.replace(&*directory, "<repo>");
    }
    match text.char_indices().nth(LONGEST_FAILURE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_machine_are_left_out_of_a_failure() {
        let stderr = "npm error code E404\nnpm error 404 Not Found\nnpm error path /data/repo/x\nnpm error in /data/repo/y\n\
                      npm error A complete log of this run can be found in: /root/.npm/_logs/debug-0.log\n";
        assert_eq!(
            without_paths(stderr, Path::new("/data/repo")),
            "npm error code E404\nnpm error 404 Not Found\nnpm error in <repo>/y"
        );
    }

    #[tokio::test]
    async fn a_missing_npm_is_named() {
        let failure = Npm::at(PathBuf::from("/nonexistent/npm"))
            .view("@openfn/x", "latest")
            .await
            .unwrap_err()
            .to_string();
        assert!(
            failure.starts_with(
                "Command failed: npm view @openfn/x@latest version\nnpm cannot be started"
            ),
            "{failure}"
        );
    }
}
