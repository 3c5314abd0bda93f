//! The events of both channels as types (protocol spec, sections 3 to 5).

mod dataclip;
mod log_line;
mod queue;
mod run;
mod timestamp;

pub use self::dataclip::{DataclipError, OutputDataclip, dataclip_bytes, without_nul};
pub use self::log_line::{BatchLogs, LineError, LogLine, RunLog};
pub use self::queue::{ClaimReply, ClaimReplyError, ClaimRequest, ClaimedRun, QueueJoin};
pub use self::run::{
    FetchCredential, FetchDataclip, Memory, RunComplete, RunEvent, RunJoin, RunStart, StepComplete,
    StepStart,
};
pub use self::timestamp::Timestamp;
