//! Frames on their way to the worker, each of them recorded.

use bytes::Bytes;
use protocol::ids::Topic;
use protocol::phoenix::{Frame, Payload};
use serde_json::{Value, json};

use super::{Out, Session};
use crate::recorder::{Direction, RecordedEvent};
use crate::world::{World, now};

/// A frame but for its payload.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) join_ref: Option<String>,
    pub(super) reference: Option<String>,
    pub(super) topic: String,
    pub(super) event: String,
}

impl Session {
    pub(super) fn ended(&self, world: &mut World, event: &str, topic: &str, join_ref: &str) -> Out {
        let reference = Some(join_ref.to_owned());
        let head = Head {
            join_ref: reference.clone(),
            reference,
            topic: topic.to_owned(),
            event: event.to_owned(),
        };
        self.frame(world, &head, &json!({}))
    }

    pub(super) fn reply(
        &self,
        world: &mut World,
        push: &Head,
        status: &str,
        response: &Value,
    ) -> Out {
        let event = match (&push.reference, world.rules.quirks) {
            (Some(reference), true) => format!("chan_reply_{reference}"),
            _ => "phx_reply".to_owned(),
        };
        self.frame(
            world,
            &Head {
                event,
                ..push.clone()
            },
            &json!({ "status": status, "response": response }),
        )
    }

    pub(super) fn binary_reply(&self, world: &mut World, push: &Head, data: Bytes) -> Out {
        let head = Head {
            event: "phx_reply".to_owned(),
            ..push.clone()
        };
        let shown = json!({ "status": "ok", "response": serde_json::from_slice::<Value>(&data).unwrap_or_default() });
        self.record(world, Direction::ToWorker, &head, &shown);
        let frame = Frame {
            join_ref: head.join_ref,
            reference: head.reference,
            topic: Topic::new(head.topic),
            event: head.event,
            payload: Payload::Binary(data),
        };
        // Only strings of more than 255 bytes do not fit, and they crash the real server as well.
        frame
            .encode_binary_reply("ok")
            .map_or(Out::Close(1011), Out::Binary)
    }

    pub(super) fn frame(&self, world: &mut World, head: &Head, payload: &Value) -> Out {
        self.record(world, Direction::ToWorker, head, payload);
        Out::Text(
            json!([
                head.join_ref,
                head.reference,
                head.topic,
                head.event,
                payload
            ])
            .to_string(),
        )
    }

    pub(super) fn record(
        &self,
        world: &mut World,
        direction: Direction,
        head: &Head,
        payload: &Value,
    ) {
        world.recorder.record(|| RecordedEvent {
            seq: 0,
            time: now(),
            socket: self.socket,
            direction,
            join_ref: head.join_ref.clone(),
            reference: head.reference.clone(),
            topic: head.topic.clone(),
            event: head.event.clone(),
            payload: payload.clone(),
        });
    }
}
