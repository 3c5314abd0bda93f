//! Native code in a job, which asks the kernel itself. A job writes such a file into its folder, or has one in an adaptor, and
//! loads it in one line.

#![expect(clippy::print_stdout, reason = "a test says why it was skipped")]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Command;

use nix::unistd::geteuid;
use serde_json::Value;

use super::support::rows::{ended, enqueue, one};
use super::support::{Worker, lightning};
use super::{ESCAPE, NOBODY_SPECIAL, Stage};

/// Compiles a source of this folder; `None` where there is no compiler.
pub(crate) fn compile(source: &str, options: &[&str], target: &Path) -> io::Result<Option<()>> {
    let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/escape"));
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-pthread", "-O1"])
        .args(options)
        .arg("-o")
        .arg(target)
        .arg(sources.join(source));
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

/// Loads a library, which does what it does while that goes on.
pub(crate) fn load(library: &Path) -> String {
    let library = library.display();
    format!(
        "try {{ process.dlopen({{ exports: {{}} }}, '{library}'); }} catch {{ /* It registers nothing. */ }}"
    )
}

/// What came of each attempt of a job's native code in a worker of `user`'s.
fn outcomes(user: u32) -> io::Result<Option<BTreeMap<String, String>>> {
    let stage = Stage::new(user)?;
    let library = stage.path("monorepo/native.node");
    if compile("native.c", &[], &library)?.is_none() {
        return Ok(None);
    }
    let lightning = lightning();
    let _worker = stage.worker(&lightning);
    let body = format!(
        "{ESCAPE} fn(() => {{
            {load}
            const memory = process.memoryUsage().rss > 0;
            return {{ memory, text: fs.readFileSync(temporary + '/native', 'utf8') }};
        }})",
        load = load(&library)
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
    ("large socket", "EPERM"),
    ("descriptors of its own", "EPERM"),
    ("thread with descriptors of its own", "EPERM"),
    ("route of a socket", "EPERM"),
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
    ("CapInh", NO_CAPABILITIES),
    ("CapPrm", NO_CAPABILITIES),
    ("CapEff", NO_CAPABILITIES),
    ("CapAmb", NO_CAPABILITIES),
    ("/proc/self/net/tcp", "EACCES"),
    ("/proc/thread-self/net/tcp", "EACCES"),
    ("/proc/self/mountinfo", "EACCES"),
    ("/proc/self/mounts", "EACCES"),
    ("/proc/self/stat", "done"),
    ("/proc/self/maps", "done"),
    ("/proc/self/status", "done"),
];

const NO_CAPABILITIES: &str = "0000000000000000";

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
    // Others cannot give these up, nor gain them.
    assert!(user != 0 || found["CapBnd"] == NO_CAPABILITIES, "{found:?}");
    Ok(())
}

/// Ends a run whose job loads native code that hides what it takes; with what, and that the next run succeeds.
fn hides(options: &[&str]) -> io::Result<Option<(String, String)>> {
    let stage = Stage::new(geteuid().as_raw())?;
    let library = stage.path("monorepo/hiding.node");
    // Node refuses it, and would unmap what its threads execute.
    let options = [options, &["-Wl,-z,nodelete"]].concat();
    if compile("hiding.c", &options, &library)?.is_none() {
        return Ok(None);
    }
    let lightning = lightning();
    let _worker = stage.worker(&lightning);
    let never = "return new Promise((resolve) => setTimeout(resolve, 100_000));";
    let body = format!("{ESCAPE} fn(() => {{ {} {never} }})", load(&library));
    let run = ended(&lightning, &enqueue(&lightning, &one(&body)));
    let next = ended(&lightning, &enqueue(&lightning, &one("fn(s => s)")));
    assert_eq!(next.state.to_string(), "success");
    Ok(Some((
        run.state.to_string(),
        run.error_type.unwrap_or_default(),
    )))
}

/// What a job says of its process.
fn told(body: &str, arguments: &[&str]) -> io::Result<Vec<Value>> {
    let stage = Stage::new(geteuid().as_raw())?;
    let lightning = lightning();
    let mut command = stage.command(&lightning);
    command.args(arguments);
    let _worker = Worker::start(&mut command);
    let both = [(); 2].map(|()| enqueue(&lightning, &one(body)));
    let said = both.map(|id| {
        let run = ended(&lightning, &id);
        run.final_state
            .unwrap_or_else(|| panic!("{:?}", run.error_message))
    });
    Ok(said.into())
}

/// Each process of a worker that is the superuser is a user of its own, if the worker may do all that this takes.
#[test]
fn processes_of_the_superuser_s_worker_are_users_of_their_own() -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let body = format!(
        "{ESCAPE} fn(() => {{
            fs.writeFileSync(temporary + '/own', 'x');
            const {{ uid, mode }} = fs.statSync(temporary);
            return {{ user: process.getuid(), group: process.getgid(), groups: process.getgroups(), uid, mode: mode & 0o777 }};
        }})"
    );
    let check = Command::new(env!("CARGO_BIN_EXE_ws-worker"))
        .arg("check")
        .output()?;
    let check = String::from_utf8_lossy(&check.stdout).into_owned();
    let own = check.contains("users is on");
    println!("users of their own: {own}");
    let said = told(&body, &[])?;
    for said in &said {
        let user = said["user"].as_u64().unwrap_or_default();
        assert_eq!(own, (60_578..=61_183).contains(&user), "{said}");
        assert!(said["group"] == user && said["uid"] == user, "{said}");
        assert_eq!(said["mode"], 0o700);
    }
    assert_eq!(own, said[0]["user"] != said[1]["user"], "{said:?}");
    Ok(())
}

#[test]
fn a_process_whose_first_thread_has_ended_does_not_hide_its_memory() -> io::Result<()> {
    if let Some(ending) = hides(&[])? {
        assert_eq!(ending, ("killed".to_owned(), "OOMError".to_owned()));
    }
    Ok(())
}

#[test]
fn a_process_with_thousands_of_threads_is_killed() -> io::Result<()> {
    if let Some(ending) = hides(&["-DTHREADS"])? {
        assert_eq!(ending, ("killed".to_owned(), "OOMError".to_owned()));
    }
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
