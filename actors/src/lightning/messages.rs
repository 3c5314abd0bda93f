//! What the connection accepts and what its subscribers hear.

use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::Bytes;
use protocol::ids::{Topic, WorkloopId};
use protocol::lightning::{ClaimRequest, ClaimedRun, PushPayload, Refusal, RunPush};
use protocol::phoenix::{Payload, ReplyStatus};
use serde::Serialize;
use strum::{Display, IntoStaticStr, VariantArray};

/// A subscriber's own number for a push, echoed in the answer; unique among the subscriber's outstanding pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Joins a run's topic when its turn comes, at the earliest when there is a socket. Its subscriber hears
/// [`ChannelEvent::JoinSent`] then, and later the reply. A further join of the topic takes the place of one that waits.
/// After each [`ChannelEvent::SocketDown`] the topic has to be joined again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Join {
    /// The run's topic.
    pub topic: Topic,
    /// Echoed in what the subscriber hears of this join.
    pub ticket: Ticket,
    /// The join payload, a JSON object.
    pub payload: Bytes,
    /// How soon.
    pub turn: JoinTurn,
    /// The one that hears of the topic from here on, until it is left.
    pub subscriber: Recipient<ChannelEvent>,
}

/// When a join goes out on a socket. A Lightning that was restarted does a join in its socket's only process (protocol spec,
/// section 2.1), and is met by many workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinTurn {
    /// At once, or among the others of a socket that is yet to be opened: the run is new.
    First,
    /// At some moment of a time that grows with the number of runs without a channel: what took this one may have taken
    /// all.
    Among,
    /// At some moment of a whole second, so that others go first.
    Late,
}

/// Pushes an event on a topic that was joined, or whose join is under way: the server handles a socket's frames in
/// order. Dropped when the topic was not joined on this socket; the subscriber then hears `SocketDown`.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Push {
    /// A topic with a join on this socket.
    pub topic: Topic,
    /// Echoed in the reply.
    pub ticket: Ticket,
    /// The event's name.
    pub event: &'static str,
    /// A JSON object.
    pub payload: PushPayload,
}

/// Leaves the topic, if it is joined, and forgets its subscriber. The reply is never waited for (protocol spec, section 2.1).
#[derive(Message)]
#[rtype(result = "()")]
pub struct Leave {
    /// The topic to leave.
    pub topic: Topic,
}

/// Registers a workloop. Answered by [`QueueEvent::Joined`] at once if the queue is joined.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SubscribeQueue {
    /// The group; a second registration replaces the first, and inherits the runs that it has not taken.
    pub workloop: WorkloopId,
    /// Who hears of it.
    pub subscriber: Recipient<QueueEvent>,
}

/// Sends one claim for a group. Always answered by one [`QueueEvent::ClaimAnswered`], unless this actor dies or the
/// workloop does: the next subscriber of the group inherits the runs.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Claim {
    /// The claiming group.
    pub workloop: WorkloopId,
    /// Echoed in the answer.
    pub ticket: Ticket,
    /// What to ask for.
    pub request: ClaimRequest,
}

/// Leaves the queue, closes the socket and connects no more. Done when the answer arrives.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Disconnect;

/// Asks for the state of the connection.
#[derive(Message)]
#[rtype(result = "ConnectionStatus")]
pub struct GetConnectionStatus;

/// Whether a socket was lost for what this run has sent on it, as far as its close code tells (protocol spec, section 1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Not as far as anyone knows.
    Nobody,
    /// For a frame of some run.
    Frame,
    /// For a frame that was too large: the largest that was not answered was this push.
    TooLarge(Ticket),
}

/// What the owner of a run topic hears.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum ChannelEvent {
    /// The join with this ticket is on its way: from here on the topic may be pushed to.
    JoinSent {
        /// As given.
        ticket: Ticket,
    },
    /// The socket is gone: nothing outstanding will be answered, nothing is joined.
    SocketDown(Blame),
    /// The answer to a [`Join`] or a [`Push`].
    Reply {
        /// As given.
        ticket: Ticket,
        /// How it went.
        status: ReplyStatus,
        /// Any JSON value, or bytes.
        response: Payload,
    },
    /// The channel crashed on the server; a rejoin is allowed at once.
    Crashed {
        /// The pushes that were sent on it and will not be answered, in the order in which they were sent.
        unanswered: Vec<Ticket>,
    },
    /// The server closed the channel.
    Closed,
    /// The server pushed an event that a run knows.
    Pushed(RunPush),
}

/// What a workloop hears.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum QueueEvent {
    /// `worker:queue` is joined: claims may be sent.
    Joined,
    /// It is not joined any more: outstanding claims were answered with [`ClaimError::ConnectionLost`].
    Lost,
    /// The server says that there may be work.
    WorkAvailable,
    /// How long Lightning takes to answer at the moment, smoothed; before each [`QueueEvent::ClaimAnswered`].
    RoundTrip(Duration),
    /// The answer to a [`Claim`].
    ClaimAnswered {
        /// As given.
        ticket: Ticket,
        /// The runs, possibly none.
        outcome: Result<Vec<ClaimedRun>, ClaimError>,
    },
    /// The runs that a claim of an earlier workloop of this group has brought, which died before it took them.
    Inherited(Vec<ClaimedRun>),
}

/// Why a claim brought no answer that can be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClaimError {
    /// The queue is not joined.
    #[error("not connected to Lightning")]
    NotConnected,
    /// The socket or the queue's channel was lost before the answer came.
    #[error("the connection was lost before Lightning answered")]
    ConnectionLost,
    /// Lightning answered with an error.
    #[error("Lightning refused it: [claim] {0}")]
    Refused(Refusal),
    /// It cannot be written as JSON.
    #[error("the claim cannot be written as JSON: {0}")]
    Unwritable(String),
    /// Lightning's answer is not a list of runs.
    #[error("Lightning's answer is not a list of runs: {0}")]
    Malformed(String),
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, IntoStaticStr, VariantArray, Serialize)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "lowercase")]
pub enum ConnectionState {
    /// A socket is being opened.
    Connecting,
    /// The socket is open.
    Connected,
    /// There is none; the next attempt has to wait.
    Waiting,
    /// It was closed for good, at the end of the worker.
    Closed,
    /// The actor died and is being replaced; only the supervisor says so.
    Down,
}

/// The state of the connection, for status pages and logs.
#[derive(Debug, Clone)]
pub struct ConnectionStatus {
    /// Where it stands.
    pub state: ConnectionState,
    /// Whether `worker:queue` is joined.
    pub queue_joined: bool,
    /// Since when.
    pub since: Instant,
    /// Sockets opened so far.
    pub connects: u64,
    /// The last failure since the queue was last joined, as an operator wants to read it.
    pub last_error: Option<String>,
}
