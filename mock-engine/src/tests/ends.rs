//! Starts, stops and limits.

use super::*;

#[tokio::test]
async fn the_first_step_waits_until_the_run_may_proceed() {
    let mut started = Scenario::of("fn(s => s)").load();
    assert!(matches!(
        started.next().await.progress,
        RunProgress::WorkflowStart { .. }
    ));
    assert!(started.events.is_empty());
    started.engine.proceed(&started.id);
    assert_eq!(
        started.told().await.names(),
        ["start a", "complete a", "done"]
    );
}

#[tokio::test]
async fn a_run_is_stopped_before_it_begins_in_a_loop_and_while_it_waits() {
    for (job, begin) in [
        ("fn(s => s)", false),
        ("fn(() => { while (true) {} })", true),
        ("wait(1e9)", true),
    ] {
        let mut started = Scenario::of(job).load();
        if begin {
            started.engine.proceed(&started.id);
            while !matches!(started.next().await.progress, RunProgress::JobStart { .. }) {}
        }
        started.engine.stop(&started.id);
        let told = started.told().await;
        assert!(
            !told
                .names()
                .iter()
                .any(|name| name == "done" || name == "failed"),
            "{job}: {:?}",
            told.names()
        );
    }
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_killed_whatever_it_does() {
    for job in [
        "fn(() => { while (true) {} })",
        "fn(() => { for (;;) { try { while (true) {} } catch {} } })",
        "wait(1e9)",
        "fn(() => new Promise(() => {}))",
        "fn(async () => { for (;;) await 1; })",
        "fn(async () => { for (;;) { try { await (async () => { while (true) {} })(); } catch {} } })",
        "fn(() => { const again = () => Promise.resolve().then(again); return again(); })",
        "fn(() => { setInterval(() => {}, 1); return new Promise(() => {}); })",
    ] {
        let mut scenario = Scenario::of(job);
        scenario.options.timeout = Some(Duration::from_millis(50));
        let told = scenario.run().await;
        let error = told.workflow_error();
        let expected = (
            "TimeoutError".into(),
            "Workflow failed to return within 50ms".into(),
            "kill".into(),
        );
        assert_eq!(error, expected, "{job}");
    }
}

#[tokio::test]
async fn a_run_that_takes_too_much_memory_is_killed() {
    for job in [
        "fn(() => { const all = []; for (;;) all.push(new Array(1000).fill('x' + all.length)); })",
        "fn(async () => { const all = []; for (;;) { all.push(new Uint8Array(100000)); await 1; } })",
        "fn(() => new Array(1e8).fill(1.5))",
    ] {
        let mut scenario = Scenario::of(job);
        scenario.options.memory_limit_mb = 20.0;
        scenario.options.timeout = Some(Duration::from_secs(30));
        let error = scenario.run().await.workflow_error();
        assert_eq!(
            (error.0.as_str(), error.2.as_str()),
            ("OOMError", "kill"),
            "{job}"
        );
    }
}

#[tokio::test]
async fn a_state_over_its_limit_kills_the_run() {
    let mut scenario = Scenario::of("fn(s => ({data: 'x'.repeat(2000000)}))");
    scenario.options.state_limit_mb = 1.0;
    let told = scenario.run().await;
    assert_eq!(told.names(), ["started", "start a", "failed"]);
    let expected = (
        "StateTooLargeError".into(),
        "State exceeds the limit of 1mb".into(),
        "kill".into(),
    );
    assert_eq!(told.workflow_error(), expected);
}

#[tokio::test]
async fn a_job_waits_while_the_outbox_is_full() {
    let mut scenario = Scenario::of(
        "fn(s => { console.log('x'.repeat(60)); console.log('y'.repeat(60)); return s; })",
    );
    scenario.budget = 100;
    let mut started = scenario.load();
    started.engine.proceed(&started.id);
    let first = loop {
        let event = started.next().await;
        if matches!(event.progress, RunProgress::Log { .. }) {
            break event;
        }
    };
    assert!(started.budget.available_permits() < 60);
    assert!(started.events.is_empty());
    drop(first);
    assert_eq!(started.told().await.names().len(), 3);
}

#[tokio::test]
async fn an_event_larger_than_the_whole_budget_is_sent() {
    let mut scenario = Scenario::of("fn(s => ({data: 'x'.repeat(500)}))");
    scenario.budget = 100;
    assert_eq!(
        scenario.run().await.names(),
        ["started", "start a", "complete a", "done"]
    );
}

#[tokio::test]
async fn a_second_execution_of_a_run_is_ended_at_once_and_leaves_the_first_alone() {
    let mut started = Scenario::of("fn(s => s)").load();
    let (sender, mut events) = unbounded_channel();
    started.engine.execute(Run {
        id: started.id.clone(),
        plan: plan_of(&json!({"id": "w"})).into(),
        input: Bytes::new(),
        options: Scenario::of("").options,
        events: heard_by(sender),
        budget: Arc::new(Semaphore::new(1)),
    });
    assert!(matches!(
        events.recv().await.unwrap().progress,
        RunProgress::Ended
    ));
    started.engine.proceed(&started.id);
    assert!(matches!(
        started.next().await.progress,
        RunProgress::WorkflowStart { .. }
    ));
    assert_eq!(
        started.told().await.names(),
        ["start a", "complete a", "done"]
    );
}

#[tokio::test]
async fn dropping_the_engine_ends_its_runs() {
    let mut started = Scenario::of("wait(1e9)").load();
    started.engine.proceed(&started.id);
    while !matches!(started.next().await.progress, RunProgress::JobStart { .. }) {}
    let Started {
        engine, mut events, ..
    } = started;
    drop(engine);
    assert!(matches!(
        events.recv().await.unwrap().progress,
        RunProgress::Ended
    ));
}
