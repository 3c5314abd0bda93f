//! Nothing is lost: one fault at each event of a run, through the real program with the mock engine.
//!
//! What the server stored is what counts: every run complete exactly once, every line there and in order, steps and
//! dataclips as they should be. Lines may be there twice where the server's answer was lost: it gives no way to know.

mod frames;
mod lines;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod times;
mod words;

use lightning_mock::{Fault, RunState};

use support::{DEADLINE, Worker, lightning, plan};
use table::{Bench, Cell, EVENTS};

/// The event of workers that batch lines.
const BATCHES: &str = "run:batch_logs";

/// Faults after which every run still succeeds, whichever event they hit.
const FAULTS: [&str; 10] = [
    "cut-before",
    "cut-after",
    "ignore",
    "lose-reply",
    "crash",
    "close",
    "delay:1500",
    "duplicate",
    "garbage",
    "away:1500",
];

/// A run under this fault at the first of each event in turn.
fn survives(fault: &str) {
    survives_at("@1", fault);
}

/// The same with the fault at those pushes of the event that `when` names.
fn survives_at(when: &str, fault: &str) {
    let plain: Vec<&str> = EVENTS
        .into_iter()
        .filter(|event| *event != BATCHES)
        .collect();
    // Side by side, since most of it is waiting for time-outs.
    let bad: Vec<String> = std::thread::scope(|scope| {
        let batched = scope.spawn(|| fails(&[BATCHES], when, fault, &["--batch-logs"]));
        let plain: Vec<_> = plain
            .chunks(3)
            .map(|events| scope.spawn(move || fails(events, when, fault, &[])))
            .collect();
        let all = plain.into_iter().chain([batched]);
        all.flat_map(|group| group.join().expect("no panic"))
            .collect()
    });
    assert!(bad.is_empty(), "\n{}", bad.join("\n"));
}

/// Those of a worker's runs that did not succeed, and its log if there are any.
fn fails(events: &[&str], when: &str, fault: &str, arguments: &[&str]) -> Vec<String> {
    let bench = Bench::new(arguments);
    let cells = events.iter().map(|event| bench.cell(event, when, fault, 1));
    let mut bad: Vec<String> = cells
        .filter(|cell| cell.whole == 0)
        .map(|cell| cell.to_string())
        .collect();
    if !bad.is_empty() {
        bad.extend(bench.worker.log());
    }
    bad
}

/// One run under this fault at each event; where lines are batched, with the second bench.
fn cells(events: &[&str], when: &str, fault: &str, [plain, batched]: [&Bench; 2]) -> Vec<Cell> {
    let cell = |event: &&str| {
        let bench = if *event == BATCHES { batched } else { plain };
        bench.cell(event, when, fault, 1)
    };
    events.iter().map(cell).collect()
}

#[test]
fn a_socket_that_is_cut_before_an_event_is_handled_costs_no_run() {
    survives("cut-before");
}

#[test]
fn a_socket_that_is_cut_instead_of_an_answer_costs_no_run() {
    survives("cut-after");
}

#[test]
fn an_event_that_is_neither_handled_nor_answered_costs_no_run() {
    survives("ignore");
}

#[test]
fn an_answer_that_is_lost_costs_no_run() {
    survives("lose-reply");
}

#[test]
fn a_channel_that_crashes_once_costs_no_run() {
    survives("crash");
}

#[test]
fn joins_that_crash_cost_no_run() {
    let lightning = lightning();
    // The queue's, and the first ones of a run.
    for _ in 0..3 {
        lightning.fault("phx_join", Fault::Crash);
    }
    let _worker = Worker::with_mock_engine(&lightning, &[]);
    let id = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Success, "{:?}", run.error_message);
}

#[test]
fn a_database_that_is_away_when_a_run_is_joined_costs_no_run() {
    let ended = Bench::new(&[]).ends_under("phx_join@1=database-away:3000");
    assert_eq!(ended.state, RunState::Success, "{:?}", ended.error_message);
}

#[test]
fn a_channel_that_the_server_closes_costs_no_run() {
    survives("close");
}

#[test]
fn an_answer_that_is_later_than_the_timeout_costs_no_run() {
    survives("delay:1500");
}

#[test]
fn a_server_whose_answers_are_all_later_than_the_timeout_costs_no_run() {
    survives_at("", "delay:1500");
}

#[test]
fn a_request_that_crashes_the_channel_every_time_ends_the_run_in_these_words() {
    let ends = [
        ("fetch:plan", "LightningError"),
        ("fetch:dataclip", "DataClipError"),
        ("fetch:credential", "CredentialLoadError"),
    ];
    // Each takes some seconds, for the waits between the joins.
    std::thread::scope(|scope| {
        for (event, error_type) in ends {
            scope.spawn(move || {
                let ended = Bench::new(&[]).ends_under(&format!("{event}=crash"));
                assert_eq!(ended.state, RunState::Exception, "{event}: {ended:?}");
                assert_eq!(ended.error_type.as_deref(), Some(error_type));
                let words = ended.error_message.unwrap_or_default();
                let expected = format!("[{event}] the channel crashed each time");
                assert!(words.contains(&expected), "{words}");
            });
        }
    });
}

#[test]
fn a_request_that_is_never_answered_is_made_as_often_as_the_settings_say() {
    let bench = Bench::new(&["--timeout-retry-count", "2"]);
    let ended = bench.ends_under("fetch:credential=ignore");
    assert_eq!(ended.error_type.as_deref(), Some("CredentialLoadError"));
    let words = ended.error_message.unwrap_or_default();
    assert!(words.contains("[fetch:credential] timeout"), "{words}");
    let events = bench.lightning.events();
    let asked = events
        .iter()
        .filter(|event| event.is_from(&ended.id, "fetch:credential"))
        .count();
    assert_eq!(asked, 2);
}

#[test]
fn an_answer_that_comes_twice_costs_no_run() {
    survives("duplicate");
}

#[test]
fn garbage_before_an_answer_costs_no_run() {
    survives("garbage");
}

#[test]
fn a_server_that_is_away_for_a_while_costs_no_run() {
    survives("away:1500");
}

/// What the worker has logged of this kind about this run, with these words: one line.
fn assert_one_line(log: &[String], level: char, run: &str, words: &str) {
    let said = |line: &&String| line.contains(run) && line.contains(words);
    let lines: Vec<_> = log.iter().filter(said).collect();
    assert_eq!(lines.len(), 1, "{words}: {lines:?}\n{}", log.join("\n"));
    assert!(lines[0].contains(level), "{lines:?}");
}

#[test]
fn what_an_operator_has_to_know_is_one_line_with_the_run_and_a_count() {
    let (info, warning, error) = ('ℹ', '⚠', '✘');
    let bench = Bench::new(&[]);

    let resent = bench.ends_under("step:complete@1=cut-before");
    let log = bench.worker.log();
    assert_one_line(&log, warning, "", "the connection to Lightning was lost");
    assert_one_line(&log, info, "", "reconnected to Lightning");
    assert_one_line(&log, info, &resent.id, "is back on its channel");

    let refused = bench.ends_under("run:complete@1=error");
    let log = bench.worker.log();
    assert_one_line(&log, warning, &refused.id, "refused run:complete");

    let aborted = bench.ends_under(r#"step:start@1=error:{"errors":{"job_id":["is invalid"]}}"#);
    let log = bench.worker.log();
    assert_one_line(&log, error, &aborted.id, "refused step:start");

    let counted = support::http::get(bench.worker.url(), "/metrics").body;
    for series in [
        "event_resends_total{event=\"step:complete\"}",
        "event_refusals_total{event=\"run:complete\"}",
        "event_refusals_total{event=\"step:start\"}",
        "socket_losses_total",
    ] {
        let prefix = format!("openfn_worker_{series} ");
        let count = counted.lines().find_map(|line| line.strip_prefix(&prefix));
        assert!(
            count.is_some_and(|count| count != "0"),
            "{series}: {count:?}"
        );
    }
}

/// Every fault at every event, 20 runs each, as a table: `cargo test --test delivery -- --ignored --nocapture table`.
#[test]
#[ignore = "takes some 12 minutes"]
fn table_of_faults_and_events() {
    let mut lost = 0;
    for fault in FAULTS.iter().chain(&["error", "away:20000"]) {
        let (plain, batched) = (Bench::new(&[]), Bench::new(&["--batch-logs"]));
        for event in EVENTS {
            let bench = if event == "run:batch_logs" {
                &batched
            } else {
                &plain
            };
            let when = if fault.starts_with("away") {
                "@10"
            } else {
                "/9"
            };
            let cell = bench.cell(event, when, fault, 20);
            println!("{cell}");
            lost += cell.stuck.len();
            // An error is no loss: the run ends in the server's words.
            lost += if *fault == "error" {
                0
            } else {
                cell.other.len() + cell.wrong.len()
            };
        }
    }
    assert_eq!(lost, 0);
}
