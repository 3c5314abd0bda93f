//! Length-prefixed frames: u32 big-endian header length, u32 big-endian body length, header (JSON), body (raw bytes).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;

const PREFIX: usize = 8;

/// Room that a decoder keeps for the next read: many log lines fit into one.
const READ_AHEAD: usize = 32 << 10;

/// Up to this much is allocated on the word of a prefix; beyond it the buffer grows with what has really come.
const TRUSTED: usize = 16 << 20;

/// A body up to this size is sent together with its header: one write costs more than the copy.
const COPIED: usize = 64 << 10;

/// The largest frame that a decoder takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Bytes of a header.
    pub header: usize,
    /// Bytes of a body.
    pub body: usize,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            header: 8 << 20,
            body: 1 << 30,
        }
    }
}

/// One frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// JSON.
    pub header: Bytes,
    /// Raw bytes.
    pub body: Bytes,
}

/// Why a frame cannot be taken; nothing after it can be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A header over the limit.
    #[error("a header of {bytes} bytes exceeds the limit of {limit}")]
    HeaderTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A body over the limit.
    #[error("a body of {bytes} bytes exceeds the limit of {limit}")]
    BodyTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// Why a frame cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The header is no JSON.
    #[error("the header cannot be written as JSON: {0}")]
    Header(serde_json::Error),
    /// Four bytes cannot measure it.
    #[error("a part of {0} bytes is too large for a frame")]
    TooLarge(usize),
}

/// Writes one frame: what is to be sent, in order. A large body is sent as it is, without a copy.
///
/// # Errors
/// [`EncodeError`].
pub fn encode_frame<H: Serialize>(header: &H, body: &Bytes) -> Result<Vec<Bytes>, EncodeError> {
    let header = serde_json::to_vec(header).map_err(EncodeError::Header)?;
    let size =
        |part: &[u8]| u32::try_from(part.len()).map_err(|_| EncodeError::TooLarge(part.len()));
    let copied = if body.len() > COPIED { &[][..] } else { body };
    let mut out = BytesMut::with_capacity(PREFIX + header.len() + copied.len());
    out.put_u32(size(&header)?);
    out.put_u32(size(body)?);
    out.put_slice(&header);
    out.put_slice(copied);
    let mut parts = vec![out.freeze()];
    if copied.len() < body.len() {
        parts.push(body.clone());
    }
    Ok(parts)
}

/// Takes frames out of a stream of bytes. Bytes are read straight into [`FrameDecoder::buffer`], and no byte is looked at
/// twice.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    limits: FrameLimits,
    buffer: BytesMut,
}

impl FrameDecoder {
    /// A decoder with these limits.
    pub fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
        }
    }

    /// What the frames from here on may have; one whose prefix has been looked at keeps to the limits of then.
    pub fn set_limits(&mut self, limits: FrameLimits) {
        self.limits = limits;
    }

    /// Where further bytes are to be appended. After [`FrameDecoder::next_frame`] has found no frame there is room for many.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole frame, if there is one.
    ///
    /// # Errors
    /// [`DecodeError`] as soon as a prefix announces too much.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, DecodeError> {
        let Some((header, body)) = self.sizes()? else {
            self.make_room(PREFIX);
            return Ok(None);
        };
        let whole = PREFIX + header + body;
        if self.buffer.len() < whole {
            self.make_room(whole);
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        let header = self.buffer.split_to(header).freeze();
        let body = self.buffer.split_to(body).freeze();
        if self.buffer.is_empty() && whole > READ_AHEAD {
            // Else the next read would take over the memory of this frame, and keep it.
            self.buffer = BytesMut::new();
        }
        Ok(Some(Frame { header, body }))
    }

    fn make_room(&mut self, whole: usize) {
        let missing = (whole - self.buffer.len()).min(TRUSTED);
        if self.buffer.capacity() - self.buffer.len() < missing.max(READ_AHEAD / 2) {
            self.buffer.reserve(missing.max(READ_AHEAD));
        }
    }

    fn sizes(&self) -> Result<Option<(usize, usize)>, DecodeError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let size = |at: usize| {
            let bytes = [prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]];
            usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX)
        };
        let (header, body) = (size(0), size(4));
        if header > self.limits.header {
            return Err(DecodeError::HeaderTooLarge {
                bytes: header,
                limit: self.limits.header,
            });
        }
        if body > self.limits.body {
            return Err(DecodeError::BodyTooLarge {
                bytes: body,
                limit: self.limits.body,
            });
        }
        Ok(Some((header, body)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prefix_that_announces_too_much_is_refused_at_once() {
        let mut decoder = FrameDecoder::new(FrameLimits {
            header: 10,
            body: 20,
        });
        decoder
            .buffer()
            .extend_from_slice(&[0, 0, 0, 11, 0, 0, 0, 0]);
        assert_eq!(
            decoder.next_frame(),
            Err(DecodeError::HeaderTooLarge {
                bytes: 11,
                limit: 10
            })
        );
        let mut decoder = FrameDecoder::new(FrameLimits {
            header: 10,
            body: 20,
        });
        decoder
            .buffer()
            .extend_from_slice(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
        assert!(matches!(
            decoder.next_frame(),
            Err(DecodeError::BodyTooLarge { limit: 20, .. })
        ));
    }

    #[test]
    fn there_is_room_for_the_next_read_but_not_for_whatever_a_prefix_claims() {
        let mut decoder = FrameDecoder::default();
        assert_eq!(decoder.next_frame(), Ok(None));
        let room = |decoder: &FrameDecoder| decoder.buffer.capacity() - decoder.buffer.len();
        assert!(room(&decoder) >= READ_AHEAD / 2);
        decoder
            .buffer()
            .extend_from_slice(&[0, 0, 0, 2, 0x40, 0, 0, 0]);
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(room(&decoder) >= READ_AHEAD / 2 && room(&decoder) <= 2 * TRUSTED);
    }

    proptest! {
        #[test]
        fn frames_round_trip_however_the_bytes_arrive(
            parts in prop::collection::vec((".{0,40}", prop::collection::vec(any::<u8>(), 0..60)), 0..6),
            chunk in 1usize..50,
            large in prop::option::of(0usize..6),
        ) {
            let mut parts = parts;
            if let Some((_, body)) = large.and_then(|at| parts.get_mut(at)) {
                body.resize(COPIED + 1, 7);
            }
            let mut stream = Vec::new();
            for (text, body) in &parts {
                for part in encode_frame(text, &Bytes::from(body.clone())).unwrap() {
                    stream.extend_from_slice(&part);
                }
            }
            let mut decoder = FrameDecoder::default();
            let mut got = Vec::new();
            for bytes in stream.chunks(chunk) {
                decoder.buffer().extend_from_slice(bytes);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    got.push((serde_json::from_slice::<String>(&frame.header).unwrap(), frame.body.to_vec()));
                }
            }
            prop_assert_eq!(got, parts);
        }

        #[test]
        fn no_input_makes_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = FrameDecoder::new(FrameLimits { header: 64, body: 64 });
            decoder.buffer().extend_from_slice(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }
}
