//! What an engine child does next. No actor, no clock, no I/O: [`Machine::on`] takes an event and the time, and says what is to
//! be done; the actor beside it does that.

use std::time::{Duration, Instant};

use log_events::LogEvent;
use protocol::engine::{ChildEvent, EncodeError, RunExit, RunProgress};
use protocol::ids::RunId;
use tokio::sync::OwnedSemaphorePermit;

use super::execution::{Execution, Stop};
use super::exit::ProcessExit;
use super::messages::{ChildUpdate, Preload};
use super::table::StateKind;
use crate::engine_pool::messages::Execute;
use crate::engine_pool::node::error::LaunchError;
use crate::transitions;

/// How long a child may take to end itself once its sockets have ended, before it is killed.
pub(super) const DEAF: Duration = Duration::from_secs(1);
/// How long it may live when its run is over. A job can keep it from ending, and would hold it for ever.
pub(super) const OVERSTAY: Duration = Duration::from_secs(5);
/// How often the size of a busy child is looked at: a job fills 100 MiB in this time at most.
pub(super) const WATCH: Duration = Duration::from_millis(100);

/// More than a child can have said before it read of its run.
pub(super) const MOST_CROSSINGS: u32 = 8;

/// The version of the wire that this worker speaks.
pub(super) const PROTOCOL: u32 = 1;

/// What can happen to a child.
#[expect(
    clippy::large_enum_variant,
    reason = "one is alive at a time, and most are of the large kind"
)]
pub(super) enum Event {
    /// Its process was started, and has so long to answer.
    Spawned {
        pid: u32,
        patience: Duration,
    },
    SpawnFailed(LaunchError),
    /// The pool has a run for it.
    Execute(Box<Execute>),
    /// The run may begin.
    Proceed(RunId),
    /// Somebody wants the run to stop.
    Stop(RunId),
    /// Adaptors that it is to load before its run comes.
    Preload(Preload),
    /// It is not to take a run any more.
    Retire,
    /// The process said something that can be read.
    Said(ChildEvent, Option<OwnedSemaphorePermit>),
    /// The process said that it ends with its run.
    RunEnded {
        run: RunId,
        exit: RunExit,
    },
    /// The process did what its side of the wire never does; what.
    Broke(String),
    /// The process has closed one of its descriptors, or has ended, which [`Event::Exited`] will tell; which.
    Closed(String),
    /// The process is dead and all that it had said was heard.
    Exited(ProcessExit),
    /// A command could not be written as a frame.
    Unsendable(EncodeError),
    /// The resident size of the process, bytes.
    Measured {
        run: RunId,
        resident: u64,
    },
    /// The run has more in files than it may.
    FilesOver(RunId),
    /// The process takes too much while it has nothing to do; what.
    Restless(String),
    /// A time that was asked for has passed.
    Elapsed(Timer),
}

/// What times are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Timer {
    /// The process has to have answered; how long it had.
    Handshake(Duration),
    /// A process that has closed a descriptor has to have ended; which descriptor.
    Closed(String),
    /// A process that was asked to has to have ended.
    Shutdown,
    /// A process whose run is over has to have said that it ends.
    Overstay(RunId),
    /// The process's size is to be looked at.
    Watch(RunId),
    /// Most of the run's time is used.
    TimeNear(RunId),
    /// All of it is.
    TimeOver(RunId),
}

/// What is to be done, in this order.
#[expect(
    clippy::large_enum_variant,
    reason = "a few are alive at a time, and most are of the large kind"
)]
pub(super) enum Effect {
    Send(Order),
    /// What the process says from here on is of the run in [`Machine::execution`], within its budget.
    Admit,
    /// It is of no run any more.
    Dismiss,
    /// The run's outbox holds nothing back any more.
    CloseBudget,
    /// Tells the admitted run.
    Tell(RunProgress, Option<OwnedSemaphorePermit>),
    /// Writes a warning of the engine into the run's log.
    Warn(String),
    /// Tells the pool.
    Report(ChildUpdate),
    /// Measures the process's resident size, at once.
    Measure(RunId),
    Arm(Timer, Duration),
    /// Kills the process; why, for the operator.
    Kill(String),
    /// Tells the operator what went wrong.
    Complain {
        event: &'static LogEvent,
        run: Option<RunId>,
        what: String,
    },
    /// Counts a handshake, so long after the start.
    CountSpawn(Duration),
    /// Counts a run that was loaded, with its adaptors loaded before or not, so long after it was handed to the child.
    CountLoad {
        warm: bool,
        after: Duration,
    },
}

/// A command to the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Preload(Preload),
    /// The run of [`Machine::execution`].
    Execute,
    Go(RunId),
    Shutdown,
}

pub(super) enum State {
    /// Its process is about to be started.
    Spawning,
    /// The process has not answered yet; a run may be on its way to it.
    Handshake(Option<Box<Execution>>),
    /// It waits for its run.
    Idle,
    Busy(Box<Execution>),
    /// The process was asked to end, or ends by itself.
    Retiring,
    /// The process was killed; its run, if it still has one, ends with it.
    Dying {
        why: String,
        last: Option<(Box<Execution>, Option<Stop>)>,
    },
    /// The process is dead.
    Gone,
}

/// See the module's documentation.
pub(super) struct Machine {
    state: State,
    /// Of its process, once that was started.
    pub(super) pid: u32,
    pub(super) born: Instant,
    effects: Vec<Effect>,
}

impl Machine {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::Spawning,
            pid: 0,
            born: now,
            effects: Vec::new(),
        }
    }

    /// The run in work, or on its way to the process.
    pub(super) fn execution(&self) -> Option<&Execution> {
        match &self.state {
            State::Handshake(execution) => execution.as_deref(),
            State::Busy(execution) => Some(execution),
            State::Dying { last, .. } => last.as_ref().map(|(execution, _)| &**execution),
            State::Spawning | State::Idle | State::Retiring | State::Gone => None,
        }
    }

    /// What follows from an event.
    pub(super) fn on(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let (from, by) = (self.kind(), event.kind());
        let state = std::mem::replace(&mut self.state, State::Gone);
        self.state = match event {
            // Whoever has no place for a run gives it back.
            Event::Execute(request) => self.execute(state, request, now),
            Event::Preload(preload) => self.preload(state, preload),
            Event::Exited(exit) => self.exited(state, &exit),
            event => match state {
                State::Spawning => self.spawning(event),
                State::Handshake(execution) => self.handshake(event, execution, now),
                State::Idle => self.idle(event),
                State::Busy(execution) => self.busy(event, execution, now),
                State::Retiring => self.retiring(event),
                State::Dying { why, last } => self.dying(event, why, last),
                State::Gone => State::Gone,
            },
        };
        let effects = std::mem::take(&mut self.effects);
        if from != self.kind() || !effects.is_empty() {
            transitions::took::<Self>(from, by, self.kind());
        }
        effects
    }

    /// The state's name.
    pub(super) fn kind(&self) -> StateKind {
        match self.state {
            State::Spawning => StateKind::Spawning,
            State::Handshake(_) => StateKind::Handshake,
            State::Idle => StateKind::Idle,
            State::Busy(_) => StateKind::Busy,
            State::Retiring => StateKind::Retiring,
            State::Dying { .. } => StateKind::Dying,
            State::Gone => StateKind::Gone,
        }
    }

    pub(super) fn act(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn execute(&mut self, state: State, request: Box<Execute>, now: Instant) -> State {
        let before = match state {
            State::Idle => StateKind::Idle,
            State::Handshake(None) => StateKind::Handshake,
            other => {
                self.act(Effect::Report(ChildUpdate::Declined(request)));
                return other;
            }
        };
        let execution = Box::new(Execution::new(*request, now));
        self.act(Effect::Admit);
        self.act(Effect::Send(Order::Execute));
        if before == StateKind::Idle {
            State::Busy(execution)
        } else {
            State::Handshake(Some(execution))
        }
    }

    fn preload(&mut self, state: State, preload: Preload) -> State {
        match &state {
            State::Idle | State::Handshake(None) => {
                self.act(Effect::Send(Order::Preload(preload)));
            }
            State::Spawning
            | State::Handshake(Some(_))
            | State::Busy(_)
            | State::Retiring
            | State::Dying { .. }
            | State::Gone => {}
        }
        state
    }
}
