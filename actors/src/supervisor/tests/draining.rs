//! A worker that drains while Lightning is away.

use super::*;

#[actix::test]
async fn a_drain_does_not_wait_for_ever_for_a_lightning_that_is_away() {
    let lightning = MockLightning::builder()
        .secret(Some("s"))
        .start()
        .await
        .unwrap();
    let worker = Supervisor::start(Config {
        shutdown_grace: ShutdownGrace::Auto {
            away: Duration::from_millis(1),
        },
        ..config(&lightning)
    })
    .unwrap();
    let run = enqueue(&lightning, "wait(1e9)");
    started(&lightning, &run).await;
    lightning.refuse_connections(PATIENCE);
    lightning.disconnect_all();
    worker.drain();
    let exit = tokio::time::timeout(PATIENCE, worker.wait()).await.unwrap();
    assert_eq!(
        exit,
        Exit::GaveUp("1 runs are left unreported: Lightning could not be told in time".to_owned())
    );
    lightning.stop().await;
}
