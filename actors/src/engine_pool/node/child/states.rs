//! What each state of an engine child makes of an event.

use std::time::Instant;

use log_events::table;
use protocol::engine::{ChildEvent, RunProgress};

use super::execution::{Execution, Stop};
use super::exit::ProcessExit;
use super::machine::{DEAF, Effect, Event, Machine, OVERSTAY, PROTOCOL, State, Timer};
use super::messages::ChildUpdate;
use super::steps::{breach, broke, refuses};

/// The oldest Node that the engine program and the runtime work with.
const OLDEST_NODE: u32 = 20;

impl Machine {
    pub(super) fn spawning(&mut self, event: Event) -> State {
        match event {
            Event::Spawned { pid, patience } => {
                self.pid = pid;
                self.act(Effect::Arm(Timer::Handshake(patience), patience));
                State::Handshake(None)
            }
            Event::SpawnFailed(error) => {
                let why = error.to_string();
                self.act(Effect::Report(ChildUpdate::Dead { why }));
                State::Gone
            }
            _ => State::Spawning,
        }
    }

    pub(super) fn handshake(
        &mut self,
        event: Event,
        execution: Option<Box<Execution>>,
        now: Instant,
    ) -> State {
        match (event, execution) {
            (
                Event::Said(
                    ChildEvent::Ready {
                        protocol: PROTOCOL,
                        node,
                        runtime,
                    },
                    _,
                ),
                execution,
            ) => {
                if !is_new_enough(&node) {
                    let why = format!("Node {node} is too old: {OLDEST_NODE} or newer is needed");
                    return self.kill(why, execution, None);
                }
                self.act(Effect::CountSpawn(now.duration_since(self.born)));
                self.act(Effect::Report(ChildUpdate::Ready {
                    pid: self.pid,
                    node,
                    runtime,
                }));
                let Some(execution) = execution else {
                    return State::Idle;
                };
                // What the process had before is none of the run's.
                if execution.conversation.may_begin() {
                    self.act(Effect::Measure(execution.run().clone()));
                }
                State::Busy(execution)
            }
            (Event::Proceed(run), Some(mut execution)) if *execution.run() == run => {
                self.go(&mut execution);
                State::Handshake(Some(execution))
            }
            (Event::Stop(run), Some(execution)) if *execution.run() == run => {
                self.stop(execution, Stop::Asked)
            }
            (Event::Elapsed(Timer::TimeOver(run)), Some(execution)) if *execution.run() == run => {
                self.stop(execution, Stop::TimedOut)
            }
            (Event::Elapsed(Timer::TimeNear(run)), Some(execution)) if *execution.run() == run => {
                self.warn_of_time(&execution);
                State::Handshake(Some(execution))
            }
            (Event::Elapsed(Timer::Handshake(patience)), execution) => {
                let why = format!("it did not answer within {} ms", patience.as_millis());
                self.kill(why, execution, None)
            }
            (Event::Retire, None) => self.retire(),
            (Event::Closed(what), execution) => {
                self.act(Effect::Arm(Timer::Closed(what), DEAF));
                match execution {
                    Some(execution) => State::Handshake(Some(execution)),
                    // A run would find a child that is about to be killed.
                    None => State::Retiring,
                }
            }
            (Event::Elapsed(Timer::Closed(what)) | Event::Broke(what), execution) => {
                self.violated(broke(&what), execution, None)
            }
            (Event::Said(ChildEvent::ProtocolError { message }, _), execution) => {
                self.violated(refuses(&message), execution, None)
            }
            (Event::Said(ChildEvent::Ready { .. }, _), execution) => {
                self.violated(broke("a second or unknown handshake"), execution, None)
            }
            (
                Event::Said(
                    ChildEvent::Preloaded | ChildEvent::Run { .. } | ChildEvent::Exit { .. },
                    _,
                )
                | Event::RunEnded { .. },
                execution,
            ) => self.violated(broke("it speaks before it is ready"), execution, None),
            (Event::Unsendable(error), Some(execution)) => self.unsendable(&error, execution),
            (_, execution) => State::Handshake(execution),
        }
    }

    pub(super) fn idle(&mut self, event: Event) -> State {
        match event {
            Event::Retire => self.retire(),
            Event::Restless(excess) => {
                self.act(Effect::Complain {
                    event: &table::ENGINE_CHILD_RESTLESS,
                    run: None,
                    what: format!("retired, for {excess} while it has nothing to do"),
                });
                self.retire()
            }
            Event::Said(ChildEvent::Preloaded, _) => {
                self.act(Effect::Report(ChildUpdate::Preloaded));
                State::Idle
            }
            Event::Closed(what) => {
                // A run would find a child that is about to be killed.
                self.act(Effect::Arm(Timer::Closed(what), DEAF));
                State::Retiring
            }
            Event::Said(ChildEvent::Run { run, .. } | ChildEvent::Exit { run, .. }, _)
            | Event::RunEnded { run, .. } => {
                let what = format!("it speaks of run {run} without one");
                self.violated(broke(&what), None, None)
            }
            Event::Said(ChildEvent::Ready { .. }, _) => {
                self.violated(broke("a second or unknown handshake"), None, None)
            }
            Event::Said(ChildEvent::ProtocolError { message }, _) => {
                self.violated(refuses(&message), None, None)
            }
            Event::Broke(what) => self.violated(broke(&what), None, None),
            _ => State::Idle,
        }
    }

    pub(super) fn busy(
        &mut self,
        event: Event,
        mut execution: Box<Execution>,
        now: Instant,
    ) -> State {
        let is_open = !execution.conversation.is_over();
        match event {
            Event::Said(ChildEvent::Run { run, event }, permit) => {
                if let Err(violation) = execution.conversation.hear(&run, &event) {
                    return self.violated(violation.to_string(), Some(execution), None);
                }
                if let RunProgress::WorkflowStart { warm, .. } = event {
                    let after = now.duration_since(execution.begun);
                    self.act(Effect::CountLoad { warm, after });
                    // No other child can have the run any more.
                    execution.forget_input();
                }
                self.act(Effect::Tell(event, permit));
                if execution.conversation.is_over() {
                    self.act(Effect::Arm(Timer::Overstay(run), OVERSTAY));
                }
            }
            Event::RunEnded { run, exit } => return self.run_ended(run, exit, execution),
            Event::Proceed(run) if *execution.run() == run => {
                self.act(Effect::Measure(run));
                self.go(&mut execution);
            }
            Event::Stop(run) if *execution.run() == run && is_open => {
                return self.stop(execution, Stop::Asked);
            }
            Event::Elapsed(Timer::TimeOver(run)) if *execution.run() == run && is_open => {
                return self.stop(execution, Stop::TimedOut);
            }
            Event::Elapsed(Timer::TimeNear(run)) if *execution.run() == run && is_open => {
                self.warn_of_time(&execution);
            }
            Event::Elapsed(Timer::Watch(run)) if *execution.run() == run && is_open => {
                self.act(Effect::Measure(run));
            }
            Event::Measured { run, resident } if *execution.run() == run && is_open => {
                return self.measured(run, resident, execution);
            }
            Event::FilesOver(run) if *execution.run() == run && is_open => {
                return self.files_over(run, execution);
            }
            Event::Elapsed(Timer::Overstay(run)) if *execution.run() == run => {
                let why = "it did not end with its run".to_owned();
                return self.kill(why, Some(execution), None);
            }
            Event::Closed(what) => self.act(Effect::Arm(Timer::Closed(what), DEAF)),
            Event::Unsendable(error) => return self.unsendable(&error, execution),
            event => {
                if let Some(what) = breach(event, &mut execution) {
                    return self.violated(what, Some(execution), None);
                }
            }
        }
        State::Busy(execution)
    }

    pub(super) fn retiring(&mut self, event: Event) -> State {
        match event {
            Event::Elapsed(Timer::Shutdown) => {
                self.kill("it did not shut down in time".to_owned(), None, None)
            }
            Event::Elapsed(Timer::Closed(what)) | Event::Broke(what) => {
                self.violated(broke(&what), None, None)
            }
            Event::Said(ChildEvent::ProtocolError { message }, _) => {
                self.violated(refuses(&message), None, None)
            }
            Event::Unsendable(error) => self.kill(error.to_string(), None, None),
            _ => State::Retiring,
        }
    }

    pub(super) fn dying(
        &mut self,
        event: Event,
        why: String,
        mut last: Option<(Box<Execution>, Option<Stop>)>,
    ) -> State {
        if let Event::Said(ChildEvent::Run { run, event }, permit) = event
            && let Some((execution, _)) = &mut last
            && execution.conversation.hear(&run, &event).is_ok()
        {
            self.tell_unless_end(event, permit);
        }
        State::Dying { why, last }
    }

    pub(super) fn exited(&mut self, state: State, exit: &ProcessExit) -> State {
        let (execution, stop, why) = match state {
            State::Handshake(execution) => (execution, None, None),
            State::Busy(execution) => (Some(execution), None, None),
            State::Dying { why, last } => match last {
                Some((execution, stop)) => (Some(execution), stop, Some(why)),
                None => (None, None, Some(why)),
            },
            State::Spawning | State::Idle | State::Retiring => (None, None, None),
            State::Gone => return State::Gone,
        };
        if let Some(execution) = execution {
            if stop.is_none() {
                let run = execution.run().clone();
                let what = format!("died during run {run}: {}", exit.how());
                self.act(Effect::Complain {
                    event: &table::ENGINE_CHILD_DIED,
                    run: Some(run),
                    what,
                });
            }
            if stop.is_none() && execution.conversation.is_untouched() {
                // It may have been dead before the run came: another child can have it.
                self.act(Effect::Dismiss);
                let request = Box::new(execution.request);
                self.act(Effect::Report(ChildUpdate::Declined(request)));
            } else {
                self.end(execution.failure(stop, exit.failure()));
            }
        }
        let mut why = why.unwrap_or_else(|| format!("it ended with {}", exit.how()));
        if let Some(line) = exit.stderr.lines().find(|line| !line.trim().is_empty()) {
            why = format!("{why}; its stderr begins: {line}");
        }
        self.act(Effect::Report(ChildUpdate::Dead { why }));
        State::Gone
    }
}

fn is_new_enough(node: &str) -> bool {
    node.split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok())
        .is_some_and(|major| major >= OLDEST_NODE)
}
