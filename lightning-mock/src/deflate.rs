//! permessage-deflate (RFC 7692) on the server's side. The WebSocket library does not know it, so it lies between the
//! library's frames and the bytes of the connection.
//!
//! Harsher than real servers: every message is compressed, the smallest too, and long ones come in fragments.

use std::io;
use std::sync::Arc;

use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use bytes::{Buf as _, BufMut as _, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use futures_util::{Stream, StreamExt as _};

use crate::rules::MESSAGE_LIMIT;
use crate::world::{Inflated, Shared};

const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
const FINAL: u8 = 0x80;
const RSV1: u8 = 0x40;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
/// Longer compressed messages are sent in fragments of this size.
const FRAGMENT: usize = 16 << 10;

/// The answer to an offer, `None` where nothing in it can be taken. What the worker asks for is granted.
pub(crate) fn accept(offer: &str) -> Option<String> {
    offer.split(',').find_map(|offer| {
        let mut parts = offer.split(';').map(str::trim);
        if parts.next() != Some("permessage-deflate") {
            return None;
        }
        let mut answer = vec!["permessage-deflate"];
        for part in parts {
            match part {
                "server_no_context_takeover" | "client_no_context_takeover" => answer.push(part),
                // A hint that the worker could do with a smaller window.
                "client_max_window_bits" => {}
                _ => return None,
            }
        }
        // Each message is read and written without the ones before it.
        let wanted = ["server_no_context_takeover", "client_no_context_takeover"];
        wanted
            .iter()
            .all(|part| answer.contains(part))
            .then(|| answer.join("; "))
    })
}

/// The worker's bytes with its compressed messages as plain ones.
pub(crate) fn inbound<S>(
    stream: S,
    shared: Arc<Shared>,
) -> impl Stream<Item = Result<Bytes, PayloadError>>
where
    S: Stream<Item = Result<Bytes, PayloadError>>,
{
    let mut reader = Reader::default();
    stream.map(move |chunk| {
        let before = reader.inflated;
        let plain = reader.read(&chunk?);
        if reader.inflated != before {
            shared.with(|world| {
                world.inflated.messages += reader.inflated.messages - before.messages;
                world.inflated.sent_bytes += reader.inflated.sent_bytes - before.sent_bytes;
                world.inflated.bytes += reader.inflated.bytes - before.bytes;
            });
        }
        plain.map_err(PayloadError::Io)
    })
}

/// The library's frames, each of which is whole in its bytes, with their messages compressed.
pub(crate) fn outbound<S, E>(stream: S) -> impl Stream<Item = Result<Bytes, E>>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: From<io::Error>,
{
    stream.map(|frames| Ok(compress_frames(&frames?)?))
}

/// The head of a frame.
struct Head {
    first: u8,
    masked: bool,
    /// Bytes of the head, without the mask.
    bytes: usize,
    payload: usize,
}

impl Head {
    /// `None` while it is not whole.
    fn read(frame: &[u8]) -> Option<Self> {
        let (&[first, second], rest) = frame.split_first_chunk::<2>()?;
        let (bytes, payload) = match second & !MASKED {
            126 => (4, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*rest.first_chunk()?)),
            short => (2, u64::from(short)),
        };
        Some(Self {
            first,
            masked: second & MASKED != 0,
            bytes,
            payload: usize::try_from(payload).ok()?,
        })
    }
}

fn put_head(first: u8, masked: u8, payload: usize, out: &mut BytesMut) {
    out.put_u8(first);
    match (u8::try_from(payload), u16::try_from(payload)) {
        (Ok(short @ 0..=125), _) => out.put_u8(masked | short),
        (_, Ok(medium)) => {
            out.put_u8(masked | 126);
            out.put_u16(medium);
        }
        _ => {
            out.put_u8(masked | 127);
            out.put_u64(payload as u64);
        }
    }
}

#[derive(Default)]
struct Reader {
    buffer: BytesMut,
    /// What has come of a compressed message, with the opcode of its first frame.
    message: Option<(u8, Vec<u8>)>,
    inflated: Inflated,
}

impl Reader {
    fn read(&mut self, chunk: &[u8]) -> io::Result<Bytes> {
        self.buffer.extend_from_slice(chunk);
        let mut plain = BytesMut::new();
        while let Some(head) = Head::read(&self.buffer) {
            let mask = if head.masked { 4 } else { 0 };
            let whole = head.bytes + mask + head.payload;
            if self.buffer.len() < whole {
                // What the library refuses it is to refuse at once, not when a hundred megabytes have come.
                if head.payload > MESSAGE_LIMIT {
                    plain.extend_from_slice(&self.buffer.split());
                }
                break;
            }
            let mut frame = self.buffer.split_to(whole);
            let opcode = head.first & OPCODE;
            let begins = matches!(opcode, 1 | 2) && head.first & RSV1 != 0;
            let goes_on = opcode == 0 && self.message.is_some() && head.first & RSV1 == 0;
            if !(begins || goes_on) || !head.masked {
                // The library refuses what is wrong with it: reserved bits, a missing mask, a message within another.
                plain.extend_from_slice(&frame);
                continue;
            }
            frame.advance(head.bytes);
            let key = frame.split_to(mask);
            let (_, message) = self.message.get_or_insert((opcode, Vec::new()));
            message.extend(
                frame
                    .iter()
                    .zip(key.iter().cycle())
                    .map(|(byte, key)| byte ^ key),
            );
            if head.first & FINAL != 0
                && let Some((opcode, message)) = self.message.take()
            {
                let data = inflate(&message)?;
                self.inflated.messages += 1;
                self.inflated.sent_bytes += message.len() as u64;
                self.inflated.bytes += data.len() as u64;
                put_head(FINAL | opcode, MASKED, data.len(), &mut plain);
                // A mask of zeros changes nothing.
                plain.put_u32(0);
                plain.extend_from_slice(&data);
            }
        }
        Ok(plain.freeze())
    }
}

/// Without anything of an earlier message: a worker that refers to one cannot be read.
fn inflate(message: &[u8]) -> io::Result<Vec<u8>> {
    let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut decompress = Decompress::new(false);
    let mut data = Vec::with_capacity(message.len() * 4 + 64);
    let whole = [message, &TAIL].concat();
    let mut read = 0;
    while read < whole.len() || data.len() == data.capacity() {
        if data.len() > MESSAGE_LIMIT {
            return Err(wrong("a compressed message is too long"));
        }
        data.reserve(64 << 10);
        let had = data.len();
        decompress
            .decompress_vec(&whole[read..], &mut data, FlushDecompress::Sync)
            .map_err(io::Error::other)?;
        let before = read;
        read = usize::try_from(decompress.total_in()).unwrap_or(usize::MAX);
        if read == before && data.len() == had && read < whole.len() {
            return Err(wrong("a compressed message goes on after its end"));
        }
    }
    Ok(data)
}

fn compress_frames(mut frames: &[u8]) -> io::Result<Bytes> {
    let mut out = BytesMut::new();
    while let Some(head) = Head::read(frames) {
        let (frame, rest) = frames.split_at(head.bytes + head.payload);
        frames = rest;
        let opcode = head.first & OPCODE;
        if !matches!(opcode, 1 | 2) {
            out.extend_from_slice(frame);
            continue;
        }
        let data = deflate(&frame[head.bytes..])?;
        let mut first = RSV1 | opcode;
        let mut parts = data.chunks(FRAGMENT).peekable();
        while let Some(part) = parts.next() {
            let last = if parts.peek().is_none() { FINAL } else { 0 };
            put_head(first | last, 0, part.len(), &mut out);
            out.extend_from_slice(part);
            first = 0;
        }
    }
    Ok(out.freeze())
}

fn deflate(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut compress = Compress::new(Compression::default(), false);
    let mut out = Vec::with_capacity(data.len() / 2 + 64);
    let mut read = 0;
    loop {
        compress
            .compress_vec(&data[read..], &mut out, FlushCompress::Sync)
            .map_err(io::Error::other)?;
        read = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        if read == data.len() && out.len() < out.capacity() {
            break;
        }
        out.reserve(out.len() + 64);
    }
    out.truncate(out.len() - TAIL.len());
    // A message of nothing has a block of nothing.
    if out.is_empty() {
        out.push(0);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_taken_as_a_whole_or_not_at_all() {
        let both = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";
        assert_eq!(accept(both).as_deref(), Some(both));
        for refused in ["", "permessage-deflate", "x", "permessage-deflate; y"] {
            assert_eq!(accept(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn what_was_compressed_is_read_back_in_any_pieces() {
        for text in ["", "x", &"record ".repeat(20_000)] {
            let mut frame = BytesMut::new();
            put_head(FINAL | 1, 0, text.len(), &mut frame);
            frame.extend_from_slice(text.as_bytes());
            let sent = compress_frames(&frame).unwrap();
            // As a client would have sent it: with a mask.
            let mut masked = BytesMut::new();
            let mut rest = &sent[..];
            while let Some(head) = Head::read(rest) {
                put_head(head.first, MASKED, head.payload, &mut masked);
                masked.put_u32(0);
                let (frame, next) = rest.split_at(head.bytes + head.payload);
                masked.extend_from_slice(&frame[head.bytes..]);
                rest = next;
            }
            let mut reader = Reader::default();
            let mut plain = BytesMut::new();
            for piece in masked.chunks(7) {
                plain.extend_from_slice(&reader.read(piece).unwrap());
            }
            let head = Head::read(&plain).unwrap();
            assert_eq!(head.first, FINAL | 1);
            assert_eq!(&plain[head.bytes + 4..], text.as_bytes());
            assert_eq!(reader.inflated.bytes, text.len() as u64);
        }
    }
}
