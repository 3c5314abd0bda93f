//! `EngineChild`: one Node process, one run at a time.
//!
//! *Owns* the process, its sockets, and the time of the run that it executes.
//!
//! ```text
//! Spawning ──ready──▶ Idle ──RunOn──▶ Busy ──exit──▶ Idle
//!    └──no handshake, death, violation, time over and deaf──▶ Dying ──Abandon──▶ (stopped)
//! ```
//!
//! *Accepts* [`RunOn`], [`Proceed`], [`StopJob`], [`Retire`]. *Emits* [`EngineEvent`]s to the run, [`ChildUpdated`] to the
//! pool. *If it dies* the process is killed with it, and the pool ends its run.

use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::Bytes;
use protocol::engine::{
    ChildOptions, Command, EngineFailure, ExecuteOptions, NodeOptions, encode_frame,
};
use sandbox::Control;

mod busy;
mod ends;
mod heard;
mod limits;
mod messages;

use self::busy::{Busy, Stop};
pub(super) use self::messages::{Abandon, ChildId, ChildUpdate, ChildUpdated, Retire, RunOn, Warm};
use super::memory;
use super::messages::{Proceed, StopJob};
use super::process::{Allowance, FromProcess, Guest, Process, SharedGuest};
use crate::config::NodeConfig;
use crate::metrics::Metrics;

/// How long a child may take to end itself once its sockets have ended, before it is killed.
const DEAF: Duration = Duration::from_secs(1);
/// How long it may take to end a thread: a cancelled job stops within a second, of which the kill needs some.
const UNSTOPPED: Duration = Duration::from_millis(800);
/// How long the thread of a run that is over may take to end. A job can keep it from it, and would hold a process for ever.
const OVERSTAY: Duration = Duration::from_secs(5);
/// How long events may still arrive after the process has ended: its group is killed with it, so only a process that left the
/// group can keep the descriptor open.
const LEFTOVERS: Duration = Duration::from_secs(30);

/// How often the size of a busy child is looked at: a job fills 100 MiB in this time at most.
const WATCH: Duration = Duration::from_millis(100);

/// Bytes that what stands for withheld values takes at most, a state for each leaf of a large workflow.
const REDACTED_BODY: usize = 1 << 20;
/// The MB of all limits, bytes.
const MIB: f64 = 1_048_576.0;

/// The oldest Node that the engine program and the runtime work with.
const OLDEST_NODE: u32 = 20;

enum State {
    Spawning,
    Idle,
    Busy(Box<Busy>),
    Dying,
}

/// The pool hears of the end when the child is dropped, so that it does also when the actor panics.
impl Drop for EngineChild {
    fn drop(&mut self) {
        let why = if self.why.is_empty() {
            "its actor died".to_owned()
        } else {
            std::mem::take(&mut self.why)
        };
        self.metrics.child_exited();
        self.tell_pool(ChildUpdate::Gone { why });
    }
}

/// See the module's documentation.
pub(super) struct EngineChild {
    id: ChildId,
    config: NodeConfig,
    options: NodeOptions,
    pool: Recipient<ChildUpdated>,
    metrics: Metrics,
    born: Instant,
    process: Option<Process>,
    guest: SharedGuest,
    state: State,
    is_ready: bool,
    retiring: bool,
    events_ended: bool,
    exited: Option<Option<std::process::ExitStatus>>,
    why: String,
    start: Box<dyn Fn(SharedGuest, Recipient<FromProcess>) -> Result<Process, String>>,
}

impl EngineChild {
    pub(super) fn new(
        id: ChildId,
        config: NodeConfig,
        pool: Recipient<ChildUpdated>,
        metrics: Metrics,
        start: Box<dyn Fn(SharedGuest, Recipient<FromProcess>) -> Result<Process, String>>,
    ) -> Self {
        Self {
            id,
            options: node_options(&config),
            config,
            pool,
            metrics,
            born: Instant::now(),
            process: None,
            guest: SharedGuest::default(),
            state: State::Spawning,
            is_ready: false,
            retiring: false,
            events_ended: false,
            exited: None,
            why: String::new(),
            start,
        }
    }

    fn tell_pool(&self, update: ChildUpdate) {
        self.pool.do_send(ChildUpdated {
            id: self.id,
            update,
        });
    }

    fn send(&self, command: &Command<'_>, body: &Bytes) -> Result<(), String> {
        let parts = encode_frame(command, body).map_err(|error| error.to_string())?;
        if let Some(process) = &self.process {
            parts.into_iter().for_each(|part| process.send(part));
        }
        Ok(())
    }

    fn kill(&mut self, why: String) {
        log::debug!(run_id = self.run(); "killing engine child {}: {why}", self.pid());
        if self.why.is_empty() {
            self.why = why;
        }
        if let Some(process) = &mut self.process {
            process.control.kill();
        }
    }

    /// The run that it executes.
    fn run(&self) -> Option<&str> {
        match &self.state {
            State::Busy(busy) => Some(busy.execution.run_id.as_str()),
            State::Spawning | State::Idle | State::Dying => None,
        }
    }

    fn pid(&self) -> u32 {
        self.process
            .as_ref()
            .map(|process| process.control.pid())
            .unwrap_or_default()
    }
}

/// What the largest event of a run with these limits carries, bytes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and no limit is below zero"
)]
fn largest_body(limits: &ExecuteOptions) -> usize {
    let limit = limits.payload_limit_mb.max(limits.log_payload_limit_mb) * MIB;
    (limit as usize).saturating_add(REDACTED_BODY)
}

/// What every execution has from the configuration.
fn node_options(config: &NodeConfig) -> NodeOptions {
    NodeOptions {
        repo_dir: config.repo_dir.to_string_lossy().into_owned(),
        state_props_to_remove: config.state_props_to_remove.clone(),
        profile: config.profile.is_some(),
        profile_poll_interval_ms: config.profile.map_or(10, |interval| {
            u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)
        }),
    }
}

fn is_new_enough(node: &str) -> bool {
    node.split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok())
        .is_some_and(|major| major >= OLDEST_NODE)
}

impl Actor for EngineChild {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        match (self.start)(Rc::clone(&self.guest), ctx.address().recipient()) {
            Ok(process) => self.process = Some(process),
            Err(why) => {
                self.why = why;
                self.gone();
                return;
            }
        }
        let patience = self.config.validation_timeout;
        ctx.run_later(patience, move |this, _| {
            if !this.is_ready {
                this.kill(format!(
                    "it did not answer within {} ms",
                    patience.as_millis()
                ));
            }
        });
    }
}

impl Handler<FromProcess> for EngineChild {
    type Result = ();

    fn handle(&mut self, message: FromProcess, ctx: &mut Self::Context) {
        match message {
            FromProcess::Frame(frame, permit) => self.heard(&frame, permit, ctx),
            FromProcess::EventsEnded(why) => {
                self.events_ended = true;
                match why {
                    _ if self.exited.is_some() => self.gone(),
                    Some(why) => self.broke_protocol(&why),
                    None => self.closed("it closed its descriptor of events".to_owned(), ctx),
                }
            }
            FromProcess::CommandsClosed => {
                self.closed("it closed its descriptor of commands".to_owned(), ctx);
            }
            FromProcess::CommandsWritten => {
                self.broke_protocol("it wrote to its descriptor of commands");
            }
            FromProcess::Exited(status) => {
                self.exited = Some(status);
                if self.events_ended {
                    self.gone();
                } else {
                    // A process that it started may keep the descriptor open.
                    ctx.run_later(LEFTOVERS, |this, _| {
                        if !this.events_ended {
                            this.events_ended = true;
                            this.gone();
                        }
                    });
                }
            }
        }
    }
}

impl Handler<RunOn> for EngineChild {
    type Result = ();

    fn handle(&mut self, RunOn(execution): RunOn, ctx: &mut Self::Context) {
        if !matches!(self.state, State::Spawning | State::Idle) || self.retiring {
            self.tell_pool(ChildUpdate::Declined(Box::new(execution)));
            return;
        }
        let limits = &execution.options;
        let command = Command::Execute {
            run: &execution.run_id,
            plan: &execution.plan,
            options: ChildOptions {
                run: limits,
                node: &self.options,
            },
        };
        if let Some(process) = &self.process {
            process.limit_memory(limits.memory_limit_mb);
        }
        let sent = self.send(&command, &execution.input);
        *self.guest.borrow_mut() = Guest {
            allowance: Some(Allowance {
                budget: execution.budget.clone(),
                body: largest_body(limits),
            }),
            last: Some(execution.run_id.clone()),
        };
        let mut busy = Busy::new(execution);
        match sent {
            Ok(()) => self.state = State::Busy(Box::new(busy)),
            Err(why) => {
                busy.fail(EngineFailure::Unavailable(why));
                let run = busy.execution.run_id.clone();
                drop(busy);
                self.run_ended(run, false, ctx);
            }
        }
    }
}

impl Handler<Proceed> for EngineChild {
    type Result = ();

    fn handle(&mut self, message: Proceed, ctx: &mut Self::Context) {
        let State::Busy(busy) = &mut self.state else {
            return;
        };
        if *busy.conversation.run() != message.run_id {
            return;
        }
        busy.conversation.proceed();
        let control = self.process.as_ref().map(|process| &process.control);
        busy.resident = control.and_then(Control::resident).unwrap_or_default();
        let timeout = busy.execution.options.timeout;
        let run = message.run_id;
        if let Err(error) = self.send(&Command::Go { run: &run }, &Bytes::new()) {
            self.kill(error);
            return;
        }
        let watched = run.clone();
        ctx.run_later(WATCH, move |this, ctx| this.watch(watched, ctx));
        if let Some(timeout) = timeout {
            let warned = run.clone();
            ctx.run_later(timeout.mul_f64(memory::NEAR), move |this, _| {
                this.warn_of_time(&warned, timeout);
            });
            ctx.run_later(timeout, move |this, ctx| {
                this.stop_run(&run, Stop::TimedOut, ctx);
            });
        }
    }
}

impl Handler<StopJob> for EngineChild {
    type Result = ();

    fn handle(&mut self, message: StopJob, ctx: &mut Self::Context) {
        self.stop_run(&message.run_id, Stop::Asked, ctx);
    }
}

impl Handler<Warm> for EngineChild {
    type Result = ();

    fn handle(&mut self, Warm(adaptors): Warm, _: &mut Self::Context) {
        if !matches!(self.state, State::Dying) && !self.retiring {
            let command = Command::Warm {
                threads: self.config.warm,
                adaptors: &adaptors,
            };
            if let Err(error) = self.send(&command, &Bytes::new()) {
                log::debug!("an engine child cannot be warmed: {error}");
            }
        }
    }
}

impl Handler<Abandon> for EngineChild {
    type Result = ();

    fn handle(&mut self, _: Abandon, ctx: &mut Self::Context) {
        self.state = State::Dying;
        // The tasks that read the process hold this actor's address, so that it would outlive its pool, and the process with it.
        self.process = None;
        ctx.stop();
    }
}

impl Handler<Retire> for EngineChild {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        self.retire(ctx);
    }
}
