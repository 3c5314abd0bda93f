//! The system calls that a program may make, with the reason for each group.
//!
//! Found by tracing Node 20 and 24 with all of their modules, worker threads, WebAssembly, TLS, the name service and native
//! crypto at work, and the bundler and npm for the last group; then read through by hand. What is not here is refused, so that
//! a call which a newer kernel brings is refused until somebody has looked at it.

use nix::libc;

/// A call with its name.
pub(super) type Call = (&'static str, i64);

/// Calls that are allowed for one reason.
pub(super) struct Group {
    /// Why a program needs them.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for whoever reads the table, and its test")
    )]
    pub(super) reason: &'static str,
    pub(super) calls: &'static [Call],
}

macro_rules! calls {
    ($($(#[$attribute:meta])* $name:ident),* $(,)?) => {
        &[$($(#[$attribute])* (stringify!($name), libc::$name)),*]
    };
}

/// The newest call that has been looked at, `listns`. Above it a program is told that its kernel has no such call.
pub(super) const NEWEST: u32 = 470;

/// What every program may call, whatever the arguments.
pub(super) const ALLOWED: &[Group] = &[
    Group {
        reason: "descriptors that are open, and the files behind them: Landlock has decided when they were opened",
        calls: calls![
            SYS_read,
            SYS_write,
            SYS_readv,
            SYS_writev,
            SYS_pread64,
            SYS_pwrite64,
            SYS_preadv,
            SYS_pwritev,
            SYS_preadv2,
            SYS_pwritev2,
            SYS_lseek,
            SYS_close,
            SYS_dup,
            #[cfg(target_arch = "x86_64")]
            SYS_dup2,
            SYS_dup3,
            SYS_fsync,
            SYS_fdatasync,
            SYS_sync_file_range,
            SYS_ftruncate,
            SYS_fallocate,
            SYS_fadvise64,
            SYS_flock,
            SYS_sendfile,
            SYS_copy_file_range,
            SYS_getdents64,
            SYS_fstat,
            SYS_fstatfs,
        ],
    },
    Group {
        reason: "files by name: Landlock decides, but for whether one exists and how large it is",
        calls: calls![
            #[cfg(target_arch = "x86_64")]
            SYS_creat,
            #[cfg(target_arch = "x86_64")]
            SYS_access,
            SYS_faccessat,
            SYS_faccessat2,
            #[cfg(target_arch = "x86_64")]
            SYS_stat,
            #[cfg(target_arch = "x86_64")]
            SYS_lstat,
            SYS_newfstatat,
            SYS_statx,
            SYS_statfs,
            #[cfg(target_arch = "x86_64")]
            SYS_readlink,
            SYS_readlinkat,
            SYS_getcwd,
            SYS_chdir,
            SYS_fchdir,
            SYS_umask,
            #[cfg(target_arch = "x86_64")]
            SYS_mkdir,
            SYS_mkdirat,
            #[cfg(target_arch = "x86_64")]
            SYS_rmdir,
            #[cfg(target_arch = "x86_64")]
            SYS_unlink,
            SYS_unlinkat,
            #[cfg(target_arch = "x86_64")]
            SYS_rename,
            SYS_renameat,
            SYS_renameat2,
            #[cfg(target_arch = "x86_64")]
            SYS_link,
            SYS_linkat,
            #[cfg(target_arch = "x86_64")]
            SYS_symlink,
            SYS_symlinkat,
        ],
    },
    Group {
        reason: "memory of the process itself: V8's heap and code, WebAssembly, keys that may not be swapped out",
        calls: calls![
            SYS_brk,
            SYS_munmap,
            SYS_mremap,
            SYS_mprotect,
            SYS_madvise,
            SYS_msync,
            SYS_mlock,
            SYS_mlock2,
            SYS_munlock,
            SYS_membarrier,
            SYS_pkey_alloc,
            SYS_pkey_free,
            SYS_pkey_mprotect,
        ],
    },
    Group {
        reason: "threads of the process, and being started",
        calls: calls![
            SYS_execve,
            SYS_exit,
            SYS_exit_group,
            SYS_futex,
            SYS_set_robust_list,
            SYS_get_robust_list,
            SYS_set_tid_address,
            SYS_rseq,
            #[cfg(target_arch = "x86_64")]
            SYS_arch_prctl,
            SYS_gettid,
            SYS_getcpu,
            SYS_sched_yield,
            SYS_sched_getaffinity,
            SYS_sched_getparam,
            SYS_sched_getscheduler,
            SYS_sched_get_priority_max,
            SYS_sched_get_priority_min,
        ],
    },
    Group {
        reason: "signals that the process handles; whom it sends them to is decided by their arguments",
        calls: calls![
            SYS_rt_sigaction,
            SYS_rt_sigprocmask,
            SYS_rt_sigreturn,
            SYS_rt_sigsuspend,
            SYS_rt_sigtimedwait,
            SYS_rt_sigpending,
            SYS_sigaltstack,
            SYS_restart_syscall,
            // Answered with "no children" where there can be none.
            SYS_wait4,
            SYS_waitid,
        ],
    },
    Group {
        reason: "time and timers of the process",
        calls: calls![
            #[cfg(target_arch = "x86_64")]
            SYS_time,
            SYS_times,
            SYS_gettimeofday,
            SYS_clock_gettime,
            SYS_clock_getres,
            SYS_clock_nanosleep,
            SYS_nanosleep,
            SYS_timer_create,
            SYS_timer_settime,
            SYS_timer_gettime,
            SYS_timer_getoverrun,
            SYS_timer_delete,
            SYS_timerfd_create,
            SYS_timerfd_settime,
            SYS_timerfd_gettime,
            SYS_getitimer,
            SYS_setitimer,
        ],
    },
    Group {
        reason: "waiting for descriptors: the event loop",
        calls: calls![
            #[cfg(target_arch = "x86_64")]
            SYS_epoll_create,
            SYS_epoll_create1,
            SYS_epoll_ctl,
            #[cfg(target_arch = "x86_64")]
            SYS_epoll_wait,
            SYS_epoll_pwait,
            SYS_epoll_pwait2,
            #[cfg(target_arch = "x86_64")]
            SYS_eventfd,
            SYS_eventfd2,
            #[cfg(target_arch = "x86_64")]
            SYS_poll,
            SYS_ppoll,
            #[cfg(target_arch = "x86_64")]
            SYS_select,
            SYS_pselect6,
            #[cfg(target_arch = "x86_64")]
            SYS_pipe,
            SYS_pipe2,
        ],
    },
    Group {
        reason: "what the process and the machine are, which changes nothing",
        calls: calls![
            SYS_getpid,
            SYS_getppid,
            #[cfg(target_arch = "x86_64")]
            SYS_getpgrp,
            SYS_getpgid,
            SYS_getsid,
            SYS_getuid,
            SYS_geteuid,
            SYS_getgid,
            SYS_getegid,
            SYS_getresuid,
            SYS_getresgid,
            SYS_getgroups,
            SYS_capget,
            SYS_getpriority,
            SYS_getrlimit,
            SYS_getrusage,
            SYS_getrandom,
            SYS_sysinfo,
            SYS_uname,
        ],
    },
    Group {
        reason: "sockets that are open; which may be opened is decided by their arguments",
        calls: calls![
            SYS_bind,
            SYS_listen,
            SYS_accept,
            SYS_accept4,
            SYS_getsockname,
            SYS_getpeername,
            SYS_getsockopt,
            SYS_shutdown,
            SYS_recvfrom,
            SYS_recvmsg,
            SYS_recvmmsg,
        ],
    },
    Group {
        reason: "EGRESS: everything by which a process names an address to speak to is here and nowhere else",
        calls: calls![SYS_connect, SYS_sendto, SYS_sendmsg, SYS_sendmmsg],
    },
];

/// What a program may call besides, if it may start others.
pub(super) const TO_START_OTHERS: Group = Group {
    reason: "other processes and the pipes to them; Go, which the bundler is written in, looks at its pages",
    calls: calls![
        #[cfg(target_arch = "x86_64")]
        SYS_fork,
        #[cfg(target_arch = "x86_64")]
        SYS_vfork,
        SYS_socketpair,
        SYS_mincore,
    ],
};

/// Answered as if they had been made. They change the mode, owner, times and attributes of files, of which a program has none
/// that need any; a refusal would fail `fs.copyFile` and the unpacking of archives into the private folder. Landlock does not
/// cover them: made, they would reach every file of the user.
pub(super) const IGNORED: &[Call] = calls![
    #[cfg(target_arch = "x86_64")]
    SYS_chmod,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchmodat2,
    #[cfg(target_arch = "x86_64")]
    SYS_chown,
    #[cfg(target_arch = "x86_64")]
    SYS_lchown,
    SYS_fchown,
    SYS_fchownat,
    #[cfg(target_arch = "x86_64")]
    SYS_utime,
    #[cfg(target_arch = "x86_64")]
    SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    SYS_futimesat,
    SYS_utimensat,
    SYS_setxattr,
    SYS_lsetxattr,
    SYS_fsetxattr,
    SYS_removexattr,
    SYS_lremovexattr,
    SYS_fremovexattr,
];

/// Answered as by a kernel without them, upon which Node and the C library do what they did before there were any: a filter can
/// read the flags of the older forms, which are in registers.
pub(super) const UNKNOWN: &[Call] = calls![SYS_clone3, SYS_openat2, SYS_futex_waitv,];
