//! The operator's log of a run in the real engine.

use std::collections::HashSet;

use lightning_mock::{Fault, MockLightning, RunState};
use log_events::fields::{self, Kind};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::http::{ask, get, put};
use crate::support::{DEADLINE, MONOREPO, SECRET, Worker, eventually, lightning, plan};

const PASSWORD: &str = "correct horse battery staple";

#[test]
fn every_line_of_a_run_in_the_real_engine_names_it_and_none_holds_its_data() {
    let lightning = MockLightning::builder()
        .secret(Some(SECRET))
        .credential("c-1", json!({"password": PASSWORD}))
        .spawn_thread()
        .expect("the mock starts on a free port");
    let body =
        "chats('the password is'); fn(s => { console.log(s.configuration.password); return s; });";
    let id = lightning
        .enqueue(json!({
            "queue": "manual",
            "triggers": [{"id": "t"}],
            "jobs": [{
                "id": "j", "name": "Job", "credential_id": "c-1", "body": body,
                "adaptor": "@openfn/language-test@local",
            }],
            "edges": [{"source_trigger_id": "t", "target_job_id": "j"}],
        }))
        .expect("the plan is one");
    let trace = ["--log", "trace", "--log-format", "json"];
    let worker = Worker::with_engine(
        &lightning,
        &[&trace[..], &["--monorepo-dir", MONOREPO]].concat(),
    );
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Success, "{:?}", run.log_texts());

    let mut lines = worker.first_lines().to_vec();
    worker.signal(Signal::SIGTERM);
    lines.extend(worker.until_ended());
    assert!(!lines.concat().contains(PASSWORD));
    let of_the_run: Vec<String> = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"))
        .filter_map(|line| {
            let message = line["body"].as_str().expect("a message");
            if message.contains(&id) {
                assert_eq!(line["run_id"], id, "{line}");
            }
            (line["run_id"] == id).then(|| message.to_owned())
        })
        .collect();
    for said in [
        "claimed by workloop",
        "preparing run",
        "Using local version of @openfn/language-test@local",
        "goes to engine child",
        "was loaded by a",
        "bytes to its output in run",
        "-> run:",
        "ended: success",
    ] {
        let found = of_the_run.iter().any(|line| line.contains(said));
        assert!(found, "{said}: {of_the_run:#?}");
    }
}

/// Fails unless a line is what the table of events says of it; gives its event.
fn checked(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).expect("a line is JSON");
    let level = line["severity_text"].as_str().expect("a level");
    let Some(name) = line["event"].as_str() else {
        assert!(
            ["DEBUG", "TRACE"].contains(&level),
            "a line without an event at {level}: {line}"
        );
        return None;
    };
    let event = log_events::named(name).unwrap_or_else(|| panic!("{name} is not in the table"));
    assert_eq!(level, event.level.as_str(), "{line}");
    let own = [
        "timestamp",
        "severity_text",
        "severity_number",
        "scope",
        "event",
        "body",
    ];
    for (key, value) in line.as_object().expect("an object") {
        // A run is named on every line that is written on its behalf.
        if own.contains(&key.as_str()) || key == "run_id" {
            continue;
        }
        assert!(event.has(key), "{name} has no field {key}: {line}");
        let field = fields::named(key).expect("a described field");
        let fits = match field.kind {
            Kind::Text => value.is_string(),
            Kind::Number => value.is_u64(),
        };
        assert!(fits, "{key} is no {}: {line}", field.kind.name());
    }
    Some(name.to_owned())
}

#[test]
fn every_line_of_a_days_life_is_as_the_table_of_events_says() {
    let lightning = lightning();
    let worker = Worker::with_mock_engine(
        &lightning,
        &[
            "--log",
            "trace",
            "--log-format",
            "json",
            "--message-timeout",
            "1",
        ],
    );
    let succeeds = |body: &str| {
        let id = lightning.enqueue(plan(body, "manual")).unwrap();
        lightning.wait_for(&id, DEADLINE).unwrap()
    };
    // A run that succeeds, one that fails, a report and a claim that are refused, a channel that crashes.
    assert_eq!(succeeds("fn(s => s)").state, RunState::Success);
    succeeds("fn(s => { throw new Error('no'); })");
    lightning.fault(
        "run:log",
        Fault::Refuse(json!({"errors": {"message": ["no"]}})),
    );
    succeeds("fn(s => { console.log('hello'); return s; })");
    lightning.fault("claim", Fault::Refuse(json!({"reason": "busy"})));
    lightning.fault("step:start", Fault::Crash);
    succeeds("fn(s => s)");
    // Lightning goes away and comes back.
    lightning.disconnect_all();
    succeeds("fn(s => s)");
    worker.signal(Signal::SIGTERM);
    let lines = [worker.first_lines().to_vec(), worker.until_ended()].concat();
    let seen: HashSet<String> = lines.iter().filter_map(|line| checked(line)).collect();
    for wanted in [
        "worker.starting",
        "worker.listening",
        "workloop.opened",
        "lightning.connected",
        "run.claimed",
        "run.started",
        "run.ended",
        "event.retried",
        "run.rejoins",
        "claim.failed",
        "lightning.lost",
        "worker.stop_requested",
        "worker.draining",
        "worker.ended",
    ] {
        assert!(seen.contains(wanted), "{wanted} is missing in {seen:?}");
    }
}

#[test]
fn a_run_is_one_line_at_info_which_says_all() {
    let lightning = lightning();
    let worker = Worker::with_mock_engine(&lightning, &["--log", "info", "--log-format", "json"]);
    let mut plan = plan("fn(s => s)", "manual");
    plan["options"] = json!({});
    let id = lightning.enqueue(plan).unwrap();
    lightning.wait_for(&id, DEADLINE).unwrap();
    worker.signal(Signal::SIGTERM);
    let lines = [worker.first_lines().to_vec(), worker.until_ended()].concat();
    let of_run: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .filter(|line: &Value| line["run_id"] == id.as_str())
        .collect();
    assert_eq!(of_run.len(), 1, "{of_run:#?}");
    let line = &of_run[0];
    assert_eq!(line["event"], "run.ended");
    assert_eq!(line["reason"], "success");
    assert_eq!(line["steps"], 1);
    assert!(line["duration_ms"].is_u64(), "{line}");
    assert_eq!(line["workloop"], "manual>*:5", "{line}");
}

#[test]
fn google_cloud_gets_its_own_names() {
    let lightning = lightning();
    let worker = Worker::with_mock_engine(&lightning, &["--log-format", "gcp"]);
    worker.signal(Signal::SIGTERM);
    for line in [worker.first_lines().to_vec(), worker.until_ended()].concat() {
        let line: Value = serde_json::from_str(&line).expect("a line is JSON");
        for name in ["time", "severity", "message"] {
            assert!(line[name].is_string(), "{line}");
        }
    }
}

#[test]
fn the_log_becomes_louder_while_the_worker_runs_and_goes_back() {
    let lightning = lightning();
    let worker = Worker::with_mock_engine(&lightning, &["--log", "info,actors::run=warn"]);
    let url = worker.url();
    let filter =
        || -> Value { serde_json::from_str(&get(url, "/log").body).expect("GET /log is JSON") };
    assert_eq!(filter()["filter"], "info,actors::run=warn");

    let answer = put(url, "/log?for=60", "trace");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(filter()["filter"], "trace");
    assert_eq!(filter()["configured"], "info,actors::run=warn");
    let id = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    lightning.wait_for(&id, DEADLINE).unwrap();
    worker.waits_for_line("claimed by workloop");

    assert_eq!(ask(url, "DELETE", "/log", &[]).status, 200);
    assert_eq!(filter()["filter"], "info,actors::run=warn");
    worker.signal(Signal::SIGUSR1);
    eventually("the log is a step louder", || {
        filter()["filter"] == "debug,actors::run=warn"
    });

    for (query, body) in [
        ("", "verbose"),
        ("", ""),
        ("?for=soon", "debug"),
        ("?for=86401", "debug"),
    ] {
        let answer = put(url, &format!("/log{query}"), body);
        assert_eq!(answer.status, 400, "{query} {body}: {}", answer.body);
    }
}
