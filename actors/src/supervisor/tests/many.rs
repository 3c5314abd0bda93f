//! More runs at once than a socket takes channels.

use lightning_mock::RunState;
use protocol::workloop::Workloop;

use super::{MockLightning, PATIENCE, Supervisor, config, end, enqueue, started};

#[actix_rt::test]
async fn runs_beyond_the_channels_of_one_socket_go_over_another() {
    let lightning = MockLightning::builder()
        .secret(Some("s"))
        .start()
        .await
        .unwrap();
    let mut config = config(&lightning);
    config.workloops = vec![Workloop::from_capacity(120)];
    let worker = Supervisor::start(config).unwrap();
    let runs: Vec<_> = (0..120)
        .map(|_| enqueue(&lightning, "wait(8000)"))
        .collect();
    for run in &runs {
        started(&lightning, run).await;
    }
    assert_eq!(lightning.connections(), 2);
    for run in &runs {
        let run = lightning.ended(run, PATIENCE).await.unwrap();
        assert_eq!((run.state, run.claims), (RunState::Success, 1));
    }
    assert!(
        lightning.refusals().is_empty(),
        "{:?}",
        lightning.refusals()
    );
    end(lightning, worker).await;
}
