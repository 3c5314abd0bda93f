//! Alerts and dashboards ask only for metrics that the program has.

use std::collections::BTreeSet;

use crate::support::{Worker, lightning};
use crate::{files, get, read, root};

const PREFIX: &str = "openfn_worker_";

/// Names in a text that look like one of our metrics. A recording rule's name, which has a colon, is none.
fn named(text: &str) -> BTreeSet<String> {
    text.match_indices(PREFIX)
        .map(|(at, _)| {
            let rest = &text[at..];
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            rest[..end].to_owned()
        })
        .collect()
}

/// The series that a running worker serves, by the names that queries use.
fn served() -> BTreeSet<String> {
    let lightning = lightning();
    let worker = Worker::with_mock_engine(&lightning, &[]);
    let (status, text) = get(worker.url(), "/metrics");
    assert_eq!(status, 200);
    let mut names = BTreeSet::new();
    for line in text.lines() {
        let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|line| line.split_once(' '))
        else {
            continue;
        };
        if kind == "histogram" {
            names.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
        } else {
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn alerts_dashboard_and_autoscaling_use_metrics_that_exist() {
    let served = served();
    let mut asked = 0;
    for folder in ["config/prometheus", "config/grafana", "config/kubernetes"] {
        for file in files(&root(folder)) {
            let mut names = named(&read(&file));
            // Made from a recording rule by the adapter, which alone serves it.
            names.remove("openfn_worker_slot_use");
            asked += names.len();
            let unknown: Vec<_> = names.difference(&served).collect();
            assert!(unknown.is_empty(), "{}: {unknown:?}", file.display());
        }
    }
    assert!(asked > 30, "only {asked} names were found");
}

#[test]
fn the_autoscaler_reads_what_the_adapter_makes_of_a_rule() {
    let adapter = read(&root("config/prometheus/adapter.yaml"));
    let autoscaler = read(&root("config/kubernetes/components/hpa/autoscaler.yaml"));
    let rules = read(&root("config/prometheus/alerts.yaml"));
    assert!(adapter.contains("as: openfn_worker_slot_use\n"));
    assert!(autoscaler.contains("name: openfn_worker_slot_use\n"));
    assert!(adapter.contains("'openfn_worker:slot_use:ratio{"));
    assert!(rules.contains("record: openfn_worker:slot_use:ratio\n"));
}

#[test]
fn names_are_found_in_queries() {
    let names = named("sum(openfn_worker_a_total{x=\"y\"}) / openfn_worker_b + openfn_worker:c:d");
    assert_eq!(
        names.into_iter().collect::<Vec<_>>(),
        ["openfn_worker_a_total", "openfn_worker_b"]
    );
}
