//! Runs in real children, good and bad.

use super::*;

#[actix_rt::test]
async fn a_good_run_is_told_in_order_and_ends_once() {
    let world = World::new();
    world.ready().await;
    let told = world.told("good").await;
    let words: Vec<_> = told
        .iter()
        .map(String::as_str)
        .filter(|word| !word.starts_with('['))
        .collect();
    assert_eq!(words, ["started", "start a", "complete a", "over"]);
    world.stop().await;
}

#[actix_rt::test]
async fn children_that_break_the_protocol_are_killed_and_the_next_run_works() {
    let world = World::new();
    world.ready().await;
    for run in [
        "garbage", "giant", "stranger", "forger", "unknown", "preloads",
    ] {
        let told = world.told(run).await;
        assert!(
            told.last()
                .unwrap()
                .starts_with("EngineProtocolError: the engine child broke the protocol"),
            "{run}: {told:?}"
        );
        world.works().await;
    }
    world.stop().await;
}

#[actix_rt::test]
async fn a_second_completion_is_not_believed() {
    let world = World::new();
    world.ready().await;
    let told = world.told("twice").await;
    assert_eq!(told, ["started", "start a", "complete a", "over"]);
    world.works().await;
    world.stop().await;
}

#[actix_rt::test]
async fn a_child_that_dies_ends_its_run_as_what_killed_it() {
    let world = World::new();
    world.ready().await;
    for (run, end) in [
        ("dies", "ExitError: Process exited with code: null"),
        ("leaves", "ExitError: Process exited with code: 7"),
        ("oom", "OOMError: Run exceeded maximum memory usage"),
        // Job code can write what V8 writes.
        ("shouts", "ExitError: Process exited with code: 7"),
        ("thread", "ExitError: Worker thread exited with code: 3"),
    ] {
        assert_eq!(world.told(run).await, ["started", "start a", end], "{run}");
        world.works().await;
    }
    world.stop().await;
}

#[actix_rt::test]
async fn an_abort_without_the_words_of_v8_is_an_exit() {
    let world = World::new();
    world.ready().await;
    assert_eq!(
        world.told("aborts").await,
        [
            "started",
            "start a",
            "ExitError: Process exited with code: null"
        ]
    );
    world.stop().await;
}

#[actix_rt::test]
async fn a_run_over_its_time_is_stopped_also_when_the_child_is_deaf() {
    let world = World::new();
    world.ready().await;
    for run in ["waits", "deaf"] {
        let timeout = Some(Duration::from_millis(300));
        let told = world
            .execute(run, "p", |options| options.timeout = timeout)
            .all()
            .await;
        assert_eq!(
            told.last().unwrap(),
            "TimeoutError: Workflow failed to return within 300ms"
        );
    }
    world.works().await;
    world.stop().await;
}

#[actix_rt::test]
async fn a_job_reaches_nothing_of_the_machine() {
    let world = World::new();
    world.ready().await;
    let told = world.told("escapes").await;
    let attempts: Vec<_> = told.iter().filter(|word| word.starts_with('[')).collect();
    assert_eq!(
        attempts,
        [
            r#"["read /etc/passwd","EACCES"]"#,
            r#"["read the worker's environment","EACCES"]"#,
            r#"["read the worker's memory","EACCES"]"#,
            r#"["list /proc","EACCES"]"#,
            r#"["list the temporary folder","EACCES"]"#,
            r#"["write into the repository","EACCES"]"#,
            r#"["write into the engine","EACCES"]"#,
            r#"["write into its own folder","ok"]"#,
            r#"["start a shell","EPERM"]"#,
            r#"["start itself again","EPERM"]"#,
            r#"["signal the worker","EPERM"]"#,
            r#"["measure its memory","ok"]"#,
            r#"["see a variable of the worker","ok"]"#,
        ]
    );
    world.stop().await;
}

#[actix_rt::test]
async fn what_a_run_wrote_is_not_there_for_the_next_one() {
    let world = World::new();
    world.ready().await;
    let first = world.told("writes-1").await;
    let second = world.told("writes-2").await;
    assert_eq!(first[2], r#"["files","0"]"#);
    assert_eq!(second[2], r#"["files","0"]"#);
    let folder: String = serde_json::from_str::<Vec<String>>(&first[3])
        .unwrap()
        .remove(1);
    world.stop().await;
    assert!(!Path::new(&folder).exists());
}

#[actix_rt::test]
async fn memory_outside_the_heap_is_limited_too_and_the_run_is_told_before() {
    let world = World::new();
    world.ready().await;
    let mut heard = world.execute("buffers", "p", |options| options.memory_limit_mb = 100.0);
    let told = heard.all().await;
    assert_eq!(
        told.last().unwrap(),
        "OOMError: Run exceeded maximum memory usage"
    );
    let warnings = told
        .iter()
        .filter(|word| word.contains("90% of its memory limit of 100mb"))
        .count();
    assert!(warnings <= 1, "{told:?}");
    world.works().await;
    world.stop().await;
}

#[actix_rt::test]
async fn a_run_is_told_once_that_its_time_is_nearly_over() {
    let world = World::new();
    world.ready().await;
    let mut heard = world.execute("waits", "p", |options| {
        options.timeout = Some(Duration::from_millis(500));
    });
    let told = heard.all().await;
    let warnings: Vec<_> = told.iter().filter(|word| word.contains("90%")).collect();
    assert_eq!(
        warnings,
        [r#"["This run has used 90% of its time limit of 0.5s"]"#]
    );
    world.stop().await;
}

#[actix_rt::test]
async fn a_stopped_job_just_ends() {
    let world = World::new();
    world.ready().await;
    for run in ["waits", "deaf"] {
        let mut heard = world.execute(run, "p", |_| {});
        while !matches!(heard.next().await.progress, RunProgress::JobStart { .. }) {}
        world.pool.tell(StopJob {
            run_id: RunId::new(run),
        });
        assert!(heard.all().await.is_empty());
    }
    world.stop().await;
}

#[actix_rt::test]
async fn a_job_waits_while_the_outbox_is_full_and_no_line_is_lost() {
    let world = World::new();
    world.ready().await;
    let mut heard = world.execute("flood", "p", |_| {});
    let mut held = Vec::new();
    let mut lines = 0;
    loop {
        let event = heard.next().await;
        if matches!(event.progress, RunProgress::Ended) {
            break;
        }
        lines += usize::from(matches!(event.progress, RunProgress::Log { .. }));
        held.push(event);
        if heard.budget.available_permits() < 512 {
            // The outbox is full: what arrives from here on was let in by what is given back here.
            held.clear();
        }
    }
    assert_eq!(lines, 1000);
    world.stop().await;
}
