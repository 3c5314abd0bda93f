//! Why a step of the probe fails, with what to do about it.

use std::io;

use protocol::token::TokenError;
use rustls::CertificateError;

use super::PATIENCE;
use crate::lightning::client::{ConnectError, TlsError};

/// Why nothing can be tried.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It is no URL.
    #[error("{0} is no URL; WORKER_LIGHTNING_SERVICE_URL is like wss://lightning.example/worker")]
    Endpoint(String),
    /// There are no certificates to compare with.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why a name stands for no address.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The resolver says so.
    #[error(
        "{name} does not resolve: {why}; check WORKER_LIGHTNING_SERVICE_URL, and the DNS of this machine"
    )]
    Failed {
        /// The name.
        name: String,
        /// The resolver's words.
        why: io::Error,
    },
    /// There is no such name, or it has no addresses.
    #[error("{0} has no addresses; check WORKER_LIGHTNING_SERVICE_URL")]
    Empty(String),
    /// The resolver does not answer.
    #[error("nobody says within {patience} s what {name} resolves to; check the DNS of this machine", patience = PATIENCE.as_secs(), name = .0)]
    TimedOut(String),
}

/// Why an address takes no connection.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// It, or a router, refuses.
    #[error("{0}")]
    Failed(#[from] io::Error),
    /// Nobody answers: mostly a firewall.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    TimedOut,
}

/// Why there is no encrypted connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// Nobody whom the worker trusts has signed the certificate.
    #[error(
        "its certificate is of an issuer that is unknown here; name a PEM file with the issuer's certificate in NODE_EXTRA_CA_CERTS / --extra-ca-file"
    )]
    UnknownIssuer,
    /// Its time is over.
    #[error(
        "its certificate has expired ({0}); renew it at Lightning, or at the proxy before it, and check this machine's clock"
    )]
    Expired(CertificateError),
    /// Its time has not come.
    #[error("its certificate is not valid yet ({0}); check this machine's clock")]
    NotYetValid(CertificateError),
    /// It is another's.
    #[error(
        "its certificate is not for {name} ({why}); check the host in WORKER_LIGHTNING_SERVICE_URL"
    )]
    WrongName {
        /// The host of the endpoint.
        name: String,
        /// For whom it is.
        why: CertificateError,
    },
    /// Anything else that is wrong with it.
    #[error("its certificate cannot be used: {0}; have a new one made")]
    Certificate(CertificateError),
    /// The handshake failed otherwise.
    #[error("{0}; is the port one for TLS (wss), and what is between here and there?")]
    Failed(io::Error),
    /// There is no connection any more.
    #[error("the connection failed: {0}")]
    Connection(#[from] actix_tls::connect::ConnectError),
    /// It hangs.
    #[error("no TLS handshake within {} s; is the port one for TLS (wss)?", PATIENCE.as_secs())]
    TimedOut,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// The worker token cannot be made.
    #[error("the worker token cannot be signed: {0}")]
    Token(#[from] TokenError),
    /// Lightning, or whatever is there, has refused it.
    #[error(transparent)]
    Refused(#[from] ConnectError),
    /// It does not answer.
    #[error("no answer to the HTTP request within {} s; what is behind the address is not Lightning, or not well", PATIENCE.as_secs())]
    TimedOut,
}

/// Why the queue is not joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The join cannot be written.
    #[error("the join cannot be written as JSON: {0}")]
    Unwritable(#[from] serde_json::Error),
    /// Lightning says no. Older versions look at the worker token only here (protocol spec, section 1.3).
    #[error(
        "Lightning refused the join of worker:queue: {0}; where it says \"unauthorized\", WORKER_SECRET is not that of Lightning"
    )]
    Refused(String),
    /// Lightning's channel ended while it was asked.
    #[error("the channel of worker:queue ended before it answered; Lightning's log says why")]
    Crashed,
    /// There is no socket any more.
    #[error("{0}, before worker:queue was joined; Lightning's log may say why")]
    Closed(String),
    /// It does not answer.
    #[error("no answer to the join of worker:queue within {} s; Lightning is overloaded, or a proxy passes no WebSocket messages on", PATIENCE.as_secs())]
    TimedOut,
}

/// What kept a handshake with this host from its end.
pub(super) fn certificate_problem(error: io::Error, name: &str) -> HandshakeError {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(problem)) = tls else {
        return HandshakeError::Failed(error);
    };
    let problem = problem.clone();
    match problem {
        CertificateError::UnknownIssuer => HandshakeError::UnknownIssuer,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            HandshakeError::Expired(problem)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            HandshakeError::NotYetValid(problem)
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            HandshakeError::WrongName {
                name: name.to_owned(),
                why: problem,
            }
        }
        _ => HandshakeError::Certificate(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_of_a_certificate_has_its_own_fix() {
        for (problem, expected) in [
            (CertificateError::UnknownIssuer, "NODE_EXTRA_CA_CERTS"),
            (CertificateError::Expired, "has expired"),
            (CertificateError::NotValidYet, "not valid yet"),
            (
                CertificateError::NotValidForName,
                "is not for lightning.example",
            ),
            (CertificateError::Revoked, "cannot be used"),
        ] {
            let error = io::Error::other(rustls::Error::InvalidCertificate(problem));
            let text = certificate_problem(error, "lightning.example").to_string();
            assert!(text.contains(expected), "{text}");
        }
    }
}
