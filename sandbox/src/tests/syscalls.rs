//! The sandbox against native code: a program that makes the calls themselves, without Node.
#![expect(
    unsafe_code,
    reason = "only raw system calls show what the kernel answers"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;

use super::spec;
use crate::SandboxMode;
use crate::platform::Prepared;
use crate::pre_exec;

/// Names the file whose mode the probe tries to change.
const VICTIM: &str = "PROBE_VICTIM";

/// Makes the calls inside the sandbox; started by the test below.
#[test]
#[ignore = "a part of the test below"]
fn probe() {
    let victim = std::env::var(VICTIM).unwrap();
    let victim = std::ffi::CString::new(victim).unwrap();
    // SAFETY: arguments that are null or numbers, and a path that lives; what is not denied has no effect on this process.
    let call = |name: &str, number: i64, arguments: [i64; 4]| {
        let [a, b, c, d] = arguments;
        let answer = unsafe { libc::syscall(number, a, b, c, d, 0_i64) };
        if answer == 0 && number == libc::SYS_clone {
            // SAFETY: a process that should not exist, which runs nothing of its parent's.
            unsafe { libc::_exit(0) };
        }
        let answer = if answer < 0 {
            Errno::last().to_string()
        } else {
            "allowed".to_owned()
        };
        println!(
            "\nprobe: {name}: {}",
            answer.split(':').next().unwrap_or_default()
        );
    };
    let parent = i64::from(nix::unistd::getppid().as_raw());
    let stream = i64::from(libc::SOCK_STREAM);
    let nothing = [0; 4];
    call(
        "ptrace",
        libc::SYS_ptrace,
        [i64::from(libc::PTRACE_SEIZE), parent, 0, 0],
    );
    call("read memory", libc::SYS_process_vm_readv, [parent, 0, 0, 0]);
    call("open a process", libc::SYS_pidfd_open, [parent, 0, 0, 0]);
    call(
        "new process",
        libc::SYS_clone,
        [i64::from(libc::SIGCHLD), 0, 0, 0],
    );
    call("signal", libc::SYS_kill, [parent, 0, 0, 0]);
    call("signal a thread", libc::SYS_tgkill, [parent, parent, 0, 0]);
    let own = i64::from(std::process::id());
    call("signal itself", libc::SYS_kill, [own, 0, 0, 0]);
    call("priority", libc::SYS_setpriority, [0, parent, 0, 0]);
    call("limits of another", libc::SYS_prlimit64, [parent, 0, 0, 0]);
    call("own limits", libc::SYS_prlimit64, nothing);
    call("namespace", libc::SYS_unshare, nothing);
    call("mount", libc::SYS_mount, nothing);
    call("keys", libc::SYS_keyctl, nothing);
    call("io_uring", libc::SYS_io_uring_setup, nothing);
    call("watch names", libc::SYS_inotify_init1, nothing);
    call("bpf", libc::SYS_bpf, nothing);
    call(
        "unix socket",
        libc::SYS_socket,
        [i64::from(libc::AF_UNIX), stream, 0, 0],
    );
    call(
        "netlink",
        libc::SYS_socket,
        [i64::from(libc::AF_NETLINK), i64::from(libc::SOCK_RAW), 0, 0],
    );
    call(
        "raw socket",
        libc::SYS_socket,
        [i64::from(libc::AF_INET), i64::from(libc::SOCK_RAW), 1, 0],
    );
    call(
        "internet socket",
        libc::SYS_socket,
        [i64::from(libc::AF_INET6), stream, 0, 0],
    );
    let path = victim.as_ptr() as i64;
    call(
        "mode",
        libc::SYS_fchmodat,
        [i64::from(libc::AT_FDCWD), path, 0o777, 0],
    );
    call("truncate by name", libc::SYS_truncate, [path, 0, 0, 0]);
    let truncates = i64::from(libc::O_RDONLY | libc::O_TRUNC);
    call(
        "truncate by opening",
        libc::SYS_openat,
        [i64::from(libc::AT_FDCWD), path, truncates, 0],
    );
    call("shared memory", libc::SYS_shmget, [0, 4096, 0o1600, 0]);
    call(
        "memory without a name",
        libc::SYS_memfd_create,
        [path, 0, 0, 0],
    );
    let owner = [0, i64::from(libc::F_SETOWN), parent, 0];
    call("signals of a descriptor", libc::SYS_fcntl, owner);
    let death = [i64::from(libc::PR_SET_PDEATHSIG), 0, 0, 0];
    call("outliving the worker", libc::SYS_prctl, death);
    call("a newer call", 463, nothing);
    call("a call of the future", 900, nothing);
    #[cfg(target_arch = "x86_64")]
    call("x32", 0x4000_0000 | libc::SYS_getpid, nothing);
}

#[test]
fn native_code_in_a_child_reaches_no_other_process_and_no_kernel_interface() {
    reaches_nothing(|_| {});
}

#[test]
fn nor_does_it_where_landlock_is_old_or_missing() {
    reaches_nothing(Prepared::without_landlock);
}

/// Runs the probe in a sandbox with this change.
fn reaches_nothing(change: impl FnOnce(&mut Prepared)) {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    std::fs::write(&victim, "").unwrap();
    let mode = || std::fs::metadata(&victim).unwrap().permissions().mode();
    let before = mode();
    let program = std::env::current_exe().unwrap();
    let mut spec = spec(program.to_str().unwrap(), &[]);
    spec.confinement.mode = SandboxMode::Strict;
    let nowhere = Path::new("/nowhere");
    let mut prepared = Prepared::build(
        &spec.confinement,
        &spec.program,
        &spec.current_dir,
        nowhere,
        None,
    )
    .unwrap();
    change(&mut prepared);
    let mut command = Command::new(&program);
    command
        .args([
            "--exact",
            "--ignored",
            "--nocapture",
            "tests::syscalls::probe",
        ])
        .env(VICTIM, &victim);
    pre_exec::prepare(&mut command, None, prepared);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let answers: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("probe: "))
        .collect();
    let mut expected = vec![
        "ptrace: EPERM",
        "read memory: EPERM",
        "open a process: EPERM",
        "new process: EPERM",
        "signal: EPERM",
        "signal a thread: EPERM",
        "signal itself: allowed",
        "priority: EPERM",
        "limits of another: EPERM",
        "own limits: allowed",
        "namespace: EPERM",
        "mount: EPERM",
        "keys: EPERM",
        "io_uring: EPERM",
        "watch names: EPERM",
        "bpf: EPERM",
        "unix socket: EPERM",
        "netlink: EPERM",
        "raw socket: EPERM",
        "internet socket: allowed",
        "mode: allowed",
        "truncate by name: EPERM",
        "truncate by opening: EPERM",
        "shared memory: EPERM",
        "memory without a name: EPERM",
        "signals of a descriptor: EPERM",
        "outliving the worker: EPERM",
        "a newer call: EPERM",
        "a call of the future: ENOSYS",
    ];
    if cfg!(target_arch = "x86_64") {
        expected.push("x32: ENOSYS");
    }
    assert_eq!(answers, expected, "{output:?}");
    assert_eq!(mode(), before);
}
