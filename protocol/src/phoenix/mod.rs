//! Phoenix channels, wire format V2 (protocol spec, section 2): frames, and what a frame of the server means.

mod binary;
mod frame;
mod server;

pub use self::binary::BinaryError;
pub use self::frame::{Frame, FrameError, Payload, encode_push, encode_push_around};
pub use self::server::{ReplyStatus, ServerMessage, error_detail, response_detail};
