//! Every transition of the machine: no process, no actor at work, no time that passes.

mod ending;
mod running;
mod starting;

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;

use bytes::Bytes;
use protocol::engine::{EncodeError, ExitCause, RunExit};
use protocol::ids::{JobId, WorkloopId};
use protocol::lightning::Timestamp;
use protocol::plan::{ConvertOptions, LightningPlan, convert};
use tokio::sync::Semaphore;

use super::machine::{MOST_CROSSINGS, OVERSTAY};
use super::table::StateKind;
use super::*;
use crate::transitions::coverage::untaken;

/// Stands for a run: nothing reaches it here.
struct Nobody;

impl Actor for Nobody {
    type Context = Context<Self>;
}

impl Handler<EngineEvent> for Nobody {
    type Result = ();

    fn handle(&mut self, _: EngineEvent, _: &mut Self::Context) {}
}

thread_local! {
    static NOBODY: Recipient<EngineEvent> =
        actix_rt::System::new().block_on(async { Nobody.start().recipient() });
}

const TIME: Timestamp = Timestamp::from_micros(1_767_225_600_123_456);
const LIMIT: Duration = Duration::from_secs(10);
const MIB: u64 = 1 << 20;

fn run() -> RunId {
    RunId::new("r")
}

fn request() -> Box<Execute> {
    let plan = LightningPlan::from_json(r#"{"id":"r","jobs":[{"id":"a","body":"x"}]}"#).unwrap();
    let converted = convert(plan, &ConvertOptions::default(), &mut String::new).unwrap();
    Box::new(Execute {
        run_id: run(),
        workloop: WorkloopId::new("w"),
        project_id: None,
        plan: Arc::new(converted.plan),
        input: Bytes::from_static(b"{}"),
        options: ExecuteOptions {
            timeout: Some(LIMIT),
            memory_limit_mb: 100.0,
            state_limit_mb: 100.0,
            payload_limit_mb: 10.0,
            log_payload_limit_mb: 1.0,
            job_log_level: "debug".to_owned(),
            sanitize: "none".to_owned(),
            output_dataclips: true,
        },
        events: NOBODY.with(Clone::clone),
        budget: Arc::new(Semaphore::new(1)),
    })
}

fn ready(node: &str) -> Event {
    Event::Said(
        ChildEvent::Ready {
            protocol: 1,
            node: node.to_owned(),
            runtime: "1.9.5".to_owned(),
        },
        None,
    )
}

fn said(event: RunProgress) -> Event {
    Event::Said(ChildEvent::Run { run: run(), event }, None)
}

fn loaded() -> Event {
    said(RunProgress::WorkflowStart {
        thread_id: 1,
        warm: true,
    })
}

fn log() -> Event {
    said(RunProgress::Log {
        level: None,
        name: "JOB".to_owned(),
        time: TIME,
        message: Bytes::from_static(b"[]"),
    })
}

fn unknown_job() -> Event {
    said(RunProgress::JobStart {
        job: JobId::new("z"),
        time: TIME,
    })
}

fn over() -> Event {
    said(RunProgress::WorkflowComplete {
        time: TIME,
        shape: protocol::engine::Shape::None,
        state: None,
    })
}

fn preloaded() -> Event {
    Event::Said(ChildEvent::Preloaded, None)
}

fn refuses() -> Event {
    let message = "what?".to_owned();
    Event::Said(ChildEvent::ProtocolError { message }, None)
}

fn ended(cause: ExitCause) -> Event {
    ended_of(run(), cause)
}

fn ended_of(run: RunId, cause: ExitCause) -> Event {
    Event::RunEnded {
        run,
        exit: RunExit {
            cause,
            code: Some(3),
            later: 2,
        },
    }
}

fn exited(status: i32) -> Event {
    Event::Exited(ProcessExit {
        status: Some(ExitStatus::from_raw(status)),
        ..ProcessExit::default()
    })
}

fn measured(mib: u64) -> Event {
    Event::Measured {
        run: run(),
        resident: mib * MIB,
    }
}

fn elapsed(timer: Timer) -> Event {
    Event::Elapsed(timer)
}

fn closed() -> Event {
    Event::Closed("it closed its descriptor".to_owned())
}

fn closed_late() -> Event {
    elapsed(Timer::Closed("it closed its descriptor".to_owned()))
}

fn broke() -> Event {
    Event::Broke("it is no frame".to_owned())
}

fn unsendable() -> Event {
    Event::Unsendable(EncodeError::TooLarge(1 << 32))
}

fn preload() -> Event {
    Event::Preload(Preload {
        adaptors: vec!["/a".to_owned()],
        later: 0,
    })
}

/// An effect in a few words.
fn word(effect: &Effect) -> String {
    match effect {
        Effect::Send(order) => format!("send {order:?}"),
        Effect::Admit => "admit".to_owned(),
        Effect::Dismiss => "dismiss".to_owned(),
        Effect::CloseBudget => "close budget".to_owned(),
        Effect::Tell(RunProgress::WorkflowError { error }, _) => {
            format!("tell {}", error.error_type.as_deref().unwrap_or_default())
        }
        Effect::Tell(RunProgress::Ended, _) => "tell ended".to_owned(),
        Effect::Tell(..) => "tell".to_owned(),
        Effect::Warn(_) => "warn".to_owned(),
        Effect::Report(update) => match update {
            ChildUpdate::Ready { .. } => "report ready",
            ChildUpdate::Preloaded => "report preloaded",
            ChildUpdate::Ended { .. } => "report ended",
            ChildUpdate::Declined(_) => "report declined",
            ChildUpdate::Dead { .. } => "report dead",
        }
        .to_owned(),
        Effect::Measure(_) => "measure".to_owned(),
        Effect::Arm(_, wait) => format!("in {} ms", wait.as_millis()),
        Effect::Kill(_) => "kill".to_owned(),
        Effect::Complain { .. } => "complain".to_owned(),
        Effect::CountSpawn(_) | Effect::CountLoad { .. } => "count".to_owned(),
    }
}

struct Walk(Machine);

impl Walk {
    /// After these events, whatever they did.
    fn through(events: impl IntoIterator<Item = Event>) -> Self {
        let mut walk = Self(Machine::new(Instant::now()));
        for event in events {
            walk.on(event);
        }
        walk
    }

    fn handshake() -> Self {
        Self::through([Event::Spawned {
            pid: 7,
            patience: LIMIT,
        }])
    }

    fn waited_for() -> Self {
        Self::handshake().after(Event::Execute(request()))
    }

    fn idle() -> Self {
        Self::handshake().after(ready("20.1.0"))
    }

    fn loading() -> Self {
        Self::idle().after(Event::Execute(request()))
    }

    fn busy() -> Self {
        Self::loading()
            .after(loaded())
            .after(Event::Proceed(run()))
            .after(measured(100))
    }

    fn retiring() -> Self {
        Self::idle().after(Event::Retire)
    }

    fn after(mut self, event: Event) -> Self {
        self.on(event);
        self
    }

    fn on(&mut self, event: Event) -> Vec<String> {
        let effects = self.0.on(event, Instant::now());
        effects.iter().map(word).collect()
    }

    #[track_caller]
    fn expect(mut self, event: Event, to: StateKind, words: &[&str]) -> Self {
        let got = self.on(event);
        assert_eq!(got, words);
        assert_eq!(self.0.kind(), to);
        self
    }
}

use StateKind as S;

const VIOLATED: &[&str] = &["complain", "kill"];
const VIOLATED_IN_RUN: &[&str] = &[
    "complain",
    "tell EngineProtocolError",
    "tell ended",
    "dismiss",
    "kill",
];

const SCENARIOS: &[fn()] = &[
    starting::a_child_that_cannot_be_started_is_dead,
    starting::a_child_is_idle_once_it_has_answered,
    starting::a_child_that_does_not_answer_in_time_is_killed_and_another_gets_its_run,
    starting::a_child_that_is_too_old_or_speaks_another_protocol_is_killed,
    starting::a_child_that_speaks_before_it_is_ready_is_killed,
    starting::a_run_may_come_and_begin_before_the_child_has_answered,
    starting::a_run_that_is_stopped_before_the_child_has_answered_ends_with_the_child,
    starting::a_child_that_dies_before_it_has_answered_gives_its_run_back,
    starting::a_child_that_is_not_needed_before_it_has_answered_is_asked_to_end,
    running::a_run_that_cannot_be_written_as_a_command_fails_with_its_child,
    running::a_child_that_cannot_be_spoken_to_in_a_run_is_killed,
    running::a_run_is_executed_and_the_child_ends_with_it,
    running::a_run_whose_code_ends_the_process_has_failed,
    running::a_child_takes_one_run,
    running::a_run_that_is_stopped_ends_with_its_child_and_without_a_result,
    running::a_run_over_its_time_is_warned_and_then_ends_with_its_child,
    running::a_child_that_does_not_end_with_its_run_is_killed,
    running::a_run_is_warned_of_its_memory_once_and_the_child_is_killed_over_it,
    running::a_process_that_hides_its_size_is_killed_and_one_that_was_only_ending_is_not,
    ending::a_child_whose_run_has_too_many_files_is_killed,
    ending::a_child_that_takes_too_much_while_it_has_nothing_to_do_is_asked_to_end,
    ending::a_child_that_breaks_the_protocol_in_a_run_is_killed_and_its_run_ends_at_once,
    ending::a_child_may_say_that_it_has_preloaded_until_it_has_read_of_its_run,
    ending::a_child_that_closes_a_descriptor_has_to_end_and_gets_no_run,
    ending::a_child_that_dies_in_a_run_ends_it_as_what_killed_it,
    ending::a_child_that_is_not_needed_is_asked_to_end_and_then_killed,
];

#[test]
fn every_transition_of_the_table_is_taken_by_a_scenario() {
    let untaken = untaken::<Machine>(SCENARIOS);
    assert!(untaken.is_empty(), "{untaken:#?}");
}
