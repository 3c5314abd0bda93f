//! What the machine hears, and what is to be done for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use log_events::{Detail, LogEvent};
use protocol::engine::{ExecuteOptions, RunProgress};
use protocol::lightning::{PushPayload, Timestamp};
use protocol::plan::ExecutionPlan;
use protocol::reasons::ExitReason;
use tokio::sync::OwnedSemaphorePermit;

use crate::engine_pool::{PrepareError, Prepared};
use crate::events::End;
use crate::lightning::{ChannelEvent, JoinTurn, Ticket};
use crate::run::messages::StopRun;
use crate::traces::Moment;

/// Why a run is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was just claimed.
    Claimed,
    /// Its first actor died: only its end is left to report.
    Successor,
}

/// What a run hears.
#[derive(Debug)]
pub(in crate::run) enum Event {
    /// Always the first one.
    Started(Origin),
    Channel(ChannelEvent),
    /// The engine tells of the job; the permit covers the bytes of what it tells.
    Engine(RunProgress, Option<OwnedSemaphorePermit>),
    /// The answer to [`Effect::Prepare`].
    Prepared(Result<Prepared, PrepareError>),
    Stop(StopRun),
    /// The connection died and was started again: nothing outstanding is answered.
    ConnectionReplaced,
    /// The engine died and was started again: whatever it executed is over.
    EngineLost,
    Fired(Timer),
}

/// The timers of a run, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::run) enum Timer {
    /// Looks for silence.
    Tick,
    /// The run's token expires.
    Deadline,
    /// Joins the channel; an outdated number is ignored.
    Join(u64),
    /// An open batch of log lines goes out.
    Flush,
    /// A report that Lightning has refused is sent again.
    Resend,
    /// A request that Lightning has refused is made again.
    Ask,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub(in crate::run) enum Effect {
    /// Joins the channel when its turn comes.
    Join {
        ticket: Ticket,
        payload: Bytes,
        turn: JoinTurn,
    },
    Push {
        ticket: Ticket,
        event: &'static str,
        payload: PushPayload,
    },
    Leave,
    /// Has the engine prepare this plan.
    Prepare(Arc<ExecutionPlan>),
    Execute(Box<Execution>),
    /// The job may begin.
    Proceed,
    StopJob,
    Arm {
        timer: Timer,
        after: Duration,
    },
    Log(Notice),
    Count(Count),
    /// For the trace; only where one is made.
    Trace {
        at: Timestamp,
        moment: Moment,
    },
    /// Nothing is left to do.
    Ended(End),
}

/// What the engine is to execute.
#[derive(Debug)]
pub(in crate::run) struct Execution {
    /// With its credentials resolved.
    pub(in crate::run) plan: Arc<ExecutionPlan>,
    /// JSON; empty for `{}`.
    pub(in crate::run) input: Bytes,
    pub(in crate::run) options: ExecuteOptions,
}

/// A line of the worker's own log.
#[derive(Debug)]
pub(in crate::run) struct Notice {
    /// What has happened; none where a line only says how the run goes about its work.
    pub(in crate::run) event: Option<&'static LogEvent>,
    pub(in crate::run) fields: Vec<(&'static str, Detail)>,
    pub(in crate::run) text: String,
}

/// Something for the metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::run) enum Count {
    /// Lightning refused this event.
    Refused(&'static str),
    /// This event was sent again.
    Resent(&'static str),
    /// `run:start` went out so long after the claim.
    Started(Duration),
    /// A step has ended.
    Step {
        reason: ExitReason,
        lasted: Duration,
    },
    /// Lines of the log that Lightning did not take.
    LinesDropped(usize),
}

impl Notice {
    /// A line that something can be built upon.
    pub(in crate::run) fn new<const N: usize>(
        event: &'static LogEvent,
        fields: [(&'static str, Detail); N],
        text: String,
    ) -> Self {
        debug_assert!(
            fields.iter().all(|(field, _)| event.has(field)),
            "{} has not all of {fields:?}",
            event.name
        );
        Self {
            event: Some(event),
            fields: fields.into(),
            text,
        }
    }
}

/// What a machine may not find out by itself: the time, and what is left to chance.
pub(in crate::run) struct Outside<'a> {
    pub(in crate::run) now: Instant,
    pub(in crate::run) time: Timestamp,
    pub(in crate::run) chance: &'a mut dyn Chance,
}

/// Where random things come from.
pub(in crate::run) trait Chance {
    /// A new UUID.
    fn new_id(&mut self) -> String;

    /// Any number in `0..1`.
    fn random(&mut self) -> f64;
}

/// One event's turn: what comes from outside with it, and the effects that it leads to.
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    pub(super) time: Timestamp,
    chance: &'a mut dyn Chance,
    effects: Vec<Effect>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(outside: Outside<'a>) -> Self {
        let Outside { now, time, chance } = outside;
        Self {
            now,
            time,
            chance,
            effects: Vec::new(),
        }
    }

    pub(super) fn effects(self) -> Vec<Effect> {
        self.effects
    }

    pub(super) fn random(&mut self) -> f64 {
        self.chance.random()
    }

    pub(super) fn new_id(&mut self) -> String {
        self.chance.new_id()
    }

    pub(super) fn perform(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn arm(&mut self, timer: Timer, after: Duration) {
        self.perform(Effect::Arm { timer, after });
    }

    pub(super) fn count(&mut self, count: Count) {
        self.perform(Effect::Count(count));
    }

    /// A line that says how the run goes about its work.
    pub(super) fn debug(&mut self, text: String) {
        self.perform(Effect::Log(Notice {
            event: None,
            fields: Vec::new(),
            text,
        }));
    }

    /// A line that something can be built upon.
    pub(super) fn log<const N: usize>(
        &mut self,
        event: &'static LogEvent,
        fields: [(&'static str, Detail); N],
        text: String,
    ) {
        self.perform(Effect::Log(Notice::new(event, fields, text)));
    }
}
