//! Deaths of actors, against the mock Lightning and with the mock engine.

use std::time::Duration;

use lightning_mock::{MockHandle, MockLightning, RunState};
use protocol::backoff::ClaimBackoff;
use protocol::ids::{RunId, WorkloopId};
use protocol::workloop::Workloop;
use serde_json::json;

use super::{Exit, ForcePanic, Supervisor, SupervisorHandle, Victim};
use crate::config::{
    ClaimConfig, Config, DeliveryConfig, EngineConfig, Identity, LightningConfig, RunLimits, Secret,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn config(lightning: &MockHandle) -> Config {
    Config {
        identity: Identity {
            id: "w".to_owned(),
            name: None,
            version: "0.0.0".to_owned(),
        },
        lightning: LightningConfig {
            endpoint: lightning.ws_url(),
            secret: Secret::new("s"),
            run_token_key: None,
            extra_ca_file: None,
            message_timeout: Duration::from_secs(30),
            claim_timeout: Duration::from_secs(30),
        },
        workloops: vec![Workloop::from_capacity(2)],
        claims: ClaimConfig {
            looping: true,
            backoff: ClaimBackoff::try_new(Duration::from_millis(20), Duration::from_millis(50))
                .unwrap(),
        },
        delivery: DeliveryConfig {
            window: 32,
            outbox_bytes: 1 << 20,
            attempts: 10,
            retry_delay: Duration::from_secs(1),
            batch: None,
        },
        limits: RunLimits {
            timeout: Duration::from_secs(60),
            memory_mb: 500.0,
            payload_mb: 10.0,
            log_payload_mb: 1.0,
            state_mb: None,
        },
        engine: EngineConfig::Mock,
        collections: None,
        shutdown_grace: None,
        metrics: crate::metrics::Metrics::default(),
    }
}

async fn world() -> (MockHandle, SupervisorHandle) {
    let lightning = MockLightning::builder()
        .secret(Some("s"))
        .start()
        .await
        .unwrap();
    let worker = Supervisor::start(config(&lightning)).unwrap();
    (lightning, worker)
}

fn enqueue(lightning: &MockHandle, body: &str) -> String {
    let job = uuid::Uuid::new_v4().to_string();
    lightning
        .enqueue(json!({"jobs": [{"id": job, "body": body}]}))
        .unwrap()
}

async fn started(lightning: &MockHandle, run: &str) {
    lightning
        .event(PATIENCE, |event| event.is_from(run, "step:start"))
        .await
        .unwrap();
}

async fn end(lightning: MockHandle, worker: SupervisorHandle) {
    worker.drain();
    assert_eq!(worker.wait().await, Exit::Drained);
    lightning.stop().await;
}

#[actix_rt::test]
async fn a_run_whose_actor_panics_is_reported_and_disturbs_no_other() {
    let (lightning, worker) = world().await;
    let victim = enqueue(&lightning, "wait(60000)");
    let other = enqueue(&lightning, "wait(500)");
    started(&lightning, &victim).await;
    started(&lightning, &other).await;
    worker
        .supervisor
        .do_send(ForcePanic(Victim::Run(RunId::new(victim.as_str()))));
    let run = lightning.ended(&victim, PATIENCE).await.unwrap();
    assert_eq!(
        (run.state, run.error_type.as_deref()),
        (RunState::Exception, Some("RunActorCrashed"))
    );
    assert_eq!(
        lightning.ended(&other, PATIENCE).await.unwrap().state,
        RunState::Success
    );
    let next = enqueue(&lightning, "fn(s => s)");
    assert_eq!(
        lightning.ended(&next, PATIENCE).await.unwrap().state,
        RunState::Success
    );
    assert_eq!(worker.status().await.unwrap().restarts["run"], 1);
    end(lightning, worker).await;
}

#[actix_rt::test]
async fn a_workloop_that_panics_is_restarted_with_its_slots_counted_from_the_runs_in_hand() {
    let (lightning, worker) = world().await;
    let running = enqueue(&lightning, "wait(1000)");
    started(&lightning, &running).await;
    let group = WorkloopId::new("manual>*:2");
    worker
        .supervisor
        .do_send(ForcePanic(Victim::Workloop(group)));
    let later: Vec<_> = (0..6).map(|_| enqueue(&lightning, "wait(20)")).collect();
    for run in later.iter().chain([&running]) {
        assert_eq!(
            lightning.ended(run, PATIENCE).await.unwrap().state,
            RunState::Success
        );
    }
    assert!(
        lightning.statistics().max_active <= 2,
        "{:?}",
        lightning.statistics()
    );
    assert_eq!(worker.status().await.unwrap().restarts["workloop"], 1);
    end(lightning, worker).await;
}
