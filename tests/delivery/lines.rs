//! Lines of the log that the database does not take: found with few crashes, and nothing else is lost with them.

use std::time::{Duration, Instant};

use lightning_mock::{MockServer, RunState, RunView};
use serde_json::json;

use crate::support::{DEADLINE, Worker, lightning};

/// A job that says this many lines, some of which are poison.
fn plan(lines: usize, poison: &[usize]) -> serde_json::Value {
    let body = format!(
        "fn(s => {{ const bad = {poison:?}; for (let i = 0; i < {lines}; i++) \
         console.log((bad.includes(i) ? 'poison ' : 'line ') + i); return {{ ok: true }}; }})"
    );
    json!({
        "triggers": [{"id": "t"}],
        "jobs": [{"id": "j", "body": body}],
        "edges": [{"source_trigger_id": "t", "target_job_id": "j"}],
        "starting_node_id": "t",
    })
}

fn with_poison(lightning: &MockServer) {
    let rules = ["run:log~poison=crash", "run:batch_logs~poison=crash"];
    lightning.chaos(
        rules
            .map(|rule| rule.parse().expect("the rule is right"))
            .into(),
        0,
    );
}

/// The numbers of the lines of a kind that are stored.
fn stored(run: &RunView, kind: &str) -> Vec<usize> {
    let texts = run.log_texts();
    let mut numbers: Vec<usize> = texts
        .iter()
        .filter_map(|text| text.strip_prefix(kind)?.trim().parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// How often the channel of a run has crashed.
fn crashes(lightning: &MockServer, run: &str) -> usize {
    let topic = format!("run:{run}");
    let events = lightning.events();
    events
        .iter()
        .filter(|event| event.event == "phx_error" && event.topic == topic)
        .count()
}

/// A run of 60 lines, some of them poison: all others arrive, within this many crashes.
fn only_poison_is_lost(arguments: &[&str], poison: &[usize], most_crashes: usize) {
    let lightning = lightning();
    with_poison(&lightning);
    let _worker = Worker::with_mock_engine(&lightning, arguments);
    let began = Instant::now();
    let id = lightning
        .enqueue(plan(60, poison))
        .expect("the plan is right");
    let run = lightning.wait_for(&id, DEADLINE).expect("the run ends");
    assert_eq!(run.state, RunState::Success);
    let expected: Vec<usize> = (0..60).filter(|line| !poison.contains(line)).collect();
    assert_eq!(stored(&run, "line"), expected);
    assert!(stored(&run, "poison").is_empty());
    let crashes = crashes(&lightning, &id);
    assert!(crashes <= most_crashes, "{crashes} crashes");
    // How long it takes is what this is about: a run's token lasts minutes. Twice what it should be, for a busy machine.
    let elapsed = began.elapsed();
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
}

#[test]
fn a_line_that_the_database_refuses_is_found_in_its_batch_by_halves() {
    only_poison_is_lost(&["--batch-logs"], &[17], 12);
}

#[test]
fn two_such_lines_cost_twice_as_much_and_no_other_line() {
    only_poison_is_lost(&["--batch-logs"], &[3, 40], 24);
}

#[test]
fn such_a_line_at_the_end_of_its_batch_is_found_as_well() {
    only_poison_is_lost(&["--batch-logs"], &[59], 12);
}

#[test]
fn a_line_of_its_own_that_the_database_refuses_is_soon_told_from_a_database_that_is_away() {
    only_poison_is_lost(&[], &[30], 6);
}

#[test]
fn a_last_line_that_the_database_refuses_holds_up_its_run_for_seconds_only() {
    only_poison_is_lost(&[], &[59], 10);
}

#[test]
fn other_runs_do_not_suffer_from_such_a_line() {
    let lightning = lightning();
    with_poison(&lightning);
    let _worker = Worker::with_mock_engine(&lightning, &["--batch-logs"]);
    let bad = lightning.enqueue(plan(60, &[10])).unwrap();
    let good: Vec<_> = (0..4)
        .map(|_| lightning.enqueue(plan(60, &[])).unwrap())
        .collect();
    for id in &good {
        let run = lightning.wait_for(id, DEADLINE).unwrap();
        assert_eq!(run.state, RunState::Success);
        assert_eq!(stored(&run, "line").len(), 60);
        assert_eq!(crashes(&lightning, id), 0);
    }
    let run = lightning.wait_for(&bad, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Success);
}

#[test]
fn a_database_that_is_away_for_a_while_costs_no_line() {
    for arguments in [&["--batch-logs"][..], &[]] {
        let lightning = lightning();
        let rules = [
            "run:log@7=database-away:4000",
            "run:batch_logs@2=database-away:4000",
        ];
        lightning.chaos(rules.map(|rule| rule.parse().unwrap()).into(), 0);
        let _worker = Worker::with_mock_engine(&lightning, arguments);
        let id = lightning.enqueue(plan(60, &[])).unwrap();
        let run = lightning.wait_for(&id, DEADLINE).unwrap();
        assert_eq!(run.state, RunState::Success);
        let expected: Vec<usize> = (0..60).collect();
        assert_eq!(stored(&run, "line"), expected, "{arguments:?}");
    }
}

#[test]
fn a_database_that_is_away_at_the_end_of_a_run_costs_neither_its_state_nor_its_reason() {
    let two_leaves = json!({
        "triggers": [{"id": "t"}],
        "jobs": [
            {"id": "a", "body": "fn(s => ({ a: 1 }))"},
            {"id": "b", "body": "fn(s => ({ b: 2 }))"},
        ],
        "edges": [
            {"source_trigger_id": "t", "target_job_id": "a"},
            {"source_trigger_id": "t", "target_job_id": "b"},
        ],
        "starting_node_id": "t",
    });
    for plan in [plan(1, &[]), two_leaves] {
        let lightning = lightning();
        let rule = "run:complete@1=database-away:3000";
        lightning.chaos(vec![rule.parse().unwrap()], 0);
        let _worker = Worker::with_mock_engine(&lightning, &[]);
        let id = lightning.enqueue(plan).unwrap();
        let run = lightning.wait_for(&id, DEADLINE).unwrap();
        assert_eq!(run.state, RunState::Success, "{:?}", run.error_message);
        assert!(run.final_state.is_some(), "{run:#?}");
    }
}
