//! One careful attempt to reach Lightning, a step at a time, for `ws-worker check --connect`.
//!
//! Each step is what the worker itself does, by the same code, so that what works here works there: the resolver, the
//! connector, the certificates and the client are those of a connection. No step takes longer than [`PATIENCE`]. Nothing is
//! claimed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix::prelude::*;
use actix_http::header::{DATE, HeaderMap, HttpDate};
use actix_service::Service as _;
use actix_tls::connect::rustls_0_23::TlsConnector;
use actix_tls::connect::{ConnectInfo, Connection, Connector};
use awc::http::Uri;
use futures_util::future::join_all;
use protocol::ids::{MessageRef, Topic};
use protocol::lightning::QueueJoin;
use protocol::phoenix::{Frame, ReplyStatus, ServerMessage, encode_push, error_detail};
use protocol::token::worker_token;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::error::certificate_problem;
use super::client::{client_with, tls_config, url};
use super::socket::{Generation, Outgoing, SocketEvent, SocketEventKind};
use super::upgrade::{Upgraded, upgrade};
use crate::clock;
use crate::config::{Identity, LightningConfig};

mod error;

pub use self::error::{
    HandshakeError, JoinError, LookupError, ProbeError, ReachError, UpgradeError,
};

/// The longest that a step may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long Lightning may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(1);

/// Lightning, as it is configured.
pub struct Probe {
    config: LightningConfig,
    endpoint: Uri,
    tls: Arc<ClientConfig>,
    client: awc::Client,
}

/// What was agreed on in a TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secured {
    /// The version, as `TLSv1_3`; empty where the library does not say.
    pub version: String,
}

/// A socket that Lightning has opened.
pub struct Line {
    upgraded: Upgraded,
}

impl Probe {
    /// Lightning as the worker would connect to it.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn new(config: &LightningConfig) -> Result<Self, ProbeError> {
        let no_url = || ProbeError::Endpoint(config.endpoint.clone());
        let endpoint: Uri = config.endpoint.parse().map_err(|_| no_url())?;
        if endpoint.host().is_none() || endpoint.scheme().is_none() {
            return Err(no_url());
        }
        let tls = tls_config(config.extra_ca_file.as_deref())?;
        Ok(Self {
            config: config.clone(),
            endpoint,
            client: client_with(Arc::clone(&tls)),
            tls,
        })
    }

    /// Whether the connection is to be encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.endpoint.scheme_str(), Some("wss" | "https"))
    }

    /// The endpoint's host: a name or an address.
    pub fn host(&self) -> &str {
        self.endpoint.host().unwrap_or_default()
    }

    /// Whether the host is an address, for which nobody is asked.
    pub fn is_address(&self) -> bool {
        self.host()
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok()
    }

    /// The addresses of the endpoint's host.
    ///
    /// # Errors
    /// It has none.
    pub async fn look_up(&self) -> Result<Vec<SocketAddr>, LookupError> {
        let host = self.host();
        let port = self
            .endpoint
            .port_u16()
            .unwrap_or(if self.is_encrypted() { 443 } else { 80 });
        let bare = host.trim_matches(['[', ']']);
        let found = timeout(PATIENCE, tokio::net::lookup_host((bare, port)))
            .await
            .map_err(|_| LookupError::TimedOut(host.to_owned()))?
            .map_err(|why| LookupError::Failed {
                name: host.to_owned(),
                why,
            })?;
        let mut addresses: Vec<_> = found.collect();
        addresses.dedup();
        if addresses.is_empty() {
            return Err(LookupError::Empty(host.to_owned()));
        }
        Ok(addresses)
    }

    /// Connects to each address, to all at once, and says which take it.
    pub async fn reach(
        &self,
        addresses: &[SocketAddr],
    ) -> Vec<(SocketAddr, Result<(), ReachError>)> {
        join_all(addresses.iter().map(|address| async move {
            let reached = match timeout(PATIENCE, TcpStream::connect(address)).await {
                Ok(connected) => connected.map(|_| ()).map_err(ReachError::from),
                Err(_) => Err(ReachError::TimedOut),
            };
            (*address, reached)
        }))
        .await
    }

    /// Makes a TLS connection, and ends it.
    ///
    /// # Errors
    /// What is wrong with the certificate, or with the way there.
    pub async fn handshake(&self) -> Result<Secured, HandshakeError> {
        timeout(PATIENCE, self.shake_hands())
            .await
            .map_err(|_| HandshakeError::TimedOut)?
    }

    async fn shake_hands(&self) -> Result<Secured, HandshakeError> {
        let to = ConnectInfo::new(self.endpoint.clone());
        let connection: Connection<Uri, TcpStream> =
            Connector::default().service().call(to).await?;
        let secured = TlsConnector::service(Arc::clone(&self.tls))
            .call(connection)
            .await
            .map_err(|error| certificate_problem(error, self.host()))?;
        let (_, session) = secured.io_ref().get_ref();
        let version = session
            .protocol_version()
            .and_then(|version| version.as_str())
            .unwrap_or_default();
        Ok(Secured {
            version: version.to_owned(),
        })
    }

    /// Opens a socket with a worker token.
    ///
    /// # Errors
    /// Lightning refuses it, or does not answer.
    pub async fn upgrade(&self, identity: &Identity) -> Result<Line, UpgradeError> {
        let secret = self.config.secret.expose();
        let token = worker_token(secret, &identity.id, clock::now_seconds())?;
        let url = url(&self.config.endpoint, &token, &identity.version);
        let opening = upgrade(&self.client, url, self.config.compression);
        let upgraded = timeout(PATIENCE, opening)
            .await
            .map_err(|_| UpgradeError::TimedOut)??;
        Ok(Line { upgraded })
    }

    /// What time it is at Lightning, if an answer to a plain request says so: whatever the answer is, and without a token.
    pub async fn date(&self) -> Option<SystemTime> {
        let asked = self.client.get(self.endpoint.clone()).send();
        let answer = timeout(PATIENCE, asked).await.ok()?.ok()?;
        date_of(answer.headers())
    }
}

impl Line {
    /// What time it was at Lightning when it opened the socket; not all servers say so.
    pub fn date(&self) -> Option<SystemTime> {
        date_of(&self.upgraded.headers)
    }

    /// Joins the queue, leaves it at once, and closes the socket.
    ///
    /// # Errors
    /// Lightning refuses the join, or does not answer.
    pub async fn join(self, join: &QueueJoin) -> Result<(), JoinError> {
        const JOIN: MessageRef = MessageRef(1);
        const LEAVE: MessageRef = MessageRef(2);
        let payload = serde_json::to_vec(join)?;
        let (heard, mut events) = mpsc::unbounded_channel();
        let ear = Ear(heard).start();
        let socket = self.upgraded.start(Generation::default(), ear.recipient());
        let topic = Topic::queue();
        let send = |reference, event, payload: &[u8]| {
            let frame = encode_push(Some(JOIN), reference, &topic, event, payload);
            socket.send(Outgoing::Text(frame));
        };
        send(JOIN, "phx_join", &payload);
        let answer = timeout(PATIENCE, answer_to(JOIN, &mut events))
            .await
            .unwrap_or(Err(JoinError::TimedOut));
        if answer.is_ok() {
            send(LEAVE, "phx_leave", b"{}");
        }
        socket.close(FAREWELL).await;
        answer
    }
}

/// The answer to the join with this ref.
async fn answer_to(
    join: MessageRef,
    events: &mut mpsc::UnboundedReceiver<SocketEventKind>,
) -> Result<(), JoinError> {
    while let Some(event) = events.recv().await {
        let frame = match event {
            SocketEventKind::Text(text) => Frame::decode_text_bytes(&text),
            SocketEventKind::Binary(bytes) => Frame::decode_binary_from_server(&bytes),
            SocketEventKind::Life => continue,
            SocketEventKind::Ended(ended) => return Err(JoinError::Closed(ended.why)),
        };
        match frame.map(ServerMessage::from) {
            Ok(ServerMessage::Reply {
                reference,
                status,
                response,
                ..
            }) if reference == join.to_string() => {
                return match status {
                    ReplyStatus::Ok => Ok(()),
                    ReplyStatus::Error | ReplyStatus::Other(_) => {
                        Err(JoinError::Refused(error_detail("phx_join", &response)))
                    }
                };
            }
            Ok(
                ServerMessage::ChannelCrashed { topic, .. }
                | ServerMessage::ChannelClosed { topic, .. },
            ) if topic == Topic::queue() => {
                return Err(JoinError::Crashed);
            }
            // A hint that there is work, which is not for us.
            Ok(_) => {}
            Err(error) => log::debug!("Lightning sent a frame that cannot be read: {error}"),
        }
    }
    Err(JoinError::Crashed)
}

/// Hears what arrives on a socket and passes it on to who waits for it.
struct Ear(mpsc::UnboundedSender<SocketEventKind>);

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Handler<SocketEvent> for Ear {
    type Result = ();

    fn handle(&mut self, event: SocketEvent, _: &mut Self::Context) {
        if self.0.send(event.kind).is_err() {
            log::debug!("something arrived after the answer that was waited for");
        }
    }
}

fn date_of(headers: &HeaderMap) -> Option<SystemTime> {
    let date: HttpDate = headers.get(DATE)?.to_str().ok()?.parse().ok()?;
    Some(date.into())
}

#[cfg(test)]
mod tests {
    use actix_http::header::HeaderValue;

    use super::*;

    #[test]
    fn a_date_is_read_and_nonsense_is_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(date_of(&headers), None);
        headers.insert(DATE, HeaderValue::from_static("yesterday"));
        assert_eq!(date_of(&headers), None);
        headers.insert(
            DATE,
            HeaderValue::from_static("Thu, 01 Jan 1970 00:01:40 GMT"),
        );
        let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(date_of(&headers), Some(expected));
    }
}
