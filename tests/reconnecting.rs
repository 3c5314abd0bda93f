//! Lightning goes away and comes back: how soon the worker is there again.

mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lightning_mock::RunState;

use support::{DEADLINE, Worker, lightning, plan};

/// Away for some seconds: long enough for the waits between attempts to grow.
const AWAY: Duration = Duration::from_secs(5);

#[test]
fn a_worker_claims_again_soon_after_lightning_is_back_from_five_seconds_away() {
    let lightning = lightning();
    let _worker = Worker::with_mock_engine(&lightning, &[]);
    lightning
        .wait_event(DEADLINE, |event| event.event == "claim")
        .unwrap();
    lightning.refuse_connections(AWAY);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let back = now + AWAY;
    lightning.disconnect_all();
    let id = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!((run.state, run.claims), (RunState::Success, 1));
    // Half a second in the median; the longest wait there can be by then is not 2 s.
    let claimed = Duration::from_micros(run.claimed_at.unwrap());
    let late = claimed.saturating_sub(back);
    assert!(late < Duration::from_secs(3), "{late:?} after its return");
}
