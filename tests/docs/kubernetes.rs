//! The Kubernetes files: nothing dangling, settings that the program takes, routes that it has, times and sizes that fit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::support::{DEADLINE, Worker, lightning};
use crate::{files, get, read, root};

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&read(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn kubernetes(path: &str) -> PathBuf {
    root("config/kubernetes").join(path)
}

fn deployment() -> Value {
    yaml(&kubernetes("base/deployment.yaml"))
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

/// The variables of the base, with those of an overlay over them.
fn variables(overlay: Option<&str>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for file in [Some("base/worker.env"), overlay].into_iter().flatten() {
        for line in read(&kubernetes(file)).lines() {
            if let Some((name, value)) = line.split_once('=')
                && !line.starts_with('#')
            {
                variables.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    variables
}

/// The files and folders that a kustomization names.
fn named(kustomization: &Value) -> Vec<String> {
    let list = |value: &Value| {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let mut names: Vec<_> = ["resources", "components", "configurations"]
        .iter()
        .flat_map(|key| list(&kustomization[key]))
        .collect();
    for key in ["configMapGenerator", "secretGenerator"] {
        for generator in kustomization[key].as_array().into_iter().flatten() {
            names.extend(list(&generator["envs"]));
        }
    }
    for patch in kustomization["patches"].as_array().into_iter().flatten() {
        names.extend(patch["path"].as_str().map(str::to_owned));
    }
    names
}

#[test]
fn every_name_in_a_kustomization_is_there_and_every_file_is_named() {
    let all = files(&kubernetes(""));
    let (kustomizations, others): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|file| file.ends_with("kustomization.yaml"));
    assert!(kustomizations.len() >= 5);
    let mut used = Vec::new();
    for file in &kustomizations {
        let folder = file.parent().unwrap();
        for name in named(&yaml(file)) {
            let path = folder
                .join(&name)
                .canonicalize()
                .unwrap_or_else(|error| panic!("{}: {name}: {error}", file.display()));
            assert!(!path.is_dir() || path.join("kustomization.yaml").is_file());
            used.push(path);
        }
    }
    for file in others {
        if file.extension().is_some_and(|kind| kind == "yaml") {
            yaml(&file);
        }
        assert!(
            used.contains(&file.canonicalize().unwrap()),
            "{} is used by no kustomization",
            file.display()
        );
    }
}

#[test]
fn the_settings_are_taken_by_the_program() {
    for overlay in [None, Some("overlays/fast-lane/worker.env")] {
        let mut variables = variables(overlay);
        variables.extend([
            ("WORKER_SECRET".to_owned(), "s".to_owned()),
            ("WORKER_HTTP_TOKEN".to_owned(), "t".to_owned()),
            ("DEPLOYED_POD_NAME".to_owned(), "pod".to_owned()),
        ]);
        let output = Command::new(env!("CARGO_BIN_EXE_ws-worker"))
            .arg("config")
            .env_clear()
            .env("HOME", "/home/node")
            .envs(&variables)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let effective = String::from_utf8(output.stdout).unwrap();
        for name in variables.keys() {
            let source = format!("# env {name}");
            assert!(
                effective.lines().any(|line| line.ends_with(&source)),
                "{name} is not among\n{effective}"
            );
        }
    }
    for secret in [
        "overlays/example/secret.env",
        "overlays/fast-lane/secret.env",
    ] {
        let names: Vec<_> = read(&kubernetes(secret))
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .map(|(name, _)| name.to_owned())
            .collect();
        assert_eq!(names, ["WORKER_SECRET", "WORKER_HTTP_TOKEN"], "{secret}");
    }
}

#[test]
fn the_probes_ask_for_routes_that_the_worker_has() {
    let deployment = deployment();
    let container = container(&deployment);
    let port = &container["ports"][0];
    assert_eq!(port["containerPort"], 2222);
    let lightning = lightning();
    let worker = Worker::with_mock_engine(&lightning, &[]);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let http = &container[probe]["httpGet"];
        assert_eq!(http["port"], port["name"], "{probe}");
        let path = http["path"].as_str().unwrap();
        let begun = Instant::now();
        // Ready comes after alive.
        while get(worker.url(), path).0 != 200 {
            assert!(begun.elapsed() < DEADLINE, "{path} does not become 200");
        }
    }
    let service = yaml(&kubernetes("base/service.yaml"));
    assert_eq!(service["spec"]["ports"][0]["targetPort"], port["name"]);
}

#[test]
fn a_pod_has_the_time_to_finish_its_runs() {
    let base = deployment();
    let fast = yaml(&kubernetes("overlays/fast-lane/deployment.yaml"));
    for (deployment, overlay) in [(base, None), (fast, Some("overlays/fast-lane/worker.env"))] {
        let variables = variables(overlay);
        let seconds = |name: &str| variables[name].parse::<u64>().unwrap();
        let grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            .as_u64()
            .unwrap();
        let drain = seconds("WORKER_SHUTDOWN_GRACE_SECONDS");
        assert!(seconds("WORKER_MAX_RUN_DURATION_SECONDS") < drain);
        assert!(drain < grace);
    }
}

#[test]
fn the_memory_limit_holds_all_slots() {
    let deployment = deployment();
    let limit = container(&deployment)["resources"]["limits"]["memory"]
        .as_str()
        .and_then(|text| text.strip_suffix("Gi"))
        .map(|text| text.parse::<u64>().unwrap() * 1024)
        .unwrap();
    let variables = variables(None);
    let slots: u64 = variables["WORKER_WORKLOOPS"]
        .split(' ')
        .map(|group| {
            let (_, slots) = group.rsplit_once(':').unwrap();
            slots.parse::<u64>().unwrap()
        })
        .sum();
    let run: u64 = variables["WORKER_MAX_RUN_MEMORY_MB"].parse().unwrap();
    assert!(slots * run + 512 <= limit);
}

#[test]
fn the_container_may_do_no_more_than_it_needs() {
    let deployment = deployment();
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 1000);
    let security = &container(&deployment)["securityContext"];
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["capabilities"]["drop"][0], "ALL");
    let mounts: Vec<_> = container(&deployment)["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["mountPath"].as_str().unwrap())
        .collect();
    assert_eq!(mounts, ["/tmp", "/var/lib/ws-worker/repo"]);
}
