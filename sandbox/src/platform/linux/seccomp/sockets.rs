//! Which sockets may be opened, and what may be asked of them.

use nix::libc;

use super::program::Rule;
use super::{bits, is, is_not};

/// The bits of a socket's type that are not flags, as the kernel has them.
const TYPE: u32 = 0xf;

/// A stream or datagram socket of the internet.
pub(super) fn kinds() -> Vec<Rule> {
    let mut rules = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
            rules.push(vec![
                is(0, family.unsigned_abs()),
                bits(1, TYPE, kind.unsigned_abs()),
            ]);
        }
    }
    rules
}

/// What may be asked of any socket: what Node, libuv and c-ares ask for. Not larger buffers, which are memory that nobody counts
/// with the process, nor an interface, a mark or a filter.
const OF_ANY: &[i32] = &[
    libc::SO_REUSEADDR,
    libc::SO_REUSEPORT,
    libc::SO_BROADCAST,
    libc::SO_KEEPALIVE,
    libc::SO_LINGER,
    libc::SO_OOBINLINE,
    libc::SO_PRIORITY,
    libc::SO_RCVTIMEO,
    libc::SO_SNDTIMEO,
];

/// What may not be asked of the protocols: a route, by which packets go first to an address that nobody has judged, and another
/// layer on top of TCP.
const REFUSED: &[(i32, &[i32])] = &[
    (libc::IPPROTO_IP, &[libc::IP_OPTIONS]),
    (
        libc::IPPROTO_IPV6,
        &[
            libc::IPV6_RTHDR,
            libc::IPV6_2292RTHDR,
            libc::IPV6_2292PKTOPTIONS,
            libc::IPV6_HOPOPTS,
            libc::IPV6_DSTOPTS,
            libc::IPV6_RTHDRDSTOPTS,
        ],
    ),
    (libc::IPPROTO_TCP, &[libc::TCP_ULP]),
];

/// The options of sockets that may be set, of these levels and no others.
pub(super) fn options() -> Vec<Rule> {
    let level = |level: i32| is(1, level.unsigned_abs());
    let mut rules = Vec::new();
    for allowed in OF_ANY {
        rules.push(vec![level(libc::SOL_SOCKET), is(2, allowed.unsigned_abs())]);
    }
    for (of, refused) in REFUSED {
        let others = refused
            .iter()
            .map(|option| is_not(2, option.unsigned_abs()));
        rules.push([level(*of)].into_iter().chain(others).collect());
    }
    rules
}
