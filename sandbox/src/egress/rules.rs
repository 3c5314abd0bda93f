//! Where a program may not connect to: what operators write, and the judgement of one destination.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

/// What is denied unless the operator leaves it out: link-local addresses, where most clouds have their metadata service, the
/// metadata addresses of AWS (a whole range of its services), Google, Alibaba, Azure and Oracle that are not link-local, and
/// the worker's own port.
pub const DENIED: &[&str] = &[
    "169.254.0.0/16",
    "fe80::/10",
    "fd00:ec2::/32",
    "fd20:ce::254/128",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "192.0.0.192/32",
    OWN_PORT,
];

/// Stands for the worker's own port on every address of this host.
const OWN_PORT: &str = "own-port";
/// Leaves out what is denied by default.
const NONE: &str = "none";
/// Where nameservers answer.
const DNS: u16 = 53;

/// One thing that is denied or allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Every port of these addresses.
    Net(IpNet),
    /// The worker's own port on every address of this host.
    OwnPort,
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) => net.fmt(formatter),
            Self::OwnPort => formatter.write_str(OWN_PORT),
        }
    }
}

/// An entry that is no rule. Reads as the rest of a sentence that begins with the entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    /// Neither an address nor a range nor a word that is known.
    #[error(
        "is no range of addresses; give one such as 10.0.0.0/8, fd00::/8 or 10.1.2.3, or `{OWN_PORT}`"
    )]
    Unknown,
    /// An address within a range in the place of the range.
    #[error("has bits set beyond its prefix; give {0}, or one address without a prefix")]
    NotItsNetwork(IpNet),
}

impl Rule {
    /// # Errors
    /// What is wrong with the entry, and what would be right.
    fn parse(entry: &str) -> Result<Self, BadEntry> {
        if entry == OWN_PORT {
            return Ok(Self::OwnPort);
        }
        let net = match (entry.parse::<IpNet>(), entry.parse::<IpAddr>()) {
            (Ok(net), _) => net,
            (Err(_), Ok(address)) => IpNet::from(address),
            (Err(_), Err(_)) => return Err(BadEntry::Unknown),
        };
        if net.trunc() != net {
            return Err(BadEntry::NotItsNetwork(net.trunc()));
        }
        Ok(Self::Net(unmapped(net)))
    }
}

/// A range of IPv4-mapped addresses is the range of what they stand for, as which they are judged.
fn unmapped(net: IpNet) -> IpNet {
    let mapped = match net {
        IpNet::V6(net) => net
            .addr()
            .to_ipv4_mapped()
            .zip(net.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    mapped
        .and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok())
        .map_or(net, IpNet::V4)
}

/// What is denied and allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    deny: Vec<Rule>,
    allow: Vec<Rule>,
    own_port: Option<u16>,
    nameservers: Vec<IpAddr>,
}

impl fmt::Display for Rules {
    /// As far as an operator can have written it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |rules: &[Rule]| {
            let texts: Vec<_> = rules.iter().map(ToString::to_string).collect();
            texts.join(", ")
        };
        formatter.write_str(&list(&self.deny))?;
        if !self.allow.is_empty() {
            write!(formatter, "; allowed: {}", list(&self.allow))?;
        }
        Ok(())
    }
}

impl Rules {
    /// Those of an operator: the entries of `deny` come on top of [`DENIED`], unless `none` is among them; `allow` wins.
    ///
    /// # Errors
    /// The first entry of each list that is wrong, and why.
    pub fn new<'a>(deny: &[&'a str], allow: &[&'a str]) -> Result<Self, (&'a str, BadEntry)> {
        let parse = |entry: &'a str| Rule::parse(entry).map_err(|why| (entry, why));
        let mut denied = Vec::new();
        if !deny.contains(&NONE) {
            for entry in DENIED {
                denied.push(Rule::parse(entry).map_err(|why| (*entry, why))?);
            }
        }
        for entry in deny.iter().filter(|entry| **entry != NONE) {
            denied.push(parse(entry)?);
        }
        let allow = allow.iter().map(|entry| parse(entry));
        Ok(Self {
            deny: denied,
            allow: allow.collect::<Result<_, _>>()?,
            own_port: None,
            nameservers: Vec::new(),
        })
    }

    /// Whether nothing is denied, so that there is nothing to judge.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deny.is_empty()
    }

    /// The same for a worker that listens on this port.
    #[must_use]
    pub fn with_own_port(mut self, port: u16) -> Self {
        self.own_port = Some(port);
        self
    }

    /// The same with the nameservers of a `resolv.conf`. They are reached on the port of DNS whatever is denied: on some
    /// clouds they are at the address of the metadata service, and without them no name resolves.
    #[must_use]
    pub(crate) fn with_nameservers(mut self, resolv_conf: &str) -> Self {
        let named = resolv_conf.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = (words.next()? == "nameserver").then(|| words.next())??;
            // The interface of a link-local one follows it.
            address.split('%').next()?.parse().ok()
        });
        self.nameservers = named.collect();
        self
    }

    /// The rule that denies a destination, if there is one. `is_own` says whether an address is one of this host's.
    pub(crate) fn denying(
        &self,
        destination: SocketAddr,
        is_own: impl Fn(IpAddr) -> bool,
    ) -> Option<Rule> {
        let port = destination.port();
        let forms = forms(destination.ip());
        let forms = || forms.iter().flatten().copied();
        if self.own_port == Some(port)
            && self.deny.contains(&Rule::OwnPort)
            && !self.allow.contains(&Rule::OwnPort)
            && forms().any(is_own)
        {
            return Some(Rule::OwnPort);
        }
        if port == DNS && forms().any(|form| self.nameservers.contains(&form)) {
            return None;
        }
        let matches = |rule: &Rule| match rule {
            Rule::Net(net) => forms().any(|form| net.contains(&form)),
            Rule::OwnPort => false,
        };
        if self.allow.iter().any(matches) {
            return None;
        }
        self.deny.iter().copied().find(|rule| matches(rule))
    }
}

/// The addresses that a destination reaches: itself and, of an IPv6 address that stands for an IPv4 address, that one.
fn forms(address: IpAddr) -> [Option<IpAddr>; 2] {
    let v6 = match address {
        IpAddr::V4(v4) if v4.is_unspecified() => return [Some(Ipv4Addr::LOCALHOST.into()), None],
        IpAddr::V4(_) => return [Some(address), None],
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST,
        IpAddr::V6(v6) => v6,
    };
    if let Some(mapped) = v6.to_ipv4_mapped() {
        return forms(mapped.into());
    }
    let embedded = match v6.segments() {
        // The loopback address looks like a compatible one.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // IPv4-compatible; NAT64, the well-known prefix and the one for local use.
        [0, 0, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        // 6to4.
        | [0x2002, high, low, _, _, _, _, _] => {
            let bits = u32::from(high) << 16 | u32::from(low);
            Some(Ipv4Addr::from_bits(bits))
        }
        _ => None,
    };
    [Some(v6.into()), embedded.and_then(|v4| forms(v4.into())[0])]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(deny: &[&str], allow: &[&str]) -> Rules {
        Rules::new(deny, allow).unwrap()
    }

    fn denying(rules: &Rules, destination: &str) -> Option<String> {
        let own = |address: IpAddr| address.is_loopback() || address.to_string() == "10.0.0.5";
        let rule = rules.denying(destination.parse().unwrap(), own);
        rule.map(|rule| rule.to_string())
    }

    #[test]
    fn by_default_metadata_services_and_the_own_port_are_denied_and_nothing_else() {
        let rules = rules(&[], &[]).with_own_port(2222);
        for (destination, rule) in [
            ("169.254.169.254:80", "169.254.0.0/16"),
            ("[fe80::a9fe:a9fe]:80", "fe80::/10"),
            ("[fd00:ec2::254]:80", "fd00:ec2::/32"),
            ("[fd20:ce::254]:80", "fd20:ce::254/128"),
            ("100.100.100.200:80", "100.100.100.200/32"),
            ("168.63.129.16:32526", "168.63.129.16/32"),
            ("192.0.0.192:80", "192.0.0.192/32"),
            ("127.0.0.1:2222", OWN_PORT),
            ("127.9.9.9:2222", OWN_PORT),
            ("0.0.0.0:2222", OWN_PORT),
            ("10.0.0.5:2222", OWN_PORT),
            ("[::1]:2222", OWN_PORT),
            ("[::]:2222", OWN_PORT),
            ("[::ffff:127.0.0.1]:2222", OWN_PORT),
            ("[::ffff:0.0.0.0]:2222", OWN_PORT),
        ] {
            let found = denying(&rules, destination);
            assert_eq!(found.as_deref(), Some(rule), "{destination}");
        }
        for destination in [
            "127.0.0.1:2223",
            "10.0.0.6:2222",
            "8.8.8.8:443",
            "[2600::1]:443",
        ] {
            assert_eq!(denying(&rules, destination), None, "{destination}");
        }
    }

    #[test]
    fn an_address_that_stands_for_another_is_judged_as_that_one() {
        let rules = rules(&["10.0.0.0/8", "127.0.0.0/8"], &[]);
        for destination in [
            "10.1.2.3:80",
            "[::ffff:10.1.2.3]:80",
            "[::10.1.2.3]:80",
            "[64:ff9b::10.1.2.3]:80",
            "[64:ff9b:1::10.1.2.3]:80",
            "[2002:a01:203::1]:80",
        ] {
            let found = denying(&rules, destination);
            assert_eq!(found.as_deref(), Some("10.0.0.0/8"), "{destination}");
        }
        for destination in ["0.0.0.0:80", "[::ffff:0.0.0.0]:80"] {
            let found = denying(&rules, destination);
            assert_eq!(found.as_deref(), Some("127.0.0.0/8"), "{destination}");
        }
    }

    #[test]
    fn what_is_allowed_wins_but_over_the_own_port_only_by_its_name() {
        let rules = rules(&["127.0.0.0/8"], &["127.0.0.53", "::ffff:169.254.1.0/120"]);
        let rules = rules.with_own_port(2222);
        assert_eq!(denying(&rules, "127.0.0.53:80"), None);
        assert_eq!(denying(&rules, "169.254.1.9:80"), None);
        assert_eq!(
            denying(&rules, "127.0.0.53:2222").as_deref(),
            Some(OWN_PORT)
        );
        let opened = Rules::new(&[], &[OWN_PORT]).unwrap().with_own_port(2222);
        assert_eq!(denying(&opened, "127.0.0.1:2222"), None);
    }

    #[test]
    fn none_leaves_out_what_is_denied_by_default() {
        assert!(rules(&["none"], &[]).is_empty());
        let rules = rules(&["none", "10.0.0.0/8"], &[]).with_own_port(2222);
        assert_eq!(denying(&rules, "169.254.169.254:80"), None);
        assert_eq!(denying(&rules, "127.0.0.1:2222"), None);
        assert!(denying(&rules, "10.0.0.1:80").is_some());
    }

    #[test]
    fn nameservers_are_reached_on_their_port_whatever_is_denied() {
        let text = "# nameserver 10.0.0.9\nsearch x\nnameserver 169.254.169.254\nnameserver fe80::1%eth0\n";
        let rules = rules(&[], &[]).with_nameservers(text);
        assert_eq!(denying(&rules, "169.254.169.254:53"), None);
        assert_eq!(denying(&rules, "[::ffff:169.254.169.254]:53"), None);
        assert_eq!(denying(&rules, "[fe80::1]:53"), None);
        assert!(denying(&rules, "169.254.169.254:80").is_some());
        assert!(denying(&rules, "169.254.1.1:53").is_some());
    }

    #[test]
    fn an_entry_that_is_no_rule_is_named_with_what_would_be_right() {
        for (entry, part) in [
            ("metadata", "such as 10.0.0.0/8"),
            ("10.0.0.0/33", "such as 10.0.0.0/8"),
            ("10.0.0.0:80", "such as 10.0.0.0/8"),
            ("", "such as 10.0.0.0/8"),
            ("10.1.2.3/8", "give 10.0.0.0/8"),
            ("fd00::1/8", "give fd00::/8"),
        ] {
            let (named, why) = Rules::new(&["10.0.0.0/8", entry], &[]).unwrap_err();
            assert_eq!(named, entry);
            assert!(why.to_string().contains(part), "{entry}: {why}");
        }
        assert_eq!(Rules::new(&[], &["none"]), Err(("none", BadEntry::Unknown)));
    }

    proptest! {
        #[test]
        fn a_range_denies_its_addresses_in_every_form_and_no_others(bits: u32, prefix in 0_u8..=32, other: u32) {
            let net = Ipv4Net::new(Ipv4Addr::from_bits(bits), prefix).unwrap().trunc();
            let entry = net.to_string();
            let rules = Rules::new(&["none", &entry], &[]).unwrap();
            let address = Ipv4Addr::from_bits(other);
            prop_assume!(!address.is_unspecified());
            let expected = net.contains(&address).then(|| entry.clone());
            let [a, b, c, d] = address.octets();
            let mut forms = vec![format!("{address}:80"), format!("[::ffff:{address}]:80")];
            forms.push(format!("[64:ff9b::{a:x}{b:02x}:{c:x}{d:02x}]:80"));
            for form in forms {
                prop_assert_eq!(denying(&rules, &form), expected.clone(), "{}", form);
            }
        }

        #[test]
        fn whatever_is_written_is_a_rule_or_an_error(text: String) {
            // Neither panics nor is taken for something else.
            if let Ok(Rule::Net(net)) = Rule::parse(&text) {
                prop_assert_eq!(net.trunc(), net);
            }
        }
    }
}
