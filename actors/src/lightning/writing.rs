//! Messages on their way out: as they are, compressed, or piece by piece.

use actix_http::ws::{Message, ProtocolError};
use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio::time::Instant;

use super::codec::{Piece, Place};
use super::deflate::{Deflater, PART, WORTHWHILE, deflated, pays};
use super::liveness::Progress;
use super::socket::{Long, Sink};

/// Hands a whole message to the socket; it is flushed by whoever has no further one.
pub(super) async fn feed(sink: &mut Sink, message: Message) -> Result<(), ProtocolError> {
    sink.feed(Piece::Message(message)).await
}

/// Writes a text, compressed where that is agreed on and worth it.
pub(super) async fn write_text(
    sink: &mut Sink,
    text: String,
    compresses: bool,
) -> Result<(), ProtocolError> {
    if compresses
        && text.len() >= WORTHWHILE
        && let Some(deflated) = deflated(text.as_bytes()).await?
    {
        return sink.feed(Piece::Compressed(Place::Whole, deflated)).await;
    }
    feed(sink, Message::Text(text.into())).await
}

/// Writes a text while it is made.
pub(super) async fn write_long(
    sink: &mut Sink,
    long: Long,
    compresses: bool,
    progress: &Progress,
) -> Result<(), ProtocolError> {
    let Long {
        begin,
        payload,
        end,
    } = long;
    let whole = begin.len() + payload.bytes() + end.len();
    let payload = payload
        .pieces()
        .map(|piece| piece.map_err(std::io::Error::other));
    let mut pieces = std::iter::once(Ok(Bytes::from(begin)))
        .chain(payload)
        .chain(std::iter::once(Ok(Bytes::from_static(end))));
    if !compresses {
        return write_plain(sink, whole, pieces, progress).await;
    }
    let mut beginning = Vec::new();
    let mut bytes = 0;
    while bytes < PART
        && let Some(piece) = pieces.next().transpose()?
    {
        bytes += piece.len();
        beginning.push(piece);
    }
    let pays = pays(&beginning)?;
    let pieces = beginning.into_iter().map(Ok).chain(pieces);
    if pays {
        write_deflated(sink, pieces, progress).await
    } else {
        write_plain(sink, whole, pieces, progress).await
    }
}

async fn write_plain(
    sink: &mut Sink,
    whole: usize,
    pieces: impl Iterator<Item = std::io::Result<Bytes>>,
    progress: &Progress,
) -> Result<(), ProtocolError> {
    sink.feed(Piece::LongText(whole)).await?;
    for piece in pieces {
        sink.feed(Piece::Part(piece?)).await?;
        progress.piece_written(Instant::now());
    }
    Ok(())
}

/// Compressed it goes in fragments, for the worker keeps no more of it than one of them.
async fn write_deflated(
    sink: &mut Sink,
    pieces: impl Iterator<Item = std::io::Result<Bytes>>,
    progress: &Progress,
) -> Result<(), ProtocolError> {
    let mut deflater = Deflater::new();
    let mut place = Place::First;
    for piece in pieces {
        let piece = piece?;
        deflater.add(&piece)?;
        if let Some(part) = deflater.part() {
            sink.feed(Piece::Compressed(place, part)).await?;
            place = Place::Middle;
            progress.piece_written(Instant::now());
        }
        deflater.turn(piece.len()).await;
    }
    let place = match place {
        Place::First => Place::Whole,
        _ => Place::Last,
    };
    sink.feed(Piece::Compressed(place, deflater.finish()?))
        .await
}
