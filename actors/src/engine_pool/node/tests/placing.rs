//! Which real child takes a run.

use super::*;
use crate::engine_pool::{ChildState, ChildStatus};

#[actix_rt::test]
async fn a_run_does_not_notice_that_its_child_had_died_while_it_was_idle() {
    let world = World::new();
    world.ready().await;
    for number in 0..20 {
        world.idle().await;
        let status = world.pool.send(GetEngineStatus).await.unwrap();
        let idle = |child: &ChildStatus| child.state == ChildState::Idle;
        for child in status.children.into_iter().filter(idle) {
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
async fn each_run_has_a_process_of_its_own_and_one_waits_for_the_next() {
    let world = World::new();
    world.ready().await;
    let mut pids = Vec::new();
    for number in 0..3 {
        let told = world.told(&format!("good-{number}")).await;
        pids.push(pid(&told).to_owned());
    }
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 3);
    world.idle().await;
    world.stop().await;
}

#[actix_rt::test]
async fn a_run_of_another_heap_than_the_last_one_gets_a_process_that_has_it() {
    let world = World::new();
    world.ready().await;
    world.idle().await;
    let before = world.pool.send(GetEngineStatus).await.unwrap().children;
    let told = world
        .execute("heap", "p", |options| options.memory_limit_mb = 123.0)
        .all()
        .await;
    assert!(
        told.contains(&r#"["heap","--max-old-space-size=123"]"#.to_owned()),
        "{told:?}"
    );
    let waiting = before[0].pid.unwrap().to_string();
    assert!(!pid(&told).contains(&waiting));
    world.stop().await;
}

#[actix_rt::test]
async fn there_is_a_bounded_number_of_children() {
    let world = World::new();
    world.ready().await;
    for number in 0..6 {
        let told = world.told(&format!("good-{number}")).await;
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
