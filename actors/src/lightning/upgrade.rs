//! The HTTP request that becomes a WebSocket.

use actix_codec::Framed;
use actix_http::header::{HeaderMap, SEC_WEBSOCKET_EXTENSIONS};
use actix_http::ws::Codec;
use awc::BoxedSocket;

use super::client::ConnectError;
use super::deflate::{self, Agreed, OFFER};
use super::socket::MAX_MESSAGE_BYTES;

/// An open socket that nobody reads yet.
pub(super) struct Upgraded {
    /// The headers that Lightning answered with.
    pub(super) headers: HeaderMap,
    pub(super) framed: Framed<BoxedSocket, Codec>,
    pub(super) agreed: Agreed,
}

/// Asks for a socket, with compression if it is to be offered.
pub(super) async fn upgrade(
    client: &awc::Client,
    url: String,
    offer: bool,
) -> Result<Upgraded, ConnectError> {
    let mut request = client.ws(url).max_frame_size(MAX_MESSAGE_BYTES);
    if offer {
        request = request.set_header(SEC_WEBSOCKET_EXTENSIONS, OFFER);
    }
    let (response, framed) = request.connect().await?;
    let answer: Vec<_> = response
        .headers()
        .get_all(SEC_WEBSOCKET_EXTENSIONS)
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    let agreed = deflate::agreed(&answer.join(", "), offer)?;
    log::debug!("opened a socket to Lightning, {agreed:?}");
    Ok(Upgraded {
        headers: response.headers().clone(),
        framed,
        agreed,
    })
}
