//! `EngineChild`: one Node process, one run at a time.
//!
//! *Owns* the process, its sockets, and the time of the run that it executes.
//!
//! ```text
//! Spawning ──ready──▶ Idle ──RunOn──▶ Busy ──exit──▶ Idle
//!    └──no handshake, death, violation, time over and deaf──▶ Dying ──gone──▶ (stopped)
//! ```
//!
//! *Accepts* [`RunOn`], [`Proceed`], [`StopJob`], [`Retire`]. *Emits* [`EngineEvent`]s to the run, [`ChildReady`],
//! [`ChildIdle`], [`ChildGone`] to the pool. *If it dies* the process is killed with it, and the pool ends its run.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::Bytes;
use protocol::engine::{ChildEvent, Command, ExitCause, Frame, RunProgress, Shape, encode_frame};
use protocol::ids::RunId;
use tokio::sync::OwnedSemaphorePermit;

mod busy;
mod messages;

use self::busy::{Busy, Stop};
pub(super) use self::messages::{
    Abandon, ChildGone, ChildId, ChildIdle, ChildReady, Declined, Owner, Retire, RunOn, Warm,
};
use super::memory::{self, Verdict};
use super::messages::{EngineEventBody, Proceed, StopJob};
use super::spawn::{Budget, FromProcess, Process};
use crate::config::NodeConfig;
use crate::metrics::Metrics;

/// How long a child may take to end a thread before it is killed.
const DEAF: Duration = Duration::from_secs(1);
/// How long events may still arrive after the process has ended: its group is killed with it, so only a process that left the
/// group can keep the descriptor open.
const LEFTOVERS: Duration = Duration::from_secs(30);

/// How often the size of a busy child is looked at: a job fills 100 MiB in this time at most.
const WATCH: Duration = Duration::from_millis(100);

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
        self.owner.gone.do_send(ChildGone { id: self.id, why });
    }
}

/// See the module's documentation.
pub(super) struct EngineChild {
    id: ChildId,
    config: NodeConfig,
    owner: Owner,
    metrics: Metrics,
    born: Instant,
    process: Option<Process>,
    budget: Budget,
    state: State,
    is_ready: bool,
    retiring: bool,
    events_ended: bool,
    exited: Option<Option<std::process::ExitStatus>>,
    why: String,
    start: Box<dyn Fn(Budget, Recipient<FromProcess>) -> Result<Process, String>>,
}

impl EngineChild {
    pub(super) fn new(
        id: ChildId,
        config: NodeConfig,
        owner: Owner,
        metrics: Metrics,
        start: Box<dyn Fn(Budget, Recipient<FromProcess>) -> Result<Process, String>>,
    ) -> Self {
        Self {
            id,
            config,
            owner,
            metrics,
            born: Instant::now(),
            process: None,
            budget: Rc::new(RefCell::new(None)),
            state: State::Spawning,
            is_ready: false,
            retiring: false,
            events_ended: false,
            exited: None,
            why: String::new(),
            start,
        }
    }

    fn send(&self, command: &Command<'_>, body: &[u8]) -> Result<(), String> {
        let frame = encode_frame(command, body).map_err(|error| error.to_string())?;
        if let Some(process) = &self.process {
            process.send(frame);
        }
        Ok(())
    }

    fn kill(&mut self, why: String) {
        log::debug!("killing engine child {}: {why}", self.pid());
        if self.why.is_empty() {
            self.why = why;
        }
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }

    fn pid(&self) -> u32 {
        self.process
            .as_ref()
            .and_then(|process| process.pid)
            .unwrap_or_default()
    }

    /// Looks at the size of the process while it executes this run.
    fn watch(&mut self, run: RunId, ctx: &mut Context<Self>) {
        let Some(process) = &mut self.process else {
            return;
        };
        let State::Busy(busy) = &mut self.state else {
            return;
        };
        if *busy.conversation.run() != run || busy.conversation.is_over() || busy.stop != Stop::No {
            return;
        }
        let limit_mb = busy.execution.options.memory_mb;
        let resident = process.pid.and_then(memory::resident).unwrap_or_default();
        match memory::judge(resident, busy.resident, limit_mb) {
            Verdict::Over => {
                busy.stop = Stop::OverMemory;
                log::warn!(run_id = run.as_str(); "run {run} uses {} MiB: killing its engine child", resident >> 20);
                // Not by a cancel: a thread that allocates outside the heap may not end in time.
                process.kill();
                return;
            }
            Verdict::Near if !busy.warned => {
                busy.warned = true;
                busy.warn(&memory::near_line(limit_mb));
            }
            Verdict::Near | Verdict::Fine => {}
        }
        ctx.run_later(WATCH, move |this, ctx| this.watch(run, ctx));
    }

    /// Tells the run that its time is nearly over.
    fn warn_of_time(&self, run: &RunId, timeout: Duration) {
        if let State::Busy(busy) = &self.state
            && busy.conversation.run() == run
            && !busy.conversation.is_over()
            && busy.stop == Stop::No
        {
            let seconds = protocol::js::number(timeout.as_secs_f64());
            busy.warn(&format!(
                "This run has used 90% of its time limit of {seconds}s"
            ));
        }
    }

    fn stop_run(&mut self, run: &RunId, stop: Stop, ctx: &mut Context<Self>) {
        let State::Busy(busy) = &mut self.state else {
            return;
        };
        if busy.conversation.run() != run || busy.conversation.is_over() || busy.stop != Stop::No {
            return;
        }
        busy.stop = stop;
        // A thread that waits in a write cannot end: from here on nothing of it waits for the outbox.
        busy.execution.budget.close();
        if let Err(error) = self.send(&Command::Cancel { run }, b"") {
            self.kill(error);
            return;
        }
        let run = run.clone();
        ctx.run_later(DEAF, move |this, _| {
            if matches!(&this.state, State::Busy(busy) if *busy.conversation.run() == run) {
                this.kill("it did not end a thread in time".to_owned());
            }
        });
    }

    fn heard(
        &mut self,
        frame: &Frame,
        permit: Option<OwnedSemaphorePermit>,
        ctx: &mut Context<Self>,
    ) {
        match ChildEvent::from_header(&frame.header) {
            Err(error) => self.violated(format!("the engine child broke the protocol: {error}")),
            Ok(ChildEvent::ProtocolError { message }) => {
                self.violated(format!("the engine child refuses a command: {message}"));
            }
            Ok(ChildEvent::Ready {
                protocol,
                node,
                runtime,
            }) => {
                if protocol != 1 || self.is_ready {
                    self.violated(
                        "the engine child broke the protocol: a second or unknown handshake"
                            .to_owned(),
                    );
                    return;
                }
                if !is_new_enough(&node) {
                    self.kill(format!(
                        "Node {node} is too old: {OLDEST_NODE} or newer is needed"
                    ));
                    return;
                }
                self.is_ready = true;
                self.metrics.child_spawned(self.born.elapsed());
                if matches!(self.state, State::Spawning) {
                    self.state = State::Idle;
                }
                self.owner.ready.do_send(ChildReady {
                    id: self.id,
                    pid: self.pid(),
                    node,
                    runtime,
                });
            }
            Ok(ChildEvent::Run { run, event }) => {
                self.progressed(&run, event, frame.body.clone(), permit, ctx);
            }
        }
    }

    fn progressed(
        &mut self,
        run: &RunId,
        event: RunProgress,
        body: Bytes,
        permit: Option<OwnedSemaphorePermit>,
        ctx: &mut Context<Self>,
    ) {
        let State::Busy(busy) = &mut self.state else {
            if !matches!(self.state, State::Dying) {
                self.violated(format!(
                    "the engine child broke the protocol: it speaks of run {run} without one"
                ));
            }
            return;
        };
        if let Err(violation) = busy.conversation.hear(run, &event) {
            self.violated(violation.to_string());
            return;
        }
        let state = || (!body.is_empty()).then(|| body.clone());
        let told = match event {
            RunProgress::WorkflowStart {
                thread_id,
                time,
                warm,
            } => {
                self.metrics.run_loaded(warm, busy.begun.elapsed());
                EngineEventBody::Started {
                    thread_id,
                    time,
                    warm,
                }
            }
            RunProgress::Log {
                level, name, time, ..
            } => EngineEventBody::Log {
                level,
                name,
                time,
                message: body,
            },
            RunProgress::JobStart { job, time } => EngineEventBody::JobStart { job, time },
            RunProgress::JobComplete { step, mem } => EngineEventBody::JobComplete {
                step,
                mem,
                state: state(),
            },
            RunProgress::JobError { step, error } => EngineEventBody::JobError {
                step,
                error,
                state: state(),
            },
            RunProgress::WorkflowComplete { time, shape, .. } => {
                EngineEventBody::WorkflowComplete {
                    time,
                    shape: shape.unwrap_or(Shape::None),
                    state: state(),
                }
            }
            RunProgress::WorkflowError { error } => EngineEventBody::WorkflowError { error },
            RunProgress::Exit {
                cause,
                code,
                message,
            } => {
                self.thread_ended(cause, code, message, ctx);
                return;
            }
        };
        // After a stop was asked for, how the run ends is decided.
        let ends = matches!(
            told,
            EngineEventBody::WorkflowComplete { .. } | EngineEventBody::WorkflowError { .. }
        );
        if busy.stop == Stop::No || !ends {
            busy.tell(told, permit);
        }
    }

    fn thread_ended(
        &mut self,
        cause: ExitCause,
        code: Option<i64>,
        message: Option<String>,
        ctx: &mut Context<Self>,
    ) {
        let State::Busy(mut busy) = std::mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        match (busy.stop, cause) {
            (Stop::TimedOut, _) => busy.timed_out(),
            (Stop::OverMemory, _) => busy.out_of_memory(),
            _ if busy.conversation.is_over() => {}
            (Stop::Asked, _) => {}
            (Stop::No, ExitCause::Oom) => {
                busy.out_of_memory();
            }
            (Stop::No, ExitCause::Error) => {
                let message = message.unwrap_or_else(|| "the engine thread failed".to_owned());
                busy.fail("ExecutionError", "crash", message);
            }
            (Stop::No, ExitCause::Exit | ExitCause::Cancelled | ExitCause::Done) => {
                let code = code.unwrap_or_default();
                busy.fail(
                    "ExitError",
                    "crash",
                    format!("Worker thread exited with code: {code}"),
                );
            }
        }
        let run = busy.execution.run_id.clone();
        drop(busy);
        self.run_ended(run, ctx);
    }

    fn run_ended(&mut self, run: RunId, ctx: &mut Context<Self>) {
        *self.budget.borrow_mut() = None;
        // The next run must not find what this one wrote.
        let reusable = self
            .process
            .as_ref()
            .is_some_and(|process| !process.has_files());
        self.owner.idle.do_send(ChildIdle {
            id: self.id,
            run,
            reusable,
        });
        if self.retiring {
            self.retire(ctx);
        }
    }

    fn violated(&mut self, what: String) {
        log::error!("engine child {}: {what}", self.pid());
        if let State::Busy(mut busy) = std::mem::replace(&mut self.state, State::Dying) {
            if !busy.conversation.is_over() && busy.stop == Stop::No {
                busy.fail("EngineProtocolError", "crash", what.clone());
            } else if busy.stop == Stop::TimedOut {
                busy.timed_out();
            } else if busy.stop == Stop::OverMemory {
                busy.out_of_memory();
            }
            *self.budget.borrow_mut() = None;
        }
        self.kill(what);
    }

    fn retire(&mut self, ctx: &mut Context<Self>) {
        self.retiring = true;
        if matches!(self.state, State::Busy(_)) {
            return;
        }
        if self.send(&Command::Shutdown, b"").is_err() {
            self.kill("it is not needed any more".to_owned());
        }
        ctx.run_later(DEAF, |this, _| {
            this.kill("it did not shut down in time".to_owned());
        });
    }

    fn gone(&mut self, ctx: &mut Context<Self>) {
        let status = self.exited.take().flatten();
        let stderr = self
            .process
            .as_ref()
            .map(Process::stderr)
            .unwrap_or_default();
        let killed_for_memory = self
            .process
            .as_ref()
            .is_some_and(Process::was_killed_for_memory);
        let how = status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string());
        if let State::Busy(mut busy) = std::mem::replace(&mut self.state, State::Dying) {
            log::error!(run_id = busy.execution.run_id.as_str(); "engine child {} died during run {}: {how}", self.pid(), busy.execution.run_id);
            match busy.stop {
                // It may have been dead before the run came: another child can have it.
                Stop::No if busy.conversation.is_untouched() => {
                    let execution = busy.hand_back();
                    self.owner.declined.do_send(Declined {
                        id: self.id,
                        execution,
                    });
                }
                Stop::TimedOut => busy.timed_out(),
                Stop::OverMemory => busy.out_of_memory(),
                Stop::Asked => {}
                Stop::No if busy.conversation.is_over() => {}
                Stop::No if killed_for_memory || stderr.contains("heap out of memory") => {
                    busy.out_of_memory();
                }
                Stop::No => {
                    let code = status.and_then(|status| status.code());
                    let code = code.map_or_else(|| "null".to_owned(), |code| code.to_string());
                    busy.fail(
                        "ExitError",
                        "crash",
                        format!("Process exited with code: {code}"),
                    );
                }
            }
            *self.budget.borrow_mut() = None;
        }
        let mut why = std::mem::take(&mut self.why);
        if why.is_empty() {
            why = format!("it ended with {how}");
        }
        if let Some(line) = stderr.lines().find(|line| !line.trim().is_empty()) {
            why = format!("{why}; its stderr begins: {line}");
        }
        self.why = why;
        ctx.stop();
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
        match (self.start)(Rc::clone(&self.budget), ctx.address().recipient()) {
            Ok(process) => self.process = Some(process),
            Err(why) => {
                self.why = why;
                self.gone(ctx);
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
                if let Some(why) = why {
                    self.violated(format!("the engine child broke the protocol: {why}"));
                }
                if self.exited.is_some() {
                    self.gone(ctx);
                } else if let Some(process) = &mut self.process {
                    // Ended, or deaf for good. How it ended is known when it is gone.
                    process.kill();
                }
            }
            FromProcess::Exited(status) => {
                self.exited = Some(status);
                if self.events_ended {
                    self.gone(ctx);
                } else {
                    // A process that it started may keep the descriptor open.
                    ctx.run_later(LEFTOVERS, |this, ctx| {
                        if !this.events_ended {
                            this.events_ended = true;
                            this.gone(ctx);
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
            self.owner.declined.do_send(Declined {
                id: self.id,
                execution,
            });
            return;
        }
        let limits = &execution.options;
        let options = protocol::engine::ExecuteOptions {
            repo_dir: self.config.repo_dir.to_string_lossy().into_owned(),
            state_props_to_remove: self.config.state_props_to_remove.clone(),
            state_limit_mb: limits.state_mb,
            payload_limit_mb: limits.payload_mb,
            log_payload_limit_mb: limits.log_payload_mb,
            memory_limit_mb: limits.memory_mb,
            job_log_level: limits.job_log_level.clone(),
            sanitize: limits.sanitize.clone(),
            profile: self.config.profile.is_some(),
            profile_poll_interval_ms: self.config.profile.map_or(10, |interval| {
                u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)
            }),
            output_dataclips: limits.output_dataclips,
        };
        let command = Command::Execute {
            run: &execution.run_id,
            plan: &execution.plan,
            options: &options,
        };
        if let Some(process) = &self.process {
            process.limit_memory(limits.memory_mb);
        }
        let sent = self.send(&command, &execution.input);
        *self.budget.borrow_mut() = Some(execution.budget.clone());
        let mut busy = Busy::new(execution);
        match sent {
            Ok(()) => self.state = State::Busy(Box::new(busy)),
            Err(why) => {
                busy.fail("ExecutionError", "exception", why);
                let run = busy.execution.run_id.clone();
                drop(busy);
                self.run_ended(run, ctx);
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
        let pid = self.process.as_ref().and_then(|process| process.pid);
        busy.resident = pid.and_then(memory::resident).unwrap_or_default();
        let timeout = busy.execution.options.timeout;
        let run = message.run_id;
        if let Err(error) = self.send(&Command::Go { run: &run }, b"") {
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
        if matches!(self.state, State::Spawning | State::Idle) && !self.retiring {
            let command = Command::Warm {
                threads: self.config.warm,
                adaptors: &adaptors,
            };
            if let Err(error) = self.send(&command, b"") {
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
