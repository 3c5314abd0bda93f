//! The Dockerfile and what it puts in the image.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::{read, root};

/// What the entry point passes to a worker, given this command.
fn started_with(command: &[&str]) -> String {
    let bin = tempfile::tempdir().unwrap();
    let worker = bin.path().join("ws-worker");
    fs::write(&worker, "#!/bin/sh\necho \"$*\"\n").unwrap();
    fs::set_permissions(&worker, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(root("config/container/entrypoint.sh"))
        .args(command)
        .env("PATH", bin.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_command_for_the_image_of_the_reference_starts_the_worker_with_its_options() {
    let options = ["-l", "ws://web:4000/worker", "--no-loop"];
    for script in [
        &["pnpm", "start:prod"][..],
        &["pnpm", "start:prod", "--"],
        &["pnpm", "start"],
        &["node", "dist/start.js"],
    ] {
        assert_eq!(
            started_with(&[script, &options[..]].concat()),
            "start -l ws://web:4000/worker --no-loop"
        );
    }
}

#[test]
fn any_other_command_is_the_workers_own() {
    for command in [
        &["start"][..],
        &["demo", "--runs", "2"],
        &["--version"],
        &[],
    ] {
        assert_eq!(started_with(command), command.join(" "));
    }
}

#[test]
fn the_layer_of_dependencies_has_every_manifest_of_the_workspace() {
    let manifest: toml::Table = read(&root("Cargo.toml")).parse().unwrap();
    let dockerfile = read(&root("Dockerfile"));
    let packages = dockerfile
        .lines()
        .find_map(|line| line.strip_prefix("RUN for package in . "))
        .and_then(|line| line.split_once(';'))
        .expect("the Dockerfile makes empty packages")
        .0;
    for member in manifest["workspace"]["members"].as_array().unwrap() {
        let member = member.as_str().unwrap();
        let copy = format!("COPY {member}/Cargo.toml {member}/\n");
        assert!(dockerfile.contains(&copy), "{copy}");
        assert!(packages.split(' ').any(|name| name == member), "{member}");
    }
}

#[test]
fn the_bases_are_pinned_and_fit_the_project() {
    let manifest: toml::Table = read(&root("Cargo.toml")).parse().unwrap();
    let rust = manifest["workspace"]["package"]["rust-version"]
        .as_str()
        .unwrap();
    let version = manifest["workspace"]["package"]["version"]
        .as_str()
        .unwrap();
    let dockerfile = read(&root("Dockerfile"));
    for line in [
        &format!("ARG RUST_IMAGE=rust:{rust}-bookworm"),
        "ARG NODE_IMAGE=node:24-bookworm-slim",
        &format!("ARG VERSION={version}"),
        "EXPOSE 2222",
        "STOPSIGNAL SIGTERM",
        "USER 1000:1000",
    ] {
        assert!(dockerfile.lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn the_image_has_no_test_gear_unless_it_is_asked_for() {
    let dockerfile = read(&root("Dockerfile"));
    let manifest: toml::Table = read(&root("Cargo.toml")).parse().unwrap();
    for feature in manifest["features"]["default"].as_array().unwrap() {
        let named = format!("`{}`", feature.as_str().unwrap());
        assert!(dockerfile.contains(&named), "{named}");
    }
    assert!(dockerfile.contains("ARG FEATURES=\"\"\n"));
    let builds: Vec<&str> = dockerfile
        .lines()
        .filter(|line| line.trim_start().starts_with("cargo build "))
        .collect();
    assert_eq!(builds.len(), 2);
    for build in builds {
        assert!(
            build.contains("--no-default-features --features \"$FEATURES\""),
            "{build}"
        );
    }
}
