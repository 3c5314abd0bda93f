//! Which sockets may be opened, and what may be asked of them.

use nix::libc;
use seccompiler::{BackendError, SeccompCmpOp, SeccompRule};

use super::condition;

/// The bits of a socket's type that are not flags, as the kernel has them.
const TYPE: u64 = 0xf;

/// A stream or datagram socket of the internet.
pub(super) fn kinds() -> Result<Vec<SeccompRule>, BackendError> {
    let mut rules = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
            rules.push(SeccompRule::new(vec![
                condition(0, SeccompCmpOp::Eq, family.unsigned_abs())?,
                condition(1, SeccompCmpOp::MaskedEq(TYPE), kind.unsigned_abs())?,
            ])?);
        }
    }
    Ok(rules)
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
pub(super) fn options() -> Result<Vec<SeccompRule>, BackendError> {
    let level = |level: i32| condition(1, SeccompCmpOp::Eq, level.unsigned_abs());
    let option =
        |operation: SeccompCmpOp, option: i32| condition(2, operation, option.unsigned_abs());
    let mut rules = Vec::new();
    for allowed in OF_ANY {
        rules.push(SeccompRule::new(vec![
            level(libc::SOL_SOCKET)?,
            option(SeccompCmpOp::Eq, *allowed)?,
        ])?);
    }
    for (of, refused) in REFUSED {
        let mut conditions = vec![level(*of)?];
        for refused in *refused {
            conditions.push(option(SeccompCmpOp::Ne, *refused)?);
        }
        rules.push(SeccompRule::new(conditions)?);
    }
    Ok(rules)
}
