//! Error replies: what Lightning is known to say for good, and what may pass.

use lightning_mock::{Fault, RunState};
use serde_json::json;

use crate::cells;
use crate::support::{DEADLINE, Worker, lightning};
use crate::table::{Bench, EVENTS};

#[test]
fn an_error_in_unknown_words_that_passes_costs_nothing() {
    let (plain, batched) = (Bench::new(&[]), Bench::new(&["--batch-logs"]));
    // The queue's events and joins have ways of their own.
    let of_a_run = |event: &&str| event.contains(':');
    let events: Vec<&str> = EVENTS.into_iter().filter(of_a_run).collect();
    let fault = r#"error:{"reason":"tcp recv: closed"}"#;
    let cells = cells(&events, "@1", fault, [&plain, &batched]);
    for cell in &cells {
        assert_eq!((cell.whole, cell.doubled), (1, 0), "{cell}");
    }
}

#[test]
fn an_error_in_unknown_words_that_stays_ends_the_run_in_these_words() {
    for event in ["run:start", "step:start", "step:complete"] {
        let rule = format!(r#"{event}=error:"no room left""#);
        let run = Bench::new(&[]).ends_under(&rule);
        assert_eq!(run.state, RunState::Exception, "{event}");
        let words = run.error_message.unwrap_or_default();
        assert_eq!(words, format!("[{event}] no room left"));
    }
}

#[test]
fn a_server_that_refuses_every_line_does_not_hold_up_the_run_at_each_of_them() {
    let lightning = lightning();
    let rules = [r#"run:log=error:"no room left""#.parse().unwrap()];
    lightning.chaos(rules.into(), 0);
    let worker = Worker::with_mock_engine(&lightning, &[]);
    let body = "fn(s => { for (let i = 0; i < 40; i++) console.log(i); return s; })";
    let id = lightning
        .enqueue(crate::support::plan(body, "manual"))
        .unwrap();
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Success);
    let retried = worker
        .log()
        .iter()
        .filter(|line| line.contains("sent again in a moment"))
        .count();
    assert_eq!(retried, 4, "only the first line is waited for");
}

#[test]
fn words_that_are_known_to_be_for_good_are_not_tried_again() {
    let bench = Bench::new(&[]);
    let run = bench.ends_under(r#"step:start@1=error:{"errors":{"job_id":["does not exist"]}}"#);
    assert_eq!(run.state, RunState::Exception);
    let events = bench.lightning.events();
    let mut sent: Vec<_> = events
        .iter()
        .filter(|event| event.is_from(&run.id, "step:start"))
        .map(|event| event.payload["step_id"].to_string())
        .collect();
    // The start of the step that follows may be on its way before the answer arrives.
    let count = sent.len();
    sent.sort_unstable();
    sent.dedup();
    assert_eq!(sent.len(), count, "{sent:?}");
}

#[test]
fn lines_of_a_step_that_the_server_passed_over_wait_for_its_start() {
    let lightning = lightning();
    lightning.fault("step:start", Fault::Ignore);
    // As some versions say it, and not the mock: the first line of the step is told so.
    lightning.chaos(
        vec![r#"run:log~first=error:"step not found""#.parse().unwrap()],
        0,
    );
    let _worker = Worker::with_mock_engine(&lightning, &[]);
    let body = "fn(s => { console.log('first'); console.log('second'); return s; })";
    let id = lightning
        .enqueue(crate::support::plan(body, "manual"))
        .unwrap();
    let again = lightning
        .wait_event(DEADLINE, {
            let mut starts = 0;
            let id = id.clone();
            move |event| {
                starts += usize::from(event.is_from(&id, "step:start"));
                starts == 2
            }
        })
        .unwrap();
    assert_eq!(again.event, "step:start");
    lightning.chaos(Vec::new(), 0);
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Success);
    let texts = run.log_texts();
    for text in ["first", "second"] {
        assert!(texts.contains(&text), "{texts:?}");
    }
}

#[test]
fn a_run_whose_plan_is_refused_for_good_ends_in_these_words() {
    let run = Bench::new(&[]).ends_under(r#"fetch:plan=error:{"errors":{"plan":["is invalid"]}}"#);
    assert_eq!(run.state, RunState::Exception);
    assert_eq!(
        run.error_message.as_deref(),
        Some(json!({"errors":{"plan":["is invalid"]}}).to_string())
            .map(|words| format!("[fetch:plan] {words}"))
            .as_deref()
    );
}
