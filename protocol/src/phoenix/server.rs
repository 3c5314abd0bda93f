//! What a frame of the server means, whichever of the two reply names it uses.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::binary::REPLY_EVENT;
use super::frame::{Frame, Payload};
use crate::ids::Topic;

/// How a reply says it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyStatus {
    /// `ok`.
    Ok,
    /// `error`.
    Error,
    /// Anything else, which counts as an error.
    Other(String),
}

impl From<&str> for ReplyStatus {
    fn from(text: &str) -> Self {
        match text {
            "ok" => Self::Ok,
            "error" => Self::Error,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// A frame of the server, classified.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerMessage {
    /// The answer to a push or a join.
    Reply {
        /// The topic of the push.
        topic: Topic,
        /// The join that it belongs to.
        join_ref: Option<String>,
        /// The ref of the push; empty if the frame has none, which answers nothing.
        reference: String,
        /// Whether the push was accepted.
        status: ReplyStatus,
        /// Any JSON value, or the data of a binary reply.
        response: Payload,
    },
    /// `phx_close`: the channel ended in order.
    ChannelClosed {
        /// The channel's topic.
        topic: Topic,
        /// The ref of the join that it belongs to; others of the topic are out of date.
        join_ref: Option<String>,
    },
    /// `phx_error`: the channel's process crashed; outstanding pushes get no reply.
    ChannelCrashed {
        /// The channel's topic.
        topic: Topic,
        /// The ref of the join that it belongs to; others of the topic are out of date.
        join_ref: Option<String>,
    },
    /// Any other event.
    Push {
        /// The channel's topic.
        topic: Topic,
        /// Its join; `None` for a broadcast.
        join_ref: Option<String>,
        /// The event's name, e.g. `work-available`.
        event: String,
        /// What came with it.
        payload: Payload,
    },
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    status: String,
    #[serde(default)]
    response: Option<Box<RawValue>>,
}

impl From<Frame> for ServerMessage {
    fn from(frame: Frame) -> Self {
        let Frame {
            join_ref,
            reference,
            topic,
            event,
            payload,
        } = frame;
        if let Some((status, response)) = reply(&event, &payload) {
            return Self::Reply {
                topic,
                join_ref,
                reference: reference.unwrap_or_default(),
                status,
                response,
            };
        }
        match event.as_str() {
            "phx_close" => Self::ChannelClosed { topic, join_ref },
            "phx_error" => Self::ChannelCrashed { topic, join_ref },
            _ => Self::Push {
                topic,
                join_ref,
                event,
                payload,
            },
        }
    }
}

/// Status and response of a reply; `None` for any other event.
fn reply(event: &str, payload: &Payload) -> Option<(ReplyStatus, Payload)> {
    match payload {
        Payload::Binary(_) => {
            let status = event.strip_prefix(REPLY_EVENT)?;
            Some((status.into(), payload.clone()))
        }
        // The server says `phx_reply`, the npm mock `chan_reply_<ref>` (protocol spec, section 2.3).
        Payload::Json(json) if event == "phx_reply" || event.starts_with("chan_reply_") => {
            Some(match serde_json::from_str::<Envelope>(json.get()) {
                Ok(Envelope { status, response }) => (
                    status.as_str().into(),
                    response.map_or_else(Payload::null, Payload::Json),
                ),
                Err(_) => (ReplyStatus::Other("malformed".to_owned()), payload.clone()),
            })
        }
        Payload::Json(_) => None,
    }
}

/// The response of an error reply as text: itself if it is a string, else its JSON (protocol spec, section 4.5).
pub fn response_detail(response: &Payload) -> String {
    match response {
        Payload::Binary(data) => String::from_utf8_lossy(data).into_owned(),
        Payload::Json(json) => match serde_json::from_str::<serde_json::Value>(json.get()) {
            Ok(serde_json::Value::String(text)) => text,
            Ok(value) => value.to_string(),
            Err(_) => json.get().to_owned(),
        },
    }
}

/// The text that names an error reply: `[<event>] <detail>` (protocol spec, section 4.5).
pub fn error_detail(event: &str, response: &Payload) -> String {
    format!("[{event}] {}", response_detail(response))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(text: &str) -> ServerMessage {
        Frame::decode_text(text).unwrap().into()
    }

    #[test]
    fn both_reply_names_are_replies() {
        for event in ["phx_reply", "chan_reply_12"] {
            let text =
                format!(r#"["10","12","run:r1","{event}",{{"status":"ok","response":"ok"}}]"#);
            let ServerMessage::Reply {
                reference,
                status,
                response,
                ..
            } = message(&text)
            else {
                panic!("{event}")
            };
            assert_eq!((reference.as_str(), status), ("12", ReplyStatus::Ok));
            assert_eq!(response_detail(&response), "ok");
        }
    }

    #[test]
    fn a_reply_without_response_answers_null() {
        let ServerMessage::Reply { response, .. } =
            message(r#"["1","2","t","phx_reply",{"status":"ok"}]"#)
        else {
            panic!()
        };
        assert_eq!(response, Payload::null());
    }

    #[test]
    fn a_reply_that_is_no_reply_is_an_error() {
        let ServerMessage::Reply { status, .. } = message(r#"["1","2","t","phx_reply",[]]"#) else {
            panic!()
        };
        assert_ne!(status, ReplyStatus::Ok);
    }

    #[test]
    fn a_binary_reply_keeps_its_status_and_its_data() {
        for (status, expected) in [("ok", ReplyStatus::Ok), ("error", ReplyStatus::Error)] {
            let frame = Frame {
                join_ref: Some("10".to_owned()),
                reference: Some("12".to_owned()),
                topic: Topic::new("run:r1"),
                event: "phx_reply".to_owned(),
                payload: Payload::Binary(Bytes::from_static(b"null")),
            };
            let bytes = frame.encode_binary_reply(status).unwrap();
            let message = ServerMessage::from(Frame::decode_binary_from_server(&bytes).unwrap());
            assert_eq!(
                message,
                ServerMessage::Reply {
                    topic: Topic::new("run:r1"),
                    join_ref: Some("10".to_owned()),
                    reference: "12".to_owned(),
                    status: expected,
                    response: Payload::Binary(Bytes::from_static(b"null")),
                }
            );
        }
    }

    #[test]
    fn ends_of_channels_are_told_apart() {
        assert!(matches!(
            message(r#"["1","1","t","phx_close",{}]"#),
            ServerMessage::ChannelClosed { .. }
        ));
        assert!(matches!(
            message(r#"["1","1","t","phx_error",{}]"#),
            ServerMessage::ChannelCrashed { .. }
        ));
        assert!(matches!(
            message(r#"[null,"","worker:queue","work-available","{}"]"#),
            ServerMessage::Push { .. }
        ));
    }

    #[test]
    fn error_texts_are_those_of_the_reference() {
        let detail = |json: &str| {
            error_detail(
                "fetch:credential",
                &Payload::Json(RawValue::from_string(json.to_owned()).unwrap()),
            )
        };
        assert_eq!(detail("\"not_found\""), "[fetch:credential] not_found");
        assert_eq!(
            detail(r#"{ "errors": { "id": ["Credential not found!"] } }"#),
            r#"[fetch:credential] {"errors":{"id":["Credential not found!"]}}"#
        );
        assert_eq!(detail("null"), "[fetch:credential] null");
    }
}
