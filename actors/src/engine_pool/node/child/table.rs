//! The transitions of an engine child, for people, debug assertions and the test that all of them are covered.

use protocol::engine::ChildEvent;

use super::machine::{Event, Machine, Timer};

/// Names of the machine's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StateKind {
    Spawning,
    Handshake,
    Idle,
    Busy,
    Retiring,
    Dying,
    Gone,
}

/// Kinds of its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventKind {
    Spawned,
    SpawnFailed,
    Execute,
    Proceed,
    Stop,
    Preload,
    Retire,
    Ready,
    Preloaded,
    Progress,
    RunEnded,
    Broke,
    Closed,
    Exited,
    Unsendable,
    Measured,
    FilesOver,
    Restless,
    HandshakeLate,
    ClosedLate,
    ShutdownLate,
    Overstay,
    Watch,
    TimeNear,
    TimeOver,
}

impl Event {
    pub(super) fn kind(&self) -> EventKind {
        match self {
            Self::Spawned { .. } => EventKind::Spawned,
            Self::SpawnFailed(_) => EventKind::SpawnFailed,
            Self::Execute(_) => EventKind::Execute,
            Self::Proceed(_) => EventKind::Proceed,
            Self::Stop(_) => EventKind::Stop,
            Self::Preload(_) => EventKind::Preload,
            Self::Retire => EventKind::Retire,
            Self::Said(ChildEvent::Ready { .. }, _) => EventKind::Ready,
            Self::Said(ChildEvent::Preloaded, _) => EventKind::Preloaded,
            Self::Said(ChildEvent::Run { .. }, _) => EventKind::Progress,
            Self::Said(ChildEvent::Exit { .. }, _) | Self::RunEnded { .. } => EventKind::RunEnded,
            Self::Said(ChildEvent::ProtocolError { .. }, _) | Self::Broke(_) => EventKind::Broke,
            Self::Closed(_) => EventKind::Closed,
            Self::Exited(_) => EventKind::Exited,
            Self::Unsendable(_) => EventKind::Unsendable,
            Self::Measured { .. } => EventKind::Measured,
            Self::FilesOver(_) => EventKind::FilesOver,
            Self::Restless(_) => EventKind::Restless,
            Self::Elapsed(timer) => match timer {
                Timer::Handshake(_) => EventKind::HandshakeLate,
                Timer::Closed(_) => EventKind::ClosedLate,
                Timer::Shutdown => EventKind::ShutdownLate,
                Timer::Overstay(_) => EventKind::Overstay,
                Timer::Watch(_) => EventKind::Watch,
                Timer::TimeNear(_) => EventKind::TimeNear,
                Timer::TimeOver(_) => EventKind::TimeOver,
            },
        }
    }
}

use EventKind as E;
use StateKind as S;

impl crate::transitions::Machine for Machine {
    type State = StateKind;
    type Event = EventKind;

    const TRANSITIONS: &'static [(StateKind, EventKind, StateKind)] = &[
        (S::Spawning, E::Spawned, S::Handshake),
        (S::Spawning, E::SpawnFailed, S::Gone),
        // Whoever has no place for a run declines it.
        (S::Spawning, E::Execute, S::Spawning),
        (S::Handshake, E::Execute, S::Handshake),
        (S::Handshake, E::Proceed, S::Handshake),
        (S::Handshake, E::Stop, S::Dying),
        (S::Handshake, E::Preload, S::Handshake),
        (S::Handshake, E::Retire, S::Retiring),
        (S::Handshake, E::Ready, S::Idle),
        (S::Handshake, E::Ready, S::Busy),
        (S::Handshake, E::Ready, S::Dying),
        (S::Handshake, E::Preloaded, S::Dying),
        (S::Handshake, E::Progress, S::Dying),
        (S::Handshake, E::RunEnded, S::Dying),
        (S::Handshake, E::Broke, S::Dying),
        (S::Handshake, E::Closed, S::Handshake),
        (S::Handshake, E::Closed, S::Retiring),
        (S::Handshake, E::ClosedLate, S::Dying),
        (S::Handshake, E::Exited, S::Gone),
        (S::Handshake, E::Unsendable, S::Dying),
        (S::Handshake, E::HandshakeLate, S::Dying),
        (S::Handshake, E::TimeNear, S::Handshake),
        (S::Handshake, E::TimeOver, S::Dying),
        (S::Idle, E::Execute, S::Busy),
        (S::Idle, E::Preload, S::Idle),
        (S::Idle, E::Preloaded, S::Idle),
        (S::Idle, E::Retire, S::Retiring),
        (S::Idle, E::Restless, S::Retiring),
        (S::Idle, E::Ready, S::Dying),
        (S::Idle, E::Progress, S::Dying),
        (S::Idle, E::RunEnded, S::Dying),
        (S::Idle, E::Broke, S::Dying),
        (S::Idle, E::Closed, S::Retiring),
        (S::Idle, E::Exited, S::Gone),
        (S::Busy, E::Execute, S::Busy),
        (S::Busy, E::Proceed, S::Busy),
        (S::Busy, E::Stop, S::Dying),
        (S::Busy, E::Preloaded, S::Dying),
        (S::Busy, E::Ready, S::Dying),
        (S::Busy, E::Progress, S::Busy),
        (S::Busy, E::Progress, S::Dying),
        (S::Busy, E::RunEnded, S::Dying),
        (S::Busy, E::Broke, S::Dying),
        (S::Busy, E::Closed, S::Busy),
        (S::Busy, E::ClosedLate, S::Dying),
        (S::Busy, E::Exited, S::Gone),
        (S::Busy, E::Unsendable, S::Dying),
        (S::Busy, E::Measured, S::Busy),
        (S::Busy, E::Measured, S::Dying),
        (S::Busy, E::FilesOver, S::Dying),
        (S::Busy, E::Watch, S::Busy),
        (S::Busy, E::TimeNear, S::Busy),
        (S::Busy, E::TimeOver, S::Dying),
        (S::Busy, E::Overstay, S::Dying),
        (S::Retiring, E::Execute, S::Retiring),
        (S::Retiring, E::Broke, S::Dying),
        (S::Retiring, E::ClosedLate, S::Dying),
        (S::Retiring, E::ShutdownLate, S::Dying),
        (S::Retiring, E::Exited, S::Gone),
        (S::Retiring, E::Unsendable, S::Dying),
        (S::Dying, E::Execute, S::Dying),
        (S::Dying, E::Progress, S::Dying),
        (S::Dying, E::Exited, S::Gone),
        (S::Gone, E::Execute, S::Gone),
    ];
}
