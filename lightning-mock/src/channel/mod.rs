//! What the server's two channels answer. Pure: payload and store in, outcome out.

mod queue;
mod reports;
mod run;

use bytes::Bytes;
use serde_json::Value;

pub(crate) use self::queue::claim_request;
pub(crate) use self::run::RunChannel;

/// What a push leads to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// A reply with status `ok`.
    Ok(Value),
    /// A reply with status `error`.
    Refused(Value),
    /// A reply with status `ok` and bytes.
    Data(Bytes),
    /// The channel's process dies: `phx_error`, and no reply.
    Crash,
    /// Nothing is ever answered.
    Silence,
}

impl From<Result<Value, Value>> for Outcome {
    fn from(result: Result<Value, Value>) -> Self {
        match result {
            Ok(response) => Self::Ok(response),
            Err(refusal) => Self::Refused(refusal),
        }
    }
}
