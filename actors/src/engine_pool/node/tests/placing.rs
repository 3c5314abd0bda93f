//! Which real child takes a run.

use super::*;
use crate::engine_pool::ChildState;

#[actix_rt::test]
async fn a_run_does_not_notice_that_its_child_had_died_while_it_was_idle() {
    let world = World::new();
    world.ready().await;
    for number in 0..20 {
        for child in world.pool.send(GetEngineStatus).await.unwrap().children {
            let pid = child
                .pid
                .and_then(|pid| i32::try_from(pid).ok())
                .map(nix::unistd::Pid::from_raw);
            if let Some(pid) = pid {
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            }
        }
        let told = world.told(&format!("good-{number}")).await;
        assert!(told.contains(&"over".to_owned()), "{told:?}");
    }
    world.stop().await;
}

#[actix_rt::test]
async fn a_run_whose_loading_kills_its_child_ends_after_three() {
    let world = World::new();
    world.ready().await;
    let told = world.execute("loading", "p", |_| {}).all().await;
    assert_eq!(
        told,
        ["ExitError: three engine children died while they loaded the run"]
    );
    world.works().await;
    world.stop().await;
}

#[actix_rt::test]
async fn a_child_serves_one_project_only() {
    let world = World::new();
    world.ready().await;
    let first = world.execute("good-1", "one", |_| {}).all().await;
    let other = world.execute("good-2", "two", |_| {}).all().await;
    let again = world.execute("good-3", "one", |_| {}).all().await;
    assert_ne!(pid(&first), pid(&other));
    assert_eq!(pid(&first), pid(&again));
    world.stop().await;
}

#[actix_rt::test]
async fn a_run_goes_to_the_child_that_has_been_idle_longest() {
    let world = World::new();
    world.ready().await;
    let mut waits = world.execute("waits", "p", |_| {});
    let first = world.told("good-1").await;
    while !matches!(waits.next().await.progress, RunProgress::JobStart { .. }) {}
    world.pool.tell(StopJob {
        run_id: RunId::new("waits"),
    });
    waits.all().await;
    let second = world.told("good-2").await;
    let third = world.told("good-3").await;
    assert_eq!(pid(&first), pid(&second));
    assert_ne!(pid(&second), pid(&third));
    world.stop().await;
}

#[actix_rt::test]
async fn a_run_goes_to_a_child_with_a_warm_thread_before_others() {
    let world = World::new();
    world.ready().await;
    let mut warms = world.execute("waits-warms", "p", |_| {});
    let first = world.told("good-1").await;
    while !matches!(warms.next().await.progress, RunProgress::JobStart { .. }) {}
    world.pool.tell(StopJob {
        run_id: RunId::new("waits-warms"),
    });
    warms.all().await;
    let is_warm = async || {
        let status = world.pool.send(GetEngineStatus).await.unwrap();
        status.children.iter().any(|child| child.warm)
    };
    let poll = async {
        while !is_warm().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, poll)
        .await
        .expect("a warm child");
    // The other one has been idle for longer.
    let second = world.told("good-2").await;
    assert_ne!(pid(&first), pid(&second));
    assert!(!is_warm().await, "its thread is used");
    world.stop().await;
}

#[actix_rt::test]
async fn one_process_a_run_where_that_is_asked_for() {
    let world = World::with(FAKE_ENGINE, |node| node.reuse = Reuse::Never);
    world.ready().await;
    let first = world.told("good-1").await;
    let second = world.told("good-2").await;
    assert_ne!(pid(&first), pid(&second));
    world.stop().await;
}

#[actix_rt::test]
async fn more_projects_than_slots_share_a_bounded_number_of_children() {
    let world = World::new();
    world.ready().await;
    for number in 0..6 {
        let told = world
            .execute(
                &format!("good-{number}"),
                &format!("project-{number}"),
                |_| {},
            )
            .all()
            .await;
        assert!(told.contains(&"over".to_owned()));
        let living = world.pool.send(GetEngineStatus).await.unwrap().children;
        let living = living
            .iter()
            .filter(|child| child.state != ChildState::Dying)
            .count();
        assert!(living <= 3, "{living} children for two slots");
    }
    world.stop().await;
}
