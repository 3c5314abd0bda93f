//! What a check fails at, and the exit code for it.

/// Where something is wrong, in the order in which it decides the exit code: the way to Lightning from its beginning, then
/// what else is asked, then this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    /// The name of Lightning.
    Dns,
    /// A connection to one of its addresses.
    Tcp,
    /// The certificate.
    Tls,
    /// The HTTP request that opens the socket, with the worker token.
    Upgrade,
    /// The join of `worker:queue`.
    Queue,
    /// npm's registry.
    Registry,
    /// Configuration and environment.
    Local,
}

/// What `check --help` says of the exit codes.
pub(super) const EXIT_CODES: &str = "\
Exit codes: 0 nothing is missing; 1 configuration or environment; with --connect also 10 DNS, 11 TCP, 12 TLS, \
13 HTTP or the secret, 14 the queue, 15 the npm registry. Where several fail, the first from 10 on counts. \
A clock that differs is a warning only. Beside a running worker, give --port 0.";

impl Layer {
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Local => 1,
            Self::Dns => 10,
            Self::Tcp => 11,
            Self::Tls => 12,
            Self::Upgrade => 13,
            Self::Queue => 14,
            Self::Registry => 15,
        }
    }

    /// How its line begins.
    pub(super) fn subject(self) -> &'static str {
        match self {
            Self::Local => "configuration",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Upgrade => "socket",
            Self::Queue => "queue",
            Self::Registry => "npm registry",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_exit_code() {
        for layer in [
            Layer::Local,
            Layer::Dns,
            Layer::Tcp,
            Layer::Tls,
            Layer::Upgrade,
            Layer::Queue,
            Layer::Registry,
        ] {
            let code = format!(" {} ", layer.exit_code());
            assert!(EXIT_CODES.contains(&code), "{layer:?}");
        }
    }
}
