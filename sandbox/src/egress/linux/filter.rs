//! The filter that stops a program at the calls that name a destination.

use nix::libc;
use seccompiler::sock_filter;

use super::sys::Nonce;

/// Which calls stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stops {
    /// Those that name a destination.
    Destinations,
    /// These, and those that make a socket.
    Sockets,
    /// The first ones that any program makes, whatever it is.
    Beginning,
}

/// Offsets in the kernel's `seccomp_data`, of which arguments are 64 bits each.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

#[cfg(target_arch = "x86_64")]
const OURS: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const OURS: u32 = 0xc000_00b7;

/// By options of these a socket sends elsewhere than it was told to connect: source routes, and routing headers.
const ROUTES: &[(i32, i32)] = &[
    (libc::IPPROTO_IP, libc::IP_OPTIONS),
    (libc::IPPROTO_IPV6, libc::IPV6_RTHDR),
    (libc::IPPROTO_IPV6, libc::IPV6_2292PKTOPTIONS),
    (libc::IPPROTO_IPV6, IPV6_2292RTHDR),
];
const IPV6_2292RTHDR: i32 = 5;

/// The bits of a socket's type that are not flags.
const TYPE: u32 = 0xf;

/// SCTP names destinations by options, and others have no use here. Without a protocol, sequenced packets are SCTP too.
const PROTOCOLS: [i32; 3] = [libc::IPPROTO_IP, libc::IPPROTO_TCP, libc::IPPROTO_UDP];

/// What every program calls before it does anything of its own. Not the end: whoever cannot become the program has to be able
/// to say so and go.
const BEGINNING: [i64; 3] = [libc::SYS_brk, libc::SYS_mmap, libc::SYS_set_tid_address];

/// The filter; by the nonce it knows the call that hands its listener over.
pub(super) fn build(stops: Stops, nonce: Nonce) -> Vec<sock_filter> {
    let stop = vec![ret(libc::SECCOMP_RET_USER_NOTIF)];
    let allow = vec![ret(libc::SECCOMP_RET_ALLOW)];
    let mut program = vec![
        load(ARCHITECTURE),
        jump_if(OURS, 1),
        // Numbers mean something else there. The other filters do the same.
        ret(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
    ];
    let mut on = |call: i64, then: Vec<sock_filter>| {
        let length = u8::try_from(then.len()).unwrap_or(u8::MAX);
        program.push(jump_unless(u32::try_from(call).unwrap_or(u32::MAX), length));
        program.extend(then);
    };
    if stops == Stops::Beginning {
        for call in BEGINNING {
            on(call, stop.clone());
        }
    } else {
        on(libc::SYS_connect, stop.clone());
        on(libc::SYS_sendmmsg, stop.clone());
        let words = [
            (3, low(nonce[0])),
            (3, high(nonce[0])),
            (4, low(nonce[1])),
            (4, high(nonce[1])),
        ];
        on(libc::SYS_sendmsg, unless_all(&words, &stop, &allow));
        // Without an address it is data on a connection.
        let none = [(4, low(0)), (4, high(0))];
        on(libc::SYS_sendto, unless_all(&none, &stop, &allow));
        on(libc::SYS_socket, socket(stops));
        on(libc::SYS_setsockopt, options());
    }
    program.extend(allow);
    program
}

/// A word of an argument: where it is besides the argument, and its value.
#[derive(Clone, Copy)]
struct Word {
    offset: u32,
    value: u32,
}

fn low(value: u64) -> Word {
    let value = u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default();
    Word { offset: 0, value }
}

fn high(value: u64) -> Word {
    let value = u32::try_from(value >> 32).unwrap_or_default();
    Word { offset: 4, value }
}

/// `otherwise` where all these arguments have these words, else `then`. Both are one line.
fn unless_all(
    words: &[(u32, Word)],
    then: &[sock_filter],
    otherwise: &[sock_filter],
) -> Vec<sock_filter> {
    let mut lines = Vec::new();
    for (index, (argument, word)) in words.iter().enumerate() {
        lines.push(load(ARGUMENTS + 8 * argument + word.offset));
        // Over the pairs that follow, and over `otherwise`.
        let rest = 2 * (words.len() - index - 1) + otherwise.len();
        lines.push(jump_unless(
            word.value,
            u8::try_from(rest).unwrap_or(u8::MAX),
        ));
    }
    lines.extend_from_slice(otherwise);
    lines.extend_from_slice(then);
    lines
}

fn socket(stops: Stops) -> Vec<sock_filter> {
    let known = if stops == Stops::Sockets {
        libc::SECCOMP_RET_USER_NOTIF
    } else {
        libc::SECCOMP_RET_ALLOW
    };
    let mut lines = vec![load(ARGUMENTS + 8 * 2)];
    for (index, protocol) in PROTOCOLS.iter().enumerate() {
        // Over those that follow, and over the refusal.
        let rest = u8::try_from(PROTOCOLS.len() - index).unwrap_or(u8::MAX);
        lines.push(jump_if(protocol.unsigned_abs(), rest));
    }
    lines.push(refuse(libc::EPROTONOSUPPORT));
    lines.extend([
        load(ARGUMENTS + 8),
        line(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, TYPE),
        jump_if(libc::SOCK_STREAM.unsigned_abs(), 2),
        jump_if(libc::SOCK_DGRAM.unsigned_abs(), 1),
        refuse(libc::ESOCKTNOSUPPORT),
        ret(known),
    ]);
    lines
}

fn options() -> Vec<sock_filter> {
    let mut lines = Vec::new();
    for (level, option) in ROUTES {
        lines.extend([
            load(ARGUMENTS + 8),
            jump_unless(level.unsigned_abs(), 3),
            load(ARGUMENTS + 8 * 2),
            jump_unless(option.unsigned_abs(), 1),
            refuse(libc::EPERM),
        ]);
    }
    lines.push(ret(libc::SECCOMP_RET_ALLOW));
    lines
}

fn load(offset: u32) -> sock_filter {
    line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

fn jump_if(value: u32, over: u8) -> sock_filter {
    line(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, over, 0, value)
}

fn jump_unless(value: u32, over: u8) -> sock_filter {
    line(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, over, value)
}

fn refuse(errno: i32) -> sock_filter {
    ret(libc::SECCOMP_RET_ERRNO | errno.unsigned_abs())
}

fn ret(action: u32) -> sock_filter {
    line(libc::BPF_RET | libc::BPF_K, 0, 0, action)
}

fn line(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt,
        jf,
        k,
    }
}
