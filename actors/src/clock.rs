//! Wall-clock time as the protocol wants it.

use std::time::{SystemTime, UNIX_EPOCH};

use protocol::lightning::Timestamp;

/// Microseconds since the epoch now; a clock before 1970 counts as the epoch.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Seconds since the epoch now, for tokens.
pub(crate) fn now_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
