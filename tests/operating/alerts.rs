//! The alerts of `config/loki` and the metrics of `config/gcp`, fed with lines that the program has written.
//!
//! No package brings Loki's or Google Cloud's query language here, so the part of them that these files use is read by hand; an
//! expression beyond it fails the test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lightning_mock::Fault;
use log_events::table;
use nix::sys::signal::Signal;
use regex_lite::Regex;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{DEADLINE, ENGINE_CACHE, REPO, Worker, command_at, lightning, plan};

/// Nothing listens here: the port is reserved, and not even root's services use it.
const NOBODY: &str = "ws://127.0.0.1:1/worker";

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: String,
    expr: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    name: String,
    filter: String,
    metric_descriptor: Descriptor,
    #[serde(default)]
    label_extractors: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(default)]
    labels: Vec<Label>,
}

#[derive(Deserialize)]
struct Label {
    key: String,
}

fn config(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("config")
        .join(name)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).expect("a file of the project");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The alerts of Loki: name, the events that it counts, and how many it takes.
fn alerts() -> Vec<(String, BTreeSet<String>, usize)> {
    let form = Regex::new(
        r#"^sum by \(pod\) \(count_over_time\(\{app="ws-worker"\} \| json \| event=(~?)"([^"]+)" \[\d+[mh]\]\)\) > (\d+)$"#,
    )
    .expect("an expression");
    let rules: Rules = read(&config("loki/alerts.yaml"));
    let rules = rules.groups.into_iter().flat_map(|group| group.rules);
    rules
        .map(|rule| {
            let found = form
                .captures(&rule.expr)
                .unwrap_or_else(|| panic!("{}: {} is not understood", rule.alert, rule.expr));
            let events = if found[1].is_empty() {
                BTreeSet::from([found[2].to_owned()])
            } else {
                found[2].split('|').map(str::to_owned).collect()
            };
            (rule.alert, events, found[3].parse().expect("a number"))
        })
        .collect()
}

/// The metrics of Google Cloud, and the events that each counts.
fn metrics() -> Vec<(Metric, BTreeSet<String>)> {
    let one = Regex::new(r#"jsonPayload\.event="([^"]+)"$"#).expect("an expression");
    let some = Regex::new(r"jsonPayload\.event=\(([^)]+)\)$").expect("an expression");
    let folder = fs::read_dir(config("gcp")).expect("the folder is there");
    let files = folder.map(|entry| entry.expect("an entry can be read").path());
    files
        .map(|file| {
            let metric: Metric = read(&file);
            let events = if let Some(found) = one.captures(&metric.filter) {
                BTreeSet::from([found[1].to_owned()])
            } else {
                let found = some
                    .captures(&metric.filter)
                    .unwrap_or_else(|| panic!("{} is not understood", metric.filter));
                let names = found[1].split(" OR ");
                names
                    .map(|name| name.trim_matches('"').to_owned())
                    .collect()
            };
            (metric, events)
        })
        .collect()
}

/// What the workers of this test have written, as objects.
fn lines_of_bad_days(format: &str) -> Vec<Value> {
    let mut lines = Vec::new();
    let format = ["--log", "info", "--log-format", format];

    // Lightning takes away a run, and refuses a report of another for good.
    let lightning = lightning();
    let mut worker = Worker::with_mock_engine(&lightning, &format);
    let refused = json!({"errors": {"reason": ["is invalid"]}});
    lightning.fault("step:complete", Fault::Refuse(refused));
    let id = lightning
        .enqueue(plan("fn(s => s)", "manual"))
        .expect("the plan is one");
    lightning.wait_for(&id, DEADLINE).expect("the run ends");
    let taken = "cannot mark run started that has not been claimed by a worker";
    lightning.fault(
        "run:start",
        Fault::Refuse(json!({"errors": {"state": [taken]}})),
    );
    lightning
        .enqueue(plan("fn(s => s)", "manual"))
        .expect("the plan is one");
    lines.extend(worker.first_lines().to_vec());
    lines.extend(worker.until_line("\"run.lost\""));
    worker.signal(Signal::SIGTERM);
    lines.extend(worker.until_ended());
    assert_eq!(worker.exit_code(), Some(0));

    // No Lightning, and no sandbox.
    let mut alone = command_at(NOBODY);
    alone.args(format).args(["--sandbox", "off"]);
    alone.args(["--engine-cache-dir", ENGINE_CACHE, "--repo-dir", REPO]);
    let worker = Worker::start(&mut alone);
    lines.extend(worker.first_lines().to_vec());
    for _ in 0..4 {
        lines.extend(worker.until_line("lightning.unreachable"));
    }
    worker.signal(Signal::SIGTERM);
    lines.extend(worker.until_ended());
    lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

fn event_of(line: &Value) -> &str {
    line["event"].as_str().unwrap_or_default()
}

/// How many of these lines an alert or metric counts.
fn counted(events: &BTreeSet<String>, lines: &[Value]) -> usize {
    let counts = |line: &&Value| events.contains(event_of(line));
    lines.iter().filter(counts).count()
}

#[test]
fn every_alert_and_metric_counts_events_that_there_are_and_labels_that_they_have() {
    let known = |events: &BTreeSet<String>, of: &str| {
        assert!(!events.is_empty(), "{of}");
        for event in events {
            assert!(log_events::named(event).is_some(), "{of}: {event}");
        }
    };
    for (alert, events, _) in alerts() {
        known(&events, &alert);
    }
    for (metric, events) in metrics() {
        known(&events, &metric.name);
        for label in &metric.metric_descriptor.labels {
            let field = format!("EXTRACT(jsonPayload.{})", label.key);
            assert_eq!(metric.label_extractors.get(&label.key), Some(&field));
            let has = table::ALL
                .iter()
                .filter(|event| events.contains(event.name))
                .any(|event| event.has(&label.key));
            assert!(has, "{}: no event has {}", metric.name, label.key);
        }
    }
}

#[test]
fn lines_of_the_program_fire_the_alerts_that_they_are_for_and_no_others() {
    let lines = lines_of_bad_days("json");
    let fired: BTreeSet<String> = alerts()
        .into_iter()
        .filter(|(_, events, more_than)| counted(events, &lines) > *more_than)
        .map(|(alert, ..)| alert)
        .collect();
    let wanted = [
        "WorkerCannotConnect",
        "WorkerLostRun",
        "WorkerReportRefused",
        "WorkerSandboxDegraded",
    ];
    assert_eq!(fired, wanted.map(str::to_owned).into(), "{lines:#?}");
}

#[test]
fn lines_of_the_program_are_counted_by_google_clouds_metrics() {
    let lines = lines_of_bad_days("gcp");
    let counting: BTreeSet<String> = metrics()
        .into_iter()
        .filter(|(_, events)| counted(events, &lines) > 0)
        .map(|(metric, _)| metric.name)
        .collect();
    let wanted = [
        "ws_worker_cannot_connect",
        "ws_worker_ended_runs",
        "ws_worker_lost_runs",
        "ws_worker_refused_events",
        "ws_worker_sandbox_degraded",
    ];
    assert_eq!(counting, wanted.map(str::to_owned).into(), "{lines:#?}");
}
