//! Phoenix's own JavaScript client, in two versions, agrees with lightning-mock on the wire.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use lightning_mock::{MockLightning, RunState};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const FILES: [&str; 3] = ["package.json", "package-lock.json", "worker.mjs"];

/// The client's folder with its packages installed, in the target folder, once for all tests here.
fn client_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/phoenix_client");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("phoenix_client");
        fs::create_dir_all(&folder).unwrap();
        for file in FILES {
            fs::copy(source.join(file), folder.join(file)).unwrap();
        }
        let output = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder)
            .output()
            .expect("npm is installed");
        assert!(output.status.success(), "npm ci failed: {}", text(&output));
        folder
    })
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn claims_and_completes_a_run(client: &str) {
    let mock = MockLightning::spawn_thread().unwrap();
    let input = json!({ "data": { "name": "Zoë" } });
    let id = mock
        .enqueue(json!({ "jobs": [{ "id": "a", "body": "fn(s => s)" }], "dataclip": input }))
        .unwrap();
    let endpoint = mock.ws_url();
    let folder = client_folder();
    let worker = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            Command::new("node")
                .args(["worker.mjs", client, &endpoint])
                .current_dir(folder)
                .output()
                .expect("node is installed")
        });
        // Joined by then, so it hears the push.
        let started = mock.wait_event(PATIENCE, |event| event.is_from(&id, "run:start"));
        mock.work_available();
        let output = worker.join().unwrap();
        started.unwrap_or_else(|error| panic!("{error}\n{}", text(&output)));
        output
    });
    assert!(worker.status.success(), "{}", text(&worker));
    let seen: Value = serde_json::from_slice(&worker.stdout).unwrap();
    assert_eq!(
        seen,
        json!({ "id": id, "plan": id, "binary": true, "input": input, "closed": 0 })
    );
    let run = mock.wait_for(&id, PATIENCE).unwrap();
    assert_eq!(run.state, RunState::Success);
    assert_eq!(run.final_state, Some(input));
    assert!(mock.refusals().is_empty(), "{:?}", mock.refusals());
}

#[test]
fn phoenix_1_7_claims_and_completes_a_run() {
    claims_and_completes_a_run("phoenix-1.7");
}

#[test]
fn phoenix_1_8_claims_and_completes_a_run() {
    claims_and_completes_a_run("phoenix-1.8");
}
