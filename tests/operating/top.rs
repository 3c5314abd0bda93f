//! `ws-worker top`, in a terminal and without one.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;

use nix::pty::{Winsize, openpty};
use nix::sys::termios::tcgetattr;
use serde_json::Value;

use crate::support::http::{ask, get};
use crate::support::{DEADLINE, Worker, command, lightning, plan, said, until};

/// What `top` prints of these workers.
fn top(arguments: &[&str], token: Option<&str>) -> Output {
    let mut top = Command::new(env!("CARGO_BIN_EXE_ws-worker"));
    top.arg("top")
        .args(arguments)
        .env_remove("WORKER_HTTP_TOKEN");
    if let Some(token) = token {
        top.env("WORKER_HTTP_TOKEN", token);
    }
    top.output().expect("the program can be run")
}

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    format!("http://{address}")
}

#[test]
fn a_snapshot_tells_of_a_run_at_work() {
    let lightning = lightning();
    let id = lightning.enqueue(plan("wait(60000)", "manual")).unwrap();
    let worker = Worker::with_mock_engine(&lightning, &[]);
    until("the run is executing", || {
        let status: Value = serde_json::from_str(&get(worker.url(), "/status").body).unwrap();
        (status["runs"][0]["phase"] == "executing").then_some(())
    });
    let output = top(&["--once", worker.url()], None);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        worker.url(),
        "running",
        "queue joined",
        // The second slot may be claiming.
        " ■",
        "□□□  1 of 5 used",
        "Runs in hand: 1",
        &id,
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let path = format!("/runs/{id}");
    assert_eq!(ask(worker.url(), "DELETE", &path, &[]).status, 202);
    lightning.wait_for(&id, DEADLINE).unwrap();
}

#[test]
fn several_workers_are_a_table_and_one_that_does_not_answer_makes_the_exit_code_1() {
    let lightning = lightning();
    let worker = Worker::with_mock_engine(&lightning, &["--name", "the-first"]);
    let urls = format!("{},{}", worker.url(), nobody());
    // Without a terminal there is one snapshot, asked for or not.
    let output = top(&[&urls], None);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("  WORKER"), "{text}");
    for part in ["the-first", "it does not answer: ", "; trying again"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn a_worker_with_a_token_is_asked_with_it() {
    let lightning = lightning();
    let mut command = command(&lightning);
    let worker = Worker::start(command.args(["--mock", "--http-token", "a-token"]));
    let refused = top(&[worker.url()], None);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused).contains("--token or WORKER_HTTP_TOKEN"),
        "{}",
        said(&refused)
    );
    assert_eq!(top(&[worker.url()], Some("a-token")).status.code(), Some(0));
    assert_eq!(
        top(&["--token", "a-token", worker.url()], Some(""))
            .status
            .code(),
        Some(0)
    );
    assert_eq!(top(&["ws://worker:1"], None).status.code(), Some(2));
}

#[test]
fn in_a_terminal_it_shows_what_changes_until_q_and_leaves_the_terminal_as_it_was() {
    let lightning = lightning();
    let worker = Worker::with_mock_engine(&lightning, &[]);
    let size = Winsize {
        ws_row: 24,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = openpty(Some(&size), None).unwrap();
    let before = tcgetattr(&terminal.slave).unwrap();
    let slave = || Stdio::from(terminal.slave.try_clone().unwrap());
    let mut top = Command::new(env!("CARGO_BIN_EXE_ws-worker"))
        .args(["top", worker.url()])
        .env_remove("WORKER_HTTP_TOKEN")
        .stdin(slave())
        .stdout(slave())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut keyboard = File::from(terminal.master);
    let mut screen = keyboard.try_clone().unwrap();
    let (sender, written) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        // It ends with the terminal, or with the test.
        while let Ok(count) = screen.read(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            if count == 0 || sender.send(text).is_err() {
                return;
            }
        }
    });
    // Only what changes is written, so that words stand alone between moves of the cursor.
    let mut shown = String::new();
    let mut wait_for = |word: &str| {
        while !shown.contains(word) {
            shown.push_str(&written.recv_timeout(DEADLINE).expect(word));
        }
        shown.clear();
    };
    wait_for("joined,");
    drop(worker);
    wait_for("trying");
    keyboard.write_all(b"q").unwrap();
    wait_for("\u{1b}[?1049l");
    assert_eq!(top.wait().unwrap().code(), Some(0));
    assert_eq!(tcgetattr(&terminal.slave).unwrap(), before);
}
