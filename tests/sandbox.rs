//! `--sandbox` on kernels that have all of it and on those that have not.

mod support;

use std::process::Command;

use lightning_mock::MockServer;
use nix::libc;

use support::kernel::{Lack, without};
use support::rows::{Row, SUCCESS, check, one};
use support::{MONOREPO, Worker, command_with_engine, lightning, output_of, said};

const NO_LANDLOCK: Lack = Lack::Call(libc::SYS_landlock_create_ruleset);
const NO_SECCOMP: Lack = Lack::Call(libc::SYS_seccomp);

fn worker(lightning: &MockServer, sandbox: &str) -> Command {
    worker_with(lightning, sandbox, "heap")
}

fn worker_with(lightning: &MockServer, sandbox: &str, memory: &str) -> Command {
    let mut command = command_with_engine(lightning);
    command
        .args(["--monorepo-dir", MONOREPO, "--capacity", "1"])
        .args(["--sandbox", sandbox, "--memory-enforcement", memory]);
    command
}

fn executes_a_run(lightning: &MockServer) {
    let good = Row::new("a run", one("fn(s => s)")).step("a", SUCCESS);
    check(lightning, vec![good]);
}

/// The lines in which the worker has spoken of the sandbox until now.
fn said_of_the_sandbox(worker: &Worker) -> Vec<String> {
    let mut lines = worker.first_lines().to_vec();
    lines.extend(worker.log());
    lines.retain(|line| line.contains("sandboxed"));
    lines
}

fn refuses(lack: Lack, missing: &str) {
    let lightning = lightning();
    let output = without(lack, || output_of(&worker(&lightning, "strict")));
    assert_eq!(output.status.code(), Some(70), "{}", said(&output));
    let why = format!("the sandbox is not whole; missing: {missing}");
    assert!(said(&output).contains(&why), "{}", said(&output));
}

fn goes_on(lack: Lack, missing: &str) {
    let lightning = lightning();
    let worker = without(lack, || Worker::start(&mut worker(&lightning, "auto")));
    executes_a_run(&lightning);
    executes_a_run(&lightning);
    let told = said_of_the_sandbox(&worker);
    let line = format!("engine children are sandboxed in part only; missing: {missing}");
    assert!(told.len() == 1 && told[0].contains(&line), "{told:?}");
}

#[test]
fn strict_starts_where_all_is_there() {
    let lightning = lightning();
    let worker = Worker::start(&mut worker(&lightning, "strict"));
    executes_a_run(&lightning);
    let told = said_of_the_sandbox(&worker);
    let line = "engine children are sandboxed by Landlock and seccomp";
    assert!(told.len() == 1 && told[0].contains(line), "{told:?}");
}

/// As in most containers. Where the worker can write its cgroup, it starts.
#[test]
fn strict_refuses_to_start_without_a_cgroup_unless_a_watch_on_memory_will_do() {
    let lightning = lightning();
    let command = worker_with(&lightning, "strict", "auto");
    let mut check = Command::new(command.get_program());
    check.args(["check", "--sandbox", "strict"]);
    let checked = output_of(&check);
    if said(&checked).contains("enforced by the kernel") {
        println!("skipped: this worker has a cgroup");
        return;
    }
    let wanted = "no cgroup with a memory controller is writable, which --sandbox strict needs";
    assert!(said(&checked).contains(wanted), "{}", said(&checked));
    let output = output_of(&command);
    assert_eq!(output.status.code(), Some(70), "{}", said(&output));
    let why = "--sandbox strict needs one, unless --memory-enforcement heap says";
    assert!(said(&output).contains(why), "{}", said(&output));
}

#[test]
fn strict_refuses_to_start_without_landlock() {
    refuses(NO_LANDLOCK, "Landlock: this kernel has none");
}

#[test]
fn strict_refuses_to_start_without_seccomp() {
    refuses(NO_SECCOMP, "seccomp: ");
}

#[test]
fn auto_says_once_that_there_is_no_landlock_and_goes_on() {
    goes_on(NO_LANDLOCK, "Landlock: this kernel has none");
}

#[test]
fn auto_says_once_that_there_is_no_seccomp_and_goes_on() {
    goes_on(NO_SECCOMP, "seccomp: ");
}

/// Without it, nobody learns that a job connects.
const NO_EGRESS: Lack = Lack::Request(libc::SECCOMP_IOCTL_NOTIF_RECV);

#[test]
fn strict_refuses_to_start_without_egress_control() {
    refuses(NO_EGRESS, "egress control: seccomp's user notification");
}

#[test]
fn auto_says_once_that_there_is_no_egress_control_and_goes_on() {
    goes_on(NO_EGRESS, "egress control: seccomp's user notification");
}

#[test]
fn check_says_what_of_egress_control_there_is() {
    let check = |arguments: &[&str]| {
        let mut check = Command::new(env!("CARGO_BIN_EXE_ws-worker"));
        check.arg("check").args(arguments);
        check
    };
    let output = output_of(&check(&["--deny-egress", "10.0.0.0/8"]));
    let wanted = "denied to jobs: 169.254.0.0/16, ";
    assert!(said(&output).contains(wanted), "{}", said(&output));
    assert!(
        said(&output).contains("own-port, 10.0.0.0/8"),
        "{}",
        said(&output)
    );
    let output = output_of(&check(&["--sandbox", "off"]));
    assert!(
        said(&output).contains("not controlled (--sandbox off)"),
        "{}",
        said(&output)
    );
    let output = without(NO_EGRESS, || output_of(&check(&["--sandbox", "strict"])));
    let wanted = "missing: egress control: seccomp's user notification";
    assert!(said(&output).contains(wanted), "{}", said(&output));
}

#[test]
fn check_names_what_is_missing() {
    let mut check = Command::new(env!("CARGO_BIN_EXE_ws-worker"));
    check.args(["check", "--sandbox", "strict"]);
    let output = without(NO_LANDLOCK, || output_of(&check));
    let wanted = "missing: Landlock: this kernel has none, which --sandbox strict needs";
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains(wanted), "{}", said(&output));
}

/// As some orchestrators and unit files start it.
#[test]
fn a_worker_without_a_path_finds_node_where_the_system_would_and_says_so_when_it_does_not() {
    let node = Command::new("node").env_remove("PATH").arg("-v").output();
    if node.is_err() {
        println!("skipped: Node is not where the system looks without PATH");
        return;
    }
    let lightning = lightning();
    let mut command = worker(&lightning, "auto");
    // npm itself needs a PATH, for the first scenario that installs the engine.
    executes_a_run_with(&mut worker(&lightning, "auto"), &lightning);
    executes_a_run_with(command.env_remove("PATH"), &lightning);

    let empty = tempfile::tempdir().unwrap();
    let nowhere = command.env("PATH", empty.path());
    let ended = nowhere
        .args(["--engine-validation-retries", "0"])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(70), "{}", said(&ended));
    assert!(
        said(&ended).contains("node: not found on PATH"),
        "{}",
        said(&ended)
    );
    let checked = Command::new(nowhere.get_program())
        .env("PATH", empty.path())
        .arg("check")
        .args(nowhere.get_args().skip(1))
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(1), "{}", said(&checked));
    assert!(
        said(&checked).contains("node: not found on PATH"),
        "{}",
        said(&checked)
    );
}

fn executes_a_run_with(command: &mut Command, lightning: &MockServer) {
    let _worker = Worker::start(command);
    executes_a_run(lightning);
}
