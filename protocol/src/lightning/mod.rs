//! The events of both channels as types (protocol spec, sections 3 to 5).

mod clean;
mod dataclip;
mod final_state;
mod log_line;
mod payload;
mod queue;
mod refusal;
mod run;
mod timestamp;

pub use self::clean::{readable, storable};
pub use self::dataclip::{DataclipError, FinalState, OutputDataclip, dataclip_bytes};
pub use self::final_state::Leaves;
pub use self::log_line::{BatchLogs, LineError, LogLine, RunLog};
pub use self::payload::{LongPayload, PushPayload, escaped_len};
pub use self::queue::{
    ClaimReply, ClaimReplyError, ClaimRequest, ClaimedRun, QueueEvent, QueueJoin,
};
pub use self::refusal::{Named, Refusal, RefusalMeaning};
pub use self::run::{
    FetchCredential, FetchDataclip, Memory, RunComplete, RunEvent, RunJoin, RunPush, RunStart,
    StepComplete, StepStart,
};
pub use self::timestamp::Timestamp;
