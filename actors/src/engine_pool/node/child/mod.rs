//! `EngineChild`: one Node process, which executes one run and ends with it.
//!
//! *Owns* the process and its sockets. What it does next is decided in `machine.rs` (what there is), `states.rs` and
//! `steps.rs` (what follows from what); `table.rs` has all transitions:
//!
//! ```text
//! Spawning ──▶ Handshake ──ready──▶ Idle ──execute──▶ Busy ──run ended, stop, time over──▶ Dying
//! without a run ──retire──▶ Retiring      any ──violation, too late, too large──▶ Dying      any ──process dead──▶ Gone
//! ```
//!
//! *Accepts* [`RunOn`], [`Proceed`], [`StopJob`], [`Preload`], [`Retire`], [`Abandon`]. *Emits* [`EngineEvent`]s to the run,
//! [`ChildUpdate`]s to the pool. *If it dies* the process is killed with it, and the pool, which watches it, ends its run.

use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::Bytes;
use protocol::engine::{
    ChildEvent, ChildOptions, Command, EncodeError, ExecuteOptions, Frame, NodeOptions,
    RunProgress, encode_frame,
};
use protocol::ids::RunId;
use protocol::size::Mebibytes;
use sandbox::Survey;
use sandbox::egress::Refusal;
use tokio::sync::OwnedSemaphorePermit;

mod complaint;
mod execution;
mod exit;
mod files;
mod handlers;
mod machine;
mod messages;
mod states;
mod steps;
mod table;
mod vigil;

#[cfg(test)]
mod tests;

use self::exit::ProcessExit;
use self::files::FilesWatch;
use self::machine::{Effect, Event, Machine, Order, Timer};
pub(super) use self::messages::{Abandon, ChildId, ChildUpdate, Preload, Retire, RunOn};
use self::table::StateKind;
use self::vigil::{LOOK, Vigil};
use super::error::LaunchError;
use super::process::{ActiveRun, Allowance, FromProcess, Process, SharedRun};
use super::{NodeNews, memory};
use crate::clock;
use crate::config::NodeConfig;
use crate::engine_pool::engine::News;
use crate::engine_pool::messages::{EngineEvent, Execute};
use crate::metrics::Metrics;
use crate::tell::Tell as _;

/// Bytes that what stands for withheld values takes at most, a state for each leaf of a large workflow.
const REDACTED_BODY: u64 = 1 << 20;

/// Starts the process.
type Start = Box<dyn Fn(SharedRun, Recipient<FromProcess>) -> Result<Process, LaunchError>>;

/// See the module's documentation.
pub(super) struct EngineChild {
    id: ChildId,
    handshake: Duration,
    options: NodeOptions,
    pool: Recipient<News>,
    metrics: Metrics,
    start: Start,
    machine: Machine,
    process: Option<Process>,
    active: SharedRun,
    /// What its run has in files.
    files: FilesWatch,
    /// What it takes while it has no run.
    vigil: Vigil,
    /// Who hears of the run that was admitted last.
    listener: Option<(RunId, Recipient<EngineEvent>)>,
}

impl EngineChild {
    pub(super) fn new(
        id: ChildId,
        config: &NodeConfig,
        pool: Recipient<News>,
        metrics: Metrics,
        start: Start,
    ) -> Self {
        Self {
            id,
            handshake: config.validation_timeout,
            options: node_options(config),
            pool,
            metrics,
            start,
            machine: Machine::new(Instant::now()),
            process: None,
            active: SharedRun::default(),
            files: FilesWatch::new(config.files.bytes()),
            vigil: Vigil::default(),
            listener: None,
        }
    }

    fn on(&mut self, event: Event, ctx: &mut Context<Self>) {
        let effects = self.machine.on(event, Instant::now());
        let mut events = Vec::new();
        for effect in effects {
            events.extend(self.perform(effect, ctx));
        }
        for event in events {
            self.on(event, ctx);
        }
    }

    /// Performs an effect, which may have something to say at once.
    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) -> Option<Event> {
        match effect {
            Effect::Send(order) => {
                // It has something to do from here on.
                self.vigil.interrupt();
                return self.send(&order).err().map(Event::Unsendable);
            }
            Effect::Admit => self.admit(),
            Effect::Dismiss => self.active.borrow_mut().allowance = None,
            Effect::CloseBudget => {
                if let Some(allowance) = &self.active.borrow().allowance {
                    allowance.budget.close();
                }
            }
            Effect::Tell(progress, permit) => self.tell(progress, permit),
            Effect::Warn(text) => self.tell(
                RunProgress::Log {
                    level: Some("warn".to_owned()),
                    name: "RTE".to_owned(),
                    time: clock::now(),
                    message: Bytes::from(serde_json::json!([text]).to_string()),
                },
                None,
            ),
            Effect::Report(update) => self.report(update),
            Effect::Measure(run) => {
                if self.has_too_many_files() {
                    return Some(Event::FilesOver(run));
                }
                let process = self.process.as_ref();
                let usage = process.and_then(|process| process.control.usage());
                return Some(Event::Measured {
                    run,
                    resident: usage
                        .map(memory::counted)
                        .unwrap_or_default()
                        .saturating_add(self.files.queued()),
                });
            }
            Effect::Arm(timer, wait) => {
                ctx.run_later(wait, move |this, ctx| {
                    // One that is dead has closed all that it had.
                    let closed = matches!(timer, Timer::Closed(_));
                    if !(closed && this.process.as_ref().is_some_and(Process::has_exited)) {
                        this.on(Event::Elapsed(timer), ctx);
                    }
                });
            }
            Effect::Kill(why) => {
                log::debug!(run_id = self.run(); "killing engine child {}: {why}", self.pid());
                if let Some(process) = &mut self.process {
                    process.control.kill();
                }
            }
            Effect::Complain { event, run, what } => {
                self.complain(event, run.as_ref(), what);
            }
            Effect::CountSpawn(after) => self.metrics.child_spawned(after),
            Effect::CountLoad { warm, after } => self.metrics.run_loaded(warm, after),
        }
        None
    }

    fn send(&self, order: &Order) -> Result<(), EncodeError> {
        let nothing = Bytes::new();
        let execution = self.machine.execution();
        let (command, body) = match (order, execution) {
            (Order::Preload(preload), _) => (
                Command::Preload {
                    adaptors: &preload.adaptors,
                    later: preload.later,
                },
                &nothing,
            ),
            (Order::Execute, Some(execution)) => {
                let request = &execution.request;
                let command = Command::Execute {
                    run: &request.run_id,
                    plan: &request.plan,
                    options: ChildOptions {
                        run: &request.options,
                        node: &self.options,
                    },
                };
                (command, &request.input)
            }
            (Order::Execute, None) => return Ok(()),
            (Order::Go(run), _) => (Command::Go { run }, &nothing),
            (Order::Shutdown, _) => (Command::Shutdown, &nothing),
        };
        let parts = encode_frame(&command, body)?;
        if let Some(process) = &self.process {
            parts.into_iter().for_each(|part| process.send(part));
        }
        Ok(())
    }

    fn admit(&mut self) {
        let Some(execution) = self.machine.execution() else {
            return;
        };
        let Execute {
            run_id,
            options,
            events,
            budget,
            ..
        } = &execution.request;
        self.listener = Some((run_id.clone(), events.clone()));
        *self.active.borrow_mut() = ActiveRun {
            allowance: Some(Allowance {
                budget: budget.clone(),
                body: largest_body(options),
            }),
            last: Some(run_id.clone()),
            ..ActiveRun::default()
        };
        if let Some(process) = &self.process {
            self.files.begin(Instant::now());
            process.limit_memory(Mebibytes::new(options.memory_limit_mb));
            process.control.forget_refusals();
        }
    }

    fn tell(&self, progress: RunProgress, permit: Option<OwnedSemaphorePermit>) {
        if let Some((run_id, listener)) = &self.listener {
            listener.tell(EngineEvent {
                run_id: run_id.clone(),
                progress,
                permit,
            });
        }
    }

    fn has_too_many_files(&mut self) -> bool {
        let process = self.process.as_ref();
        process.is_some_and(|process| self.files.is_over(&process.control, Instant::now()))
    }

    fn survey(&self) -> Option<Survey> {
        self.process.as_ref()?.control.survey(self.files.most())
    }

    /// Looks at what the child takes while it has nothing to do.
    fn look(&mut self, ctx: &mut Context<Self>) {
        ctx.run_later(LOOK, Self::look);
        if self.machine.kind() != StateKind::Idle {
            return;
        }
        let found = self.survey();
        let excess = found.and_then(|found| self.vigil.look(Instant::now(), &found));
        if let Some(excess) = excess {
            self.on(Event::Restless(excess), ctx);
        }
    }

    fn report(&mut self, update: ChildUpdate) {
        if matches!(update, ChildUpdate::Ready { .. }) {
            let fresh = self.survey();
            self.vigil.begin(fresh);
        }
        self.pool.tell(News::new(NodeNews::Child(self.id, update)));
    }

    fn read(frame: &Frame, permit: Option<OwnedSemaphorePermit>) -> Event {
        match ChildEvent::from_frame(frame) {
            Ok(ChildEvent::Exit { run, exit }) => Event::RunEnded { run, exit },
            Ok(event) => Event::Said(event, permit),
            Err(error) => Event::Broke(error.to_string()),
        }
    }

    /// Says in the log of the run in work, else in the operator's, that a connection was refused.
    fn refused(&mut self, refusal: Refusal, ctx: &mut Context<Self>) {
        let execution = self.machine.execution();
        let effect = if execution.is_some_and(|execution| !execution.conversation.is_over()) {
            Effect::Warn(refusal.to_string())
        } else {
            Effect::Complain {
                event: &log_events::table::ENGINE_CHILD_REFUSED,
                run: None,
                what: refusal.to_string(),
            }
        };
        // Neither has anything to say.
        self.perform(effect, ctx);
    }

    /// The run in work, for log lines.
    fn run(&self) -> Option<&str> {
        let execution = self.machine.execution()?;
        Some(execution.run().as_str())
    }

    fn pid(&self) -> u32 {
        self.process
            .as_ref()
            .map(|process| process.control.pid())
            .unwrap_or_default()
    }
}

/// Counted however it ends, also when it is its pool that ends.
impl Drop for EngineChild {
    fn drop(&mut self) {
        self.metrics.child_exited();
    }
}

/// What the largest event of a run with these limits carries, bytes.
fn largest_body(options: &ExecuteOptions) -> usize {
    let limit = options.payload_limit_mb.max(options.log_payload_limit_mb);
    let bytes = Mebibytes::new(limit).bytes().saturating_add(REDACTED_BODY);
    usize::try_from(bytes).unwrap_or(usize::MAX)
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

impl Actor for EngineChild {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        match (self.start)(Rc::clone(&self.active), ctx.address().recipient()) {
            Ok(process) => {
                let pid = process.control.pid();
                let patience = self.handshake;
                self.process = Some(process);
                ctx.run_later(LOOK, Self::look);
                self.on(Event::Spawned { pid, patience }, ctx);
            }
            Err(why) => self.on(Event::SpawnFailed(why), ctx),
        }
    }
}

impl Handler<FromProcess> for EngineChild {
    type Result = ();

    fn handle(&mut self, message: FromProcess, ctx: &mut Self::Context) {
        let event = match message {
            FromProcess::Refused(refusal) => {
                self.refused(refusal, ctx);
                return;
            }
            FromProcess::Frame(frame, permit) => Self::read(&frame, permit),
            FromProcess::Broke(what) => Event::Broke(what),
            FromProcess::Closed(what) => Event::Closed(what.to_owned()),
            FromProcess::Exited(status) => Event::Exited(ProcessExit {
                status,
                killed_for_memory: self
                    .process
                    .as_ref()
                    .is_some_and(|process| process.control.was_killed_for_memory()),
                stderr: self.active.borrow_mut().take_errors(),
            }),
        };
        self.on(event, ctx);
    }
}
