//! A socket address as the kernel has it in memory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use nix::errno::Errno;
use nix::libc;

/// The longest that the kernel takes.
pub(super) const LONGEST: u64 = 128;

/// Bytes of an IPv4 address, and of an IPv6 address without and with its scope.
const V4: usize = 16;
const V6_UNSCOPED: usize = 24;
const V6: usize = 28;

/// What an address asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    /// A peer.
    Peer(SocketAddr),
    /// No peer any more.
    Nobody,
}

/// Reads an address. "This host" without an address becomes loopback, so that what is judged is what is connected to: the
/// kernel would take another address of this host where the socket is bound to one.
///
/// # Errors
/// As the kernel has it for one that is too short or of another family.
pub(super) fn read(bytes: &[u8]) -> Result<Destination, Errno> {
    let family = i32::from(u16::from_ne_bytes(part(bytes, 0)?));
    match family {
        libc::AF_UNSPEC => Ok(Destination::Nobody),
        libc::AF_INET if bytes.len() >= V4 => {
            let port = u16::from_be_bytes(part(bytes, 2)?);
            let mut ip = Ipv4Addr::from(part::<4>(bytes, 4)?);
            if ip.is_unspecified() {
                ip = Ipv4Addr::LOCALHOST;
            }
            Ok(Destination::Peer(SocketAddrV4::new(ip, port).into()))
        }
        libc::AF_INET6 if bytes.len() >= V6_UNSCOPED => {
            let port = u16::from_be_bytes(part(bytes, 2)?);
            let flow = u32::from_ne_bytes(part(bytes, 4)?);
            let mut ip = Ipv6Addr::from(part::<16>(bytes, 8)?);
            let scope = if bytes.len() >= V6 {
                u32::from_ne_bytes(part(bytes, V6_UNSCOPED)?)
            } else {
                0
            };
            if ip.is_unspecified() {
                ip = Ipv6Addr::LOCALHOST;
            } else if ip.to_ipv4_mapped() == Some(Ipv4Addr::UNSPECIFIED) {
                ip = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
            }
            let address = SocketAddrV6::new(ip, port, flow, scope);
            Ok(Destination::Peer(address.into()))
        }
        libc::AF_INET | libc::AF_INET6 => Err(Errno::EINVAL),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// The bytes of an address.
pub(super) fn write(destination: Destination) -> Vec<u8> {
    let family = |family: i32| u16::try_from(family).unwrap_or_default().to_ne_bytes();
    let mut bytes = Vec::with_capacity(V6);
    match destination {
        Destination::Nobody => bytes.extend(family(libc::AF_UNSPEC)),
        Destination::Peer(SocketAddr::V4(address)) => {
            bytes.extend(family(libc::AF_INET));
            bytes.extend(address.port().to_be_bytes());
            bytes.extend(address.ip().octets());
        }
        Destination::Peer(SocketAddr::V6(address)) => {
            bytes.extend(family(libc::AF_INET6));
            bytes.extend(address.port().to_be_bytes());
            bytes.extend(address.flowinfo().to_ne_bytes());
            bytes.extend(address.ip().octets());
            bytes.extend(address.scope_id().to_ne_bytes());
        }
    }
    bytes.resize(bytes.len().max(V4), 0);
    bytes
}

fn part<const LENGTH: usize>(bytes: &[u8], at: usize) -> Result<[u8; LENGTH], Errno> {
    let part = bytes.get(at..at + LENGTH).ok_or(Errno::EINVAL)?;
    part.try_into().map_err(|_| Errno::EINVAL)
}

/// Whether an address is one of this host's: then a socket can be bound to it.
pub(super) fn is_own(address: IpAddr, of: SocketAddr) -> bool {
    let bound = match (address, of) {
        (IpAddr::V6(ip), SocketAddr::V6(of)) => SocketAddrV6::new(ip, 0, 0, of.scope_id()).into(),
        (ip, _) => SocketAddr::new(ip, 0),
    };
    std::net::UdpSocket::bind(bound).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(text: &str) -> String {
        let destination = Destination::Peer(text.parse().unwrap());
        match read(&write(destination)).unwrap() {
            Destination::Peer(address) => address.to_string(),
            Destination::Nobody => "nobody".to_owned(),
        }
    }

    #[test]
    fn an_address_is_written_as_it_was_read_but_this_host_is_loopback() {
        for text in ["10.1.2.3:80", "[2001:db8::1]:443", "[fe80::1%7]:65535"] {
            assert_eq!(through(text), text);
        }
        assert_eq!(through("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(through("[::]:80"), "[::1]:80");
        assert_eq!(through("[::ffff:0.0.0.0]:80"), "[::ffff:127.0.0.1]:80");
    }

    #[test]
    fn an_address_that_is_too_short_or_of_another_family_is_refused_as_the_kernel_does() {
        let whole = write(Destination::Peer("[::1]:80".parse().unwrap()));
        for length in [0, 1, 2, 8, 23] {
            assert_eq!(read(&whole[..length]), Err(Errno::EINVAL), "{length}");
        }
        assert!(read(&whole[..24]).is_ok());
        assert_eq!(read(&[1, 0, 0]), Err(Errno::EAFNOSUPPORT));
        let nobody = write(Destination::Nobody);
        assert_eq!(read(&nobody), Ok(Destination::Nobody));
    }

    #[test]
    fn addresses_of_this_host_are_known_by_binding_to_them() {
        let own = |text: &str| {
            let of: SocketAddr = text.parse().unwrap();
            is_own(of.ip(), of)
        };
        assert!(own("127.0.0.1:1") && own("127.8.9.10:1"));
        assert!(!own("198.51.100.1:1") && !own("[2001:db8::1]:1"));
    }
}
