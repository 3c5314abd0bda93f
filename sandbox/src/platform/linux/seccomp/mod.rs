//! The system calls that a program may make, by a list of what Node and the adaptors need ([`calls`]).
//!
//! Landlock decides on files; what it does not cover is decided here: other processes, sockets other than those of the internet,
//! memory that outlives a process, and the metadata of files, which anybody of their owner's user may change however well their
//! content is protected. So is what only its newer versions cover, signals and truncation: the kernel of Debian 12 has an old one.

mod calls;
mod program;
mod sockets;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use nix::libc;
use seccompiler::BpfProgram;

use self::calls::{ALLOWED, Call, IGNORED, NEWEST, TO_START_OTHERS, UNKNOWN};
use self::program::{Answer, Condition, Rule, Test};
use crate::error::Missing;
use crate::spec::{Network, Processes};

/// The program to be installed.
///
/// # Errors
/// What is missing, where the architecture is not known or the kernel takes no filters.
pub(super) fn filter(processes: Processes, network: Network) -> Result<BpfProgram, Missing> {
    // Asked once: the answer is the same for as long as the worker lives.
    static USABLE: OnceLock<Result<(), Missing>> = OnceLock::new();
    let usable = USABLE.get_or_init(|| try_out(processes, network).map_err(missing));
    usable.clone()?;
    build(processes, network).map_err(missing)
}

/// Why a program cannot be kept from calls.
#[derive(Debug, thiserror::Error)]
enum SeccompError {
    /// The architecture is not known.
    #[error("the calls of {0} are not known")]
    Architecture(&'static str),
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

/// What the filter does, for the operator.
pub(super) fn summary() -> String {
    let answers = answers(Processes::Forbidden, Network::Internet);
    let allowed = answers
        .values()
        .filter(|answer| !matches!(answer, Answer::Error(_)));
    let calls = allowed.count();
    format!("{calls} calls are allowed, some with some arguments only, and no others")
}

/// Whether filters can be installed here, which a container may deny: by a thread that ends with them.
fn try_out(processes: Processes, network: Network) -> Result<(), SeccompError> {
    let program = build(processes, network)?;
    let installed = std::thread::spawn(move || seccompiler::apply_filter(&program)).join();
    Ok(installed.map_err(|_| SeccompError::TryOut)??)
}

fn build(processes: Processes, network: Network) -> Result<BpfProgram, SeccompError> {
    let answers = answers(processes, network).into_iter();
    let numbered = answers.filter_map(|(call, answer)| Some((u32::try_from(call).ok()?, answer)));
    program::build(&numbered.collect::<Vec<_>>(), NEWEST)
        .ok_or(SeccompError::Architecture(std::env::consts::ARCH))
}

/// The calls that are not just refused, by number.
type Answers = BTreeMap<i64, Answer>;

fn all<'a>(calls: impl IntoIterator<Item = &'a Call>, answer: &Answer) -> Answers {
    let calls = calls.into_iter();
    calls.map(|(_, number)| (*number, answer.clone())).collect()
}

/// What may be called, with the arguments it may be called with, and what is answered without being called.
fn answers(processes: Processes, network: Network) -> Answers {
    let groups = ALLOWED.iter().flat_map(|group| group.calls);
    let mut calls = all(groups, &Answer::Allowed);
    calls.extend(all(IGNORED, &Answer::Error(0)));
    calls.extend(all(UNKNOWN, &Answer::Error(libc::ENOSYS)));
    let mut decided = vec![
        (libc::SYS_prlimit64, one_of(0, &[0])),
        (libc::SYS_prctl, one_of(0, PRCTL)),
        (libc::SYS_fcntl, one_of(1, FCNTL)),
        (libc::SYS_ioctl, one_of(1, IOCTL)),
        (libc::SYS_mmap, memory_of_its_own()),
        (libc::SYS_openat, opening(2)),
        (libc::SYS_close_range, of_all_threads()),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, opening(1)),
    ];
    match processes {
        Processes::Forbidden => {
            decided.push((libc::SYS_clone, threads()));
            for call in [libc::SYS_kill, libc::SYS_tgkill] {
                decided.push((call, one_of(0, &[OWN_PID])));
            }
        }
        Processes::Allowed => {
            calls.extend(all(TO_START_OTHERS.calls, &Answer::Allowed));
            decided.push((libc::SYS_clone, without_namespaces()));
            for call in [libc::SYS_kill, libc::SYS_tgkill] {
                decided.push((call, not_the_worker()));
            }
        }
    }
    if network == Network::Internet {
        decided.push((libc::SYS_socket, sockets::kinds()));
        decided.push((libc::SYS_setsockopt, sockets::options()));
    }
    calls.extend(
        decided
            .into_iter()
            .map(|(call, rules)| (call, Answer::If(rules))),
    );
    calls
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

fn is(argument: u8, value: u32) -> Condition {
    let test = Test::Is(value);
    Condition { argument, test }
}

fn is_not(argument: u8, value: u32) -> Condition {
    let test = Test::IsNot(value);
    Condition { argument, test }
}

/// These bits of an argument have these values.
fn bits(argument: u8, mask: u32, value: u32) -> Condition {
    let test = Test::Bits { mask, value };
    Condition { argument, test }
}

/// An argument that is one of these values.
fn one_of(argument: u8, values: &[u32]) -> Vec<Rule> {
    values
        .iter()
        .map(|value| vec![is(argument, *value)])
        .collect()
}

/// A mapping of a file, or of memory that no other mapping can be of. What is shared without a file stays in memory when most of
/// it is unmapped, and is then counted nowhere.
fn memory_of_its_own() -> Vec<Rule> {
    let flags = [libc::MAP_SHARED, libc::MAP_ANONYMOUS].map(i32::unsigned_abs);
    flags.map(|flag| vec![bits(3, flag, 0)]).into()
}

/// The argument that has the flags of a `clone`.
const CLONE_FLAGS: u8 = 0;

/// What a thread shares with the others of its process. One with descriptors of its own would have them counted by nobody.
const THREAD: i32 =
    libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_FILES | libc::CLONE_FS;

/// A clone that makes a thread.
fn threads() -> Vec<Rule> {
    let thread = THREAD.unsigned_abs();
    let is_one = bits(CLONE_FLAGS, thread, thread);
    vec![vec![is_one, sees_what_others_see()]]
}

/// Closing that leaves the descriptors those of all threads.
fn of_all_threads() -> Vec<Rule> {
    vec![vec![bits(2, libc::CLOSE_RANGE_UNSHARE, 0)]]
}

/// A clone that makes a thread or a process that sees what this one does.
fn without_namespaces() -> Vec<Rule> {
    vec![vec![sees_what_others_see()]]
}

fn sees_what_others_see() -> Condition {
    bits(CLONE_FLAGS, NAMESPACES.unsigned_abs(), 0)
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
fn not_the_worker() -> Vec<Rule> {
    let everybody = u32::MAX;
    vec![vec![is_not(0, std::process::id()), is_not(0, everybody)]]
}

/// Stands for the process that the filter is installed in, which does not exist yet when it is built.
const OWN_PID: u32 = 0x7fff_fff1;

/// Puts the process that the filter is for into it; allocates nothing.
pub(super) fn set_own_pid(filter: &mut BpfProgram, pid: u32) {
    for line in filter.iter_mut().filter(|line| line.k == OWN_PID) {
        line.k = pid;
    }
}

/// Opening that does not truncate, or that asks to write as well. Opening for reading asks Landlock for no more than that, and
/// old ones truncate all the same.
fn opening(flags: u8) -> Vec<Rule> {
    let [mode, truncates, writes, both] =
        [libc::O_ACCMODE, libc::O_TRUNC, libc::O_WRONLY, libc::O_RDWR].map(i32::unsigned_abs);
    [(truncates, 0), (mode, writes), (mode, both)]
        .map(|(mask, value)| vec![bits(flags, mask, value)])
        .into()
}

#[cfg(test)]
mod tests;
