//! More runs at once than a socket takes channels.

use lightning_mock::RunState;
use protocol::workloop::Workloop;

use super::{ConnectionState, MockLightning, PATIENCE, Supervisor, config, end, enqueue, started};

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
    let status = worker.status().await.unwrap();
    let further: Vec<_> = status
        .further_connections
        .iter()
        .map(|connection| (connection.state, connection.queue_joined))
        .collect();
    assert_eq!(further, [(ConnectionState::Connected, false)]);
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

#[actix_rt::test]
async fn the_runs_of_a_lost_socket_do_not_all_rejoin_in_one_instant() {
    const RUNS: u32 = 40;
    let lightning = MockLightning::builder()
        .secret(Some("s"))
        .start()
        .await
        .unwrap();
    let mut config = config(&lightning);
    config.workloops = vec![Workloop::from_capacity(RUNS)];
    let worker = Supervisor::start(config).unwrap();
    let runs: Vec<_> = (0..RUNS)
        .map(|_| enqueue(&lightning, "wait(6000)"))
        .collect();
    for run in &runs {
        started(&lightning, run).await;
    }
    lightning.disconnect_all();
    for run in &runs {
        lightning.ended(run, PATIENCE).await.unwrap();
    }
    let mut rejoins: Vec<_> = lightning
        .events()
        .iter()
        .filter(|event| {
            event.socket == 2 && event.event == "phx_join" && event.topic.starts_with("run:")
        })
        .map(|event| event.time)
        .collect();
    rejoins.sort_unstable();
    assert_eq!(rejoins.len(), runs.len());
    // Spread over 195 ms: together they would take a few.
    let took = rejoins[rejoins.len() - 1] - rejoins[0];
    assert!(took > 100_000, "all within {took} µs");
    end(lightning, worker).await;
}
