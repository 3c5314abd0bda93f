//! WebSocket frames of the client: the library's, except where a message of megabytes would be copied as a whole, and for
//! compressed messages, which it does not know (RFC 7692). A long message is one frame like every other, but is masked and
//! written piece by piece; a long one that is compressed is a frame for each part, since its length is not known before.

use actix_codec::{Decoder, Encoder};
use actix_http::ws::{Codec, Frame, Message, ProtocolError};
use bytes::{BufMut, Bytes, BytesMut};

/// A read buffer that has grown beyond this is given back after its message.
const KEPT: usize = 256 << 10;

/// Something to write.
pub(super) enum Piece {
    /// A whole message.
    Message(Message),
    /// The beginning of a text message that has so many bytes, all of which follow as parts before anything else.
    LongText(usize),
    /// Further bytes of the long text.
    Part(Bytes),
    /// A text message that was compressed, or a part of one.
    Compressed(Place, Bytes),
}

/// Where in its message a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Whole,
    First,
    Middle,
    Last,
}

/// A frame that was read, and whether the message that it begins is compressed.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) frame: Frame,
    pub(super) compressed: bool,
}

/// The frame at the head of the read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    Unseen,
    Seen { compressed: bool },
}

const FINAL: u8 = 0x80;
/// Reserved by the WebSocket protocol, and the sign of a compressed message (RFC 7692, section 6).
const RSV1: u8 = 0x40;
const OPCODE: u8 = 0x0f;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// The client's codec.
pub(super) struct ClientCodec {
    library: Codec,
    mask: [u8; 4],
    /// Bytes of the part before.
    masked: usize,
    deflate: bool,
    head: Head,
}

impl ClientCodec {
    /// `library` is that of an open client connection; `deflate` whether compression was agreed on.
    pub(super) fn new(library: Codec, deflate: bool) -> Self {
        Self {
            library,
            mask: [0; 4],
            masked: 0,
            deflate,
            head: Head::Unseen,
        }
    }
}

impl Decoder for ClientCodec {
    type Item = Incoming;
    type Error = ProtocolError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Incoming>, ProtocolError> {
        if self.head == Head::Unseen
            && let Some(first) = buffer.first_mut()
        {
            // The library refuses every reserved bit, so this one is taken away where it may be.
            let begins = matches!(*first & OPCODE, TEXT | BINARY);
            let compressed = self.deflate && begins && *first & RSV1 != 0;
            if compressed {
                *first &= !RSV1;
            }
            self.head = Head::Seen { compressed };
        }
        let large = buffer.len() > KEPT;
        let Some(frame) = self.library.decode(buffer)? else {
            return Ok(None);
        };
        if large && buffer.is_empty() {
            *buffer = BytesMut::new();
        }
        let head = std::mem::replace(&mut self.head, Head::Unseen);
        let compressed = head == Head::Seen { compressed: true };
        Ok(Some(Incoming { frame, compressed }))
    }
}

impl Encoder<Piece> for ClientCodec {
    type Error = ProtocolError;

    fn encode(&mut self, piece: Piece, out: &mut BytesMut) -> Result<(), ProtocolError> {
        match piece {
            Piece::Message(message) => self.library.encode(message, out)?,
            Piece::LongText(bytes) => {
                self.mask = rand::random();
                self.masked = 0;
                put_head(FINAL | TEXT, bytes, self.mask, out);
            }
            Piece::Compressed(place, part) => {
                let first = match place {
                    Place::Whole => FINAL | RSV1 | TEXT,
                    Place::First => RSV1 | TEXT,
                    Place::Middle => CONTINUATION,
                    Place::Last => FINAL | CONTINUATION,
                };
                let key = rand::random();
                put_head(first, part.len(), key, out);
                let start = out.len();
                out.put_slice(&part);
                mask(&mut out[start..], key);
            }
            Piece::Part(part) => {
                // The mask goes on where the part before ended.
                self.mask.rotate_left(self.masked % 4);
                self.masked = part.len();
                let start = out.len();
                out.put_slice(&part);
                mask(&mut out[start..], self.mask);
            }
        }
        Ok(())
    }
}

/// The head of a masked frame (RFC 6455, section 5.2).
fn put_head(first: u8, bytes: usize, mask: [u8; 4], out: &mut BytesMut) {
    const MASKED: u8 = 0x80;
    out.put_u8(first);
    match (u16::try_from(bytes), u8::try_from(bytes)) {
        (_, Ok(short @ 0..=125)) => out.put_u8(MASKED | short),
        (Ok(medium), _) => {
            out.put_u8(MASKED | 126);
            out.put_u16(medium);
        }
        _ => {
            out.put_u8(MASKED | 127);
            out.put_u64(bytes as u64);
        }
    }
    out.put_slice(&mask);
}

fn mask(part: &mut [u8], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    let mut words = part.chunks_exact_mut(4);
    for four in &mut words {
        if let Ok(bytes) = <&mut [u8; 4]>::try_from(four) {
            *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
        }
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a server reads.
    fn read(mut written: BytesMut) -> Frame {
        let frame = Codec::new()
            .max_size(1 << 20)
            .decode(&mut written)
            .unwrap()
            .expect("a whole frame");
        assert!(written.is_empty(), "{} bytes too many", written.len());
        frame
    }

    fn written(parts: &[Vec<u8>]) -> BytesMut {
        let mut codec = ClientCodec::new(Codec::new().client_mode(), false);
        let mut out = BytesMut::new();
        let whole = parts.iter().map(Vec::len).sum();
        codec.encode(Piece::LongText(whole), &mut out).unwrap();
        for part in parts {
            codec
                .encode(Piece::Part(part.clone().into()), &mut out)
                .unwrap();
        }
        out
    }

    proptest! {
        #[test]
        fn a_server_reads_one_message_however_it_was_cut(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..12)
        ) {
            match read(written(&parts)) {
                Frame::Text(text) => prop_assert_eq!(&text[..], parts.concat()),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    /// A frame of the server whose first byte is this.
    fn from_server(first: u8, payload: &[u8]) -> BytesMut {
        let mut frame = BytesMut::new();
        frame.put_u8(first);
        frame.put_u8(u8::try_from(payload.len()).unwrap());
        frame.put_slice(payload);
        frame
    }

    fn client(deflate: bool) -> ClientCodec {
        ClientCodec::new(Codec::new().client_mode(), deflate)
    }

    #[test]
    fn a_compressed_message_is_told_from_others_however_it_arrives() {
        let mut codec = client(true);
        let frame = from_server(FINAL | RSV1 | TEXT, b"abc");
        let mut buffer = BytesMut::new();
        for byte in &frame[..frame.len() - 1] {
            buffer.put_u8(*byte);
            assert!(codec.decode(&mut buffer).unwrap().is_none());
        }
        buffer.put_u8(frame[frame.len() - 1]);
        buffer.extend_from_slice(&from_server(FINAL | TEXT, b"def"));
        let read: Vec<_> = std::iter::from_fn(|| codec.decode(&mut buffer).unwrap()).collect();
        let [first, second] = &read[..] else {
            panic!("{read:?}")
        };
        assert!(first.compressed && matches!(&first.frame, Frame::Text(text) if text == "abc"));
        assert!(!second.compressed && matches!(&second.frame, Frame::Text(text) if text == "def"));
    }

    #[test]
    fn reserved_bits_are_a_protocol_error_where_nothing_was_agreed_on_them() {
        const PING: u8 = 9;
        for (deflate, first) in [
            (false, FINAL | RSV1 | TEXT),
            (true, FINAL | 0x20 | TEXT),
            (true, FINAL | RSV1 | PING),
            (true, FINAL | RSV1 | CONTINUATION),
        ] {
            let read = client(deflate).decode(&mut from_server(first, b"abc"));
            assert!(read.is_err(), "{first:#x}: {read:?}");
        }
    }

    #[test]
    fn the_head_tells_every_length() {
        for bytes in [0, 1, 125, 126, 127, 65_535, 65_536, 300_000] {
            match read(written(&[vec![b'x'; bytes]])) {
                Frame::Text(text) => assert_eq!(text.len(), bytes),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_large_read_buffer_is_given_back() {
        let mut server = Codec::new();
        let mut buffer = BytesMut::new();
        let message = Message::Text("x".repeat(KEPT + 1).into());
        server.encode(message, &mut buffer).unwrap();
        let mut codec = ClientCodec::new(Codec::new().client_mode().max_size(1 << 20), false);
        assert!(codec.decode(&mut buffer).unwrap().is_some());
        assert_eq!(buffer.capacity(), 0);
    }
}
