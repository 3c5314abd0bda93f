//! What the filters answer, by running them as the kernel does.

use super::*;

/// A call as a filter sees it.
#[derive(Clone, Copy, Default)]
struct Made {
    number: u32,
    arguments: [u64; 6],
}

const ARCH: u32 = if cfg!(target_arch = "x86_64") {
    0xc000_003e
} else {
    0xc000_00b7
};

impl Made {
    fn word(self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => ARCH,
            _ => {
                let at = usize::try_from(offset - 16).unwrap();
                let argument = self.arguments[at / 8];
                let half = if at % 8 == 0 {
                    argument
                } else {
                    argument >> 32
                };
                u32::try_from(half & u64::from(u32::MAX)).unwrap()
            }
        }
    }
}

fn answer_of(program: &BpfProgram, made: Made) -> u32 {
    run(program, made).0
}

fn steps(program: &BpfProgram, made: Made) -> usize {
    run(program, made).1
}

/// The answer, and how many lines it took.
fn run(program: &BpfProgram, made: Made) -> (u32, usize) {
    let (mut accumulator, mut at, mut steps) = (0_u32, 0_usize, 0);
    loop {
        steps += 1;
        let line = &program[at];
        at += 1;
        let code = u32::from(line.code);
        let jump = |taken: bool| usize::from(if taken { line.jt } else { line.jf });
        match code & 0x07 {
            libc::BPF_LD => accumulator = made.word(line.k),
            libc::BPF_RET => return (line.k, steps),
            libc::BPF_ALU => accumulator &= line.k,
            libc::BPF_JMP => {
                at += match code & 0xf0 {
                    libc::BPF_JA => usize::try_from(line.k).unwrap(),
                    libc::BPF_JEQ => jump(accumulator == line.k),
                    libc::BPF_JGT => jump(accumulator > line.k),
                    libc::BPF_JGE => jump(accumulator >= line.k),
                    libc::BPF_JSET => jump(accumulator & line.k != 0),
                    other => panic!("a jump that the filters did not have: {other}"),
                }
            }
            other => panic!("a line that the filters did not have: {other}"),
        }
    }
}

use Answer::{Allowed, Error};
const EPERM: Answer = Error(libc::EPERM);

fn judge(filter: &BpfProgram, made: Made) -> Answer {
    let answer = answer_of(filter, made);
    match answer & 0xffff_0000 {
        libc::SECCOMP_RET_ALLOW => Allowed,
        libc::SECCOMP_RET_ERRNO => Error(i32::try_from(answer & 0xffff).unwrap()),
        other => panic!("no answer that the filter gives: {other:x}"),
    }
}

fn of_engine() -> BpfProgram {
    filter(Processes::Forbidden, Network::Internet).unwrap()
}

fn call(filter: &BpfProgram, number: i64, arguments: &[i64]) -> Answer {
    let mut made = Made {
        number: u32::try_from(number).unwrap(),
        ..Made::default()
    };
    for (place, argument) in made.arguments.iter_mut().zip(arguments) {
        *place = argument.cast_unsigned();
    }
    judge(filter, made)
}

/// Whoever adds a call to the table adds it here, and has said that he looked at it.
#[cfg(target_arch = "x86_64")]
const EVERY_ALLOWED_CALL: &str = "\
    accept accept4 access arch_prctl bind brk capget chdir clock_getres clock_gettime clock_nanosleep clone close \
    close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 \
    epoll_wait eventfd eventfd2 execve exit exit_group faccessat faccessat2 fadvise64 fallocate fchdir fcntl fdatasync \
    flock fstat fstatfs fsync ftruncate futex get_robust_list getcpu getcwd getdents64 getegid geteuid getgid getgroups \
    getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage \
    getsid getsockname getsockopt gettid gettimeofday getuid ioctl kill link linkat listen lseek lstat madvise membarrier \
    mkdir mkdirat mlock mlock2 mmap mprotect mremap msync munlock munmap nanosleep newfstatat open openat pipe pipe2 \
    pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64 pselect6 pwrite64 pwritev \
    pwritev2 read readlink readlinkat readv recvfrom recvmmsg recvmsg rename renameat renameat2 restart_syscall rmdir rseq \
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait sched_get_priority_max \
    sched_get_priority_min sched_getaffinity sched_getparam sched_getscheduler sched_yield select sendfile sendmmsg \
    sendmsg sendto set_robust_list set_tid_address setitimer setsockopt shutdown sigaltstack socket stat statfs statx \
    symlink symlinkat sync_file_range sysinfo tgkill time timer_create timer_delete timer_getoverrun timer_gettime \
    timer_settime timerfd_create timerfd_gettime timerfd_settime times umask uname unlink unlinkat wait4 waitid write \
    writev";

/// Those whose arguments decide.
const BY_ARGUMENT: &[(&str, i64)] = &[
    ("SYS_clone", libc::SYS_clone),
    ("SYS_close_range", libc::SYS_close_range),
    ("SYS_fcntl", libc::SYS_fcntl),
    ("SYS_ioctl", libc::SYS_ioctl),
    ("SYS_kill", libc::SYS_kill),
    ("SYS_mmap", libc::SYS_mmap),
    ("SYS_openat", libc::SYS_openat),
    ("SYS_prctl", libc::SYS_prctl),
    ("SYS_prlimit64", libc::SYS_prlimit64),
    ("SYS_setsockopt", libc::SYS_setsockopt),
    ("SYS_socket", libc::SYS_socket),
    ("SYS_tgkill", libc::SYS_tgkill),
];

#[cfg(target_arch = "x86_64")]
#[test]
fn every_allowed_call_is_named_here_and_nothing_else_is_allowed() {
    let filter = of_engine();
    let named = ALLOWED.iter().flat_map(|group| group.calls);
    let mut numbers: BTreeMap<i64, &str> = named
        .chain(BY_ARGUMENT)
        .map(|(name, number)| (*number, *name))
        .collect();
    numbers.insert(libc::SYS_open, "SYS_open");
    let by_argument: Vec<_> = BY_ARGUMENT.iter().map(|(_, number)| *number).collect();
    let mut allowed = Vec::new();
    for number in 0..=i64::from(NEWEST) {
        if call(&filter, number, &[]) == Allowed || by_argument.contains(&number) {
            let name = numbers.get(&number).copied().unwrap_or("without a name");
            allowed.push(name.trim_start_matches("SYS_"));
        }
    }
    allowed.sort_unstable();
    assert_eq!(allowed.join(" "), EVERY_ALLOWED_CALL);
}

#[test]
fn each_call_is_found_in_a_few_steps() {
    let filter = of_engine();
    for number in 0..=NEWEST {
        let made = Made {
            number,
            ..Made::default()
        };
        // By halves, and then its arguments: the longest list has twelve.
        let steps = steps(&filter, made);
        assert!(steps <= 64, "{number}: {steps}");
    }
}

#[test]
fn every_group_says_why() {
    assert!(ALLOWED.iter().all(|group| group.reason.len() > 20));
    assert!(TO_START_OTHERS.reason.len() > 20);
}

#[test]
fn calls_that_nobody_has_looked_at_do_not_exist_and_known_ones_are_refused() {
    let filter = of_engine();
    for unknown in [i64::from(NEWEST) + 1, 9999, 0x4000_0027] {
        assert_eq!(call(&filter, unknown, &[]), Error(libc::ENOSYS));
    }
    // setxattrat, open_tree_attr, file_setattr, listns: newer than the deny-list that was here before.
    for known in [463, 467, 469, 470] {
        assert_eq!(call(&filter, known, &[]), EPERM);
    }
    assert_eq!(call(&filter, libc::SYS_clone3, &[]), Error(libc::ENOSYS));
    assert_eq!(call(&filter, libc::SYS_fchmodat, &[]), Error(0));
}

#[test]
fn memory_that_outlives_a_process_or_is_not_counted_with_it_is_refused() {
    let filter = of_engine();
    for refused in [
        libc::SYS_shmget,
        libc::SYS_shmat,
        libc::SYS_msgget,
        libc::SYS_msgsnd,
        libc::SYS_semget,
        libc::SYS_mq_open,
        libc::SYS_memfd_create,
        libc::SYS_memfd_secret,
        libc::SYS_socketpair,
        libc::SYS_vmsplice,
    ] {
        assert_eq!(call(&filter, refused, &[]), EPERM, "{refused}");
    }
    let map = |flags: i32| call(&filter, libc::SYS_mmap, &[0, 4096, 3, flags.into(), -1, 0]);
    let (shared, anonymous) = (libc::MAP_SHARED, libc::MAP_ANONYMOUS);
    assert_eq!(map(shared | anonymous), EPERM);
    assert_eq!(map(libc::MAP_SHARED_VALIDATE | anonymous), EPERM);
    assert_eq!(map(libc::MAP_PRIVATE | anonymous), Allowed);
    assert_eq!(map(shared), Allowed);
    let enlarge = i64::from(libc::F_SETPIPE_SZ);
    assert_eq!(call(&filter, libc::SYS_fcntl, &[1, enlarge]), EPERM);
}

#[test]
fn nobody_is_made_to_send_signals_and_no_process_outlives_its_worker() {
    let filter = of_engine();
    for command in [
        libc::F_SETOWN,
        15, // F_SETOWN_EX
        10, // F_SETSIG
        libc::F_NOTIFY,
        libc::F_SETLEASE,
    ] {
        let answer = call(&filter, libc::SYS_fcntl, &[1, command.into()]);
        assert_eq!(answer, EPERM, "{command}");
    }
    let (fiosetown, siocspgrp) = (0x8901, 0x8902);
    for request in [fiosetown, siocspgrp, 0x8933, 0x5412] {
        let answer = call(&filter, libc::SYS_ioctl, &[1, request]);
        assert_eq!(answer, EPERM, "{request}");
    }
    for option in [
        libc::PR_SET_PDEATHSIG,
        libc::PR_SET_SECCOMP,
        libc::PR_SET_MM,
        libc::PR_SET_CHILD_SUBREAPER,
        libc::PR_SET_PTRACER,
    ] {
        let answer = call(&filter, libc::SYS_prctl, &[option.into()]);
        assert_eq!(answer, EPERM, "{option}");
    }
    let name = i64::from(libc::PR_SET_NAME);
    assert_eq!(call(&filter, libc::SYS_prctl, &[name]), Allowed);
}

#[test]
fn only_stream_and_datagram_sockets_of_the_internet_are_opened() {
    let filter = of_engine();
    let open =
        |family: i32, kind: i32| call(&filter, libc::SYS_socket, &[family.into(), kind.into()]);
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    for family in [libc::AF_INET, libc::AF_INET6] {
        assert_eq!(open(family, libc::SOCK_STREAM | flags), Allowed);
        assert_eq!(open(family, libc::SOCK_DGRAM), Allowed);
        // 10 is SOCK_PACKET, 5 SOCK_SEQPACKET, 6 SOCK_DCCP.
        for kind in [libc::SOCK_RAW, 4, 5, 6, 10] {
            assert_eq!(open(family, kind), EPERM);
        }
    }
    for family in [libc::AF_UNIX, libc::AF_NETLINK, libc::AF_PACKET, 38, 40, 44] {
        assert_eq!(open(family, libc::SOCK_STREAM), EPERM);
    }
    let silent = super::filter(Processes::Forbidden, Network::Nobody).unwrap();
    let stream = [libc::AF_INET.into(), libc::SOCK_STREAM.into()];
    assert_eq!(call(&silent, libc::SYS_socket, &stream), EPERM);
}

#[test]
fn sockets_get_no_larger_buffers_and_no_routes() {
    let filter = of_engine();
    let set = |level: i32, option: i32| {
        call(
            &filter,
            libc::SYS_setsockopt,
            &[3, level.into(), option.into()],
        )
    };
    for (level, option) in [
        (libc::SOL_SOCKET, libc::SO_REUSEADDR),
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
        (libc::IPPROTO_TCP, libc::TCP_NODELAY),
        (libc::IPPROTO_IP, libc::IP_RECVERR),
        (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
    ] {
        assert_eq!(set(level, option), Allowed, "{level} {option}");
    }
    for (level, option) in [
        (libc::SOL_SOCKET, libc::SO_SNDBUF),
        (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE),
        (libc::SOL_SOCKET, libc::SO_BINDTODEVICE),
        (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER),
        (libc::IPPROTO_IP, libc::IP_OPTIONS),
        (libc::IPPROTO_IPV6, libc::IPV6_RTHDR),
        (libc::IPPROTO_TCP, libc::TCP_ULP),
        (libc::SOL_UDP, libc::UDP_SEGMENT),
    ] {
        assert_eq!(set(level, option), EPERM, "{level} {option}");
    }
}

#[test]
fn all_threads_have_the_descriptors_that_are_counted() {
    let filter = of_engine();
    let start = |flags: i32| call(&filter, libc::SYS_clone, &[flags.into()]);
    assert_eq!(start(THREAD | libc::CLONE_SETTLS), Allowed);
    assert_eq!(start(THREAD & !libc::CLONE_FILES), EPERM);
    let close = |flags: u32| call(&filter, libc::SYS_close_range, &[3, -1, flags.into()]);
    assert_eq!(close(libc::CLOSE_RANGE_CLOEXEC), Allowed);
    assert_eq!(close(libc::CLOSE_RANGE_UNSHARE), EPERM);
}

#[test]
fn who_may_start_others_makes_no_namespaces_and_does_not_signal_the_worker() {
    let filter = filter(Processes::Allowed, Network::Internet).unwrap();
    let start = |flags: i32| call(&filter, libc::SYS_clone, &[flags.into()]);
    assert_eq!(start(libc::SIGCHLD), Allowed);
    assert_eq!(start(libc::SIGCHLD | libc::CLONE_NEWUSER), EPERM);
    let kill = |pid: i64| call(&filter, libc::SYS_kill, &[pid, 9]);
    assert_eq!(kill(77), Allowed);
    assert_eq!((kill(std::process::id().into()), kill(-1)), (EPERM, EPERM));
}
