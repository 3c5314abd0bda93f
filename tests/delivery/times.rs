//! The times of a run's reports: Lightning shows a run's lines in their order.

use lightning_mock::{Direction, RunState};
use serde_json::{Value, json};

use crate::support::{DEADLINE, Worker, lightning};

/// The times in a push, in order.
fn times(payload: &Value) -> Vec<u64> {
    let time = |value: &Value| value["timestamp"].as_str()?.parse().ok();
    match payload["logs"].as_array() {
        Some(lines) => lines.iter().filter_map(time).collect(),
        None => time(payload).into_iter().collect(),
    }
}

#[test]
fn everything_that_a_run_reports_is_dated_in_the_order_in_which_it_is_said() {
    for arguments in [&[][..], &["--batch-logs"]] {
        for body in [
            "fn(s => { console.log('a'); console.log('b'); return s; })",
            "fn(s => s.x.y)",
            "fn(s => { throw new Error('no'); })",
            "fn(s => { missing(); })",
            "fn(s =>",
        ] {
            let lightning = lightning();
            let _worker = Worker::with_mock_engine(&lightning, arguments);
            let plan = json!({
                "triggers": [{"id": "t"}],
                "jobs": [{"id": "a", "body": body}, {"id": "b", "body": "fn(s => s)"}],
                "edges": [
                    {"source_trigger_id": "t", "target_job_id": "a"},
                    {"source_job_id": "a", "target_job_id": "b"},
                ],
                "starting_node_id": "t",
            });
            let id = lightning.enqueue(plan).unwrap();
            let run = lightning.wait_for(&id, DEADLINE).unwrap();
            assert_ne!(run.state, RunState::Exception);
            let topic = format!("run:{id}");
            let said: Vec<(String, u64)> = lightning
                .events()
                .iter()
                .filter(|event| event.direction == Direction::FromWorker && event.topic == topic)
                .flat_map(|event| {
                    let name = event.event.clone();
                    times(&event.payload)
                        .into_iter()
                        .map(move |time| (name.clone(), time))
                })
                .collect();
            assert!(said.len() > 4, "{said:?}");
            assert!(
                said.windows(2).all(|pair| pair[0].1 < pair[1].1),
                "{body}: {said:#?}"
            );
            let last = run.logs.iter().map(|line| line.timestamp).max();
            assert!(last < run.finished_at, "{body}: the end comes last");
        }
    }
}
