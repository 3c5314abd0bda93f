//! Every actor panics in every state while other runs go on: no run is lost, no slot leaks.

use std::time::Duration;

use lightning_mock::{Fault, MockServer, RunState};

use super::{CAPACITY, Exit, ForcePanic, PATIENCE, SupervisorHandle, Victim, end, enqueue, world};
use crate::tell::Tell as _;

/// The events at which a run is in one state after the other, each answered late, so that it stays there for a while:
/// joining, loading, starting, executing, settling.
const STAGES: [&str; 5] = [
    "fetch:plan",
    "fetch:dataclip",
    "run:start",
    "step:start",
    "run:complete",
];
const WHILE: Duration = Duration::from_millis(400);

/// Lets the victim panic at each stage of a run while others follow it, and sees how that run ends. The others end well.
async fn panics(victim: fn(&str) -> Victim, name: &str) -> Vec<(RunState, Option<String>)> {
    let (lightning, worker) = world().await;
    let mut ends = Vec::new();
    for stage in STAGES {
        lightning.fault(stage, Fault::Delay(WHILE));
        let run = enqueue(&lightning, "wait(100)");
        seen(&lightning, &run, stage).await;
        let others: Vec<_> = (0..4).map(|_| enqueue(&lightning, "wait(20)")).collect();
        worker.supervisor.tell(ForcePanic(victim(&run)));
        let ended = lightning.ended(&run, PATIENCE).await.unwrap();
        assert_eq!(ended.claims, 1, "{stage}");
        ends.push((ended.state, ended.error_type));
        for other in others {
            let ended = lightning.ended(&other, PATIENCE).await.unwrap();
            // A pool takes every run that it executes with it.
            let fine = ended.state == RunState::Success || name == "engine pool";
            assert!(fine, "{stage}: {ended:?}");
            // The answer to a claim dies with the connection; Lightning then puts the run back.
            let once = ended.claims == 1 || name == "connection";
            assert!(once, "{stage}: {} claims", ended.claims);
        }
    }
    assert_eq!(worker.status().await.unwrap().restarts[name], 5);
    assert_every_slot_is_there(&lightning).await;
    end(lightning, worker).await;
    ends
}

async fn seen(lightning: &MockServer, run: &str, event: &str) {
    lightning
        .event(PATIENCE, |seen| seen.is_from(run, event))
        .await
        .unwrap();
}

/// As many runs as there are slots are under way at once.
async fn assert_every_slot_is_there(lightning: &MockServer) {
    let runs: Vec<_> = (0..CAPACITY)
        .map(|_| enqueue(lightning, "wait(1000)"))
        .collect();
    for run in &runs {
        seen(lightning, run, "step:start").await;
    }
    let active = |id: &String| lightning.run(id).unwrap().state.is_active();
    assert!(
        runs.iter().all(active),
        "the first has ended before the last began"
    );
    for run in &runs {
        lightning.ended(run, PATIENCE).await.unwrap();
    }
}

#[actix_rt::test]
async fn a_run_whose_actor_panics_in_any_state_is_reported() {
    let ends = panics(|run| Victim::Run(run.to_owned()), "run").await;
    let crashed = (RunState::Exception, Some("RunActorCrashed".to_owned()));
    assert_eq!(ends[..4], vec![crashed; 4]);
    // Its end was on its way.
    assert_eq!(ends[4].0, RunState::Success);
}

#[actix_rt::test]
async fn a_connection_that_panics_costs_no_run() {
    let ends = panics(|_| Victim::Connection, "connection").await;
    assert_eq!(ends, vec![(RunState::Success, None); 5]);
}

#[actix_rt::test]
async fn a_workloop_that_panics_costs_no_run_and_claims_no_more_than_its_slots() {
    let ends = panics(|_| Victim::Workloop, "workloop").await;
    assert_eq!(ends, vec![(RunState::Success, None); 5]);
}

/// Its answer comes while there is no workloop, and when there is the next one.
#[actix_rt::test]
async fn a_run_that_a_workloop_claimed_before_it_panicked_is_executed_by_the_next_one() {
    for answered_after in [Duration::from_millis(20), Duration::from_secs(2)] {
        let (lightning, worker) = world().await;
        lightning.fault("claim", Fault::Delay(answered_after));
        let run = enqueue(&lightning, "wait(1)");
        while lightning.run(&run).unwrap().state == RunState::Available {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        worker.supervisor.tell(ForcePanic(Victim::Workloop));
        let ended = lightning.ended(&run, PATIENCE).await.unwrap();
        assert_eq!((ended.state, ended.claims), (RunState::Success, 1));
        end(lightning, worker).await;
    }
}

#[actix_rt::test]
async fn an_engine_pool_that_panics_ends_the_runs_that_it_executed() {
    let ends = panics(|_| Victim::EnginePool, "engine pool").await;
    let lost = (RunState::Crashed, Some("EngineLost".to_owned()));
    let success = (RunState::Success, None);
    assert_eq!(
        ends,
        [
            success.clone(),
            success.clone(),
            lost.clone(),
            lost,
            success
        ]
    );
}

async fn dies_too_often(victim: Victim, worker: &SupervisorHandle) -> String {
    // More often than needed: a panic that meets a dead actor counts for nothing.
    let panicking = async {
        loop {
            worker.supervisor.tell(ForcePanic(victim.clone()));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        exit = worker.wait() => match exit {
            Exit::GaveUp(why) => why,
            other => panic!("ended with {other:?}"),
        },
        () = panicking => unreachable!(),
    }
}

#[actix_rt::test]
async fn a_workloop_that_dies_too_often_ends_the_worker_and_the_runs_in_hand_are_reported() {
    let (lightning, worker) = world().await;
    let run = enqueue(&lightning, "wait(60000)");
    seen(&lightning, &run, "step:start").await;
    let why = dies_too_often(Victim::Workloop, &worker).await;
    assert!(why.contains("workloop manual>*:3"), "{why}");
    assert!(why.contains("was asked to panic by a test"), "{why}");
    let run = lightning.run(&run).unwrap();
    assert_eq!(
        (run.state, run.error_type.as_deref()),
        (RunState::Exception, Some("WorkerShutdown"))
    );
    lightning.stop().await;
}

#[actix_rt::test]
async fn a_connection_or_pool_that_dies_too_often_ends_the_worker() {
    let victims = [
        (Victim::Connection, "the Lightning connection"),
        (Victim::EnginePool, "the engine pool"),
    ];
    for (victim, name) in victims {
        let (lightning, worker) = world().await;
        let why = dies_too_often(victim, &worker).await;
        assert!(why.contains(name), "{why}");
        lightning.stop().await;
    }
}
