//! What the engine needs: Node.js, npm, its packages, folders to write to, and what the kernel offers.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};

use actors::config::{MemoryEnforcement, NodeConfig, SandboxMode};

use super::{Grade, Report};
use crate::settings::table;

/// The oldest Node.js that the engine runs on.
const OLDEST_NODE: u64 = 20;

pub(super) fn check(config: &NodeConfig, report: &mut Report) {
    node(&config.node, report);
    let npm = npm(report);
    packages(config, npm, report);
    match write_probe(&config.repo_dir) {
        Ok(()) => report.fine(
            "repo dir",
            format!("{} is writable", config.repo_dir.display()),
        ),
        Err(error) => report.bad(
            "repo dir",
            format!(
                "{} is not writable: {error}; give another {}",
                config.repo_dir.display(),
                table::REPO_DIR.names()
            ),
        ),
    }
    if let Some(dir) = &config.monorepo_dir {
        match fs::metadata(dir.join("packages")) {
            Ok(_) => report.fine("monorepo dir", dir.display().to_string()),
            Err(error) => report.bad(
                "monorepo dir",
                format!("{}/packages: {error}", dir.display()),
            ),
        }
    }
    sandbox(config.sandbox, report);
    egress(config, report);
    memory(config.memory_enforcement, config.sandbox, report);
}

fn node(node: &Path, report: &mut Report) {
    let fix = "install Node.js 20 or newer, or name one with --node / WORKER_NODE";
    let found = actors::engine_pool::locate(node, std::env::var_os("PATH").as_deref());
    let node = match &found {
        Ok(file) => file,
        Err(why) => {
            report.bad("node", format!("{}: {why}; {fix}", node.display()));
            return;
        }
    };
    match version_of(node) {
        Ok(version) => match version
            .trim_start_matches('v')
            .split('.')
            .next()
            .map(str::parse::<u64>)
        {
            Some(Ok(major)) if major >= OLDEST_NODE => report.fine("node", version),
            Some(Ok(_)) => report.bad("node", format!("{version} is too old; {fix}")),
            Some(Err(_)) | None => report.bad(
                "node",
                format!(
                    "{} answers {version:?}, which is no version; {fix}",
                    node.display()
                ),
            ),
        },
        Err(why) => report.bad(
            "node",
            format!("{} cannot be started: {why}; {fix}", node.display()),
        ),
    }
}

fn npm(report: &mut Report) -> bool {
    match version_of(Path::new("npm")) {
        Ok(version) => report.fine("npm", version),
        Err(why) => {
            report.bad(
                "npm",
                format!("cannot be started: {why}; install npm, which installs the adaptors"),
            );
            return false;
        }
    }
    true
}

/// Why a program does not say its version.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum VersionError {
    #[error(transparent)]
    Unstarted(#[from] io::Error),
    #[error("--version ended with {0}")]
    Failed(ExitStatus),
}

/// What a program says to `--version`, in one line.
pub(in crate::cli) fn version_of(program: &Path) -> Result<String, VersionError> {
    let output = Command::new(program).arg("--version").output()?;
    if !output.status.success() {
        return Err(VersionError::Failed(output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or("").trim().to_owned())
}

fn packages(config: &NodeConfig, npm: bool, report: &mut Report) {
    if let Some(dir) = &config.engine_dir {
        match runtime_version(dir) {
            Some(version) => report.fine("engine", format!("@openfn/runtime {version} in {}", dir.display())),
            None => report.bad(
                "engine",
                format!("{} has no node_modules/@openfn/runtime; run `npm ci` there, or unset WORKER_ENGINE_DIR", dir.display()),
            ),
        }
        return;
    }
    let installed = fs::read_dir(&config.cache_dir)
        .into_iter()
        .flatten()
        .flatten()
        .find_map(|entry| runtime_version(&entry.path()));
    match (installed, write_probe(&config.cache_dir)) {
        (Some(version), _) => report.fine(
            "engine",
            format!(
                "@openfn/runtime {version} in {}",
                config.cache_dir.display()
            ),
        ),
        (None, Ok(())) if npm => {
            report.fine(
                "engine",
                format!(
                    "will be installed into {} at the first start",
                    config.cache_dir.display()
                ),
            );
        }
        (None, Ok(())) => report.bad("engine", "not installed, and cannot be without npm"),
        (None, Err(error)) => {
            report.bad(
                "engine",
                format!(
                    "not installed, and {} is not writable: {error}",
                    config.cache_dir.display()
                ),
            );
        }
    }
}

fn runtime_version(dir: &Path) -> Option<String> {
    let manifest = fs::read(dir.join("node_modules/@openfn/runtime/package.json")).ok()?;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).ok()?;
    Some(manifest.get("version")?.as_str()?.to_owned())
}

/// Creates the folder if need be, and a file in it.
fn write_probe(dir: &Path) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    let probe = dir.join(format!(".ws-worker-check-{}", std::process::id()));
    fs::write(&probe, [])?;
    fs::remove_file(&probe)
}

fn sandbox(mode: SandboxMode, report: &mut Report) {
    if mode == SandboxMode::Off {
        report.add(
            "sandbox",
            Grade::Poor,
            "off (--sandbox): jobs can read what this user can read",
        );
        return;
    }
    let missing: Vec<_> = actors::engine_pool::missing_in_sandbox()
        .iter()
        .map(ToString::to_string)
        .collect();
    for layer in actors::engine_pool::sandbox_layers() {
        let state = if layer.is_on { "on" } else { "off" };
        report.fine(
            "sandbox",
            format!("{} is {state}: {}", layer.name, layer.detail),
        );
    }
    if missing.is_empty() {
        return;
    }
    let missing = missing.join("; ");
    if mode == SandboxMode::Strict {
        let needs = "which --sandbox strict needs";
        report.bad("sandbox", format!("missing: {missing}, {needs}"));
    } else {
        let then = "jobs can do more of what this user can do";
        report.add(
            "sandbox",
            Grade::Poor,
            format!("missing: {missing}: {then}"),
        );
    }
}

/// Whether it can be judged where jobs connect to.
fn egress(config: &NodeConfig, report: &mut Report) {
    let anywhere = "jobs can connect to whatever this machine reaches";
    if config.egress.is_empty() {
        let why = format!("nothing is denied (--deny-egress none): {anywhere}");
        report.add("egress", Grade::Poor, why);
        return;
    }
    if config.sandbox == SandboxMode::Off {
        let why = format!("not controlled (--sandbox off): {anywhere}");
        report.add("egress", Grade::Poor, why);
        return;
    }
    match actors::engine_pool::missing_egress(config) {
        None => report.fine("egress", format!("denied to jobs: {}", config.egress)),
        Some(missing) if config.sandbox == SandboxMode::Strict => {
            let needs = "which --sandbox strict needs";
            report.bad("egress", format!("missing: {missing}, {needs}"));
        }
        Some(missing) => {
            let why = format!("missing: {missing}: {anywhere}");
            report.add("egress", Grade::Poor, why);
        }
    }
}

fn memory(mode: MemoryEnforcement, sandbox: SandboxMode, report: &mut Report) {
    let heap = "watched: V8 heap limits, and a look at the size of each child ten times a second";
    match (mode, writable_memory_cgroup()) {
        (MemoryEnforcement::Heap, _) => report.fine("memory", heap),
        (MemoryEnforcement::Cgroup | MemoryEnforcement::Auto, true) => {
            report.fine("memory", "enforced by the kernel: a cgroup for each child");
        }
        (MemoryEnforcement::Auto, false) if sandbox == SandboxMode::Strict => {
            report.bad("memory", "no cgroup with a memory controller is writable, which --sandbox strict needs; --memory-enforcement heap does without");
        }
        (MemoryEnforcement::Auto, false) => report.fine(
            "memory",
            format!("{heap}; no cgroup with a memory controller is writable"),
        ),
        (MemoryEnforcement::Cgroup, false) => {
            report.bad("memory", "no cgroup with a memory controller is writable, which --memory-enforcement cgroup needs");
        }
    }
}

/// Whether this process may make cgroups (version 2) with memory limits below its own.
fn writable_memory_cgroup() -> bool {
    let Ok(own) = fs::read_to_string("/proc/self/cgroup") else {
        return false;
    };
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::")) else {
        return false;
    };
    let dir = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let controllers = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    let control = dir.join("cgroup.subtree_control");
    controllers
        .split_whitespace()
        .any(|controller| controller == "memory")
        && nix::unistd::access(&control, nix::unistd::AccessFlags::W_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use actors::config::EngineConfig;

    use super::super::tests::find;
    use super::*;
    use crate::cli::Flags;

    fn program(dir: &Path, script: &str) -> String {
        let path = dir.join("node");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_node_too_old_is_refused_with_the_fix() {
        let dir = tempfile::tempdir().unwrap();
        let mut report = Report::default();
        node(
            Path::new(&program(dir.path(), "echo v18.19.0")),
            &mut report,
        );
        assert_eq!(find(&report, "node").grade, Grade::Bad);
        assert!(find(&report, "node").detail.contains("WORKER_NODE"));
        let mut report = Report::default();
        node(Path::new(&program(dir.path(), "echo v22.1.0")), &mut report);
        assert_eq!(find(&report, "node").grade, Grade::Fine);
        let mut report = Report::default();
        node(Path::new(&program(dir.path(), "exit 3")), &mut report);
        assert!(find(&report, "node").detail.contains("exit status: 3"));
    }

    #[test]
    fn an_engine_folder_without_packages_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = check_settings(dir.path());
        let mut report = Report::default();
        packages(&settings, true, &mut report);
        assert!(find(&report, "engine").detail.contains("npm ci"));
        let runtime = dir.path().join("node_modules/@openfn/runtime");
        fs::create_dir_all(&runtime).unwrap();
        fs::write(runtime.join("package.json"), r#"{"version":"1.9.5"}"#).unwrap();
        let mut report = Report::default();
        packages(&settings, true, &mut report);
        assert!(find(&report, "engine").detail.contains("1.9.5"));
        settings.engine_dir = None;
        settings.cache_dir = dir.path().join("cache");
        let mut report = Report::default();
        packages(&settings, false, &mut report);
        assert_eq!(find(&report, "engine").grade, Grade::Bad);
    }

    fn check_settings(engine_dir: &Path) -> NodeConfig {
        let dir = engine_dir.to_str().unwrap();
        let (settings, _) = Flags::default().inspect([("WORKER_ENGINE_DIR".into(), dir.into())]);
        match settings.worker.engine {
            EngineConfig::Node(config) => config,
            other => unreachable!("it was not asked for {other:?}"),
        }
    }
}
