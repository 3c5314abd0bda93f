//! Why something that a run has sent is not there, and how long a cause is waited for that may pass.

use std::fmt;
use std::time::Duration;

use protocol::backoff::{Backoff, Retries};
use protocol::lightning::{Named, Refusal, RefusalMeaning};

/// How often, and after which waits, something is sent again whose refusal may pass: after 0.5, 1, 2 and 3 s. When they are
/// used up, the refusal is taken to be for good.
pub(super) const RETRIES: Retries = Retries::new(
    4,
    Backoff::new(Duration::from_millis(500), 2.0, Duration::from_secs(3)),
);

/// Why a report is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// Lightning answered it with an error.
    Refused(Refusal),
    /// The channel crashed under it, so often that it is held to be at fault.
    ChannelCrashed,
    /// Lightning closed the socket over it, so often that it is held to be at fault.
    SocketClosed,
    /// Its frame is larger than Lightning takes.
    FrameTooLarge,
}

impl Cause {
    /// What Lightning has said, where it has said anything.
    pub(super) fn meaning(&self) -> Option<RefusalMeaning> {
        match self {
            Self::Refused(refusal) => Some(refusal.meaning()),
            Self::ChannelCrashed | Self::SocketClosed | Self::FrameTooLarge => None,
        }
    }

    /// Whether the same report may be accepted when it is sent again.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.may_pass())
    }

    /// Whether it has to become smaller.
    pub(super) fn is_too_large(&self) -> bool {
        *self == Self::FrameTooLarge || self.meaning() == Some(RefusalMeaning::TooLarge)
    }

    /// Whether a state in it may be at fault.
    pub(super) fn may_be_the_state(&self) -> bool {
        !matches!(self, Self::Refused(_)) || self.is_too_large()
    }

    /// Whether the dataclip in it may be at fault.
    pub(super) fn is_about_the_dataclip(&self) -> bool {
        match self {
            Self::ChannelCrashed | Self::SocketClosed | Self::FrameTooLarge => true,
            Self::Refused(refusal) => matches!(
                refusal.meaning(),
                RefusalMeaning::BadDataclip
                    | RefusalMeaning::TooLarge
                    | RefusalMeaning::Missing(
                        Named::Dataclip | Named::InputDataclip | Named::FinalDataclip
                    )
            ),
        }
    }
}

/// As it is told to operators, and to users as the message of their run's end.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::ChannelCrashed => f.write_str("the channel crashed each time it was sent"),
            Self::SocketClosed => f.write_str("the connection crashed each time it was sent"),
            Self::FrameTooLarge => f.write_str("it is larger than a frame may be"),
        }
    }
}
