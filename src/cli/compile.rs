//! `ws-worker compile`: the job compiler on its own, for authors of jobs and for tests.

use std::io::{self, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use compiler::{Adaptor, CompileError, CompileOptions, Compiled, ExportsError};

use super::{FileError, read};
use crate::settings::table::REPO_DIR;

/// What `compile` is told.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct CompileArgs {
    /// The job's source; - reads standard input
    #[arg(required_unless_present = "batch", conflicts_with = "batch")]
    file: Option<PathBuf>,
    /// An adaptor of the job: NAME@VERSION as it is installed in the repository, or the folder of a package
    #[arg(
        long = "adaptor",
        short = 'a',
        value_name = "SPEC",
        conflicts_with = "batch"
    )]
    adaptors: Vec<String>,
    /// Append the source map as a comment
    #[arg(long, conflicts_with = "batch")]
    map: bool,
    /// Read one JSON object a line, {"name","source","adaptors":[{"name","exports","exportAll"}]}, and write one a line
    #[arg(long)]
    batch: bool,
    /// The adaptor repository [env: WORKER_REPO_DIR] [default: ~/.openfn/worker/repo]
    #[arg(long, short = 'd', value_name = "DIR")]
    repo_dir: Option<String>,
}

/// Why nothing was compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileCommandError {
    /// The source cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Standard input or output failed.
    #[error("standard input or output failed")]
    Pipe(#[from] io::Error),
    /// The folder of the repository cannot be used.
    #[error("--repo-dir / WORKER_REPO_DIR: {0:?} {1}")]
    RepoDir(String, String),
    /// The adaptor is not there.
    #[error("adaptor {spec} is not in {}; install it there, or give the folder of the package", dir.display())]
    NotInstalled {
        /// As given.
        spec: String,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// The adaptor's package cannot be understood.
    #[error("the exports of adaptor {spec} are not known")]
    Exports {
        /// As given.
        spec: String,
        /// What is wrong with the package.
        #[source]
        source: ExportsError,
    },
    /// The job cannot be compiled.
    #[error("{name}: {error}")]
    Job {
        /// The job's name.
        name: String,
        /// What is wrong with it, with line and column.
        error: CompileError,
    },
}

/// Compiles the job, or every job of standard input, and prints the result. Returns the exit code.
///
/// # Errors
///
/// The job or an adaptor cannot be read, or the job cannot be compiled. A job of a batch that cannot be compiled is no
/// error: its line says so.
pub fn run(args: &CompileArgs) -> Result<u8, CompileCommandError> {
    if args.batch {
        compiler::batch::run(BufReader::new(io::stdin().lock()), io::stdout().lock())?;
        return Ok(0);
    }
    let (name, source) = job(args.file.as_deref())?;
    let repo = repo_dir(args.repo_dir.clone())?;
    let adaptors = args
        .adaptors
        .iter()
        .map(|spec| adaptor(spec, &repo))
        .collect::<Result<Vec<_>, _>>()?;
    let compiled = compile(&name, &source, &adaptors)
        .map_err(|error| CompileCommandError::Job { name, error })?;
    io::stdout()
        .lock()
        .write_all(render(&compiled, args.map).as_bytes())?;
    Ok(0)
}

fn repo_dir(flag: Option<String>) -> Result<PathBuf, CompileCommandError> {
    let variable = || {
        REPO_DIR
            .variables
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
    };
    let text = flag
        .or_else(variable)
        .or_else(|| REPO_DIR.default.map(str::to_owned))
        .unwrap_or_default();
    crate::settings::path(&text).map_err(|why| CompileCommandError::RepoDir(text, why.to_string()))
}

fn job(file: Option<&Path>) -> Result<(String, Vec<u8>), CompileCommandError> {
    match file.filter(|file| *file != Path::new("-")) {
        Some(file) => {
            let name = file.file_stem().map_or_else(
                || "job".to_owned(),
                |stem| stem.to_string_lossy().into_owned(),
            );
            Ok((name, read(file)?))
        }
        None => {
            let mut source = Vec::new();
            io::stdin().lock().read_to_end(&mut source)?;
            Ok(("job".to_owned(), source))
        }
    }
}

/// The adaptor as the compiler wants it: its name and the names that it exports.
fn adaptor(spec: &str, repo: &Path) -> Result<Adaptor, CompileCommandError> {
    let (name, dir) = match spec.rfind('@').filter(|at| *at > 0) {
        _ if spec.starts_with(['.', '/']) => (package_name(Path::new(spec)), PathBuf::from(spec)),
        Some(at) => (
            Some(spec[..at].to_owned()),
            repo.join("node_modules")
                .join(format!("{}_{}", &spec[..at], &spec[at + 1..])),
        ),
        None => (Some(spec.to_owned()), repo.join("node_modules").join(spec)),
    };
    match name.filter(|_| dir.join("package.json").is_file()) {
        Some(name) => {
            let exports =
                compiler::adaptor_exports(&dir).map_err(|source| CompileCommandError::Exports {
                    spec: spec.to_owned(),
                    source,
                })?;
            Ok(Adaptor {
                name,
                exports,
                export_all: true,
            })
        }
        None => Err(CompileCommandError::NotInstalled {
            spec: spec.to_owned(),
            dir,
        }),
    }
}

fn package_name(dir: &Path) -> Option<String> {
    let manifest: serde_json::Value =
        serde_json::from_slice(&read(&dir.join("package.json")).ok()?).ok()?;
    Some(manifest.get("name")?.as_str()?.to_owned())
}

fn compile(name: &str, source: &[u8], adaptors: &[Adaptor]) -> Result<Compiled, CompileError> {
    compiler::compile_bytes(
        source,
        &CompileOptions {
            name: Some(name),
            adaptors,
            ignore: &[],
        },
    )
}

fn render(compiled: &Compiled, map: bool) -> String {
    let mut text = compiled.code.clone();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    if map {
        let map = STANDARD.encode(&compiled.source_map);
        text.push_str(&format!(
            "//# sourceMappingURL=data:application/json;base64,{map}\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn package(dir: &Path, declarations: &str) {
        fs::create_dir_all(dir).unwrap();
        let manifest = r#"{"name":"@openfn/language-demo","version":"1.0.0","types":"index.d.ts"}"#;
        fs::write(dir.join("package.json"), manifest).unwrap();
        fs::write(dir.join("index.d.ts"), declarations).unwrap();
    }

    #[test]
    fn an_adaptor_is_found_by_name_and_version_and_by_folder() {
        let repo = tempfile::tempdir().unwrap();
        let dir = repo.path().join("node_modules/@openfn/language-demo_1.0.0");
        package(&dir, "export function get(): void;");
        for spec in ["@openfn/language-demo@1.0.0", dir.to_str().unwrap()] {
            let adaptor = adaptor(spec, repo.path()).unwrap();
            assert_eq!(
                (adaptor.name.as_str(), adaptor.export_all),
                ("@openfn/language-demo", true)
            );
            assert_eq!(adaptor.exports, ["get"]);
        }
    }

    #[test]
    fn an_adaptor_that_is_not_installed_is_named_with_the_place_that_was_looked_at() {
        let error = adaptor("@openfn/language-demo@9.9.9", Path::new("/nowhere"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("@openfn/language-demo@9.9.9")
                && error.contains("/nowhere/node_modules"),
            "{error}"
        );
    }

    #[test]
    fn a_job_is_compiled_and_its_map_appended_on_request() {
        let adaptors = [Adaptor {
            name: "@openfn/language-demo".to_owned(),
            exports: vec!["get".to_owned()],
            export_all: true,
        }];
        let compiled = compile("a", b"get('x');", &adaptors).unwrap();
        let text = render(&compiled, true);
        assert!(
            text.contains("import { get } from \"@openfn/language-demo\""),
            "{text}"
        );
        let (_, map) = text.trim_end().rsplit_once("base64,").unwrap();
        let map: serde_json::Value =
            serde_json::from_slice(&STANDARD.decode(map).unwrap()).unwrap();
        assert_eq!(map["version"], 3);
        assert!(!render(&compiled, false).contains("sourceMappingURL"));
    }

    #[test]
    fn a_job_that_is_no_javascript_is_refused_with_its_line() {
        let error = compile("a", b"fn(state => state);\nfn(", &[]).unwrap_err();
        assert!(error.to_string().contains("(2:"), "{error}");
    }
}
