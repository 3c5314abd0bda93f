//! What can go wrong with a push, on request or by a chaos rule.

use std::time::Duration;

use serde_json::Value;

/// Something that goes wrong with the next push of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The push is handled, the reply is lost.
    LoseReply,
    /// The push is neither handled nor answered.
    Ignore,
    /// The push is not handled; the reply has status `error` and this response.
    Refuse(Value),
    /// The push is not handled; the reply has status `ok` and this response.
    Answer(Value),
    /// The push is not handled; the channel crashes. A join is answered with status `error` and `join crashed`.
    Crash,
    /// The push is handled; the connection is cut instead of a reply.
    CutAfter,
    /// The connection is cut before the push is handled.
    CutBefore,
    /// The push is not handled; the channel is closed in order (`phx_close`).
    Close,
    /// The push is handled; the answer comes this much later.
    Delay(Duration),
    /// The push is handled; the answer comes twice.
    Duplicate,
    /// The push is handled; something that is no frame comes before the answer.
    Garbage,
    /// The push is not handled; all connections are cut, and new ones refused with 503 for this long.
    Away(Duration),
    /// From this push on and for this long the database is away: whatever is pushed on a run's channel crashes it, and
    /// a join of one is answered with `join crashed`.
    DatabaseAway(Duration),
    /// Neither the push nor anything after it is handled for this long; connections stay, and pings are answered.
    Hang(Duration),
}
