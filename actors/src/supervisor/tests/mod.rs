//! The tree against the mock Lightning, with the mock engine.

mod deaths;
mod draining;
mod many;
mod tracing;

use std::time::Duration;

use actix::prelude::*;
use lightning_mock::{MockLightning, MockServer, RollBack};
use protocol::backoff::ClaimBackoff;
use protocol::ids::RunId;
use protocol::size::Mebibytes;
use protocol::workloop::Workloop;
use serde_json::json;

use super::{Exit, Supervisor, SupervisorHandle};
use crate::config::{
    ClaimConfig, Config, DeliveryConfig, EngineConfig, FrameLimit, Identity, LightningConfig,
    RunLimits, Secret, ShutdownGrace,
};
use crate::events::Panic;
use crate::lightning::ConnectionState;
use crate::tell::Tell as _;

const CAPACITY: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(60);

fn config(lightning: &MockServer) -> Config {
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
            compression: true,
            message_timeout: Duration::from_secs(30),
            recorder: None,
            claim_timeout: Duration::from_secs(30),
        },
        workloops: vec![Workloop::from_capacity(CAPACITY)],
        claims: ClaimConfig {
            looping: true,
            backoff: ClaimBackoff::try_new(Duration::from_millis(20), Duration::from_millis(50))
                .unwrap(),
            demand: 1,
        },
        delivery: DeliveryConfig {
            window: 32,
            outbox_bytes: 1 << 20,
            request_attempts: 10,
            retry_delay: Duration::from_secs(1),
            batch: None,
            frames: FrameLimit::new(Mebibytes::new(10.4)),
        },
        limits: RunLimits {
            timeout: Duration::from_secs(60),
            memory: Mebibytes::new(500.0),
            payload: Mebibytes::new(10.0),
            log_payload: Mebibytes::new(1.0),
            state: None,
        },
        engine: EngineConfig::Mock,
        collections: None,
        shutdown_grace: ShutdownGrace::Never,
        metrics: crate::metrics::Metrics::default(),
        traces: crate::traces::Traces::default(),
    }
}

async fn world() -> (MockServer, SupervisorHandle) {
    let lightning = MockLightning::builder()
        .secret(Some("s"))
        // What a claim has brought to a connection that dies is Lightning's to hand out again.
        .roll_back(RollBack::Unjoined(Duration::from_secs(5)))
        .start()
        .await
        .unwrap();
    let worker = Supervisor::start(config(&lightning)).unwrap();
    (lightning, worker)
}

fn enqueue(lightning: &MockServer, body: &str) -> String {
    let job = uuid::Uuid::new_v4().to_string();
    lightning
        .enqueue(json!({"jobs": [{"id": job, "body": body}], "dataclip": {"data": {}}}))
        .unwrap()
}

async fn started(lightning: &MockServer, run: &str) {
    lightning
        .event(PATIENCE, |event| event.is_from(run, "step:start"))
        .await
        .unwrap();
}

async fn end(lightning: MockServer, worker: SupervisorHandle) {
    worker.drain();
    assert_eq!(worker.wait().await, Exit::Drained);
    lightning.stop().await;
}

/// Makes a child panic.
#[derive(Message)]
#[rtype(result = "()")]
struct ForcePanic(Victim);

#[derive(Debug, Clone)]
enum Victim {
    Connection,
    EnginePool,
    Workloop,
    Run(String),
}

impl Handler<ForcePanic> for Supervisor {
    type Result = ();

    fn handle(&mut self, ForcePanic(victim): ForcePanic, _: &mut Self::Context) {
        match victim {
            Victim::Connection => self.connections.with_queue().tell(Panic),
            Victim::EnginePool => self.engine.tell(Panic),
            Victim::Workloop => self.groups[0].address.tell(Panic),
            // A run that has ended meanwhile has no actor any more.
            Victim::Run(id) => {
                if let Some(run) = self.runs.get(&RunId::new(id)) {
                    run.address.tell(Panic);
                }
            }
        }
    }
}
