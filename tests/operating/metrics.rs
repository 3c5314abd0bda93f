//! `/metrics` and its table in docs/operate.md.

use std::collections::BTreeSet;

use crate::support::http::get;
use crate::support::{DEADLINE, Worker, lightning, plan, until};

/// The names in the first column of the table in docs/operate.md of metrics.
fn documented() -> BTreeSet<String> {
    include_str!("../../docs/operate.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `openfn_worker_"))
        .filter_map(|rest| rest.split('`').next())
        .map(|name| format!("openfn_worker_{name}"))
        .collect()
}

fn served(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|rest| rest.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_docs_list_the_metrics_that_are_served() {
    let lightning = lightning();
    let worker = Worker::with_mock_engine(&lightning, &[]);
    let answer = get(worker.url(), "/metrics");
    assert!(
        answer
            .head
            .contains("content-type: text/plain; version=0.0.4"),
        "{}",
        answer.head
    );
    assert_eq!(documented(), served(&answer.body));
}

#[test]
fn a_run_is_counted_where_it_went() {
    let lightning = lightning();
    let worker = Worker::with_mock_engine(&lightning, &["--workloops", "fast_lane:1 manual>*:2"]);
    let id = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    lightning.wait_for(&id, DEADLINE).unwrap();
    let wanted = [
        "openfn_worker_runs_total{reason=\"success\",workloop=\"manual>*:2\"} 1",
        "openfn_worker_runs_total{reason=\"success\",workloop=\"fast_lane:1\"} 0",
        "openfn_worker_run_duration_seconds_count 1",
        "openfn_worker_claim_to_start_seconds_count 1",
        "openfn_worker_steps_total{reason=\"success\"} 1",
        "openfn_worker_event_round_trip_seconds_count{event=\"run:start\"} 1",
        "openfn_worker_event_round_trip_seconds_count{event=\"run:complete\"} 1",
        "openfn_worker_event_resends_total{event=\"run:start\"} 0",
        "openfn_worker_claims_total{result=\"runs\",workloop=\"manual>*:2\"} 1",
        "openfn_worker_slots{workloop=\"manual>*:2\"} 2",
        "openfn_worker_active_runs{workloop=\"manual>*:2\"} 0",
        "openfn_worker_socket_state{state=\"connected\"} 1",
    ];
    // The answer to `run:complete` may still be on its way to the worker.
    until("everything is counted", || {
        let text = get(worker.url(), "/metrics").body;
        let found = |line: &&str| text.lines().any(|found| found == *line);
        wanted.iter().all(found).then_some(())
    });
}
