//! What opens a socket: the HTTP client with its certificates, and the URL.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_service::ServiceExt as _;
use awc::error::WsClientError;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::backoff::Obstacle;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::deflate::NotOffered;

/// How long a name and a TCP connection may take. Shorter than the rest: a network that comes back in the middle is found by
/// the next attempt, while this one would only repeat its first packet at long intervals.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A silent peer must not hold a connection attempt for ever; the reference sets no limit.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// The HTTP client that opens sockets: HTTP/1.1 only, since a WebSocket cannot be opened over h2 here.
///
/// # Errors
/// TLS cannot be set up, or `extra_ca_file` cannot be used.
pub fn http_client(extra_ca_file: Option<&Path>) -> Result<awc::Client, TlsError> {
    Ok(client_with(tls_config(extra_ca_file)?))
}

/// Whom the worker trusts, and that it speaks HTTP/1.1 only.
pub(super) fn tls_config(extra_ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots(extra_ca_file)?)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

/// The HTTP client with this idea of whom to trust.
pub(super) fn client_with(tls: Arc<ClientConfig>) -> awc::Client {
    // awc leaves Nagle's algorithm on, which holds a report back until the one before it was acknowledged.
    let tcp = actix_tls::connect::ConnectorService::default().map(|connection| {
        if let Err(error) = connection.io_ref().set_nodelay(true) {
            log::debug!("TCP_NODELAY cannot be set: {error}");
        }
        connection
    });
    let connector = awc::Connector::new()
        .connector(tcp)
        .timeout(CONNECT_TIMEOUT)
        .handshake_timeout(HANDSHAKE_TIMEOUT)
        .rustls_0_23(tls);
    awc::Client::builder()
        .connector(connector)
        .timeout(HANDSHAKE_TIMEOUT)
        .no_default_headers()
        .finish()
}

/// The system's root certificates, or the bundled ones where it has none, and those of `extra_ca_file`.
fn roots(extra_ca_file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        log::debug!("a system certificate store cannot be read: {error}");
    }
    let (added, _) = roots.add_parsable_certificates(system.certs);
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(path) = extra_ca_file {
        let unreadable = |source| TlsError::Unreadable {
            file: path.to_path_buf(),
            source,
        };
        for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
            roots
                .add(certificate.map_err(unreadable)?)
                .map_err(|source| TlsError::Unusable {
                    file: path.to_path_buf(),
                    source,
                })?;
        }
    }
    Ok(roots)
}

/// Why there is no TLS, and so no connection to anything.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The cryptography does not fit together.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
    /// There is no such file, or no PEM in it.
    #[error("NODE_EXTRA_CA_CERTS: {} has no usable certificates", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// What is in the file is no certificate.
    #[error("NODE_EXTRA_CA_CERTS: {} has no usable certificates", .file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::Error,
    },
}

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// 401 and 403 mean the same (protocol spec, section 1.3).
    #[error(
        "Lightning refused the worker token with HTTP {0}: check that WORKER_SECRET is the same on both sides"
    )]
    Unauthorized(u16),
    /// There is something else behind the URL, or Lightning is not well.
    #[error(
        "Lightning answered HTTP {0} instead of a WebSocket: check the path of WORKER_LIGHTNING_SERVICE_URL"
    )]
    Status(u16),
    /// What it said of compression does not fit the offer.
    #[error(transparent)]
    Compression(#[from] NotOffered),
    /// Anything below or beside HTTP, in words.
    #[error("{0}")]
    Other(String),
}

impl From<WsClientError> for ConnectError {
    fn from(error: WsClientError) -> Self {
        match error {
            WsClientError::InvalidResponseStatus(status) => match status.as_u16() {
                code @ (401 | 403) => Self::Unauthorized(code),
                code => Self::Status(code),
            },
            other => Self::Other(other.to_string()),
        }
    }
}

impl ConnectError {
    /// What stands between this worker and Lightning.
    pub(super) fn obstacle(&self) -> Obstacle {
        match self {
            Self::Unauthorized(_) | Self::Status(_) | Self::Compression(_) => Obstacle::TurnedAway,
            Self::Other(_) => Obstacle::Unreachable,
        }
    }
}

/// The URL of the socket (protocol spec, section 1.1). A query of the endpoint stays one.
pub(super) fn url(endpoint: &str, token: &str, worker_version: &str) -> String {
    let (path, query) = match endpoint.split_once('?') {
        Some((path, "")) => (path, String::new()),
        Some((path, query)) => (path, format!("{query}&")),
        None => (endpoint, String::new()),
    };
    format!(
        "{path}/websocket?{query}token={}&api_version=1.2&worker_version={}&vsn=2.0.0",
        utf8_percent_encode(token, COMPONENT),
        utf8_percent_encode(worker_version, COMPONENT)
    )
}

/// What JavaScript's `encodeURIComponent` encodes, as the reference does.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_carries_token_and_versions_like_the_reference() {
        assert_eq!(
            url("ws://localhost:4000/worker", "a.b+c", "1.2.3"),
            "ws://localhost:4000/worker/websocket?token=a.b%2Bc&api_version=1.2&worker_version=1.2.3&vsn=2.0.0"
        );
    }

    #[test]
    fn the_path_goes_before_the_endpoints_query_which_is_continued() {
        for (endpoint, expected) in [
            ("ws://h/worker?x=1", "ws://h/worker/websocket?x=1&token=t&"),
            ("ws://h/worker?", "ws://h/worker/websocket?token=t&"),
        ] {
            let url = url(endpoint, "t", "1");
            assert!(url.starts_with(expected), "{url}");
        }
    }
}
