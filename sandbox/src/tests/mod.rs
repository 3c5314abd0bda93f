//! What holds of every process, confined or not; and what native code finds.

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod egress;
#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod syscalls;

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use crate::{
    Confinement, Limits, Network, Processes, Root, SandboxMode, Spec, locate, missing, output,
    spawn,
};

const LONG: Duration = Duration::from_secs(60);

/// What `sh` is started for, with the lowest demands on the machine.
fn shell(script: &str) -> Spec {
    let sh = locate(Path::new("sh"), None).unwrap();
    spec(sh.to_str().unwrap(), &["-c".as_ref(), script.as_ref()])
}

/// A program that is given nothing.
pub(crate) fn spec(program: &str, args: &[&OsStr]) -> Spec {
    let temporary = std::env::temp_dir();
    Spec {
        program: program.into(),
        args: args.iter().map(Into::into).collect(),
        env: Vec::new(),
        current_dir: "/".into(),
        sockets: false,
        root: Root::create_below(&temporary).unwrap(),
        egress: None,
        confinement: Confinement {
            mode: SandboxMode::Auto,
            readable: Vec::new(),
            writable: Vec::new(),
            executable: Vec::new(),
            processes: Processes::Forbidden,
            network: Network::Internet,
            limits: Limits::default(),
            memory: None,
        },
    }
}

#[tokio::test]
async fn a_program_has_the_environment_that_it_was_given_and_a_folder_of_its_own() {
    let mut spec = shell(
        "echo $GIVEN; echo $TMPDIR; echo x > $TMPDIR/file && cat $HOME/file; export -p; exit 3",
    );
    spec.confinement.processes = Processes::Allowed;
    spec.confinement.executable = vec![locate(Path::new("cat"), None).unwrap()];
    spec.env = vec![("GIVEN".into(), "this".into())];
    let output = output(&spec, LONG).await.unwrap();
    assert_eq!(output.status.and_then(|status| status.code()), Some(3));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines[0], lines[2]), ("this", "x"), "{text}");
    assert!(!Path::new(lines[1]).exists());
    assert!(!text.contains("CARGO"), "{text}");
}

#[tokio::test]
async fn the_sockets_are_descriptors_three_and_four() {
    let mut spec = shell("read command <&3; echo \"$command back\" >&4");
    spec.sockets = true;
    let confined = spawn(&spec).unwrap();
    let mut sockets = confined.sockets.unwrap();
    sockets.commands.write_all(b"there and\n").await.unwrap();
    let mut event = String::new();
    sockets.events.read_to_string(&mut event).await.unwrap();
    assert_eq!(event, "there and back\n");
    assert!(confined.reaper.reap().await.unwrap().success());
}

/// A program that starts another, which holds its output open and would for ever.
async fn with_a_child(
    then: &str,
) -> (
    crate::Control,
    crate::Reaper,
    BufReader<tokio::process::ChildStdout>,
) {
    let mut spec = shell(&format!("sleep 1000 & echo started; {then}"));
    spec.confinement.processes = Processes::Allowed;
    spec.confinement.executable = vec![locate(Path::new("sleep"), None).unwrap()];
    let confined = spawn(&spec).unwrap();
    let mut stdout = BufReader::new(confined.stdout.unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).await.unwrap();
    assert_eq!(line, "started\n");
    (confined.control, confined.reaper, stdout)
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    let (_control, reaper, mut stdout) = with_a_child("exit 0").await;
    assert!(reaper.reap().await.unwrap().success());
    assert_eq!(stdout.read_to_end(&mut Vec::new()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_killed_program_ends_with_what_it_has_started() {
    let (control, reaper, mut stdout) = with_a_child("wait").await;
    drop(control);
    assert!(!reaper.reap().await.unwrap().success());
    assert_eq!(stdout.read_to_end(&mut Vec::new()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_killed_and_what_it_said_is_kept() {
    let mut spec = shell("echo begun; exec sleep 1000");
    spec.confinement.executable = vec![locate(Path::new("sleep"), None).unwrap()];
    let output = output(&spec, Duration::from_secs(1)).await.unwrap();
    assert_eq!(output.status, None);
    assert_eq!(output.stdout, b"begun\n");
}

#[tokio::test]
async fn strict_starts_nothing_where_a_layer_is_missing() {
    let mut spec = shell("exit 0");
    spec.confinement.mode = SandboxMode::Strict;
    let started = output(&spec, LONG).await;
    match missing().first() {
        None => assert!(started.unwrap().status.unwrap().success()),
        Some(missing) => {
            let why = started.unwrap_err().to_string();
            assert_eq!(why, format!("the sandbox needs {missing}"));
        }
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let why = spawn(&spec("/nowhere/node", &[])).unwrap_err().to_string();
    assert!(
        why.starts_with("/nowhere/node cannot be started: "),
        "{why}"
    );
}
