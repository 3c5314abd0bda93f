//! npm, started with a list of arguments and never through a shell.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sandbox::{Confinement, Limits, Network, Processes, Spec};

use crate::command::{CommandError, private_root, run_to_end};
use crate::environment::needs;
use crate::files::blocking;
use crate::policy::{AllowedSources, DependencySource};
use crate::specifier::{self, Package};
use crate::tools::Tools;

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
    /// It was to take something from a place that is not allowed.
    #[error("Command failed: {command}\n{said}\na dependency is {wanted}; the worker's operator can allow it with --allow-adaptor-sources {}", wanted.name())]
    Refused {
        /// npm and its arguments.
        command: String,
        /// Its words.
        said: String,
        /// The place.
        wanted: DependencySource,
    },
    /// It found no version that a tag stands for.
    #[error("npm knows no version of {0}")]
    UnknownVersion(String),
}

impl NpmError {
    /// Whether the registry has answered that there is no such thing, or the operator does not allow it.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Failed { said, .. } => ["code E404", "code ETARGET"]
                .iter()
                .any(|code| said.contains(code)),
            Self::Refused { .. } => true,
            Self::Command { .. } | Self::UnknownVersion(_) => false,
        }
    }
}

/// Folders of programs, for an npm that starts others.
const PROGRAMS: &[&str] = &[
    "/bin",
    "/usr/bin",
    "/usr/local/bin",
    "/usr/libexec",
    "/usr/local/libexec",
    "/usr/lib/git-core",
];

/// Settings of git, below the home folder or anywhere; no credentials, since whatever a package has git run can read them.
const GIT_SETTINGS: &[&str] = &["/etc/gitconfig", ".gitconfig", ".config/git"];

/// Where distributions put the packages that their npm consists of.
const PACKAGED: &[&str] = &["/usr/share/nodejs", "/usr/share/node_modules", "/etc/npmrc"];

/// Descriptors and bytes of a file: npm opens many at once, and packages hold large ones.
const LIMITS: Limits = Limits {
    descriptors: 65_536,
    file_bytes: 1 << 30,
};

/// The npm on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Npm {
    program: PathBuf,
    tools: Tools,
}

impl Npm {
    /// The one on `PATH`.
    pub(crate) fn on_path(tools: Tools) -> Self {
        Self {
            program: PathBuf::from("npm"),
            tools,
        }
    }

    #[cfg(test)]
    pub(crate) fn at(program: PathBuf, tools: Tools) -> Self {
        Self { program, tools }
    }

    /// Whether programs that a package names may run during an install.
    pub(crate) fn runs_others(&self) -> bool {
        self.tools.sources.has(DependencySource::Git)
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
        let writable = [repo.to_owned()];
        self.run(repo, &writable, &args, INSTALL_PATIENCE)
            .await
            .map(|_| ())
    }

    /// The version that a tag stands for.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) async fn view(&self, name: &str, tag: &str) -> Result<String, NpmError> {
        let spec = format!("{name}@{tag}");
        let output = self
            .run(
                Path::new("/"),
                &[],
                &["view", &spec, "version"],
                LOOKUP_PATIENCE,
            )
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
        let writable = [directory.to_owned()];
        self.run(directory, &writable, &args, INSTALL_PATIENCE)
            .await
            .map(|_| ())
    }

    /// Stands for the files of npm's configuration for `directory`: another value when one of them has changed.
    pub(crate) fn configuration(&self, directory: &Path) -> u64 {
        let mut hasher = DefaultHasher::new();
        if let Ok(npm) = self.tools.npm(&self.program) {
            let mut files = needs(
                std::env::vars_os(),
                &npm.node,
                &npm.installation,
                directory,
                &[],
            )
            .readable;
            files.push(directory.join(".npmrc"));
            for file in files {
                let found = std::fs::metadata(&file).ok();
                let state = found.map(|found| (found.len(), found.modified().ok()));
                (file, state).hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// Runs npm in `directory`. It may change `writable` and its cache.
    pub(crate) async fn run(
        &self,
        directory: &Path,
        writable: &[PathBuf],
        args: &[&str],
        patience: Duration,
    ) -> Result<String, NpmError> {
        let shown = format!("npm {}", args.join(" "));
        let failed = |source| NpmError::Command {
            command: shown.clone(),
            source,
        };
        let (npm, folder, writable) = (self.clone(), directory.to_owned(), writable.to_vec());
        let args: Vec<OsString> = args.iter().map(Into::into).collect();
        let spec = blocking(move || npm.spec(&folder, writable, args))
            .await
            .map_err(failed)?;
        let ended = run_to_end("npm", &spec, patience).await.map_err(failed)?;
        if ended.status.success() {
            return Ok(ended.stdout);
        }
        log::debug!("{shown} failed: {}", ended.stderr);
        let said = without_paths(&ended.stderr, directory);
        Err(match refused_source(&ended.stderr, self.tools.sources) {
            Some(wanted) => NpmError::Refused {
                command: shown,
                said,
                wanted,
            },
            None => NpmError::Failed {
                command: shown,
                said,
            },
        })
    }

    fn spec(
        &self,
        directory: &Path,
        mut writable: Vec<PathBuf>,
        args: Vec<OsString>,
    ) -> Result<Spec, CommandError> {
        let npm = self.tools.npm(&self.program)?;
        let needs = needs(
            std::env::vars_os(),
            &npm.node,
            &npm.installation,
            directory,
            &settings(self.tools.sources),
        );
        if let Some(cache) = needs.cache {
            // What is not there cannot be allowed. One that cannot be made is npm's to complain of.
            if let Err(error) = std::fs::create_dir_all(&cache) {
                log::debug!("npm's cache {}: {error}", cache.display());
            }
            writable.push(cache);
        }
        let mut readable = needs.readable;
        readable.extend(PACKAGED.iter().map(PathBuf::from));
        if self.tools.sources.has(DependencySource::File) {
            readable.push(PathBuf::from("/"));
        }
        // Its packages may lie beside it.
        readable.push(
            npm.installation
                .parent()
                .unwrap_or(&npm.installation)
                .to_owned(),
        );
        let starts_others = npm.is_wrapper || self.runs_others();
        let mut executable = Vec::new();
        if self.runs_others() {
            let home = std::env::var_os("HOME")
                .map(PathBuf::from)
                .unwrap_or_default();
            readable.extend(GIT_SETTINGS.iter().map(|file| home.join(file)));
        }
        if starts_others {
            executable.extend(PROGRAMS.iter().map(PathBuf::from));
            executable.extend([npm.installation, npm.node]);
        }
        Ok(Spec {
            program: npm.program,
            args: npm.first.into_iter().chain(args).collect(),
            env: needs.variables,
            current_dir: directory.to_owned(),
            sockets: false,
            root: private_root("npm")?,
            egress: None,
            confinement: Confinement {
                mode: self.tools.sandbox,
                readable,
                writable,
                executable,
                processes: if starts_others {
                    Processes::Allowed
                } else {
                    Processes::Forbidden
                },
                network: Network::Internet,
                limits: LIMITS,
                memory: None,
            },
        })
    }
}

/// Settings that take the place of the operator's. They are variables, so that an npm which does not know one of them does
/// not mind.
fn settings(sources: AllowedSources) -> Vec<(&'static str, String)> {
    let whether = |source| if sources.has(source) { "all" } else { "none" }.to_owned();
    let mut settings = vec![
        ("allow_git", whether(DependencySource::Git)),
        ("allow_file", whether(DependencySource::File)),
        ("allow_directory", whether(DependencySource::File)),
        ("allow_remote", whether(DependencySource::Url)),
        ("ignore_scripts", "true".to_owned()),
        ("update_notifier", "false".to_owned()),
    ];
    if !sources.has(DependencySource::Git) {
        // For an npm that does not know the first, and without a sandbox.
        settings.push(("git", "git-is-not-allowed".to_owned()));
    }
    settings
}

/// The place, not allowed, that npm failed to take something from.
fn refused_source(stderr: &str, sources: AllowedSources) -> Option<DependencySource> {
    let words = |source| match source {
        DependencySource::Git => ["EALLOWGIT", "git-is-not-allowed"],
        DependencySource::File => ["EALLOWFILE", "EALLOWDIRECTORY"],
        DependencySource::Url => ["EALLOWREMOTE", "EALLOWREMOTE"],
    };
    DependencySource::ALL
        .into_iter()
        .filter(|source| !sources.has(*source))
        .find(|source| words(*source).iter().any(|word| stderr.contains(word)))
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
            || line.starts_with("npm warn Unknown env config")
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
mod tests;
