//! The wire between the worker process and an engine child: two socketpairs, descriptor 3 for commands, descriptor 4 for
//! events. The Node side is `engine/wire.mjs`.

mod frames;
mod messages;

pub use self::frames::{DecodeError, EncodeError, Frame, FrameDecoder, FrameLimits, encode_frame};
pub use self::messages::{
    ChildEvent, Command, EventError, ExecuteOptions, ExitCause, FinishedStep, RunProgress, Shape,
};
