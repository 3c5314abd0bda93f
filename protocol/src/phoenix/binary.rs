//! Binary frames (protocol spec, section 2.2): sizes of one byte each, then the strings, then the data.

use bytes::{BufMut, Bytes, BytesMut};

use super::frame::{Frame, FrameError, Payload};
use crate::ids::Topic;

/// Why a binary frame cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BinaryError {
    /// It ends before its parts do.
    #[error("a binary frame of {0} bytes ends before its parts do")]
    Short(usize),
    /// A kind that the format does not know.
    #[error("a binary frame is of unknown kind {0}")]
    Kind(u8),
    /// A part that is no text.
    #[error("the {0} of a binary frame is not UTF-8")]
    NotUtf8(&'static str),
    /// A part that one byte cannot measure.
    #[error("the {part} of a binary frame has {bytes} bytes, 255 are possible")]
    Long {
        /// The part whose length must fit into one byte.
        part: &'static str,
        /// Its length.
        bytes: usize,
    },
}

/// What stands before the status in the event of a decoded binary reply: it has no JSON envelope to keep its status in.
pub(super) const REPLY_EVENT: &str = "phx_reply:";

const PUSH: u8 = 0;
const REPLY: u8 = 1;
const BROADCAST: u8 = 2;

impl Frame {
    /// Reads a binary frame of the server: push, reply (its event is then `phx_reply:<status>`) or broadcast. The data is
    /// not copied.
    ///
    /// # Errors
    /// [`BinaryError`].
    pub fn decode_binary_from_server(bytes: &Bytes) -> Result<Self, FrameError> {
        let frame = match bytes.first() {
            Some(&PUSH) => {
                let ([join_ref, topic, event], data) =
                    parts(bytes, ["join_ref", "topic", "event"])?;
                frame(Some(join_ref), None, topic, event, data)
            }
            Some(&REPLY) => {
                let ([join_ref, reference, topic, status], data) =
                    parts(bytes, ["join_ref", "ref", "topic", "status"])?;
                frame(
                    Some(join_ref),
                    Some(reference),
                    topic,
                    format!("{REPLY_EVENT}{status}"),
                    data,
                )
            }
            Some(&BROADCAST) => {
                let ([topic, event], data) = parts(bytes, ["topic", "event"])?;
                frame(None, None, topic, event, data)
            }
            Some(&kind) => return Err(BinaryError::Kind(kind).into()),
            None => return Err(BinaryError::Short(0).into()),
        };
        Ok(frame)
    }

    /// Reads a binary push of the client.
    ///
    /// # Errors
    /// [`BinaryError`].
    pub fn decode_binary_from_client(bytes: &Bytes) -> Result<Self, FrameError> {
        match bytes.first() {
            Some(&PUSH) => {
                let ([join_ref, reference, topic, event], data) =
                    parts(bytes, ["join_ref", "ref", "topic", "event"])?;
                Ok(frame(Some(join_ref), Some(reference), topic, event, data))
            }
            Some(&kind) => Err(BinaryError::Kind(kind).into()),
            None => Err(BinaryError::Short(0).into()),
        }
    }

    /// Writes this frame as a binary push of the client. JSON payloads are written as their text.
    ///
    /// # Errors
    /// [`BinaryError::Long`].
    pub fn encode_binary_push_from_client(&self) -> Result<Bytes, BinaryError> {
        let texts = [
            ("join_ref", self.join_ref.as_deref().unwrap_or_default()),
            ("ref", self.reference.as_deref().unwrap_or_default()),
            ("topic", self.topic.as_str()),
            ("event", self.event.as_str()),
        ];
        encode(PUSH, &texts, self.data())
    }

    /// Writes this frame as a binary push of the server, which has no ref.
    ///
    /// # Errors
    /// [`BinaryError::Long`].
    pub fn encode_binary_push_from_server(&self) -> Result<Bytes, BinaryError> {
        let texts = [
            ("join_ref", self.join_ref.as_deref().unwrap_or_default()),
            ("topic", self.topic.as_str()),
            ("event", self.event.as_str()),
        ];
        encode(PUSH, &texts, self.data())
    }

    /// Writes a binary reply of this status; the frame's event is not part of it.
    ///
    /// # Errors
    /// [`BinaryError::Long`].
    pub fn encode_binary_reply(&self, status: &str) -> Result<Bytes, BinaryError> {
        let texts = [
            ("join_ref", self.join_ref.as_deref().unwrap_or_default()),
            ("ref", self.reference.as_deref().unwrap_or_default()),
            ("topic", self.topic.as_str()),
            ("status", status),
        ];
        encode(REPLY, &texts, self.data())
    }

    /// Writes this frame as a binary broadcast.
    ///
    /// # Errors
    /// [`BinaryError::Long`].
    pub fn encode_binary_broadcast(&self) -> Result<Bytes, BinaryError> {
        encode(
            BROADCAST,
            &[
                ("topic", self.topic.as_str()),
                ("event", self.event.as_str()),
            ],
            self.data(),
        )
    }

    fn data(&self) -> &[u8] {
        match &self.payload {
            Payload::Binary(data) => data,
            Payload::Json(json) => json.get().as_bytes(),
        }
    }
}

fn frame(
    join_ref: Option<String>,
    reference: Option<String>,
    topic: String,
    event: String,
    data: Bytes,
) -> Frame {
    let present = |text: &String| !text.is_empty();
    Frame {
        join_ref: join_ref.filter(present),
        reference: reference.filter(present),
        topic: Topic::new(topic),
        event,
        payload: Payload::Binary(data),
    }
}

fn parts<const N: usize>(
    bytes: &Bytes,
    names: [&'static str; N],
) -> Result<([String; N], Bytes), BinaryError> {
    let sizes = bytes.get(1..=N).ok_or(BinaryError::Short(bytes.len()))?;
    let mut at = 1 + N;
    let mut texts = [const { String::new() }; N];
    for ((text, size), name) in texts.iter_mut().zip(sizes).zip(names) {
        let end = at + usize::from(*size);
        let part = bytes.get(at..end).ok_or(BinaryError::Short(bytes.len()))?;
        *text = std::str::from_utf8(part)
            .map_err(|_| BinaryError::NotUtf8(name))?
            .to_owned();
        at = end;
    }
    Ok((texts, bytes.slice(at..)))
}

fn encode(kind: u8, texts: &[(&'static str, &str)], data: &[u8]) -> Result<Bytes, BinaryError> {
    let mut out = BytesMut::with_capacity(
        8 + texts.iter().map(|(_, text)| text.len()).sum::<usize>() + data.len(),
    );
    out.put_u8(kind);
    for (part, text) in texts {
        let size = u8::try_from(text.len()).map_err(|_| BinaryError::Long {
            part,
            bytes: text.len(),
        })?;
        out.put_u8(size);
    }
    for (_, text) in texts {
        out.put_slice(text.as_bytes());
    }
    out.put_slice(data);
    Ok(out.freeze())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply() -> Frame {
        Frame {
            join_ref: Some("10".to_owned()),
            reference: Some("12".to_owned()),
            topic: Topic::new("run:r1"),
            event: "phx_reply:ok".to_owned(),
            payload: Payload::Binary(Bytes::from_static(br#"{"data":{"a":1}}"#)),
        }
    }

    #[test]
    fn the_example_of_the_format_is_read_and_written() {
        let mut bytes = vec![0x01, 2, 2, 6, 2];
        bytes.extend_from_slice(br#"1012run:r1ok{"data":{"a":1}}"#);
        assert_eq!(bytes.len(), 33);
        assert_eq!(reply().encode_binary_reply("ok").unwrap(), bytes);
        assert_eq!(
            Frame::decode_binary_from_server(&bytes.into()).unwrap(),
            reply()
        );
    }

    #[test]
    fn short_and_unknown_frames_are_refused() {
        let refused = |bytes: &'static [u8]| match Frame::decode_binary_from_server(
            &Bytes::from_static(bytes),
        ) {
            Err(FrameError::Binary(error)) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(b""), BinaryError::Short(0));
        assert_eq!(refused(&[1, 2]), BinaryError::Short(2));
        assert_eq!(refused(&[1, 0, 0, 9, 0, 65]), BinaryError::Short(6));
        assert_eq!(refused(&[7, 0]), BinaryError::Kind(7));
        assert_eq!(refused(&[2, 1, 0, 0xff]), BinaryError::NotUtf8("topic"));
    }

    #[test]
    fn a_topic_of_more_than_255_bytes_cannot_be_written() {
        let frame = Frame {
            topic: Topic::new("t".repeat(256)),
            ..reply()
        };
        assert_eq!(
            frame.encode_binary_broadcast(),
            Err(BinaryError::Long {
                part: "topic",
                bytes: 256
            })
        );
    }

    proptest! {
        #[test]
        fn any_reply_and_push_round_trips(
            join_ref in prop::option::of("[a-z0-9]{1,20}"), reference in prop::option::of("[a-z0-9]{1,20}"),
            topic in "[^\\x00]{0,40}", event in "[^\\x00]{0,40}", data in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let frame = Frame { join_ref, reference, topic: Topic::new(topic), event, payload: Payload::Binary(data.into()) };
            let bytes = frame.encode_binary_push_from_client().unwrap();
            prop_assert_eq!(&Frame::decode_binary_from_client(&bytes).unwrap(), &frame);
            let as_reply = Frame { event: "phx_reply:ok".to_owned(), ..frame.clone() };
            let bytes = as_reply.encode_binary_reply("ok").unwrap();
            prop_assert_eq!(Frame::decode_binary_from_server(&bytes).unwrap(), as_reply);
            let pushed = Frame { reference: None, ..frame.clone() };
            let bytes = pushed.encode_binary_push_from_server().unwrap();
            prop_assert_eq!(Frame::decode_binary_from_server(&bytes).unwrap(), pushed);
            let broadcast = Frame { join_ref: None, reference: None, ..frame };
            let bytes = broadcast.encode_binary_broadcast().unwrap();
            prop_assert_eq!(Frame::decode_binary_from_server(&bytes).unwrap(), broadcast);
        }

        #[test]
        fn no_input_makes_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _server = Frame::decode_binary_from_server(&bytes.clone().into());
            let _client = Frame::decode_binary_from_client(&bytes.into());
        }
    }
}
