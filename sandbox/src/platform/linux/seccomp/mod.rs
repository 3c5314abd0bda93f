//! The system calls that a program may make, by a list of what Node and the adaptors need ([`calls`]).
//!
//! Landlock decides on files; what it does not cover is decided here: other processes, sockets other than those of the internet,
//! memory that outlives a process, and the metadata of files, which anybody of their owner's user may change however well their
//! content is protected. So is what only its newer versions cover, signals and truncation: the kernel of Debian 12 has an old one.

mod calls;
mod sockets;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, sock_filter,
};

use self::calls::{ALLOWED, Call, IGNORED, NEWEST, TO_START_OTHERS, UNKNOWN};
use crate::error::Missing;
use crate::spec::{Network, Processes};

/// The programs, in the order in which they are installed. One has one answer to whatever it matches.
///
/// # Errors
/// What is missing, where the architecture is not known or the kernel takes no filters.
pub(super) fn filters(processes: Processes, network: Network) -> Result<Vec<BpfProgram>, Missing> {
    // Asked once: the answer is the same for as long as the worker lives.
    static USABLE: OnceLock<Result<(), Missing>> = OnceLock::new();
    let usable = USABLE.get_or_init(|| try_out(processes, network).map_err(missing));
    usable.clone()?;
    programs(processes, network).map_err(|error| missing(error.into()))
}

/// Why a program cannot be kept from calls.
#[derive(Debug, thiserror::Error)]
enum SeccompError {
    /// The architecture is not known.
    #[error(transparent)]
    Build(#[from] BackendError),
    /// The kernel or the container refuses.
    #[error(transparent)]
    Install(#[from] seccompiler::Error),
    /// The thread that tried it has died.
    #[error("its filters cannot be tried out")]
    TryOut,
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn missing(error: SeccompError) -> Missing {
    Missing {
        layer: "seccomp",
        why: error.to_string(),
    }
}

/// What the filters do, for the operator.
pub(super) fn summary() -> String {
    let calls = allowed(Processes::Forbidden, Network::Internet).map_or(0, |calls| calls.len());
    let calls = calls.saturating_sub(IGNORED.len() + UNKNOWN.len());
    format!("{calls} calls are allowed, some with some arguments only, and no others")
}

/// Whether filters can be installed here, which a container may deny: by a thread that ends with them.
fn try_out(processes: Processes, network: Network) -> Result<(), SeccompError> {
    let programs = programs(processes, network)?;
    let installs = move || {
        let mut programs = programs.iter();
        programs.try_for_each(|program| seccompiler::apply_filter(program))
    };
    let installed = std::thread::spawn(installs).join();
    Ok(installed.map_err(|_| SeccompError::TryOut)??)
}

fn programs(processes: Processes, network: Network) -> Result<Vec<BpfProgram>, BackendError> {
    let answered = |calls: &'static [Call]| calls.iter().map(|(_, number)| *number);
    let mut list = without_newer();
    list.extend(filter(
        allowed(processes, network)?,
        SeccompAction::Allow,
        libc::EPERM,
    )?);
    Ok(vec![
        filter(
            unconditional(answered(UNKNOWN)),
            SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
            0,
        )?,
        filter(unconditional(answered(IGNORED)), SeccompAction::Errno(0), 0)?,
        // The last one, for it does not let others be installed.
        list,
    ])
}

type Calls = BTreeMap<i64, Vec<SeccompRule>>;

fn unconditional(calls: impl Iterator<Item = i64>) -> Calls {
    calls.map(|call| (call, Vec::new())).collect()
}

/// A program that answers these calls like this, and others with this error; without one it has nothing against them.
fn filter(calls: Calls, answer: SeccompAction, errno: i32) -> Result<BpfProgram, BackendError> {
    let others = match errno {
        0 => SeccompAction::Allow,
        errno => SeccompAction::Errno(errno.unsigned_abs()),
    };
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(calls, others, answer, arch)?.try_into()
}

/// All that may be called, with the arguments it may be called with.
fn allowed(processes: Processes, network: Network) -> Result<Calls, BackendError> {
    let groups = ALLOWED.iter().flat_map(|group| group.calls);
    let names = groups.chain(IGNORED).chain(UNKNOWN);
    let mut calls = unconditional(names.map(|(_, number)| *number));
    calls.insert(libc::SYS_prlimit64, one_of(0, &[0])?);
    calls.insert(libc::SYS_prctl, one_of(0, PRCTL)?);
    calls.insert(libc::SYS_fcntl, one_of(1, FCNTL)?);
    calls.insert(libc::SYS_ioctl, one_of(1, IOCTL)?);
    calls.insert(libc::SYS_mmap, memory_of_its_own()?);
    calls.insert(libc::SYS_openat, opening(2)?);
    calls.insert(libc::SYS_close_range, of_all_threads()?);
    #[cfg(target_arch = "x86_64")]
    calls.insert(libc::SYS_open, opening(1)?);
    match processes {
        Processes::Forbidden => {
            calls.insert(libc::SYS_clone, threads()?);
            for call in [libc::SYS_kill, libc::SYS_tgkill] {
                calls.insert(call, one_of(0, &[OWN_PID])?);
            }
        }
        Processes::Allowed => {
            calls.extend(unconditional(
                TO_START_OTHERS.calls.iter().map(|(_, number)| *number),
            ));
            calls.insert(libc::SYS_clone, without_namespaces()?);
            for call in [libc::SYS_kill, libc::SYS_tgkill] {
                calls.insert(call, not_the_worker()?);
            }
        }
    }
    if network == Network::Internet {
        calls.insert(libc::SYS_socket, sockets::kinds()?);
        calls.insert(libc::SYS_setsockopt, sockets::options()?);
    }
    Ok(calls)
}

/// The beginning of a program: it answers calls that nobody has looked at, and those of the x32 ABI, whose numbers are higher
/// still, as an older kernel would.
fn without_newer() -> BpfProgram {
    let number = 0;
    let deny = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    let line = |code: u32, jt, jf, k| sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt,
        jf,
        k,
    };
    vec![
        line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, number),
        line(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 0, 1, NEWEST),
        line(libc::BPF_RET | libc::BPF_K, 0, 0, deny),
    ]
}

/// What a process may ask of itself: names of threads and of memory, and to be seen by fewer. Not, for one, to outlive its
/// worker (`PR_SET_PDEATHSIG`).
const PRCTL: &[u32] = &[
    libc::PR_SET_NAME.unsigned_abs(),
    libc::PR_GET_NAME.unsigned_abs(),
    libc::PR_SET_VMA.unsigned_abs(),
    libc::PR_GET_DUMPABLE.unsigned_abs(),
    libc::PR_SET_DUMPABLE.unsigned_abs(),
    libc::PR_CAPBSET_READ.unsigned_abs(),
    libc::PR_GET_NO_NEW_PRIVS.unsigned_abs(),
    libc::PR_GET_SECCOMP.unsigned_abs(),
];

/// What may be asked of a descriptor. Not to have signals sent (`F_SETOWN`, `F_SETSIG`, `F_NOTIFY`, leases), and no larger
/// buffers for pipes.
const FCNTL: &[u32] = &[
    libc::F_DUPFD.unsigned_abs(),
    libc::F_DUPFD_CLOEXEC.unsigned_abs(),
    libc::F_GETFD.unsigned_abs(),
    libc::F_SETFD.unsigned_abs(),
    libc::F_GETFL.unsigned_abs(),
    libc::F_SETFL.unsigned_abs(),
    libc::F_GETLK.unsigned_abs(),
    libc::F_SETLK.unsigned_abs(),
    libc::F_SETLKW.unsigned_abs(),
    libc::F_OFD_GETLK.unsigned_abs(),
    libc::F_OFD_SETLK.unsigned_abs(),
    libc::F_OFD_SETLKW.unsigned_abs(),
];

/// What may be asked of a device or socket: to block or not, what is there to read, whether it is a terminal and how large; and
/// to share the blocks of a file with another. Not to have signals sent (`FIOSETOWN`, `SIOCSPGRP`), nothing of interfaces.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the numbers have 32 bits, whatever the C library's type"
)]
const IOCTL: &[u32] = &[
    libc::FIONBIO as u32,
    libc::FIOCLEX as u32,
    libc::FIONCLEX as u32,
    libc::FIONREAD as u32,
    libc::TCGETS as u32,
    libc::TIOCGWINSZ as u32,
    libc::FICLONE as u32,
];

fn condition(
    argument: u8,
    operation: SeccompCmpOp,
    value: u32,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        operation,
        u64::from(value),
    )
}

/// An argument that is one of these values.
fn one_of(argument: u8, values: &[u32]) -> Result<Vec<SeccompRule>, BackendError> {
    let rule = |value: &u32| SeccompRule::new(vec![condition(argument, SeccompCmpOp::Eq, *value)?]);
    values.iter().map(rule).collect()
}

/// A mapping of a file, or of memory that no other mapping can be of. What is shared without a file stays in memory when most of
/// it is unmapped, and is then counted nowhere.
fn memory_of_its_own() -> Result<Vec<SeccompRule>, BackendError> {
    let [shared, anonymous] = [libc::MAP_SHARED, libc::MAP_ANONYMOUS].map(i32::unsigned_abs);
    let is = |mask: u32| condition(3, SeccompCmpOp::MaskedEq(u64::from(mask)), 0);
    Ok(vec![
        SeccompRule::new(vec![is(shared)?])?,
        SeccompRule::new(vec![is(anonymous)?])?,
    ])
}

/// The argument that has the flags of a `clone`.
const CLONE_FLAGS: u8 = 0;

/// What a thread shares with the others of its process. One with descriptors of its own would have them counted by nobody.
const THREAD: i32 =
    libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_FILES | libc::CLONE_FS;

/// A clone that makes a thread.
fn threads() -> Result<Vec<SeccompRule>, BackendError> {
    let thread = THREAD.unsigned_abs();
    let is_one = SeccompCmpOp::MaskedEq(u64::from(thread));
    let seen_alike = without(NAMESPACES)?;
    Ok(vec![SeccompRule::new(vec![
        condition(CLONE_FLAGS, is_one, thread)?,
        seen_alike,
    ])?])
}

/// Closing that leaves the descriptors those of all threads.
fn of_all_threads() -> Result<Vec<SeccompRule>, BackendError> {
    let unshare = SeccompCmpOp::MaskedEq(u64::from(libc::CLOSE_RANGE_UNSHARE));
    Ok(vec![SeccompRule::new(vec![condition(2, unshare, 0)?])?])
}

/// A clone that makes a thread or a process that sees what this one does.
fn without_namespaces() -> Result<Vec<SeccompRule>, BackendError> {
    Ok(vec![SeccompRule::new(vec![without(NAMESPACES)?])?])
}

fn without(flags: i32) -> Result<SeccompCondition, BackendError> {
    let flags = SeccompCmpOp::MaskedEq(u64::from(flags.unsigned_abs()));
    condition(CLONE_FLAGS, flags, 0)
}

/// The flags of a `clone` into other namespaces.
const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// A signal to a process that is neither the worker nor all that there are. Where the kernel can, Landlock refuses more.
fn not_the_worker() -> Result<Vec<SeccompRule>, BackendError> {
    let everybody = u32::MAX;
    Ok(vec![SeccompRule::new(vec![
        condition(0, SeccompCmpOp::Ne, std::process::id())?,
        condition(0, SeccompCmpOp::Ne, everybody)?,
    ])?])
}

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

/// Opening that does not truncate, or that asks to write as well. Opening for reading asks Landlock for no more than that, and
/// old ones truncate all the same.
fn opening(flags: u8) -> Result<Vec<SeccompRule>, BackendError> {
    let [mode, truncates, writes, both] =
        [libc::O_ACCMODE, libc::O_TRUNC, libc::O_WRONLY, libc::O_RDWR].map(i32::unsigned_abs);
    let is = |mask: u32, value| {
        let rule = condition(flags, SeccompCmpOp::MaskedEq(u64::from(mask)), value)?;
        SeccompRule::new(vec![rule])
    };
    Ok(vec![is(truncates, 0)?, is(mode, writes)?, is(mode, both)?])
}

#[cfg(test)]
mod tests;
