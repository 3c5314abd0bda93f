//! What is told of runs to whoever makes their traces: each begins and ends once, whatever dies meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use lightning_mock::{MockLightning, RunState};
use protocol::ids::RunId;
use protocol::lightning::Timestamp;

use super::{Exit, ForcePanic, PATIENCE, Supervisor, Victim, config, enqueue, started};
use crate::run::RunPhase;
use crate::tell::Tell as _;
use crate::traces::{Moment, Tracer, Traces};

/// Keeps what it is told.
#[derive(Debug, Default)]
struct Listener(Mutex<HashMap<RunId, Vec<Moment>>>);

impl Tracer for Listener {
    fn note(&self, run: &RunId, _: Timestamp, moment: Moment) {
        let mut heard = self.0.lock().unwrap();
        heard.entry(run.clone()).or_default().push(moment);
    }
}

impl Listener {
    fn of(&self, run: &str) -> Vec<Moment> {
        self.0.lock().unwrap()[&RunId::new(run)].clone()
    }
}

fn count(moments: &[Moment], wanted: impl Fn(&Moment) -> bool) -> usize {
    moments.iter().filter(|moment| wanted(moment)).count()
}

#[actix::test]
async fn every_run_begins_and_ends_once_for_its_trace_though_its_actor_dies() {
    let lightning = MockLightning::builder()
        .secret(Some("s"))
        .start()
        .await
        .unwrap();
    let listener = Arc::new(Listener::default());
    let worker = Supervisor::start(crate::config::Config {
        traces: Traces::by(listener.clone()),
        ..config(&lightning)
    })
    .unwrap();

    let dies = enqueue(&lightning, "wait(60000)");
    started(&lightning, &dies).await;
    worker
        .supervisor
        .tell(ForcePanic(Victim::Run(dies.clone())));
    let ended = lightning.ended(&dies, PATIENCE).await.unwrap();
    assert_eq!(ended.state, RunState::Exception);
    let succeeds = enqueue(&lightning, "fn(s => s)");
    lightning.ended(&succeeds, PATIENCE).await.unwrap();
    worker.drain();
    assert_eq!(worker.wait().await, Exit::Drained);

    for (run, actors, reason) in [(dies, 2, "exception"), (succeeds, 1, "success")] {
        let heard = listener.of(&run);
        assert!(matches!(heard[0], Moment::Claimed { .. }), "{heard:?}");
        assert_eq!(heard.last(), Some(&Moment::Ended { reason }));
        let is_end = |moment: &Moment| matches!(moment, Moment::Ended { .. });
        assert_eq!(count(&heard, is_end), 1);
        let is_taken = |moment: &Moment| matches!(moment, Moment::Taken { .. });
        assert_eq!(count(&heard, is_taken), actors);
        let is_step = |moment: &Moment| matches!(moment, Moment::StepStarted(_));
        assert_eq!(count(&heard, is_step), 1);
        assert!(heard.contains(&Moment::Entered(RunPhase::Settling)));
    }
    lightning.stop().await;
}
