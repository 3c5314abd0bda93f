//! The operator's log of a run in the real engine.

use lightning_mock::{MockLightning, RunState};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{DEADLINE, MONOREPO, SECRET, Worker};

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
            let message = line["msg"].as_str().expect("a message");
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
