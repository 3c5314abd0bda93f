//! An engine that cannot start, and children and pools that die.

use super::*;
use crate::engine_pool::node::NodeEngine;

impl Handler<Panic> for EngineChild {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("a child was asked to panic by a test");
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct PanicChild {
    run: RunId,
}

impl Handler<PanicChild> for EnginePool {
    type Result = ();

    fn handle(&mut self, message: PanicChild, _: &mut Self::Context) {
        let engine = self.engine::<NodeEngine>().unwrap();
        engine.children.child_of(&message.run).unwrap().tell(Panic);
    }
}

#[actix_rt::test]
async fn children_die_with_their_pool() {
    let world = World::new();
    world.ready().await;
    let mut heard = world.execute("deaf", "p", |_| {});
    while !matches!(heard.next().await.progress, RunProgress::JobStart { .. }) {}
    let children = world.pool.send(GetEngineStatus).await.unwrap().children;
    let pids: Vec<_> = children.into_iter().filter_map(|child| child.pid).collect();
    assert!(!pids.is_empty());
    assert!(world.pool.send(Panic).await.is_err());
    let gone = async {
        while pids
            .iter()
            .any(|pid| Path::new(&format!("/proc/{pid}")).exists())
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("children die with their pool");
}

#[actix_rt::test]
async fn a_node_that_is_too_old_is_reported() {
    let program = FAKE_ENGINE.replace("node: process.versions.node", "node: \"18.20.4\"");
    let mut world = World::with(&program, |_| {});
    let why = tokio::time::timeout(PATIENCE, world.failures.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(why, "Node 18.20.4 is too old: 20 or newer is needed");
}

#[actix_rt::test]
async fn a_run_is_not_prepared_where_the_engine_cannot_do_what_it_was_asked_for() {
    if sandbox::Cgroups::find(MemoryEnforcement::Cgroup).is_ok() {
        // Here it can.
        return;
    }
    let mut world = World::with(FAKE_ENGINE, |node| {
        node.memory_enforcement = MemoryEnforcement::Cgroup;
    });
    let refused = world.prepare("r").await.unwrap_err();
    assert_eq!(refused.to_string(), world.failures.recv().await.unwrap());
    assert_eq!(refused.error_type(), "ExecutionError");
    let told = world.told("r").await;
    assert_eq!(told, [format!("ExecutionError: {refused}")]);
    world.stop().await;
}

#[actix_rt::test]
async fn an_engine_that_cannot_start_is_reported() {
    let mut world = World::with("process.exit(3);", |_| {});
    let why = tokio::time::timeout(PATIENCE, world.failures.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(why.contains("exit status: 3"), "{why}");
    let refused = world.prepare("r").await.unwrap_err();
    assert_eq!(refused.to_string(), why);
}

#[actix_rt::test]
async fn a_child_whose_actor_panics_ends_its_run_and_is_replaced() {
    let world = World::new();
    world.ready().await;
    let mut heard = world.execute("waits", "p", |_| {});
    while !matches!(heard.next().await.progress, RunProgress::JobStart { .. }) {}
    world.pool.tell(PanicChild {
        run: RunId::new("waits"),
    });
    assert_eq!(
        heard.all().await,
        ["EngineLost: the engine child that executed the run was lost"]
    );
    world.works().await;
    world.stop().await;
}

#[actix_rt::test]
async fn a_node_that_is_missing_is_reported() {
    let mut world = World::with(FAKE_ENGINE, |node| node.node = "/nonexistent/node".into());
    let why = tokio::time::timeout(PATIENCE, world.failures.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(why.contains("/nonexistent/node cannot be started"), "{why}");
}
