//! Everything that went over the wire, for tests to read and to wait for.

use serde::Serialize;
use serde_json::Value;

/// Who sent a frame, or what happened to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// A worker sent it.
    FromWorker,
    /// The mock sent it.
    ToWorker,
    /// Nobody: `event` is `connected`, `refused` or `disconnected`.
    Socket,
}

/// One frame, or one change of a socket.
#[derive(Debug, Clone, Serialize)]
pub struct RecordedEvent {
    /// Counts up from 0 over all sockets.
    pub seq: u64,
    /// Microseconds since the epoch.
    pub time: u64,
    /// Counts up from 1 with each connection.
    pub socket: u64,
    /// Which side sent it, or that it is about the socket itself.
    pub direction: Direction,
    /// The frame's `join_ref`.
    pub join_ref: Option<String>,
    /// The frame's `ref`.
    pub reference: Option<String>,
    /// The topic; empty for changes of a socket.
    pub topic: String,
    /// The event's name; of a socket, `connected` or `disconnected`.
    pub event: String,
    /// The payload. For a binary reply `{"status":…,"response":<the data as JSON, or null>}`.
    pub payload: Value,
}

impl RecordedEvent {
    /// True for a frame with this event that a worker sent on the topic of `run`.
    pub fn is_from(&self, run: &str, event: &str) -> bool {
        self.direction == Direction::FromWorker
            && self.event == event
            && self.topic.strip_prefix("run:") == Some(run)
    }

    /// True for a reply with status `error`, and for `phx_error`.
    pub fn is_refusal(&self) -> bool {
        self.direction == Direction::ToWorker
            && (self.event == "phx_error"
                || self.payload.get("status").and_then(Value::as_str) == Some("error"))
    }
}

/// The list of events, unless recording is switched off.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) events: Vec<RecordedEvent>,
    on: bool,
}

impl Recorder {
    pub(crate) fn new(on: bool) -> Self {
        Self {
            events: Vec::new(),
            on,
        }
    }

    /// Adds what `make` gives; its `seq` is set here.
    pub(crate) fn record(&mut self, make: impl FnOnce() -> RecordedEvent) {
        if self.on {
            let mut event = make();
            event.seq = u64::try_from(self.events.len()).unwrap_or(u64::MAX);
            self.events.push(event);
        }
    }
}
