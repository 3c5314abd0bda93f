//! Nothing is lost: one fault at each event of a run, through the real program with the mock engine.
//!
//! What the server stored is what counts: every run complete exactly once, every line there and in order, steps and
//! dataclips as they should be. Lines may be there twice where the server's answer was lost: it gives no way to know.

#[path = "../support/mod.rs"]
mod support;
mod table;

use table::{Bench, Cell, EVENTS};

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

/// A run under this fault at each event in turn.
fn survives(fault: &str) {
    let (plain, batched) = (Bench::new(&[]), Bench::new(&["--batch-logs"]));
    let cells: Vec<Cell> = EVENTS
        .iter()
        .map(|event| {
            let bench = if *event == "run:batch_logs" {
                &batched
            } else {
                &plain
            };
            bench.cell(event, "@1", fault, 1)
        })
        .collect();
    let log = [plain.worker.log(), batched.worker.log()].concat();
    let bad: Vec<String> = cells
        .iter()
        .filter(|cell| cell.whole == 0)
        .map(ToString::to_string)
        .collect();
    assert!(bad.is_empty(), "\n{}\n{}", bad.join("\n"), log.join("\n"));
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
fn a_channel_that_the_server_closes_costs_no_run() {
    survives("close");
}

#[test]
fn an_answer_that_is_later_than_the_timeout_costs_no_run() {
    survives("delay:1500");
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

/// Every fault at every event, 20 runs each, as a table: `cargo test --test delivery -- --ignored --nocapture table`.
#[test]
#[ignore = "takes some 20 minutes"]
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
