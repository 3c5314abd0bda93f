//! One WebSocket: opening it, and the two tasks that read and write it.
//!
//! The tasks know nothing of channels. The reader joins fragments, inflates what is compressed and hands whole messages to
//! the connection; the writer compresses what is worth it, and sends whatever has gathered since its last write as one batch,
//! so that a burst of reports costs one system call.

use std::time::Duration;

use actix::Recipient;
use actix_codec::Framed;
use actix_http::ws::{CloseCode, CloseReason, Frame, Message, ProtocolError};
use awc::BoxedSocket;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use protocol::lightning::LongPayload;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::client::ConnectError;
use super::codec::{ClientCodec, Incoming, Piece};
use super::deflate::{Agreed, InflateError, Inflater};
use super::fragments::{self, Fragments};
use super::liveness::Progress;
use super::upgrade::{Upgraded, upgrade};
use super::writing::{feed, write_long, write_text};
use crate::tell::Tell as _;

/// As the reference's client: a larger message closes the socket with 1009 (protocol spec, section 1.1).
pub(super) const MAX_MESSAGE_BYTES: usize = 100 * 1024 * 1024;

/// How long a server that broke the protocol may take to be told so.
const COMPLAINT: Duration = Duration::from_secs(1);

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
    Ended(SocketEnd),
}

/// How a socket ended.
#[derive(Debug)]
pub(super) struct SocketEnd {
    pub(super) why: String,
    pub(super) fault: Fault,
    /// The code of Lightning's close frame.
    pub(super) code: Option<u16>,
}

/// What the close code of a socket blames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// No frame of ours.
    None,
    /// A frame of ours, or a crash of Lightning's.
    Frame,
    /// The size of a frame of ours.
    Size,
}

impl From<String> for SocketEnd {
    fn from(why: String) -> Self {
        Self {
            why,
            fault: Fault::None,
            code: None,
        }
    }
}

/// What the connection tells the writer.
#[derive(Debug)]
pub(super) enum Outgoing {
    Text(String),
    /// A text whose writing is noted.
    Heartbeat(String),
    Long(Box<Long>),
    Ping,
    Pong(Bytes),
    Close(CloseCode),
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
    pub(super) progress: Progress,
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
        self.send(Outgoing::Close(CloseCode::Normal));
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

/// Opens a socket and starts its tasks. `events` gets everything that arrives, `Ended` last and once. Compression is used
/// where it is offered and the server takes it.
pub(super) async fn open(
    client: awc::Client,
    url: String,
    offer: bool,
    generation: Generation,
    events: Recipient<SocketEvent>,
) -> Result<Socket, ConnectError> {
    let upgraded = upgrade(&client, url, offer).await?;
    Ok(upgraded.start(generation, events))
}

impl Upgraded {
    /// Starts the tasks that read and write it.
    pub(super) fn start(self, generation: Generation, events: Recipient<SocketEvent>) -> Socket {
        let agreed = self.agreed;
        let compresses = agreed != Agreed::Plain;
        let framed = self
            .framed
            .into_map_codec(|codec| ClientCodec::new(codec, compresses));
        let (sink, stream) = framed.split();
        let (outgoing, queue) = mpsc::unbounded_channel();
        let progress = Progress::default();
        Socket {
            generation,
            writer: actix_rt::spawn(write(sink, queue, compresses, progress.clone())),
            progress,
            reader: actix_rt::spawn(read(stream, agreed, generation, events, outgoing.clone())),
            outgoing,
        }
    }
}

type Stream = SplitStream<Framed<BoxedSocket, ClientCodec>>;
pub(super) type Sink = SplitSink<Framed<BoxedSocket, ClientCodec>, Piece>;

async fn read(
    mut stream: Stream,
    agreed: Agreed,
    generation: Generation,
    events: Recipient<SocketEvent>,
    outgoing: mpsc::UnboundedSender<Outgoing>,
) {
    let mut fragments = Fragments::default();
    let mut inflater = Inflater::new(agreed);
    let ended = loop {
        let message = match stream.next().await {
            None => {
                break "the connection ended without a close frame"
                    .to_owned()
                    .into();
            }
            Some(Err(error)) => {
                complain(code_for(&error), &outgoing).await;
                break protocol_error(&error).into();
            }
            Some(Ok(Incoming { frame, compressed })) => match frame {
                Frame::Close(reason) => break closed(reason.as_ref()),
                Frame::Text(data) => Some(fragments::Message {
                    text: true,
                    compressed,
                    data,
                }),
                Frame::Binary(data) => Some(fragments::Message {
                    text: false,
                    compressed,
                    data,
                }),
                Frame::Ping(data) => {
                    // The codec answers no ping by itself.
                    if outgoing.send(Outgoing::Pong(data)).is_err() {
                        break "the connection ended while answering a ping"
                            .to_owned()
                            .into();
                    }
                    None
                }
                Frame::Pong(_) => None,
                Frame::Continuation(item) => match fragments.add(item, compressed) {
                    Ok(message) => message,
                    Err(error) => {
                        complain(Some(CloseCode::Size), &outgoing).await;
                        break error.to_string().into();
                    }
                },
            },
        };
        let kind = match message {
            None => SocketEventKind::Life,
            Some(message) => match plain(message, &mut inflater).await {
                Ok(kind) => kind,
                Err(error) => {
                    let code = match error {
                        InflateError::TooLarge(_) => CloseCode::Size,
                        InflateError::Corrupt => CloseCode::Invalid,
                    };
                    complain(Some(code), &outgoing).await;
                    break error.to_string().into();
                }
            },
        };
        events.tell(SocketEvent { generation, kind });
    };
    events.tell(SocketEvent {
        generation,
        kind: SocketEventKind::Ended(ended),
    });
}

async fn plain(
    message: fragments::Message,
    inflater: &mut Inflater,
) -> Result<SocketEventKind, InflateError> {
    let data = if message.compressed {
        inflater.inflate(&message.data, MAX_MESSAGE_BYTES).await?
    } else {
        message.data
    };
    Ok(if message.text {
        SocketEventKind::Text(data)
    } else {
        SocketEventKind::Binary(data)
    })
}

/// Tells the server why the socket ends, as far as it still listens; the end of the reader ends the writer too.
async fn complain(code: Option<CloseCode>, outgoing: &mpsc::UnboundedSender<Outgoing>) {
    let Some(code) = code else { return };
    if outgoing.send(Outgoing::Close(code)).is_ok()
        && tokio::time::timeout(COMPLAINT, outgoing.closed())
            .await
            .is_err()
    {
        log::debug!("Lightning could not be told why the socket ends");
    }
}

/// Ends after a close frame, or when writing fails.
async fn write(
    mut sink: Sink,
    mut queue: mpsc::UnboundedReceiver<Outgoing>,
    compresses: bool,
    progress: Progress,
) {
    let mut closing = false;
    while !closing && let Some(first) = queue.recv().await {
        let mut heartbeat = false;
        let mut next = Some(first);
        while let Some(outgoing) = next {
            let written = match outgoing {
                Outgoing::Text(text) => write_text(&mut sink, text, compresses).await,
                Outgoing::Heartbeat(text) => {
                    heartbeat = true;
                    write_text(&mut sink, text, false).await
                }
                Outgoing::Long(long) => write_long(&mut sink, *long, compresses, &progress).await,
                Outgoing::Ping => feed(&mut sink, Message::Ping(Bytes::new())).await,
                Outgoing::Pong(data) => feed(&mut sink, Message::Pong(data)).await,
                Outgoing::Close(code) => {
                    closing = true;
                    feed(&mut sink, Message::Close(Some(CloseReason::from(code)))).await
                }
            };
            if let Err(error) = written {
                log::debug!("writing to Lightning failed: {error}");
                return;
            }
            next = if closing { None } else { queue.try_recv().ok() };
        }
        if let Err(error) = sink.flush().await {
            log::debug!("writing to Lightning failed: {error}");
            return;
        }
        if heartbeat {
            progress.beat_written(Instant::now());
        }
    }
}

/// What the server is told when it breaks the protocol; nothing where the line itself is at fault.
fn code_for(error: &ProtocolError) -> Option<CloseCode> {
    match error {
        ProtocolError::Overflow => Some(CloseCode::Size),
        // So does the library report reserved bits.
        ProtocolError::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => None,
        _ => Some(CloseCode::Protocol),
    }
}

fn protocol_error(error: &ProtocolError) -> String {
    format!("the connection failed: {error}")
}

fn closed(reason: Option<&CloseReason>) -> SocketEnd {
    SocketEnd {
        why: close_text(reason),
        code: reason.map(|reason| reason.code.into()),
        fault: match reason.map(|reason| reason.code) {
            Some(CloseCode::Size) => Fault::Size,
            Some(
                CloseCode::Protocol
                | CloseCode::Unsupported
                | CloseCode::Invalid
                | CloseCode::Error,
            ) => Fault::Frame,
            _ => Fault::None,
        },
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

#[cfg(test)]
mod tests {
    use super::*;

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
