//! The wire between the worker process and an engine child: two socketpairs, descriptor 3 for commands, descriptor 4 for
//! events. The Node side is `engine/wire.mjs`.

mod commands;
mod events;
mod failure;
mod frames;
mod header;

pub use self::commands::{ChildOptions, Command, ExecuteOptions, NodeOptions};
pub use self::events::{
    ChildEvent, EventError, ExitCause, FinishedStep, RunExit, RunProgress, Shape,
};
pub use self::failure::EngineFailure;
pub use self::frames::{DecodeError, EncodeError, Frame, FrameDecoder, FrameLimits, encode_frame};
