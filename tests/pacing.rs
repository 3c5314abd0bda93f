//! A Lightning that answers slowly is claimed from less often, until it has recovered.

mod support;

use std::time::Duration;

use lightning_mock::{Direction, Fault, MockServer};

use support::http::get;
use support::{Worker, lightning, until};

/// So long that one answer alone takes the smoothed round trip, an eighth of it new, above two seconds.
const SLOW: Duration = Duration::from_secs(17);

/// Far above the waits between claims of the scenarios' workers, and below half a smoothed round trip of two seconds.
const LONG: Duration = Duration::from_millis(900);

const SLOWED: &str = "claims at half its rate";
const RECOVERED: &str = "claims at its whole rate again";

/// What passed between each answer to a claim and the next claim.
fn waits(lightning: &MockServer) -> Vec<Duration> {
    let claims: Vec<_> = lightning
        .events()
        .into_iter()
        .filter(|event| event.topic == "worker:queue")
        .collect();
    claims
        .windows(2)
        .filter(|pair| pair[0].direction == Direction::ToWorker && pair[1].event == "claim")
        .map(|pair| Duration::from_micros(pair[1].time - pair[0].time))
        .collect()
}

fn holds_claims(worker: &Worker) -> bool {
    get(worker.url(), "/metrics")
        .body
        .contains(r#"openfn_worker_claims_held{cause="latency",workloop="manual>*:5"} 1"#)
}

#[test]
fn claims_slow_down_while_lightning_is_slow_and_recover_afterwards() {
    let lightning = lightning();
    lightning.fault("claim", Fault::Delay(SLOW));
    let worker = Worker::with_mock_engine(&lightning, &[]);
    let mut log = Vec::new();
    until("the metric says that claims are held", || {
        holds_claims(&worker).then_some(())
    });
    let status = get(worker.url(), "/status").body;
    assert!(status.contains(r#""held_by":["latency"]"#), "{status}");

    until("the worker has recovered", || {
        log.extend(worker.log());
        log.iter()
            .any(|line| line.contains(RECOVERED))
            .then_some(())
    });
    assert!(!holds_claims(&worker));
    let while_slow = waits(&lightning);
    assert!(while_slow.iter().any(|wait| *wait > LONG), "{while_slow:?}");
    let recovered = while_slow.len();
    until("claims come at short intervals again", || {
        let waits = waits(&lightning);
        waits[recovered..]
            .iter()
            .any(|wait| *wait < LONG)
            .then_some(())
    });
    log.extend(worker.log());
    for line in [SLOWED, RECOVERED] {
        let said = log.iter().filter(|said| said.contains(line)).count();
        assert_eq!(said, 1, "{line}: {log:#?}");
    }
}
