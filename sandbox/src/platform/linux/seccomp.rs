//! The system calls that a program may not make. Neither Node nor an adaptor needs them.
//!
//! Landlock decides on files; what it does not cover is here: other processes, sockets other than those of the internet, and
//! the metadata of files, which anybody of their owner's user may change however well their content is protected. So is what
//! only its newer versions cover, signals and truncation: the kernel of Debian 12 has an old one.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, sock_filter,
};

use crate::error::Missing;
use crate::spec::{Network, Processes};

/// The programs, in the order in which they are installed. One has one answer to whatever it matches.
///
/// # Errors
/// What is missing, where the architecture is not known or the kernel takes no filters.
pub(super) fn filters(processes: Processes, network: Network) -> Result<Vec<BpfProgram>, Missing> {
    // Asked once: the answer is the same for as long as the worker lives.
    static USABLE: OnceLock<Result<(), String>> = OnceLock::new();
    let usable = USABLE.get_or_init(|| try_out(processes, network)).clone();
    usable
        .and_then(|()| programs(processes, network))
        .map_err(|why| Missing {
            layer: "seccomp",
            why,
        })
}

/// Whether filters can be installed here, which a container may deny: by a thread that ends with them.
fn try_out(processes: Processes, network: Network) -> Result<(), String> {
    let programs = programs(processes, network)?;
    let installs = move || {
        let mut programs = programs.iter();
        programs.try_for_each(|program| seccompiler::apply_filter(program))
    };
    std::thread::spawn(installs)
        .join()
        .map_err(|_| "its filters cannot be tried out".to_owned())?
        .map_err(|error| error.to_string())
}

fn programs(processes: Processes, network: Network) -> Result<Vec<BpfProgram>, String> {
    let build = || -> Result<_, BackendError> {
        let mut denied = unconditional(DENIED);
        denied.insert(libc::SYS_prlimit64, vec![first_is_not(0)?]);
        if processes == Processes::Forbidden {
            denied.extend(unconditional(NEW_PROCESSES));
            denied.insert(libc::SYS_clone, vec![new_process()?]);
            for call in [libc::SYS_kill, libc::SYS_tgkill] {
                denied.insert(call, vec![first_is_not(OWN_PID)?]);
            }
        }
        let sockets = match network {
            Network::Internet => sockets()?,
            Network::Nobody => Vec::new(),
        };
        denied.insert(libc::SYS_socket, sockets);
        denied.insert(libc::SYS_openat, vec![truncates_unwritten(2)?]);
        #[cfg(target_arch = "x86_64")]
        denied.insert(libc::SYS_open, vec![truncates_unwritten(1)?]);
        Ok(vec![
            program(denied, libc::EPERM)?,
            // A filter can read the flags of their older forms, which callers fall back to when these do not exist.
            program(
                unconditional(&[libc::SYS_clone3, libc::SYS_openat2]),
                libc::ENOSYS,
            )?,
            program(unconditional(IGNORED), 0)?,
            #[cfg(target_arch = "x86_64")]
            without_x32(),
        ])
    };
    build().map_err(|error| error.to_string())
}

type Calls = BTreeMap<i64, Vec<SeccompRule>>;

fn unconditional(calls: &[i64]) -> Calls {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

/// A program that answers these calls with this error; with none, as if they had been made.
fn program(calls: Calls, errno: i32) -> Result<BpfProgram, BackendError> {
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(
        calls,
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        arch,
    )?
    .try_into()
}

/// Denies the calls of the x32 ABI, which have other numbers under the same architecture, where the kernel has it.
#[cfg(target_arch = "x86_64")]
fn without_x32() -> BpfProgram {
    const X32: u32 = 0x4000_0000;
    let (number, deny, allow) = (
        0,
        libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(),
        libc::SECCOMP_RET_ALLOW,
    );
    let line = |code: u32, jt, jf, k| sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt,
        jf,
        k,
    };
    vec![
        line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, number),
        line(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32),
        line(libc::BPF_RET | libc::BPF_K, 0, 0, deny),
        line(libc::BPF_RET | libc::BPF_K, 0, 0, allow),
    ]
}

/// A clone that does not make a thread.
fn new_process() -> Result<SeccompRule, BackendError> {
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    SeccompRule::new(vec![SeccompCondition::new(
        0,
        SeccompCmpArgLen::Qword,
        SeccompCmpOp::MaskedEq(thread),
        0,
    )?])
}

/// Sockets of any family but the two of the internet, and raw ones, which the superuser may open.
fn sockets() -> Result<Vec<SeccompRule>, BackendError> {
    let argument = |index, operation, value: i32| {
        let value = u64::from(value.unsigned_abs());
        SeccompCondition::new(index, SeccompCmpArgLen::Dword, operation, value)
    };
    let elsewhere = vec![
        argument(0, SeccompCmpOp::Ne, libc::AF_INET)?,
        argument(0, SeccompCmpOp::Ne, libc::AF_INET6)?,
    ];
    let kind = SeccompCmpOp::MaskedEq(SOCKET_TYPE);
    let raw = vec![argument(1, kind, libc::SOCK_RAW)?];
    Ok(vec![SeccompRule::new(elsewhere)?, SeccompRule::new(raw)?])
}

/// The bits of a socket's type that are not flags, as the kernel has them.
const SOCKET_TYPE: u64 = 0xf;

/// Stands for the process that the filters are installed in, which does not exist yet when they are built.
const OWN_PID: u32 = 0x7fff_fff1;

/// Puts the process that the filters are for into them; allocates nothing.
pub(super) fn set_own_pid(filters: &mut [BpfProgram], pid: u32) {
    for line in filters
        .iter_mut()
        .flatten()
        .filter(|line| line.k == OWN_PID)
    {
        line.k = pid;
    }
}

/// A call about a process, by its first argument.
fn first_is_not(process: u32) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Ne,
        u64::from(process),
    )?])
}

/// Opening for reading, which asks Landlock for no more than that, and truncating all the same.
fn truncates_unwritten(flags: u8) -> Result<SeccompRule, BackendError> {
    let [mode, truncates, reads] =
        [libc::O_ACCMODE, libc::O_TRUNC, libc::O_RDONLY].map(|bits| u64::from(bits.unsigned_abs()));
    SeccompRule::new(vec![SeccompCondition::new(
        flags,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(mode | truncates),
        truncates | reads,
    )?])
}

/// Besides `clone`, which threads are made by too.
const NEW_PROCESSES: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// Answered with "not permitted".
const DENIED: &[i64] = &[
    // Other processes: their memory, descriptors, priorities and places.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_kcmp,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_setsid,
    libc::SYS_setpgid,
    // Other views of the machine.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    // Files elsewhere, by name: their length and what happens to them.
    libc::SYS_truncate,
    libc::SYS_inotify_init1,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_inotify_init,
    libc::SYS_fanotify_init,
    // The kernel itself.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_quotactl,
];

/// Answered as if they had been made. They change the mode, owner, times and attributes of files, of which a job has none
/// that need any; a refusal would fail `fs.copyFile` and the unpacking of archives into the private folder.
const IGNORED: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
];

/// `fchmodat2`, the same number on every architecture; newer than our headers.
const FCHMODAT2: i64 = 452;
