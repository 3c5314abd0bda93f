//! Recordings: what is in one, and that a worker answers to one as it did.
//!
//! `tests/recordings/*.jsonl` are faults of the field. `cargo test --test replay -- --ignored record` makes them anew, for
//! when the worker answers to one of them otherwise on purpose.

mod faults;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lightning_mock::Direction;
use protocol::phoenix::{Frame, Payload};
use protocol::recording::{What, read};

use faults::{FAULTS, Fault, NAME, PASSWORD, record};
use support::{SECRET, output_of, said};

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings");

fn replay(file: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ws-worker"));
    output_of(command.arg("replay").arg(file).args(arguments))
}

fn assert_same(file: &Path) {
    let output = replay(file, &[]);
    let code = output.status.code();
    assert_eq!(code, Some(0), "{}:\n{}", file.display(), said(&output));
}

/// In a few threads, since most of the time goes into waits.
fn at_once<T: Sync>(all: &[T], each: impl Fn(&T) + Sync) {
    std::thread::scope(|scope| {
        for part in all.chunks(all.len().div_ceil(4)) {
            scope.spawn(|| part.iter().for_each(&each));
        }
    });
}

fn fault(name: &str) -> &'static Fault {
    let found = FAULTS.iter().find(|fault| fault.name == name);
    found.expect("there is such a fault")
}

fn kept(name: &str) -> PathBuf {
    Path::new(RECORDINGS).join(format!("{name}.jsonl"))
}

#[test]
fn the_worker_answers_to_every_recording_as_it_did() {
    let files = std::fs::read_dir(RECORDINGS).expect("the recordings are there");
    let files: Vec<PathBuf> = files
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    assert!(files.len() >= FAULTS.len(), "{files:?}");
    at_once(&files, |file| assert_same(file));
}

#[test]
fn what_was_recorded_a_moment_ago_is_answered_the_same() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    at_once(FAULTS, |fault| {
        let file = folder.path().join(fault.name);
        record(&file, fault, &[]);
        assert_same(&file);
    });
}

#[test]
#[ignore = "writes tests/recordings anew: cargo test --test replay -- --ignored record"]
fn record_the_faults() {
    std::fs::create_dir_all(RECORDINGS).expect("the folder can be made");
    at_once(FAULTS, |fault| {
        let file = kept(fault.name);
        // Else it would be kept under another name.
        std::fs::remove_file(&file).ok();
        record(&file, fault, &[]);
        assert_same(&file);
    });
}

#[test]
fn a_worker_that_answers_otherwise_is_told_so_in_fields() {
    let output = replay(&kept("plain"), &["--payload-memory", "20"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "run 00000001-0000-4000-8000-000000000000: run:log differs",
        r#"recorded  "Payload limit: 10mb""#,
        r#"now       "Payload limit: 20mb""#,
        "2 differences",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
}

#[test]
fn what_is_not_said_any_more_is_named_and_the_replay_goes_on() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("longer");
    let text = std::fs::read_to_string(kept("plain")).expect("the recording is there");
    let leave = r#""phx_leave""#;
    let more = text.lines().map(|line| {
        // As if a run had said something more before it left.
        let is_run = line.contains(leave) && line.contains("run:0000000");
        let before = line
            .replace(leave, r#""run:more""#)
            .replace(r#"","run:0"#, r#"00","run:0"#);
        let before = if is_run { before + "\n" } else { String::new() };
        before + line + "\n"
    });
    std::fs::write(&file, more.collect::<String>()).expect("it can be written");
    let output = replay(&file, &["--patience", "1"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("run:more is left out"), "{said}");
}

#[test]
fn what_is_no_recording_is_an_error_of_usage() {
    let output = replay(Path::new("Cargo.toml"), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("its first line is no header"));
    assert_eq!(replay(Path::new("nowhere"), &[]).status.code(), Some(2));
}

/// A recording's text, and the signatures of the tokens that the server has given out meanwhile.
fn recorded(further: &[&str]) -> (String, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("recording");
    let lightning = record(&file, fault("fails"), further);
    let text = std::fs::read_to_string(&file).expect("the recording is there");
    let events = lightning.events();
    let claims = events
        .iter()
        .filter_map(|event| event.payload["response"]["runs"].as_array());
    let tokens = claims.flatten().filter_map(|run| run["token"].as_str());
    let signature = |token: &str| token.rsplit('.').next().unwrap_or_default().to_owned();
    let signatures = tokens.map(signature).collect();
    // Every frame is as long as it was.
    let mut frames = 0;
    for record in read(&text).expect("it can be read").records {
        let What::Out(frame) = &record.what else {
            continue;
        };
        let frame = Frame::decode_text(frame).expect("the worker sends frames");
        let Payload::Json(payload) = &frame.payload else {
            panic!("the worker sends JSON")
        };
        let sent = events.iter().find(|event| {
            event.direction == Direction::FromWorker
                && event.reference == frame.reference
                && event.topic == frame.topic.as_str()
        });
        if let Some(sent) = sent {
            frames += 1;
            assert_eq!(
                payload.get().len(),
                sent.payload.to_string().len(),
                "{}",
                frame.event
            );
        }
    }
    assert!(frames > 40, "{frames} frames");
    (text, signatures)
}

#[test]
fn secrets_are_in_no_recording_and_data_only_where_it_was_asked_for() {
    let (without, signatures) = recorded(&[]);
    let (with, more) = recorded(&["--record-data"]);
    assert_eq!(signatures.len() + more.len(), 4);
    for (text, signatures) in [(&without, signatures), (&with, more)] {
        assert!(!text.contains(PASSWORD) && !text.contains(SECRET));
        for signature in signatures {
            assert!(!text.contains(&signature));
        }
        // What is needed to replay it.
        assert!(text.contains("console.log"));
    }
    assert!(!without.contains(NAME) && with.contains(NAME));
}
