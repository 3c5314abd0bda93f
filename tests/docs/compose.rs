//! The compose file for a first try, and what it builds.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::support::{Worker, command, lightning};
use crate::{read, root};

fn compose() -> Value {
    serde_saphyr::from_str(&read(&root("compose.yaml"))).unwrap()
}

fn variables(service: &Value) -> BTreeMap<String, String> {
    let variables = service["environment"].as_object().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    variables
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

#[test]
fn the_worker_takes_its_variables_and_both_share_a_secret() {
    let compose = compose();
    let worker = variables(&compose["services"]["worker"]);
    let output = Command::new(env!("CARGO_BIN_EXE_ws-worker"))
        .arg("config")
        .env_clear()
        .env("HOME", "/home/node")
        .envs(&worker)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let effective = String::from_utf8(output.stdout).unwrap();
    for name in worker.keys() {
        let source = format!("# env {name}");
        assert!(
            effective.lines().any(|line| line.ends_with(&source)),
            "{name} is not among\n{effective}"
        );
    }
    let lightning = variables(&compose["services"]["lightning"]);
    assert_eq!(lightning["WORKER_SECRET"], worker["WORKER_SECRET"]);
}

#[test]
fn what_it_names_is_there_and_reachable_from_this_machine_only() {
    let compose = compose();
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        for port in service["ports"].as_array().unwrap() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name}");
        }
        assert_eq!(service["cap_drop"][0], "ALL", "{name}");
    }
    let dockerfile = services["lightning"]["build"]["dockerfile"]
        .as_str()
        .unwrap();
    let dockerfile = read(&root(dockerfile));
    let base = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with("ARG RUST_IMAGE="));
        line.map(ToOwned::to_owned)
    };
    assert_eq!(base(&dockerfile), base(&read(&root("Dockerfile"))));
    let endpoint = &services["worker"]["environment"]["WORKER_LIGHTNING_SERVICE_URL"];
    assert_eq!(endpoint, "ws://lightning:8888/worker");
    assert!(dockerfile.contains("EXPOSE 8888\n"));
}

/// With the mock engine, which knows `fn` and has no need of adaptors.
#[test]
fn its_run_succeeds() {
    let lightning = lightning();
    let plan: Value = serde_json::from_str(&read(&root("config/compose/run.json"))).unwrap();
    let id = lightning.enqueue(plan).unwrap();
    let _worker = Worker::start(command(&lightning).arg("--mock"));
    let run = lightning.wait_for(&id, crate::support::DEADLINE).unwrap();
    assert_eq!(run.reason.as_deref(), Some("success"), "{run:?}");
}
