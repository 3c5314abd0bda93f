//! What does not change while the server runs: how strict it is, and what it does of itself.

use std::time::Duration;

/// The largest message of a worker, whole or in parts.
pub(crate) const MESSAGE_LIMIT: usize = 100 * 1024 * 1024;

/// When `work-available` is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announce {
    /// Only when asked for: `POST /run?wakeup`, or `work_available()` of the mock server.
    OnRequest,
    /// With each new run.
    Immediately,
    /// After a new run, but at most once per 500 ms and socket, as the real server does.
    Debounced,
}

/// When claimed runs go back into their queue, for another worker to claim. Versions of Lightning differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollBack {
    /// Never: what a lost reply held stays claimed until it is lost at its deadline. So do older servers.
    Never,
    /// At once, when the worker's socket is dead by the time that the reply would be sent.
    DeadSocket,
    /// In that case, and when a run's channel is not joined within this time of its claim.
    Unjoined(Duration),
}

/// What does not change while the server runs.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) secret: Option<String>,
    pub(crate) quirks: bool,
    pub(crate) announce: Announce,
    pub(crate) grace_seconds: u64,
    pub(crate) channel_limit: usize,
    pub(crate) max_frame_bytes: usize,
    pub(crate) roll_back: RollBack,
    pub(crate) compression: bool,
    /// A socket on which nothing arrives for so long is closed.
    pub(crate) idle: Duration,
}
