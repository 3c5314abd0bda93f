//! What an install may do to the machine, with a registry whose packages are hostile.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lightning_mock::{MockServer, RunState, RunView};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::plan_with_adaptor;
use crate::support::registry::{self, Registry};
use crate::support::{
    DEADLINE, Worker, command_with_engine, eventually, is_alive, lightning, plan,
};

/// An adaptor's files: the function that the jobs here use.
const FILES: &[(&str, &str)] = &[
    ("index.js", "export const fn = (f) => (state) => f(state);"),
    ("index.d.ts", "export declare function fn(f: any): any;"),
];

fn manifest(dependencies: &Value) -> Value {
    json!({
        "type": "module",
        "main": "index.js",
        "types": "index.d.ts",
        "dependencies": dependencies,
    })
}

/// A repository of its own, whose adaptors come from a registry of its own.
struct World {
    lightning: MockServer,
    registry: Registry,
    home: TempDir,
}

impl World {
    fn new() -> Self {
        let lightning = lightning();
        // The engine comes from the real registry, before this one is heard of.
        let worker = Worker::with_engine(&lightning, &[]);
        let id = lightning
            .enqueue(plan("fn(s => s)", "manual"))
            .expect("the plan is good");
        lightning.wait_for(&id, DEADLINE).expect("the run ends");
        drop(worker);
        let world = Self {
            lightning,
            registry: Registry::start(None),
            home: tempfile::tempdir().expect("a temporary folder can be made"),
        };
        fs::create_dir(world.repository()).expect("it can be written");
        let npmrc = format!("registry={}\n", world.registry.url());
        fs::write(world.repository().join(".npmrc"), npmrc).expect("it can be written");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn repository(&self) -> PathBuf {
        self.path("repo")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command_with_engine(&self.lightning);
        command
            .arg("--repo-dir")
            .arg(self.repository())
            .args(arguments)
            .env("NPM_CONFIG_CACHE", self.path("cache"))
            .env("NPM_CONFIG_FETCH_RETRIES", "0");
        command
    }

    fn worker(&self, arguments: &[&str]) -> Worker {
        Worker::start(&mut self.command(arguments))
    }

    fn run(&self, adaptor: &str) -> RunView {
        let plan = plan_with_adaptor("fn(s => s)", &format!("{adaptor}@1.0.0"));
        let id = self.lightning.enqueue(plan).expect("the plan is good");
        self.lightning
            .wait_for(&id, DEADLINE)
            .expect("the run ends")
    }

    /// Files of the repository that an install may change.
    fn state(&self) -> (Vec<PathBuf>, String) {
        let mut files = Vec::new();
        list(&self.repository().join("node_modules"), &mut files);
        files.sort();
        let manifest = fs::read_to_string(self.repository().join("package.json"));
        (files, manifest.unwrap_or_default())
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        files.push(entry.path());
        if entry.file_type().expect("an entry has a type").is_dir() {
            list(&entry.path(), files);
        }
    }
}

fn assert_refused(run: &RunView, words: &str) {
    assert_eq!(
        (run.state, run.error_type.as_deref()),
        (RunState::Exception, Some("AutoinstallError")),
        "{run:#?}"
    );
    let said = run.error_message.clone().unwrap_or_default();
    assert!(said.contains(words), "{said}");
}

/// A git package which has npm install another one, with a program of its own in the place of git.
fn hostile_git_package(folder: &Path, program: &Path) {
    let manifest = json!({
        "name": "hostile",
        "version": "1.0.0",
        "scripts": {"prepare": "true"},
        "devDependencies": {"further": "git+file:///nonexistent/further.git"},
    });
    let npmrc = format!("git={}\n", program.display());
    git_package(folder, &manifest, &[(".npmrc", &npmrc)]);
}

fn git_package(folder: &Path, manifest: &Value, files: &[(&str, &str)]) {
    registry::write(folder, manifest, files);
    for arguments in [
        &["init", "-q"][..],
        &["add", "-A"],
        &[
            "-c",
            "user.name=x",
            "-c",
            "user.email=x@x",
            "commit",
            "-qm",
            "x",
        ],
    ] {
        let done = Command::new("git")
            .args(arguments)
            .current_dir(folder)
            .status();
        assert!(done.expect("there is git").success(), "{arguments:?}");
    }
}

/// A world with an adaptor whose dependency has npm run a program, which leaves the file that is returned.
fn hostile_world() -> (World, PathBuf) {
    let world = World::new();
    let (marker, program) = (world.path("marker"), world.path("program"));
    fs::write(&program, format!("#!/bin/sh\ntouch {}\n", marker.display()))
        .expect("it can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it can be written");
    hostile_git_package(&world.path("git"), &program);
    let from = format!("git+file://{}", world.path("git").display());
    let dependencies = json!({"hostile": from});
    world
        .registry
        .offer("@openfn/language-hostile", &manifest(&dependencies), FILES);
    world
        .registry
        .offer("@openfn/language-good", &manifest(&json!({})), FILES);
    (world, marker)
}

#[test]
fn a_git_dependency_does_not_have_npm_run_a_program() {
    let (world, marker) = hostile_world();
    let _worker = world.worker(&[]);
    assert_eq!(world.run("@openfn/language-good").state, RunState::Success);
    let before = world.state();
    let run = world.run("@openfn/language-hostile");
    assert!(!marker.exists(), "npm has run the package's program");
    assert_refused(&run, "--allow-adaptor-sources git");
    assert_eq!(world.state(), before);
}

#[test]
fn a_git_dependency_that_is_allowed_runs_a_program_only_without_the_sandbox() {
    let (world, marker) = hostile_world();
    for (mode, runs) in [("auto", false), ("off", true)] {
        let allowed = ["--allow-adaptor-sources", "git", "--sandbox", mode];
        let _worker = world.worker(&allowed);
        assert_refused(&world.run("@openfn/language-hostile"), "");
        assert_eq!(marker.exists(), runs, "{mode}");
    }
}

#[test]
fn a_git_dependency_that_is_allowed_is_installed_in_the_sandbox() {
    let world = World::new();
    let folder = world.path("git");
    git_package(&folder, &json!({"name": "plain", "version": "1.0.0"}), &[]);
    let dependencies = json!({"plain": format!("git+file://{}", folder.display())});
    world
        .registry
        .offer("@openfn/language-git", &manifest(&dependencies), FILES);
    // The second, because the repository is a folder here.
    let _worker = world.worker(&["--allow-adaptor-sources", "git", "file"]);
    let run = world.run("@openfn/language-git");
    assert_eq!(run.state, RunState::Success, "{run:#?}");
}

#[test]
fn an_archive_outside_the_registry_is_for_the_operator_to_allow() {
    let world = World::new();
    world
        .registry
        .offer("plain", &json!({}), &[("index.js", "")]);
    let address = format!(
        "{}archive/plain.tgz",
        world.registry.url().replace("127.0.0.1", "localhost")
    );
    world.registry.offer(
        "@openfn/language-far",
        &manifest(&json!({"plain": address})),
        FILES,
    );
    let worker = world.worker(&[]);
    assert_refused(
        &world.run("@openfn/language-far"),
        "--allow-adaptor-sources url",
    );
    assert_eq!(world.state().0, Vec::<PathBuf>::new());
    drop(worker);
    let _worker = world.worker(&["--allow-adaptor-sources", "url"]);
    let run = world.run("@openfn/language-far");
    assert_eq!(run.state, RunState::Success, "{run:#?}");
    assert!(world.repository().join("node_modules/plain").exists());
}

#[test]
fn a_folder_of_the_machine_is_no_dependency() {
    let world = World::new();
    let secret = world.path("secret");
    registry::write(
        &secret,
        &json!({"name": "secret", "version": "1.0.0"}),
        &[("key", "x")],
    );
    let dependencies = json!({"secret": format!("file:{}", secret.display())});
    world
        .registry
        .offer("@openfn/language-near", &manifest(&dependencies), FILES);
    let _worker = world.worker(&[]);
    let run = world.run("@openfn/language-near");
    assert_refused(&run, "--allow-adaptor-sources file");
    assert_eq!(world.state().0, Vec::<PathBuf>::new());
}

#[test]
fn an_install_whose_worker_is_killed_leaves_the_repository_as_it_was() {
    let world = World::new();
    world
        .registry
        .offer("@openfn/language-good", &manifest(&json!({})), FILES);
    world
        .registry
        .offer("there", &json!({}), &[("index.js", "")]);
    world.registry.offer_in_vain("never");
    let dependencies = json!({"there": "1.0.0", "never": "1.0.0"});
    world
        .registry
        .offer("@openfn/language-half", &manifest(&dependencies), FILES);
    let worker = world.worker(&[]);
    assert_eq!(world.run("@openfn/language-good").state, RunState::Success);
    let before = world.state();
    let plan = plan_with_adaptor("fn(s => s)", "@openfn/language-half@1.0.0");
    world.lightning.enqueue(plan).unwrap();
    world.registry.waits_for("archive/never");
    worker.ends_after(Signal::SIGKILL);
    assert_eq!(world.state(), before);
    world
        .registry
        .offer("never", &json!({}), &[("index.js", "")]);
    let _worker = world.worker(&[]);
    assert_eq!(world.run("@openfn/language-half").state, RunState::Success);
    let left = || {
        fs::read_dir(world.repository().join(".staging"))
            .into_iter()
            .flatten()
            .count()
    };
    eventually("nothing is left of the install", || left() == 0);
}

/// The kernel ends npm with the worker, and not what npm has started.
#[test]
fn what_a_killed_worker_left_of_an_install_is_ended_by_the_next_one() {
    let world = World::new();
    let asked = "stuck/info/refs?service=git-upload-pack";
    world.registry.offer_in_vain(asked);
    let from = format!("git+{}archive/stuck", world.registry.url());
    world.registry.offer(
        "@openfn/language-stuck",
        &manifest(&json!({"stuck": from})),
        FILES,
    );
    let temporary = tempfile::tempdir().unwrap();
    let mut command = world.command(&["--allow-adaptor-sources", "git"]);
    command.env("TMPDIR", temporary.path());
    let worker = Worker::start(&mut command);
    let plan = plan_with_adaptor("fn(s => s)", "@openfn/language-stuck@1.0.0");
    world.lightning.enqueue(plan).unwrap();
    world.registry.waits_for("archive/stuck");
    let left = processes_of(world.registry.url());
    let npm = worker.children();
    worker.ends_after(Signal::SIGKILL);
    eventually("npm ends with the worker", || {
        !npm.iter().any(|pid| is_alive(*pid))
    });
    let is_left = || left.iter().any(|pid| is_alive(*pid));
    assert!(is_left(), "{left:?}");
    let _worker = Worker::start(&mut command);
    eventually("nothing is left of the install", || !is_left());
}

/// Those of git that speak to this registry.
fn processes_of(registry: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("there is /proc").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        words.contains("git") && words.contains(registry) && !words.contains("npm")
    })
    .collect()
}

#[test]
fn the_registry_of_the_users_own_configuration_is_asked_with_its_token() {
    let mut world = World::new();
    world.registry = Registry::start(Some("the-token"));
    fs::remove_file(world.repository().join(".npmrc")).unwrap();
    let url = world.registry.url();
    let npmrc = format!(
        "registry={url}\n{}:_authToken=${{REGISTRY_TOKEN}}\n",
        url.trim_start_matches("http:")
    );
    fs::write(world.path(".npmrc"), npmrc).unwrap();
    world
        .registry
        .offer("@openfn/language-private", &manifest(&json!({})), FILES);
    let mut command = world.command(&[]);
    let _worker = Worker::start(
        command
            .env("HOME", world.home.path())
            .env("REGISTRY_TOKEN", "the-token"),
    );
    let run = world.run("@openfn/language-private");
    assert_eq!(run.state, RunState::Success, "{run:#?}");
}

#[test]
fn an_adaptor_is_bundled_in_the_sandbox() {
    let world = World::new();
    let main = json!({"main": "index.js"});
    world
        .registry
        .offer("plain", &main, &[("index.js", "exports.x = 1;")]);
    let own = format!("export {{ x }} from \"plain\"; {}", FILES[0].1);
    let files = [FILES[1], ("index.js", &*own)];
    world.registry.offer(
        "@openfn/language-good",
        &manifest(&json!({"plain": "1.0.0"})),
        &files,
    );
    let worker = world.worker(&["--sandbox", "strict", "--memory-enforcement", "heap"]);
    let run = world.run("@openfn/language-good");
    assert_eq!(run.state, RunState::Success, "{run:#?}");
    worker.waits_for_line("bundled @openfn/language-good_1.0.0");
}

#[test]
fn a_file_of_the_machine_does_not_come_into_a_bundle() {
    let world = World::new();
    for (name, text) in [
        ("secret.json", "\"of the host\""),
        ("secret.txt", "of the host"),
    ] {
        fs::write(world.path(name), text).unwrap();
    }
    for name in ["secret.json", "secret.txt"] {
        let source = format!("exports.tell = () => require({:?});", world.path(name));
        let nosy = format!("nosy-{}", name.replace('.', "-"));
        let main = json!({"main": "index.js"});
        world.registry.offer(&nosy, &main, &[("index.js", &source)]);
        let own = format!("export {{ tell }} from \"{nosy}\"; {}", FILES[0].1);
        let files = [FILES[1], ("index.js", &*own)];
        let adaptor = format!("@openfn/language-{nosy}");
        world
            .registry
            .offer(&adaptor, &manifest(&json!({ nosy: "1.0.0" })), &files);
        let worker = world.worker(&[]);
        assert_eq!(world.run(&adaptor).state, RunState::Success);
        worker.waits_for_line("is loaded from its plain files");
        let mut bundled = Vec::new();
        list(&world.repository().join("bundles"), &mut bundled);
        assert!(!bundled.iter().any(|file| file.ends_with("bundle.json")));
    }
}
