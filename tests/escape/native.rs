//! Native code in a job, which asks the kernel itself. A job writes such a file into its folder, or has one in an adaptor, and
//! loads it in one line.

#![expect(clippy::print_stdout, reason = "a test says why it was skipped")]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Command;

use nix::unistd::geteuid;
use serde_json::Value;

use super::support::lightning;
use super::support::rows::{ended, enqueue, one};
use super::{ESCAPE, NOBODY_SPECIAL, Stage};

/// Compiles the attempts; `None` where there is no compiler.
fn compile(target: &Path) -> io::Result<Option<()>> {
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(target)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/escape/native.c"
        ));
    match cc.status() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("skipped: there is no C compiler (cc)");
            Ok(None)
        }
        status => {
            assert!(status?.success(), "the attempts do not compile");
            Ok(Some(()))
        }
    }
}

/// What came of each attempt of a job's native code in a worker of `user`'s.
fn outcomes(user: u32) -> io::Result<Option<BTreeMap<String, String>>> {
    let stage = Stage::new(user)?;
    let library = stage.path("monorepo/native.node");
    if compile(&library)?.is_none() {
        return Ok(None);
    }
    let lightning = lightning();
    let _worker = stage.worker(&lightning);
    let body = format!(
        "{ESCAPE} fn(() => {{
            try {{ process.dlopen({{ exports: {{}} }}, '{}'); }} catch {{ /* It registers nothing. */ }}
            const memory = process.memoryUsage().rss > 0;
            return {{ memory, text: fs.readFileSync(temporary + '/native', 'utf8') }};
        }})",
        library.display()
    );
    let run = ended(&lightning, &enqueue(&lightning, &one(&body)));
    let found = run
        .final_state
        .unwrap_or_else(|| panic!("{:?}", run.error_message));
    assert_eq!(found["memory"], Value::Bool(true));
    let text = found["text"].as_str().unwrap_or_default();
    let outcomes = text.lines().filter_map(|line| line.split_once(':'));
    Ok(Some(
        outcomes
            .map(|(what, outcome)| (what.to_owned(), outcome.trim().to_owned()))
            .collect(),
    ))
}

/// What must come of them.
const EXPECTED: &[(&str, &str)] = &[
    ("shared memory", "EPERM"),
    ("message queue", "EPERM"),
    ("semaphore", "EPERM"),
    ("POSIX queue", "EPERM"),
    ("memfd", "EPERM"),
    ("shared mapping", "EPERM"),
    ("pipe", "done"),
    ("large pipe", "EPERM"),
    ("socket pair", "EPERM"),
    ("owner of a descriptor", "EPERM"),
    ("owner of a descriptor, extended", "EPERM"),
    ("signal of a descriptor", "EPERM"),
    ("stream socket", "done"),
    ("owner of a socket", "EPERM"),
    ("group of a socket", "EPERM"),
    ("death of the worker", "EPERM"),
    ("session", "EPERM"),
    ("setxattrat", "EPERM"),
    ("open_tree_attr", "EPERM"),
    ("file_setattr", "EPERM"),
    ("call of the future", "ENOSYS"),
    ("packet socket", "EPERM"),
    ("raw socket", "EPERM"),
    ("flags of an interface", "EPERM"),
    ("other user", "EPERM"),
];

fn reaches_nothing(user: u32) -> io::Result<()> {
    let Some(found) = outcomes(user)? else {
        return Ok(());
    };
    let wrong: Vec<_> = EXPECTED
        .iter()
        .filter(|(what, wanted)| found.get(*what).is_none_or(|found| found != wanted))
        .map(|(what, wanted)| format!("{what}: {:?}, not {wanted}", found.get(*what)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn native_code_in_a_job_gets_nowhere() -> io::Result<()> {
    reaches_nothing(geteuid().as_raw())
}

/// The same as another user; only the superuser can become one.
#[test]
fn native_code_in_a_job_of_an_ordinary_user_s_worker_gets_nowhere() -> io::Result<()> {
    if geteuid().is_root() {
        reaches_nothing(NOBODY_SPECIAL)?;
    }
    Ok(())
}
