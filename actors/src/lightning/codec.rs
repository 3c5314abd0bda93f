//! WebSocket frames of the client: the library's, except where a message of megabytes would be copied as a whole. Such a
//! message is one frame like every other, but is masked and written piece by piece.

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
}

/// The client's codec.
pub(super) struct ClientCodec {
    library: Codec,
    mask: [u8; 4],
    /// Bytes of the part before.
    masked: usize,
}

impl ClientCodec {
    /// `library` is that of an open client connection.
    pub(super) fn new(library: Codec) -> Self {
        Self {
            library,
            mask: [0; 4],
            masked: 0,
        }
    }
}

impl Decoder for ClientCodec {
    type Item = Frame;
    type Error = ProtocolError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, ProtocolError> {
        let large = buffer.len() > KEPT;
        let frame = self.library.decode(buffer)?;
        if large && buffer.is_empty() && frame.is_some() {
            *buffer = BytesMut::new();
        }
        Ok(frame)
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
                put_head(bytes, self.mask, out);
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

/// The head of an unfragmented, masked text frame (RFC 6455, section 5.2).
fn put_head(bytes: usize, mask: [u8; 4], out: &mut BytesMut) {
    const FINAL_TEXT: u8 = 0x81;
    const MASKED: u8 = 0x80;
    out.put_u8(FINAL_TEXT);
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
        let mut codec = ClientCodec::new(Codec::new().client_mode());
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
        let mut codec = ClientCodec::new(Codec::new().client_mode().max_size(1 << 20));
        assert!(codec.decode(&mut buffer).unwrap().is_some());
        assert_eq!(buffer.capacity(), 0);
    }
}
