//! `LightningConnection`: the one socket to Lightning and every channel on it.
//!
//! *Owns* the socket, its refs and join refs, the join of `worker:queue`, the heartbeat. Runs own what they have to say:
//! the connection delivers pushes and answers, it repeats nothing. When a socket counts as dead is in [`liveness`]. A connection without the queue carries runs only: the
//! server takes 100 channels a socket (protocol spec, section 10.3).
//!
//! ```text
//! Connecting ──open──▶ Connected ──lost──▶ Waiting ──▶ Connecting
//!     └──failed──▶ Waiting                 any state ──Disconnect──▶ Closed
//! ```
//!
//! *Accepts* [`Join`], [`Push`], [`Leave`] of runs, [`SubscribeQueue`], [`Claim`] of workloops,
//! [`Disconnect`], [`GetConnectionStatus`]. *Emits* [`ChannelEvent`] to the owner of a topic, [`QueueEvent`] to the
//! workloops. *Started and stopped* by the supervisor. *If it dies* the socket closes with it; the supervisor starts a new
//! one and tells runs, who join again and resend what was not answered, and workloops, who subscribe again.

mod channels;
mod client;
mod codec;
mod connection;
mod deflate;
mod fragments;
mod handlers;
mod incoming;
mod liveness;
mod messages;
pub mod probe;
mod queue;
mod recorder;
mod socket;
mod upgrade;
mod writing;

pub use self::client::{ConnectError, TlsError, http_client};
pub use self::connection::LightningConnection;
pub use self::deflate::NotOffered;
pub(crate) use self::liveness::AnswersHeartbeats;
pub use self::messages::{
    Blame, ChannelEvent, Claim, ClaimError, ConnectionState, ConnectionStatus, Disconnect,
    GetConnectionStatus, Join, JoinTurn, Leave, Push, QueueEvent, SubscribeQueue, Ticket,
};
pub use self::recorder::Recorder;

#[cfg(test)]
mod tests;
