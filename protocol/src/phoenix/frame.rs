//! Text frames: one JSON array of five, `[join_ref, ref, topic, event, payload]`.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer as _, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::binary::BinaryError;
use crate::ids::{MessageRef, Topic};

/// What a frame carries.
#[derive(Clone)]
pub enum Payload {
    /// Any JSON value, as it was written.
    Json(Box<RawValue>),
    /// The data of a binary frame.
    Binary(Bytes),
}

impl Payload {
    /// The payload `null`.
    pub fn null() -> Self {
        Self::Json(RawValue::NULL.to_owned())
    }
}

// By hand: tokens and credentials travel in payloads.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(json) => write!(f, "Json({} bytes)", json.get().len()),
            Self::Binary(data) => write!(f, "Binary({} bytes)", data.len()),
        }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Json(one), Self::Json(two)) => one.get() == two.get(),
            (Self::Binary(one), Self::Binary(two)) => one == two,
            (Self::Json(_), Self::Binary(_)) | (Self::Binary(_), Self::Json(_)) => false,
        }
    }
}

/// One frame, in either direction.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Ref of the join that opened the topic; `None` for heartbeats and broadcasts.
    pub join_ref: Option<String>,
    /// The frame's own ref; `None` in pushes of the server.
    pub reference: Option<String>,
    /// The channel that the frame belongs to; `phoenix` for heartbeats.
    pub topic: Topic,
    /// What it is about, e.g. `phx_reply` or `run:start`.
    pub event: String,
    /// JSON, or the bytes of a binary frame.
    pub payload: Payload,
}

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A text part of a binary frame is no UTF-8.
    #[error("a text frame is not UTF-8")]
    NotUtf8(#[source] std::str::Utf8Error),
    /// Not a JSON array of five elements of the right types.
    #[error("a text frame is not [join_ref, ref, topic, event, payload]: {0}")]
    Shape(serde_json::Error),
    /// A binary frame that is too short, of an unknown kind, or not UTF-8 where it has to be.
    #[error(transparent)]
    Binary(#[from] BinaryError),
}

impl Frame {
    /// Reads a text frame; elements after the fifth are ignored, as Phoenix does.
    ///
    /// # Errors
    /// [`FrameError::Shape`], naming the element that is wrong.
    pub fn decode_text(text: &str) -> Result<Self, FrameError> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let frame = deserializer
            .deserialize_seq(FrameVisitor)
            .map_err(FrameError::Shape)?;
        deserializer.end().map_err(FrameError::Shape)?;
        Ok(frame)
    }

    /// Reads a text frame from bytes.
    ///
    /// # Errors
    /// As [`Frame::decode_text`], and [`FrameError::NotUtf8`].
    pub fn decode_text_bytes(bytes: &[u8]) -> Result<Self, FrameError> {
        Self::decode_text(std::str::from_utf8(bytes).map_err(FrameError::NotUtf8)?)
    }

    /// Writes a text frame. A binary payload, which text cannot carry, is written as `null`.
    pub fn encode_text(&self) -> String {
        let mut out = Vec::new();
        self.encode_text_into(&mut out);
        into_text(out)
    }

    /// Appends what [`Frame::encode_text`] returns. The payload is copied once and not read.
    pub fn encode_text_into(&self, out: &mut Vec<u8>) {
        let payload = match &self.payload {
            Payload::Json(json) => json.get().as_bytes(),
            Payload::Binary(_) => b"null",
        };
        encode(
            out,
            [
                self.join_ref.as_deref(),
                self.reference.as_deref(),
                Some(self.topic.as_str()),
                Some(&self.event),
            ],
            payload,
        );
    }
}

/// Writes a push of the client as a text frame. `payload` is JSON, copied once and not read.
pub fn encode_push(
    join_ref: Option<MessageRef>,
    reference: MessageRef,
    topic: &Topic,
    event: &str,
    payload: &[u8],
) -> String {
    let mut out = Vec::new();
    encode_push_into(&mut out, join_ref, reference, topic, event, payload);
    into_text(out)
}

/// The beginning and the end of what [`encode_push`] writes, without the payload between them.
pub fn encode_push_around(
    join_ref: Option<MessageRef>,
    reference: MessageRef,
    topic: &Topic,
    event: &str,
) -> (Vec<u8>, &'static [u8]) {
    let mut out = Vec::new();
    encode_push_into(&mut out, join_ref, reference, topic, event, b"");
    out.truncate(out.len() - END.len());
    (out, END)
}

fn encode_push_into(
    out: &mut Vec<u8>,
    join_ref: Option<MessageRef>,
    reference: MessageRef,
    topic: &Topic,
    event: &str,
    payload: &[u8],
) {
    let join_ref = join_ref.map(|join_ref| join_ref.to_string());
    let reference = reference.to_string();
    let head = [
        join_ref.as_deref(),
        Some(&reference),
        Some(topic.as_str()),
        Some(event),
    ];
    encode(out, head, payload);
}

/// More than the quotes, commas and brackets of a frame need.
const FRAME_OVERHEAD: usize = 48;

/// The end of a frame.
const END: &[u8] = b"]";

fn encode(out: &mut Vec<u8>, head: [Option<&str>; 4], payload: &[u8]) {
    out.reserve(
        head.iter().flatten().map(|part| part.len()).sum::<usize>()
            + payload.len()
            + FRAME_OVERHEAD,
    );
    out.push(b'[');
    for part in head {
        serde_json::to_writer(&mut *out, &part).expect("writing a string to memory cannot fail");
        out.push(b',');
    }
    out.extend_from_slice(payload);
    out.extend_from_slice(END);
}

/// JSON is UTF-8; a payload that is not would be refused at the other end, and is mended here at the price of a copy.
fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

struct FrameVisitor;

impl<'de> Visitor<'de> for FrameVisitor {
    type Value = Frame;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of five")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Frame, A::Error> {
        let join_ref = reference(&mut seq, "join_ref")?;
        let reference = reference(&mut seq, "ref")?;
        let topic = element::<String, _>(&mut seq, "topic")?;
        let event = element::<String, _>(&mut seq, "event")?;
        let payload = element::<Box<RawValue>, _>(&mut seq, "payload")?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Frame {
            join_ref,
            reference,
            topic: Topic::new(topic),
            event,
            payload: Payload::Json(payload),
        })
    }
}

fn element<'de, T: serde::Deserialize<'de>, A: SeqAccess<'de>>(
    seq: &mut A,
    name: &str,
) -> Result<T, A::Error> {
    match seq.next_element::<T>() {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(A::Error::custom(format!("{name} is missing"))),
        Err(error) => Err(A::Error::custom(format!("{name}: {error}"))),
    }
}

/// A ref is a string; a number is taken for one, since nothing else can be meant.
fn reference<'de, A: SeqAccess<'de>>(seq: &mut A, name: &str) -> Result<Option<String>, A::Error> {
    match element::<Value, A>(seq, name)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(A::Error::custom(format!(
            "{name} is neither a string nor null"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_recorded_reply_is_read() {
        let frame = Frame::decode_text(
            r#"["6","8","worker:queue","phx_reply",{"status":"ok","response":{}}]"#,
        )
        .unwrap();
        assert_eq!(frame.join_ref.as_deref(), Some("6"));
        assert_eq!(frame.reference.as_deref(), Some("8"));
        assert_eq!(frame.topic, Topic::queue());
        assert_eq!(frame.event, "phx_reply");
    }

    #[test]
    fn extra_elements_are_ignored_and_missing_ones_are_named() {
        assert!(Frame::decode_text(r#"[null,"1","phoenix","heartbeat",{},1,2]"#).is_ok());
        for (text, part) in [
            (r#"[null,"1","phoenix"]"#, "event is missing"),
            (r#"[[],"1","t","e",{}]"#, "join_ref is neither"),
            (r#"[null,"1",7,"e",{}]"#, "topic"),
            ("{}", "array of five"),
            ("", "EOF"),
        ] {
            let error = Frame::decode_text(text).unwrap_err();
            let FrameError::Shape(cause) = &error else {
                panic!("{error}")
            };
            assert!(cause.to_string().contains(part), "{text}: {cause}");
        }
    }

    #[test]
    fn no_secret_shows_in_debug_output() {
        let frame = Frame::decode_text(r#"["1","1","run:r","phx_join",{"token":"hush"}]"#).unwrap();
        assert!(!format!("{frame:?}").contains("hush"));
    }

    #[test]
    fn a_payload_that_is_no_text_is_mended() {
        let text = encode_push(None, MessageRef(1), &Topic::phoenix(), "e", b"\"\xff\"");
        assert_eq!(text, "[null,\"1\",\"phoenix\",\"e\",\"\u{fffd}\"]");
    }

    #[test]
    fn a_push_is_written_like_the_reference_writes_it() {
        assert_eq!(
            encode_push(None, MessageRef(9), &Topic::phoenix(), "heartbeat", b"{}"),
            r#"[null,"9","phoenix","heartbeat",{}]"#
        );
    }

    proptest! {
        #[test]
        fn any_frame_round_trips(
            join_ref in prop::option::of(".{0,20}"), reference in prop::option::of(".{0,20}"),
            topic in ".{0,30}", event in ".{0,30}", text in ".{0,100}",
        ) {
            let payload = serde_json::value::to_raw_value(&serde_json::json!({"text": text, "n": [1, null]})).unwrap();
            let frame = Frame { join_ref, reference, topic: Topic::new(topic), event, payload: Payload::Json(payload) };
            prop_assert_eq!(Frame::decode_text(&frame.encode_text()).unwrap(), frame);
        }

        #[test]
        fn no_input_makes_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _outcome = Frame::decode_text_bytes(&bytes);
        }
    }
}
