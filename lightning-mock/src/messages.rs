//! What a socket is told by the HTTP API, by tests and by other sockets.

use actix::Message;
use serde_json::{Value, json};

/// A message to a socket.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
pub(crate) enum ToSocket {
    /// Push an event, if the topic is joined.
    Push {
        topic: String,
        event: String,
        payload: Value,
    },
    /// A run was enqueued.
    NewRun,
    /// End the connection: with a close code, or without a word.
    Disconnect(Option<u16>),
}

impl ToSocket {
    /// Says that there are runs to claim.
    pub(crate) fn work_available() -> Self {
        Self::Push {
            topic: "worker:queue".to_owned(),
            event: "work-available".to_owned(),
            payload: json!({}),
        }
    }
}
