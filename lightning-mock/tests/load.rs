//! Many runs at once.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use lightning_mock::MockLightning;
use serde_json::json;

use support::Worker;

#[actix_web::test]
async fn a_thousand_runs_are_claimed_once_each_by_two_workers() {
    let mock = MockLightning::builder().start().await.unwrap();
    for run in 0..1000 {
        mock.enqueue(json!({ "id": format!("r{run}"), "queue": if run % 10 == 0 { "fast_lane" } else { "manual" } })).unwrap();
    }
    let mut ids = std::collections::HashSet::new();
    let mut workers = vec![Worker::connect(&mock).await, Worker::connect(&mock).await];
    let mut joins = Vec::new();
    for worker in &mut workers {
        joins.push(worker.join("worker:queue", json!({})).await.0);
    }
    while ids.len() < 1000 {
        for (worker, join) in workers.iter_mut().zip(&joins) {
            let claim = json!({ "demand": 50, "worker_name": null, "queues": ["fast_lane", "*"] });
            let reply = worker.call(join, "worker:queue", "claim", claim).await;
            for run in reply["response"]["runs"].as_array().unwrap() {
                assert!(
                    ids.insert(run["id"].as_str().unwrap().to_owned()),
                    "{run} was claimed before"
                );
            }
        }
    }
    let statistics = mock.statistics();
    assert_eq!(
        (
            statistics.max_active,
            statistics.max_active_by_queue["fast_lane"]
        ),
        (1000, 100)
    );
}
