//! One WebSocket: opening it, and the two tasks that read and write it.
//!
//! The tasks know nothing of channels. The reader joins fragments and hands whole messages to the connection; the writer
//! sends whatever has gathered since its last write as one batch, so that a burst of reports costs one system call.

use std::time::Duration;

use actix::Recipient;
use actix_codec::Framed;
use actix_http::ws::{CloseCode, CloseReason, Frame, Item, Message, ProtocolError};
use awc::BoxedSocket;
use awc::error::WsClientError;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use protocol::lightning::LongPayload;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::codec::{ClientCodec, Piece};

/// As the reference's client: a larger message closes the socket with 1009 (protocol spec, section 1.1).
pub(super) const MAX_MESSAGE_BYTES: usize = 100 * 1024 * 1024;

/// Which socket something came from; a message of an older socket is dropped by comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Generation(pub(super) u64);

impl Generation {
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What the reader tells the connection.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub(super) struct SocketEvent {
    pub(super) generation: Generation,
    pub(super) kind: SocketEventKind,
}

#[derive(Debug)]
pub(super) enum SocketEventKind {
    Text(Bytes),
    Binary(Bytes),
    /// A ping, pong or fragment: only a sign of life.
    Life,
    /// The last event of a socket.
    Ended(Ended),
}

/// How a socket ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) why: String,
    /// Lightning closed it with a code that blames a frame of ours, or its own crash.
    pub(super) over_a_frame: bool,
    /// The code of Lightning's close frame.
    pub(super) code: Option<u16>,
}

impl From<String> for Ended {
    fn from(why: String) -> Self {
        Self {
            why,
            over_a_frame: false,
            code: None,
        }
    }
}

/// What the connection tells the writer.
#[derive(Debug)]
pub(super) enum Outgoing {
    Text(String),
    Long(Box<Long>),
    Ping,
    Pong(Bytes),
    Close,
}

/// A text message that is made while it is written.
#[derive(Debug)]
pub(super) struct Long {
    pub(super) begin: Vec<u8>,
    pub(super) payload: LongPayload,
    pub(super) end: &'static [u8],
}

/// The sending side of an open socket. Dropping it cuts the connection: a peer that is gone must not keep the tasks.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) generation: Generation,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Socket {
    /// Queues a message. A writer that has ended says so by the reader's `Ended`, so a failure needs no word here.
    ///
    /// The queue is unbounded because its producers are not: each run has a window, each workloop its slots.
    pub(super) fn send(&self, message: Outgoing) {
        if self.outgoing.send(message).is_err() {
            log::debug!("the socket ended before a message was written to it");
        }
    }

    /// Says goodbye after everything that was queued, and waits at most this long for the peer's own goodbye: a socket
    /// that is closed with something unread in it takes back what the peer has not read yet.
    pub(super) async fn close(mut self, patience: Duration) {
        self.send(Outgoing::Close);
        let farewell = async {
            let written = (&mut self.writer).await;
            let answered = (&mut self.reader).await;
            if written.is_err() || answered.is_err() {
                log::debug!("a task of the socket panicked");
            }
        };
        if tokio::time::timeout(patience, farewell).await.is_err() {
            log::debug!("Lightning did not close the connection in time");
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// 401 and 403 mean the same (protocol spec, section 1.3).
    #[error(
        "Lightning refused the worker token with HTTP {0}: check that WORKER_SECRET is the same on both sides"
    )]
    Unauthorized(u16),
    #[error(
        "Lightning answered HTTP {0} instead of a WebSocket: check the path of WORKER_LIGHTNING_SERVICE_URL"
    )]
    Status(u16),
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

/// Opens a socket and starts its tasks. `events` gets everything that arrives, `Ended` last and once.
pub(super) async fn open(
    client: awc::Client,
    url: String,
    generation: Generation,
    events: Recipient<SocketEvent>,
) -> Result<Socket, ConnectError> {
    let (_response, framed) = client
        .ws(url)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .connect()
        .await?;
    let (sink, stream) = framed.into_map_codec(ClientCodec::new).split();
    let (outgoing, queue) = mpsc::unbounded_channel();
    Ok(Socket {
        generation,
        writer: actix_rt::spawn(write(sink, queue)),
        reader: actix_rt::spawn(read(stream, generation, events, outgoing.clone())),
        outgoing,
    })
}

type Stream = SplitStream<Framed<BoxedSocket, ClientCodec>>;
type Sink = SplitSink<Framed<BoxedSocket, ClientCodec>, Piece>;

async fn read(
    mut stream: Stream,
    generation: Generation,
    events: Recipient<SocketEvent>,
    outgoing: mpsc::UnboundedSender<Outgoing>,
) {
    let mut fragments = Fragments::default();
    let ended = loop {
        let kind = match stream.next().await {
            None => {
                break "the connection ended without a close frame"
                    .to_owned()
                    .into();
            }
            Some(Err(error)) => break protocol_error(&error).into(),
            Some(Ok(Frame::Close(reason))) => break closed(reason.as_ref()),
            Some(Ok(Frame::Text(text))) => SocketEventKind::Text(text),
            Some(Ok(Frame::Binary(bytes))) => SocketEventKind::Binary(bytes),
            Some(Ok(Frame::Ping(data))) => {
                // The codec answers no ping by itself.
                if outgoing.send(Outgoing::Pong(data)).is_err() {
                    break "the connection ended while answering a ping"
                        .to_owned()
                        .into();
                }
                SocketEventKind::Life
            }
            Some(Ok(Frame::Pong(_))) => SocketEventKind::Life,
            Some(Ok(Frame::Continuation(item))) => match fragments.add(item) {
                Ok(Some(kind)) => kind,
                Ok(None) => SocketEventKind::Life,
                Err(what) => break what.into(),
            },
        };
        events.do_send(SocketEvent { generation, kind });
    };
    events.do_send(SocketEvent {
        generation,
        kind: SocketEventKind::Ended(ended),
    });
}

/// Ends after a close frame, or when writing fails.
async fn write(mut sink: Sink, mut queue: mpsc::UnboundedReceiver<Outgoing>) {
    let mut closing = false;
    while !closing && let Some(first) = queue.recv().await {
        let mut next = Some(first);
        while let Some(outgoing) = next {
            let message = match outgoing {
                Outgoing::Long(long) => {
                    if let Err(error) = write_long(&mut sink, *long).await {
                        log::debug!("writing to Lightning failed: {error}");
                        return;
                    }
                    next = queue.try_recv().ok();
                    continue;
                }
                Outgoing::Text(text) => Message::Text(text.into()),
                Outgoing::Ping => Message::Ping(Bytes::new()),
                Outgoing::Pong(data) => Message::Pong(data),
                Outgoing::Close => {
                    closing = true;
                    Message::Close(Some(CloseReason::from(CloseCode::Normal)))
                }
            };
            if let Err(error) = sink.feed(Piece::Message(message)).await {
                log::debug!("writing to Lightning failed: {error}");
                return;
            }
            next = if closing { None } else { queue.try_recv().ok() };
        }
        if let Err(error) = sink.flush().await {
            log::debug!("writing to Lightning failed: {error}");
            return;
        }
    }
}

async fn write_long(sink: &mut Sink, long: Long) -> Result<(), ProtocolError> {
    let Long {
        begin,
        payload,
        end,
    } = long;
    let whole = begin.len() + payload.bytes() + end.len();
    sink.feed(Piece::LongText(whole)).await?;
    sink.feed(Piece::Part(begin.into())).await?;
    for piece in payload.pieces() {
        let piece = piece.map_err(std::io::Error::other)?;
        sink.feed(Piece::Part(piece)).await?;
    }
    sink.feed(Piece::Part(Bytes::from_static(end))).await
}

fn protocol_error(error: &ProtocolError) -> String {
    format!("the connection failed: {error}")
}

fn closed(reason: Option<&CloseReason>) -> Ended {
    Ended {
        why: close_text(reason),
        code: reason.map(|reason| reason.code.into()),
        over_a_frame: reason.is_some_and(|reason| {
            matches!(
                reason.code,
                CloseCode::Protocol
                    | CloseCode::Unsupported
                    | CloseCode::Invalid
                    | CloseCode::Size
                    | CloseCode::Error
            )
        }),
    }
}

fn close_text(reason: Option<&CloseReason>) -> String {
    match reason {
        None => "Lightning closed the connection without a code".to_owned(),
        Some(reason) => {
            let code = u16::from(reason.code);
            match &reason.description {
                Some(text) => format!("Lightning closed the connection with code {code} ({text})"),
                None => format!("Lightning closed the connection with code {code}"),
            }
        }
    }
}

/// Joins the fragments of one message; Phoenix's own servers send none, proxies may.
#[derive(Default)]
struct Fragments {
    text: bool,
    data: BytesMut,
}

impl Fragments {
    fn add(&mut self, item: Item) -> Result<Option<SocketEventKind>, String> {
        let (bytes, last) = match item {
            Item::FirstText(bytes) => {
                self.text = true;
                self.data.clear();
                (bytes, false)
            }
            Item::FirstBinary(bytes) => {
                self.text = false;
                self.data.clear();
                (bytes, false)
            }
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
        };
        if self.data.len() + bytes.len() > MAX_MESSAGE_BYTES {
            return Err(format!(
                "Lightning sent a message of more than {MAX_MESSAGE_BYTES} bytes"
            ));
        }
        self.data.extend_from_slice(&bytes);
        if !last {
            return Ok(None);
        }
        let whole = self.data.split().freeze();
        Ok(Some(if self.text {
            SocketEventKind::Text(whole)
        } else {
            SocketEventKind::Binary(whole)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_joined_in_order() {
        let mut fragments = Fragments::default();
        assert!(
            fragments
                .add(Item::FirstText("[1,".into()))
                .unwrap()
                .is_none()
        );
        assert!(fragments.add(Item::Continue("2".into())).unwrap().is_none());
        match fragments.add(Item::Last("]".into())).unwrap() {
            Some(SocketEventKind::Text(text)) => assert_eq!(&text[..], b"[1,2]"),
            other => panic!("expected the joined text, got {other:?}"),
        }
    }

    #[test]
    fn a_close_frame_reads_as_its_code() {
        let reason = CloseReason {
            code: CloseCode::Restart,
            description: None,
        };
        assert_eq!(
            close_text(Some(&reason)),
            "Lightning closed the connection with code 1012"
        );
    }
}
