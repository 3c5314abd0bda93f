//! The filter that stops a program at the calls that name a destination.

use nix::libc;
use seccompiler::sock_filter;

use super::sys::Nonce;
use crate::platform::bpf::{jump_if, jump_unless, load_high, load_low, mask, opening, refuse, ret};

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

/// The filter; by the nonce it knows the call that hands its listener over. `None` on an architecture that is not known.
pub(super) fn build(stops: Stops, nonce: Nonce) -> Option<Vec<sock_filter>> {
    let stop = vec![ret(libc::SECCOMP_RET_USER_NOTIF)];
    let allow = vec![ret(libc::SECCOMP_RET_ALLOW)];
    let mut program = opening()?.to_vec();
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
            low(3, nonce[0]),
            high(3, nonce[0]),
            low(4, nonce[1]),
            high(4, nonce[1]),
        ];
        on(libc::SYS_sendmsg, unless_all(&words, &stop, &allow));
        // Without an address it is data on a connection.
        let none = [low(4, 0), high(4, 0)];
        on(libc::SYS_sendto, unless_all(&none, &stop, &allow));
        on(libc::SYS_socket, socket(stops));
        on(libc::SYS_setsockopt, options());
    }
    program.extend(allow);
    Some(program)
}

/// Half of an argument: the line that loads it, and its value.
struct Word {
    load: sock_filter,
    value: u32,
}

fn low(argument: u8, value: u64) -> Word {
    Word {
        load: load_low(argument),
        value: u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default(),
    }
}

fn high(argument: u8, value: u64) -> Word {
    Word {
        load: load_high(argument),
        value: u32::try_from(value >> 32).unwrap_or_default(),
    }
}

/// `otherwise` where all these words are there, else `then`. Both are one line.
fn unless_all(words: &[Word], then: &[sock_filter], otherwise: &[sock_filter]) -> Vec<sock_filter> {
    let mut lines = Vec::new();
    for (index, word) in words.iter().enumerate() {
        lines.push(word.load.clone());
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
    let mut lines = vec![load_low(2)];
    for (index, protocol) in PROTOCOLS.iter().enumerate() {
        // Over those that follow, and over the refusal.
        let rest = u8::try_from(PROTOCOLS.len() - index).unwrap_or(u8::MAX);
        lines.push(jump_if(protocol.unsigned_abs(), rest));
    }
    lines.push(refuse(libc::EPROTONOSUPPORT));
    lines.extend([
        load_low(1),
        mask(TYPE),
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
            load_low(1),
            jump_unless(level.unsigned_abs(), 3),
            load_low(2),
            jump_unless(option.unsigned_abs(), 1),
            refuse(libc::EPERM),
        ]);
    }
    lines.push(ret(libc::SECCOMP_RET_ALLOW));
    lines
}
