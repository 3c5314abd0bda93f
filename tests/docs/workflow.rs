//! The workflow of a public forge runs what CONTRIBUTING.md names, with the versions that the project names.

use serde_json::Value;

use crate::{read, root};

fn workflow() -> Value {
    serde_saphyr::from_str(&read(&root(".github/workflows/ci.yml"))).unwrap()
}

/// The commands of a job, in order.
fn commands(job: &Value) -> Vec<&str> {
    let steps = job["steps"].as_array().unwrap();
    steps
        .iter()
        .filter_map(|step| step["run"].as_str())
        .collect()
}

#[test]
fn it_calls_the_checks_and_builds_the_image() {
    let workflow = workflow();
    let jobs = &workflow["jobs"];
    assert!(commands(&jobs["checks"]).contains(&".ci/run"));
    let image = commands(&jobs["image"]);
    assert!(image.iter().any(|run| run.starts_with("docker build ")));
}

#[test]
fn it_uses_the_versions_of_the_project() {
    let manifest: toml::Table = read(&root("Cargo.toml")).parse().unwrap();
    let rust = manifest["workspace"]["package"]["rust-version"]
        .as_str()
        .unwrap();
    let workflow = workflow();
    let checks = &workflow["jobs"]["checks"];
    let toolchain = format!("rustup toolchain install {rust} ");
    assert!(
        commands(checks)
            .iter()
            .any(|run| run.starts_with(&toolchain)),
        "{toolchain}"
    );
    let steps = checks["steps"].as_array().unwrap();
    let node = steps
        .iter()
        .find_map(|step| step["with"]["node-version"].as_u64())
        .unwrap();
    let image = format!("ARG NODE_IMAGE=node:{node}-");
    assert!(read(&root("Dockerfile")).contains(&image), "{image}");
}
