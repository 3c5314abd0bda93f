//! The decisions of a run, without actor, clock, chance or I/O: an event leads to effects, which the actor performs.
//!
//! [`RunMachine::TRANSITIONS`] is the table. One file each: [`events`] has what is heard and done, [`joining`] the channel,
//! [`requests`] what is asked before the start, [`lifecycle`] the start and every end, [`reports`] the way out, [`silence`]
//! what happens because time has passed.

mod events;
mod joining;
mod lifecycle;
mod reports;
mod requests;
mod silence;
mod summary;
#[cfg(test)]
mod tests;

use std::time::Instant;

use log_events::table;
use protocol::ids::WorkloopId;
use protocol::lightning::{ClaimedRun, PushPayload, RunEvent, Timestamp};
use protocol::reasons::Outcome;

pub(crate) use self::events::Origin;
use self::events::Turn;
pub(super) use self::events::{Chance, Count, Effect, Event, Notice, Outside, Timer};
use self::summary::Summary;
use super::channel::Channel;
use super::channel_memory::ChannelMemory;
use super::fetch::Fetch;
use super::loading::{Loading, exception};
use super::messages::{RunPhase, RunStatus, StopRun};
use super::outbox::Outbox;
use super::reporter::Reporter;
use super::settings::Settings;
use crate::events::Unreported;
use crate::lightning::{JoinTurn, Ticket};
use crate::traces::Moment;
use crate::transitions::{self, Machine};

/// What moves a run from one phase to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    /// Its first actor died: nothing is executed any more.
    Succeeded,
    /// Lightning gave a plan that can be used.
    PlanGot,
    /// There is no plan, or none that can be used.
    PlanDenied,
    /// Input, credentials and the engine are there.
    Loaded,
    /// Something that the run needs cannot be had.
    NotLoaded,
    /// A job cannot be compiled.
    NotCompiled,
    /// Lightning has accepted `run:start`.
    StartAccepted,
    /// The job is gone.
    JobOver,
    /// The engine died, and the job with it.
    EngineLost,
    /// Somebody cancels it, the worker ends, or Lightning refuses one of its reports.
    Stopped,
    /// Its token expired; what is left goes out while the channel is open.
    Expired,
    /// Lightning takes nothing of it any more.
    GivenUp,
    /// Lightning has accepted `run:complete`.
    EndAccepted,
}

impl Machine for RunMachine {
    type State = RunPhase;
    type Event = Fact;

    #[rustfmt::skip]
    const TRANSITIONS: &'static [(RunPhase, Fact, RunPhase)] = &[
        (RunPhase::Joining,   Fact::Succeeded,     RunPhase::Settling),
        (RunPhase::Joining,   Fact::PlanGot,       RunPhase::Loading),
        (RunPhase::Joining,   Fact::PlanDenied,    RunPhase::Settling),
        (RunPhase::Joining,   Fact::Stopped,       RunPhase::Settling),
        (RunPhase::Joining,   Fact::GivenUp,       RunPhase::Done),

        (RunPhase::Loading,   Fact::Loaded,        RunPhase::Starting),
        (RunPhase::Loading,   Fact::NotLoaded,     RunPhase::Settling),
        (RunPhase::Loading,   Fact::Stopped,       RunPhase::Settling),
        (RunPhase::Loading,   Fact::GivenUp,       RunPhase::Done),

        (RunPhase::Starting,  Fact::NotCompiled,   RunPhase::Settling),
        (RunPhase::Starting,  Fact::StartAccepted, RunPhase::Executing),
        (RunPhase::Starting,  Fact::JobOver,       RunPhase::Settling),
        (RunPhase::Starting,  Fact::EngineLost,    RunPhase::Settling),
        (RunPhase::Starting,  Fact::Stopped,       RunPhase::Stopping),
        (RunPhase::Starting,  Fact::GivenUp,       RunPhase::Stopping),

        (RunPhase::Executing, Fact::JobOver,       RunPhase::Settling),
        (RunPhase::Executing, Fact::EngineLost,    RunPhase::Settling),
        (RunPhase::Executing, Fact::Stopped,       RunPhase::Stopping),
        (RunPhase::Executing, Fact::GivenUp,       RunPhase::Stopping),
        // The job has said its last word, and its thread is still there.
        (RunPhase::Executing, Fact::EndAccepted,   RunPhase::Done),

        // With an end to report, or without one.
        (RunPhase::Stopping,  Fact::JobOver,       RunPhase::Settling),
        (RunPhase::Stopping,  Fact::JobOver,       RunPhase::Done),
        (RunPhase::Stopping,  Fact::EngineLost,    RunPhase::Settling),
        (RunPhase::Stopping,  Fact::EngineLost,    RunPhase::Done),
        // The end that it was to report is not reported any more.
        (RunPhase::Stopping,  Fact::GivenUp,       RunPhase::Stopping),

        // Another end takes the place of what Lightning refused.
        (RunPhase::Settling,  Fact::Stopped,       RunPhase::Settling),
        (RunPhase::Settling,  Fact::Expired,       RunPhase::Settling),
        (RunPhase::Settling,  Fact::GivenUp,       RunPhase::Done),
        (RunPhase::Settling,  Fact::EndAccepted,   RunPhase::Done),
    ];
}

/// What a run is doing, with what exists only meanwhile.
#[derive(Debug)]
enum State {
    /// The plan is fetched.
    Joining(Fetch<()>),
    Loading(Box<Loading>),
    /// The engine loads the run; the job begins when `run:start` is accepted.
    Starting,
    Executing,
    /// The job is being stopped.
    Stopping(Farewell),
    /// The job is over; the outbox empties.
    Settling(Deadline),
    Done,
}

/// What Lightning hears of a run whose job is being stopped.
#[derive(Debug)]
enum Farewell {
    Report(Outcome),
    Nothing(Unreported),
}

/// The end of the run's token, after which its channel cannot be joined any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deadline {
    Ahead,
    /// The channel that is open still takes the end of the run (protocol spec, section 10.2).
    Over,
}

impl State {
    fn phase(&self) -> RunPhase {
        match self {
            Self::Joining(_) => RunPhase::Joining,
            Self::Loading(_) => RunPhase::Loading,
            Self::Starting => RunPhase::Starting,
            Self::Executing => RunPhase::Executing,
            Self::Stopping(_) => RunPhase::Stopping,
            Self::Settling(_) => RunPhase::Settling,
            Self::Done => RunPhase::Done,
        }
    }
}

/// Whether an open batch of log lines has its timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flush {
    Unarmed,
    Armed,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct RunMachine {
    settings: Settings,
    claimed: ClaimedRun,
    workloop: WorkloopId,
    state: State,
    /// When it came into its phase.
    since: Instant,
    /// When it was claimed.
    born: Instant,
    channel: Channel,
    memory: ChannelMemory,
    outbox: Outbox,
    flush: Flush,
    reporter: Reporter,
    summary: Summary,
    /// The last ticket or timer number.
    numbers: u64,
}

impl RunMachine {
    /// A run that was claimed by this group, and has done nothing yet.
    pub(super) fn new(
        settings: Settings,
        claimed: ClaimedRun,
        workloop: WorkloopId,
        now: Instant,
    ) -> Self {
        let delivery = &settings.delivery;
        Self {
            state: State::Joining(Fetch::new()),
            since: now,
            born: now,
            channel: Channel::new(settings.message_timeout, delivery.retry_delay),
            memory: ChannelMemory::default(),
            outbox: Outbox::new(delivery.window, delivery.batch.map(|batch| batch.limit)),
            flush: Flush::Unarmed,
            reporter: Reporter::new(
                claimed.id.clone(),
                delivery.batch.is_some(),
                delivery.frames,
            ),
            summary: Summary::default(),
            numbers: 0,
            settings,
            claimed,
            workloop,
        }
    }

    /// What an event leads to.
    pub(super) fn on(&mut self, event: Event, outside: Outside<'_>) -> Vec<Effect> {
        let mut turn = Turn::new(outside);
        // Nothing is done for a run that is over.
        if !matches!(self.state, State::Done) {
            self.decide(event, &mut turn);
        }
        turn.effects()
    }

    fn decide(&mut self, event: Event, turn: &mut Turn<'_>) {
        match event {
            Event::Started(origin) => self.started(origin, turn),
            Event::Channel(event) => self.channel_told(event, turn),
            Event::Engine(progress, permit) => self.engine_told(progress, permit, turn),
            Event::Prepared(outcome) => self.prepared(outcome, turn),
            Event::Stop(stop) => self.stop(stop, turn),
            Event::ConnectionReplaced => self.connection_replaced(turn),
            Event::EngineLost => self.engine_lost(turn),
            Event::Fired(timer) => self.fired(timer, turn),
        }
    }

    /// The state of the run, for status pages.
    pub(super) fn status(&self, now: Instant) -> RunStatus {
        RunStatus {
            id: self.claimed.id.clone(),
            workloop: self.workloop.clone(),
            phase: self.state.phase(),
            phase_seconds: now.saturating_duration_since(self.since).as_secs(),
            age_seconds: now.saturating_duration_since(self.born).as_secs(),
            job: self.reporter.active_job().cloned(),
        }
    }

    fn started(&mut self, origin: Origin, turn: &mut Turn<'_>) {
        turn.log(
            &table::RUN_CLAIMED,
            [("workloop", self.workloop.as_str().into())],
            format!(
                "run {} claimed by workloop {}",
                self.claimed.id, self.workloop
            ),
        );
        self.join(JoinTurn::First, turn);
        self.schedule_deadline(turn);
        self.schedule_tick(turn);
        if origin == Origin::Successor {
            let why =
                "the worker failed while it was handling this run; its job was stopped".to_owned();
            self.end_unstarted(Fact::Succeeded, &exception("RunActorCrashed", why), turn);
        }
    }

    fn stop(&mut self, stop: StopRun, turn: &mut Turn<'_>) {
        let outcome = match stop {
            StopRun::Cancel => lifecycle::cancelled(),
            StopRun::Shutdown => exception(
                "WorkerShutdown",
                "the worker was shut down before the run had finished".to_owned(),
            ),
        };
        self.stop_job(outcome, turn);
    }

    fn fired(&mut self, timer: Timer, turn: &mut Turn<'_>) {
        match timer {
            Timer::Tick => self.tick(turn),
            Timer::Deadline => self.expired(turn),
            Timer::Join(number) => {
                if self.channel.is_waiting_for(number) {
                    self.join(JoinTurn::Among, turn);
                }
            }
            Timer::Flush => {
                self.flush = Flush::Unarmed;
                self.outbox.close_batch();
                self.send(turn);
            }
            Timer::Resend => self.send(turn),
            Timer::Ask => self.ask(turn),
        }
    }

    fn enter(&mut self, fact: Fact, state: State, turn: &mut Turn<'_>) {
        let (from, to) = (self.state.phase(), state.phase());
        transitions::took::<Self>(from, fact, to);
        if from != to {
            turn.debug(format!("run {}: {from} -> {to}", self.claimed.id));
        }
        self.state = state;
        self.since = turn.now;
        if from != to {
            self.trace(turn, || Moment::Entered(to));
        }
    }

    /// Something that belongs into the run's trace has happened now.
    fn trace(&self, turn: &mut Turn<'_>, moment: impl FnOnce() -> Moment) {
        let now = turn.time;
        self.trace_at(now, turn, moment);
    }

    fn trace_at(&self, at: Timestamp, turn: &mut Turn<'_>, moment: impl FnOnce() -> Moment) {
        if self.settings.traced {
            turn.perform(Effect::Trace {
                at,
                moment: moment(),
            });
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn ticket(&mut self) -> Ticket {
        Ticket(self.number())
    }
}

/// Pushes a request.
fn request(ticket: Ticket, event: RunEvent, payload: impl Into<PushPayload>) -> Effect {
    Effect::Push {
        ticket,
        event: event.name(),
        payload: payload.into(),
    }
}
