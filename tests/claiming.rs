//! Claims, slots and groups: what the mock Lightning sees of them.

mod support;

use lightning_mock::RunState;

use support::{DEADLINE, Worker, eventually, lightning, plan};

#[test]
fn a_run_is_claimed_executed_and_reported() {
    let lightning = lightning();
    let id = lightning
        .enqueue(plan(
            "fn(s => { console.log('hello'); return { ...s, x: 1 }; })",
            "manual",
        ))
        .unwrap();
    let _worker = Worker::with_mock_engine(&lightning, &[]);
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Success);
    assert_eq!(run.final_state.as_ref().unwrap()["x"], 1);
    assert_eq!(
        run.final_dataclip_id,
        run.steps.values().next().unwrap().output_dataclip_id
    );
    assert!(run.log_texts().contains(&"hello"), "{:?}", run.log_texts());
    assert!(
        run.log_texts()
            .contains(&"Run complete with status: success")
    );
    assert!(
        lightning.refusals().is_empty(),
        "{:?}",
        lightning.refusals()
    );
}

#[test]
fn a_state_of_megabytes_arrives_as_it_is() {
    let lightning = lightning();
    let text = r#"'a"\\\n\u0001é😀'.repeat(200000)"#;
    let id = lightning
        .enqueue(plan(&format!("fn(s => ({{ text: {text} }}))"), "manual"))
        .unwrap();
    let _worker = Worker::with_mock_engine(&lightning, &[]);
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    let whole = serde_json::json!({ "text": "a\"\\\n\u{1}é😀".repeat(200_000) });
    assert!(
        run.final_state == Some(whole.clone()),
        "another final state"
    );
    let step = run.steps.values().next().unwrap();
    assert!(step.output_dataclip == Some(whole), "another dataclip");
    assert!(lightning.refusals().is_empty());
}

#[test]
fn a_failing_job_fails_its_run() {
    let lightning = lightning();
    let id = lightning.enqueue(plan("fn(s => s.x.y)", "manual")).unwrap();
    let _worker = Worker::with_mock_engine(&lightning, &[]);
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(
        (run.state, run.error_type.as_deref()),
        (RunState::Failed, Some("RuntimeError"))
    );
}

#[test]
fn groups_keep_to_their_queues_and_slots() {
    let lightning = lightning();
    let ids: Vec<_> = (0..50)
        .map(|number| {
            let queue = if number % 5 == 0 {
                "fast_lane"
            } else if number % 2 == 0 {
                "manual"
            } else {
                "other"
            };
            lightning.enqueue(plan("wait(20)", queue)).unwrap()
        })
        .collect();
    let _worker = Worker::with_mock_engine(&lightning, &["--workloops", "fast_lane:1 manual>*:4"]);
    for id in &ids {
        assert_eq!(
            lightning.wait_for(id, DEADLINE).unwrap().state,
            RunState::Success
        );
    }
    let statistics = lightning.statistics();
    assert!(statistics.max_active <= 5, "{statistics:?}");
    assert!(
        statistics.max_active_by_group["fast_lane"] <= 1,
        "{statistics:?}"
    );
    assert!(
        statistics.max_active_by_group["manual>*"] <= 4,
        "{statistics:?}"
    );
    let strict = |run: &lightning_mock::RunView| {
        run.claimed_for.as_deref() == Some(&["fast_lane".to_owned()][..])
    };
    assert!(
        lightning
            .runs()
            .iter()
            .filter(|run| strict(run))
            .all(|run| run.queue == "fast_lane")
    );
    assert!(lightning.runs().iter().any(strict));
    assert!(lightning.runs().iter().all(|run| run.claims == 1));
}

#[test]
fn a_hint_may_claim_several_runs_at_once() {
    let lightning = lightning();
    let _worker = Worker::with_mock_engine(
        &lightning,
        &["--no-loop", "--capacity", "5", "--claim-demand", "3"],
    );
    let ids: Vec<_> = (0..3)
        .map(|_| lightning.enqueue(plan("fn(s => s)", "manual")).unwrap())
        .collect();
    let demands = || -> Vec<_> {
        let events = lightning.events().into_iter();
        let claims = events.filter(|event| event.event == "claim");
        claims
            .map(|event| event.payload["demand"].clone())
            .collect()
    };
    // A hint before the worker has joined is lost.
    eventually("the worker claims", || {
        lightning.work_available();
        !demands().is_empty()
    });
    for id in &ids {
        let run = lightning.wait_for(id, DEADLINE).unwrap();
        assert_eq!(run.state, RunState::Success);
    }
    assert_eq!(demands()[0], 3);
}

#[test]
fn a_thousand_runs_all_complete_and_none_twice() {
    let lightning = lightning();
    for _ in 0..1000 {
        lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    }
    let _worker = Worker::with_mock_engine(&lightning, &["--capacity", "10", "--log", "info"]);
    lightning.wait_for_finished(1000, DEADLINE * 2).unwrap();
    let runs = lightning.runs();
    assert_eq!(runs.len(), 1000);
    assert!(
        runs.iter()
            .all(|run| run.state == RunState::Success && run.claims == 1 && run.steps.len() == 1)
    );
    assert!(
        lightning.refusals().is_empty(),
        "{:?}",
        lightning.refusals()
    );
}

#[test]
fn a_worker_that_lost_its_socket_in_a_run_reports_it_after_the_reconnect() {
    let lightning = lightning();
    let id = lightning.enqueue(plan("wait(300)", "manual")).unwrap();
    let _worker = Worker::with_mock_engine(&lightning, &[]);
    lightning
        .wait_event(DEADLINE, |event| event.is_from(&id, "step:start"))
        .unwrap();
    lightning.disconnect_all();
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(
        (run.state, run.claims, run.steps.len()),
        (RunState::Success, 1, 1)
    );
}
