//! States, operations, edges and logs.

use super::*;

#[tokio::test]
async fn events_come_in_order() {
    let told = Scenario::of("fn(s => { console.log('hi', {x: 1}); return {data: {y: 2}}; })")
        .run()
        .await;
    assert_eq!(
        told.names(),
        [
            "started",
            "start a",
            r#"log ["hi",{"x":1}]"#,
            "complete a",
            "done"
        ]
    );
    assert_eq!(told.final_state(), json!({"data": {"y": 2}}));
}

#[tokio::test]
async fn a_module_with_an_export_is_taken_as_it_is_and_operations_run_in_order() {
    let job = "const add = n => s => ({data: s.data + n});\nexport default [async s => ({data: 1}), add(2), add(3)];";
    assert_eq!(
        Scenario::of(job).run().await.final_state(),
        json!({"data": 6})
    );
}

#[tokio::test]
async fn promises_and_timers_are_awaited() {
    let job = "fn(s => new Promise(r => setTimeout(() => r({data: 'later'}), 2))), wait(2), fn(async s => s)";
    assert_eq!(
        Scenario::of(job).run().await.final_state(),
        json!({"data": "later"})
    );
}

#[tokio::test]
async fn configuration_and_response_leave_the_state_after_the_step() {
    let plan = json!({"id": "w", "jobs": [
        {"id": "a", "body": "fn(s => ({...s, response: 1, seen: s.configuration}))", "credential": {"user": "u"},
         "state": {"data": {"d": 1}, "other": 2}},
    ]});
    let mut scenario = Scenario::new(plan);
    scenario.input = json!({"data": {"e": 3}, "configuration": {"user": "x", "pass": "p"}});
    let state = scenario.run().await.final_state();
    assert_eq!(
        state,
        json!({"data": {"d": 1, "e": 3}, "other": 2, "seen": {"user": "u", "pass": "p"}})
    );
}

#[tokio::test]
async fn conditions_decide_what_follows() {
    let jobs = [
        "fn(s => ({data: 5}))",
        "fn(s => s)",
        "fn(s => s)",
        "fn(s => s)",
    ];
    let edges = [
        ("a", "b", json!("on_job_success")),
        ("a", "c", json!("on_job_failure")),
        ("a", "d", json!("state.data > 4 && upstreamStepId === 'a'")),
    ];
    let told = Scenario::flow(&jobs, &edges).run().await;
    assert_eq!(told.next("a"), [JobId::new("b"), JobId::new("d")]);
    assert_eq!(
        told.final_state(),
        json!({"b": {"data": 5}, "d": {"data": 5}})
    );
}

#[tokio::test]
async fn a_failed_step_is_followed_on_failure() {
    let edges = [
        ("a", "b", json!("on_job_failure")),
        ("a", "c", json!("on_job_success")),
    ];
    let told = Scenario::flow(
        &["fn(() => { throw Error('x') })", "fn(s => s)", "fn(s => s)"],
        &edges,
    )
    .run()
    .await;
    assert_eq!(
        told.names(),
        [
            "started",
            "start a",
            "error a",
            "start b",
            "complete b",
            "done"
        ]
    );
}

#[tokio::test]
async fn a_step_reached_twice_runs_twice() {
    let edges = [
        ("a", "b", json!(null)),
        ("a", "c", json!(null)),
        ("b", "d", json!(null)),
        ("c", "d", json!(null)),
    ];
    let jobs = [
        "fn(s => s)",
        "fn(s => ({data: 'b'}))",
        "fn(s => ({data: 'c'}))",
        "fn(s => s)",
    ];
    let state = Scenario::flow(&jobs, &edges).run().await.final_state();
    assert_eq!(state, json!({"d": {"data": "b"}, "d-1": {"data": "c"}}));
}

#[tokio::test]
async fn a_trigger_hands_its_input_on_without_a_word() {
    let plan = json!({"id": "w", "triggers": [{"id": "t"}], "jobs": [{"id": "a", "body": "fn(s => s)"}],
        "edges": [{"source_trigger_id": "t", "target_job_id": "a", "condition": "state.data.go"}]});
    let mut scenario = Scenario::new(plan);
    scenario.input = json!({"data": {"go": true}});
    assert_eq!(
        scenario.run().await.names(),
        ["started", "start a", "complete a", "done"]
    );
    scenario.input = json!({"data": {"go": false}, "x": 1});
    let told = scenario.run().await;
    assert_eq!(
        (told.names().len(), told.final_state()),
        (2, scenario.input)
    );
}

#[tokio::test]
async fn a_step_that_returns_nothing_has_no_state() {
    let told = Scenario::of("fn(() => {})").run().await;
    assert_eq!(told.final_state(), Value::Null);
    let shape = told.0.iter().find_map(|body| match body {
        RunProgress::JobComplete { step, .. } => Some(step.shape),
        _ => None,
    });
    assert_eq!(shape, Some(protocol::engine::Shape::None));
}

#[tokio::test]
async fn steps_share_no_globals() {
    let jobs = [
        "fn(s => { globalThis.leak = 1; return s; })",
        "fn(s => ({data: typeof leak}))",
    ];
    let told = Scenario::flow(&jobs, &[("a", "b", json!(null))])
        .run()
        .await;
    assert_eq!(told.final_state(), json!({"data": "undefined"}));
}

#[tokio::test]
async fn the_plans_globals_are_globals_of_each_step() {
    let plan = json!({"id": "w", "globals": "export const twice = n => n * 2;",
        "jobs": [{"id": "a", "body": "fn(s => ({data: twice(4)}))"}]});
    assert_eq!(
        Scenario::new(plan).run().await.final_state(),
        json!({"data": 8})
    );
}

#[tokio::test]
async fn lines_are_silenced_sanitised_and_limited_as_asked() {
    let job =
        "fn(s => { console.log(); console.log(null); console.log('t', {a: 1}, [1]); return s; })";
    let mut scenario = Scenario::of(job);
    assert_eq!(scenario.run().await.logs(), [r#"["t",{"a":1},[1]]"#]);
    scenario.options.sanitize = "summarize".to_owned();
    assert_eq!(
        scenario.run().await.logs(),
        [r#"["t","(object with keys a)","(array with 1 items)"]"#]
    );
    scenario.options.log_payload_limit_mb = 0.0;
    assert_eq!(
        scenario.run().await.logs(),
        [r#"["[REDACTED: Message length exceeds payload limit]"]"#]
    );
    scenario.options.job_log_level = "none".to_owned();
    assert_eq!(scenario.run().await.logs(), [] as [&str; 0]);
}

#[tokio::test]
async fn configuration_is_masked_in_lines() {
    let told = Scenario::of("fn(s => { console.log({configuration: {k: 'secret'}}); return s; })")
        .run()
        .await;
    assert_eq!(told.logs(), [r#"[{"configuration":{"k":"****"}}]"#]);
}

#[tokio::test]
async fn a_large_state_is_withheld_and_still_reaches_the_next_step() {
    let jobs = [
        "fn(s => ({data: 'x'.repeat(2000)}))",
        "fn(s => ({data: s.data.length}))",
    ];
    let mut scenario = Scenario::flow(&jobs, &[("a", "b", json!(null))]);
    scenario.options.payload_limit_mb = 0.001;
    let told = scenario.run().await;
    assert_eq!(
        (told.state("a"), told.final_state()),
        (Value::Null, json!({"data": 2000}))
    );
    let redacted: Vec<_> = told
        .0
        .iter()
        .filter_map(|body| match body {
            RunProgress::JobComplete { step, .. } => Some((step.redacted, step.size)),
            _ => None,
        })
        .collect();
    assert_eq!(redacted, [(true, Some(2011)), (false, Some(13))]);
}
