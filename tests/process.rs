//! The worker as a process: exit codes, the parent that forked it, and TLS to Lightning.

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lightning_mock::RunState;

use support::tls::TlsProxy;
use support::{DEADLINE, SECRET, Worker, command, lightning, output_of, plan, said};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/process")
        .join(name)
}

#[test]
fn a_node_parent_that_forks_the_worker_is_told_when_it_is_ready() {
    let lightning = lightning();
    let worker = command(&lightning);
    let output = output_of(
        Command::new("node")
            .arg(script("parent.mjs"))
            .arg(worker.get_program())
            .args(worker.get_args())
            .arg("--mock"),
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), "\"READY\"\n");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

/// As `-l ws://…` in one argument of an orchestrator brings it, and a variable that was read from a file.
#[test]
fn white_space_around_settings_keeps_no_worker_from_lightning() {
    let lightning = lightning();
    let id = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    let endpoint = format!("-l {}\n", lightning.ws_url());
    let mut command = command(&lightning);
    command
        .arg(endpoint)
        .arg("--mock")
        .env("WORKER_CAPACITY", " 2\n");
    let _worker = Worker::start(&mut command);
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Success);
}

#[test]
fn a_run_token_signed_by_a_stranger_ends_the_worker_with_1_and_no_run_is_begun() {
    let lightning = lightning();
    let stranger = include_str!("../protocol/tests/fixtures/keys/public_pkcs1.pem");
    let id = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    let output = output_of(command(&lightning).args([
        "--mock",
        "--lightning-public-key",
        &STANDARD.encode(stranger),
    ]));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains(&id), "{}", said(&output));
    assert!(
        !lightning
            .events()
            .iter()
            .any(|event| event.is_from(&id, "phx_join"))
    );
}

#[test]
fn an_engine_that_cannot_be_started_ends_the_worker_with_70_and_what_was_claimed_is_reported() {
    let lightning = lightning();
    let nothing = tempfile::tempdir().unwrap();
    let id = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    let output = output_of(
        command(&lightning)
            .arg("--engine-dir")
            .arg(nothing.path())
            .args(["--engine-validation-retries", "1"]),
    );
    assert_eq!(output.status.code(), Some(70), "{}", said(&output));
    assert!(
        said(&output).contains("has no main.cjs"),
        "{}",
        said(&output)
    );
    // Claimed while the engine was still being started.
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(
        (run.state, run.error_type.as_deref()),
        (RunState::Exception, Some("WorkerShutdown"))
    );
}

#[test]
fn bad_settings_end_the_worker_with_1_and_unknown_flags_with_2() {
    let lightning = lightning();
    for (arguments, code, named) in [
        (["--lightning-public-key", "nonsense"], 1, "public key"),
        (["--workloops", "manual"], 1, "manual"),
        (["--no-such-flag", "x"], 2, "--no-such-flag"),
    ] {
        let output = output_of(command(&lightning).args(arguments));
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(named), "{}", said(&output));
    }
}

#[test]
fn a_worker_connects_over_tls_to_a_certificate_that_the_system_trusts() {
    let lightning = lightning();
    let proxy = TlsProxy::to(lightning.port());
    let id = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    let _worker = Worker::start(
        Command::new(env!("CARGO_BIN_EXE_ws-worker"))
            .args(["start", "--mock", "--port", "0", "--host", "127.0.0.1"])
            .args(["--lightning", &proxy.url(), "--secret", SECRET])
            .env("SSL_CERT_FILE", proxy.certificate()),
    );
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Success);
}

#[test]
fn a_certificate_that_nobody_trusts_is_refused_and_the_log_says_so() {
    let lightning = lightning();
    let proxy = TlsProxy::to(lightning.port());
    let mut worker = Command::new(env!("CARGO_BIN_EXE_ws-worker"))
        .args(["start", "--mock", "--port", "0", "--host", "127.0.0.1"])
        .args(["--lightning", &proxy.url(), "--secret", SECRET])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let refused = BufReader::new(worker.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find(|line| line.contains("certificate"));
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert!(refused.is_some());
    assert!(lightning.events().is_empty(), "{:?}", lightning.events());
}
