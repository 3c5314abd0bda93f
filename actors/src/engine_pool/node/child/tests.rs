//! Every transition of the machine: no process, no actor at work, no time that passes.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;

use bytes::Bytes;
use protocol::engine::{ExitCause, ThreadExit};
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

fn warmed() -> Event {
    Event::Said(ChildEvent::Warmed, None)
}

fn refuses() -> Event {
    let message = "what?".to_owned();
    Event::Said(ChildEvent::ProtocolError { message }, None)
}

fn thread_ended(cause: ExitCause) -> Event {
    Event::ThreadEnded {
        run: run(),
        exit: ThreadExit {
            cause,
            code: Some(3),
            message: None,
            tainted: false,
        },
        files: Files::None,
    }
}

fn thread_of_another_run_ended() -> Event {
    Event::ThreadEnded {
        run: RunId::new("other"),
        exit: ThreadExit {
            cause: ExitCause::Done,
            code: None,
            message: None,
            tainted: false,
        },
        files: Files::None,
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
    Event::Unsendable("it is no JSON".to_owned())
}

fn warm() -> Event {
    Event::Warm(vec!["/a".to_owned()])
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
            ChildUpdate::Warmed => "report warmed",
            ChildUpdate::Idle { reusable: true, .. } => "report idle",
            ChildUpdate::Idle { .. } => "report used up",
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

    fn stopping() -> Self {
        Self::busy().after(Event::Stop(run()))
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
const VIOLATED_WHEN_STOPPED: &[&str] = &["complain", "tell ended", "dismiss", "kill"];

#[test]
fn a_child_that_cannot_be_started_is_dead() {
    Walk::through([])
        .expect(Event::Execute(request()), S::Spawning, &["report declined"])
        .expect(
            Event::SpawnFailed("no node".to_owned()),
            S::Gone,
            &["report dead"],
        )
        .expect(Event::Execute(request()), S::Gone, &["report declined"]);
}

#[test]
fn a_child_is_idle_once_it_has_answered() {
    Walk::through([])
        .expect(
            Event::Spawned {
                pid: 7,
                patience: LIMIT,
            },
            S::Handshake,
            &["in 10000 ms"],
        )
        .expect(warm(), S::Handshake, &[r#"send Warm(["/a"])"#])
        .expect(ready("20.1.0"), S::Idle, &["count", "report ready"])
        .expect(elapsed(Timer::Handshake(LIMIT)), S::Idle, &[])
        .expect(warm(), S::Idle, &[r#"send Warm(["/a"])"#])
        .expect(warmed(), S::Idle, &["report warmed"]);
}

#[test]
fn a_child_that_does_not_answer_in_time_is_killed_and_another_gets_its_run() {
    Walk::waited_for()
        .expect(elapsed(Timer::Handshake(LIMIT)), S::Dying, &["kill"])
        .expect(Event::Execute(request()), S::Dying, &["report declined"])
        .expect(
            exited(9),
            S::Gone,
            &["complain", "dismiss", "report declined", "report dead"],
        );
}

#[test]
fn a_child_that_is_too_old_or_speaks_another_protocol_is_killed() {
    Walk::handshake().expect(ready("18.20.4"), S::Dying, &["kill"]);
    let other = ChildEvent::Ready {
        protocol: 2,
        node: "20.1.0".to_owned(),
        runtime: "1".to_owned(),
    };
    Walk::handshake().expect(Event::Said(other, None), S::Dying, VIOLATED);
}

#[test]
fn a_child_that_speaks_before_it_is_ready_is_killed() {
    for event in [
        warmed(),
        log(),
        thread_ended(ExitCause::Done),
        broke(),
        refuses(),
    ] {
        Walk::handshake().expect(event, S::Dying, VIOLATED);
    }
}

#[test]
fn a_run_may_come_and_begin_before_the_child_has_answered() {
    Walk::handshake()
        .expect(
            Event::Execute(request()),
            S::Handshake,
            &["admit", "send Execute"],
        )
        .expect(
            Event::Proceed(run()),
            S::Handshake,
            &["send Go(RunId(r))", "in 9000 ms", "in 10000 ms"],
        )
        .expect(elapsed(Timer::TimeNear(run())), S::Handshake, &["warn"])
        .expect(
            ready("20.1.0"),
            S::Busy,
            &["count", "report ready", "measure"],
        );
    Walk::waited_for().expect(ready("20.1.0"), S::Busy, &["count", "report ready"]);
}

#[test]
fn a_run_that_is_stopped_before_the_child_has_answered_ends_with_the_child() {
    Walk::waited_for()
        .expect(Event::Stop(run()), S::Dying, &["close budget", "kill"])
        .expect(
            exited(9),
            S::Gone,
            &["complain", "tell ended", "dismiss", "report dead"],
        );
    Walk::waited_for()
        .after(Event::Proceed(run()))
        .expect(
            elapsed(Timer::TimeOver(run())),
            S::Dying,
            &["close budget", "kill"],
        )
        .expect(
            exited(9),
            S::Gone,
            &[
                "complain",
                "tell TimeoutError",
                "tell ended",
                "dismiss",
                "report dead",
            ],
        );
}

#[test]
fn a_child_that_dies_before_it_has_answered_gives_its_run_back() {
    Walk::handshake().expect(exited(3 << 8), S::Gone, &["report dead"]);
    Walk::waited_for()
        .expect(closed(), S::Handshake, &["in 1000 ms"])
        .expect(
            exited(3 << 8),
            S::Gone,
            &["complain", "dismiss", "report declined", "report dead"],
        );
    Walk::handshake()
        .after(closed())
        .expect(closed_late(), S::Dying, VIOLATED);
}

#[test]
fn a_child_that_is_not_needed_before_it_has_answered_is_asked_to_end() {
    Walk::handshake().expect(Event::Retire, S::Retiring, &["send Shutdown", "in 1000 ms"]);
    Walk::handshake().after(closed()).expect(
        ready("20.1.0"),
        S::Retiring,
        &["count", "report ready", "send Shutdown", "in 1000 ms"],
    );
    Walk::waited_for()
        .after(Event::Retire)
        .after(ready("20.1.0"))
        .after(loaded())
        .expect(
            thread_ended(ExitCause::Cancelled),
            S::Retiring,
            &[
                "tell ExitError",
                "tell ended",
                "dismiss",
                "report idle",
                "send Shutdown",
                "in 1000 ms",
            ],
        );
}

#[test]
fn a_run_that_cannot_be_written_as_a_command_fails_and_costs_no_child() {
    const FAILED: &[&str] = &[
        "tell ExecutionError",
        "tell ended",
        "dismiss",
        "report idle",
    ];
    Walk::waited_for().expect(unsendable(), S::Handshake, FAILED);
    Walk::loading().expect(unsendable(), S::Idle, FAILED);
    Walk::loading().after(Event::Retire).expect(
        unsendable(),
        S::Retiring,
        &[FAILED, &["send Shutdown", "in 1000 ms"]].concat(),
    );
}

#[test]
fn a_child_that_cannot_be_spoken_to_in_a_run_is_killed() {
    Walk::waited_for()
        .after(Event::Proceed(run()))
        .expect(unsendable(), S::Dying, &["kill"]);
    Walk::busy().expect(unsendable(), S::Dying, &["kill"]);
    Walk::stopping().expect(unsendable(), S::Dying, &["kill"]);
    Walk::retiring().expect(unsendable(), S::Dying, &["kill"]);
}

#[test]
fn a_run_is_executed_and_the_child_is_idle_again() {
    Walk::idle()
        .expect(
            Event::Execute(request()),
            S::Busy,
            &["admit", "send Execute"],
        )
        .expect(loaded(), S::Busy, &["count", "tell"])
        .expect(
            Event::Proceed(run()),
            S::Busy,
            &["measure", "send Go(RunId(r))", "in 9000 ms", "in 10000 ms"],
        )
        .expect(measured(100), S::Busy, &["in 100 ms"])
        .expect(warm(), S::Busy, &[r#"send Warm(["/a"])"#])
        .expect(log(), S::Busy, &["tell"])
        .expect(
            over(),
            S::Busy,
            &["tell", &format!("in {} ms", OVERSTAY.as_millis())],
        )
        .expect(elapsed(Timer::TimeOver(run())), S::Busy, &[])
        .expect(
            thread_ended(ExitCause::Done),
            S::Idle,
            &["tell ended", "dismiss", "report idle"],
        )
        .expect(elapsed(Timer::Overstay(run())), S::Idle, &[]);
}

#[test]
fn a_run_whose_thread_ends_too_early_has_failed() {
    for (cause, failure) in [
        (ExitCause::Oom, "tell OOMError"),
        (ExitCause::Error, "tell ExecutionError"),
        (ExitCause::Exit, "tell ExitError"),
    ] {
        Walk::busy().expect(
            thread_ended(cause),
            S::Idle,
            &[failure, "tell ended", "dismiss", "report idle"],
        );
    }
}

#[test]
fn a_child_in_which_a_run_left_files_is_used_up() {
    let mut left = thread_ended(ExitCause::Done);
    if let Event::ThreadEnded { files, .. } = &mut left {
        *files = Files::Some;
    }
    Walk::busy()
        .after(over())
        .expect(left, S::Idle, &["tell ended", "dismiss", "report used up"]);
}

#[test]
fn a_child_takes_one_run_at_a_time() {
    let declined = &["report declined"];
    Walk::busy().expect(Event::Execute(request()), S::Busy, declined);
    Walk::stopping().expect(Event::Execute(request()), S::Stopping, declined);
    Walk::retiring().expect(Event::Execute(request()), S::Retiring, declined);
}

#[test]
fn a_run_that_is_stopped_ends_without_a_result() {
    Walk::busy()
        .expect(
            Event::Stop(run()),
            S::Stopping,
            &["close budget", "send Cancel(RunId(r))", "in 800 ms"],
        )
        .expect(log(), S::Stopping, &["tell"])
        .expect(warm(), S::Stopping, &[r#"send Warm(["/a"])"#])
        .expect(over(), S::Stopping, &[])
        .expect(
            thread_ended(ExitCause::Cancelled),
            S::Idle,
            &["tell ended", "dismiss", "report idle"],
        )
        .expect(elapsed(Timer::Unstopped(run())), S::Idle, &[]);
}

#[test]
fn a_run_over_its_time_is_warned_and_then_stopped() {
    Walk::busy()
        .expect(elapsed(Timer::TimeNear(run())), S::Busy, &["warn"])
        .expect(
            elapsed(Timer::TimeOver(run())),
            S::Stopping,
            &["close budget", "send Cancel(RunId(r))", "in 800 ms"],
        )
        .after(Event::Retire)
        .expect(
            thread_ended(ExitCause::Cancelled),
            S::Retiring,
            &[
                "tell TimeoutError",
                "tell ended",
                "dismiss",
                "report idle",
                "send Shutdown",
                "in 1000 ms",
            ],
        );
}

#[test]
fn a_child_whose_thread_does_not_stop_is_killed() {
    Walk::stopping()
        .expect(elapsed(Timer::Unstopped(run())), S::Dying, &["kill"])
        .expect(log(), S::Dying, &["tell"])
        .expect(over(), S::Dying, &[])
        .expect(
            exited(9),
            S::Gone,
            &["complain", "tell ended", "dismiss", "report dead"],
        );
    Walk::busy()
        .after(over())
        .expect(elapsed(Timer::Overstay(run())), S::Dying, &["kill"])
        .expect(
            exited(9),
            S::Gone,
            &["complain", "tell ended", "dismiss", "report dead"],
        );
}

#[test]
fn a_run_is_warned_of_its_memory_once_and_the_child_is_killed_over_it() {
    Walk::busy()
        .expect(elapsed(Timer::Watch(run())), S::Busy, &["measure"])
        .expect(measured(195), S::Busy, &["warn", "in 100 ms"])
        .expect(measured(195), S::Busy, &["in 100 ms"])
        .expect(measured(400), S::Dying, &["complain", "kill"])
        .expect(
            exited(9),
            S::Gone,
            &[
                "complain",
                "tell OOMError",
                "tell ended",
                "dismiss",
                "report dead",
            ],
        );
}

#[test]
fn a_process_that_hides_its_size_is_killed_and_one_that_was_only_ending_is_not() {
    let hidden = || Event::Measured {
        run: run(),
        resident: memory::UNBOUNDED,
    };
    let walk = || Walk::busy().expect(elapsed(Timer::Watch(run())), S::Busy, &["measure"]);
    walk()
        .expect(measured(100), S::Busy, &["in 100 ms"])
        .expect(hidden(), S::Busy, &["in 100 ms"])
        .expect(hidden(), S::Dying, &["complain", "kill"]);
    walk()
        .expect(measured(100), S::Busy, &["in 100 ms"])
        .expect(hidden(), S::Busy, &["in 100 ms"])
        .expect(measured(100), S::Busy, &["in 100 ms"]);
}

#[test]
fn a_child_that_breaks_the_protocol_in_a_run_is_killed_and_its_run_ends_at_once() {
    for event in [
        unknown_job(),
        thread_of_another_run_ended(),
        ready("20.1.0"),
        refuses(),
        broke(),
    ] {
        Walk::busy().expect(event, S::Dying, VIOLATED_IN_RUN);
    }
    for event in [
        unknown_job(),
        thread_of_another_run_ended(),
        ready("20.1.0"),
        refuses(),
        broke(),
    ] {
        Walk::stopping().expect(event, S::Dying, VIOLATED_WHEN_STOPPED);
    }
    for event in [
        log(),
        thread_ended(ExitCause::Done),
        ready("20.1.0"),
        refuses(),
        broke(),
    ] {
        Walk::idle().expect(event, S::Dying, VIOLATED);
    }
    Walk::idle()
        .after(broke())
        .expect(exited(9), S::Gone, &["report dead"]);
}

#[test]
fn a_child_may_say_that_it_is_warm_until_it_has_read_of_its_run() {
    for (mut walk, violated) in [
        (Walk::busy(), VIOLATED_IN_RUN),
        (Walk::stopping(), VIOLATED_WHEN_STOPPED),
    ] {
        for _ in 0..MOST_CROSSINGS {
            assert!(walk.on(warmed()).is_empty());
        }
        walk.expect(warmed(), S::Dying, violated);
    }
}

#[test]
fn a_child_that_closes_a_descriptor_has_to_end_and_gets_no_further_run() {
    Walk::idle()
        .expect(closed(), S::Retiring, &["in 1000 ms"])
        .expect(closed_late(), S::Dying, VIOLATED);
    Walk::busy()
        .expect(closed(), S::Busy, &["in 1000 ms"])
        .expect(closed_late(), S::Dying, VIOLATED_IN_RUN);
    Walk::stopping()
        .expect(closed(), S::Stopping, &["in 1000 ms"])
        .expect(closed_late(), S::Dying, VIOLATED_WHEN_STOPPED);
}

#[test]
fn a_child_that_dies_in_a_run_ends_it_as_what_killed_it() {
    Walk::busy().expect(
        exited(7 << 8),
        S::Gone,
        &[
            "complain",
            "tell ExitError",
            "tell ended",
            "dismiss",
            "report dead",
        ],
    );
    Walk::stopping().expect(
        exited(7 << 8),
        S::Gone,
        &["complain", "tell ended", "dismiss", "report dead"],
    );
    Walk::loading().expect(
        exited(9),
        S::Gone,
        &["complain", "dismiss", "report declined", "report dead"],
    );
}

#[test]
fn a_child_that_is_not_needed_is_asked_to_end_and_then_killed() {
    Walk::idle()
        .expect(Event::Retire, S::Retiring, &["send Shutdown", "in 1000 ms"])
        .expect(closed(), S::Retiring, &[])
        .expect(exited(0), S::Gone, &["report dead"]);
    Walk::retiring()
        .expect(elapsed(Timer::Shutdown), S::Dying, &["kill"])
        .expect(exited(9), S::Gone, &["report dead"]);
    Walk::retiring().expect(broke(), S::Dying, VIOLATED);
    Walk::idle().expect(exited(0), S::Gone, &["report dead"]);
}

const SCENARIOS: &[fn()] = &[
    a_child_that_cannot_be_started_is_dead,
    a_child_is_idle_once_it_has_answered,
    a_child_that_does_not_answer_in_time_is_killed_and_another_gets_its_run,
    a_child_that_is_too_old_or_speaks_another_protocol_is_killed,
    a_child_that_speaks_before_it_is_ready_is_killed,
    a_run_may_come_and_begin_before_the_child_has_answered,
    a_run_that_is_stopped_before_the_child_has_answered_ends_with_the_child,
    a_child_that_dies_before_it_has_answered_gives_its_run_back,
    a_child_that_is_not_needed_before_it_has_answered_is_asked_to_end,
    a_run_that_cannot_be_written_as_a_command_fails_and_costs_no_child,
    a_child_that_cannot_be_spoken_to_in_a_run_is_killed,
    a_run_is_executed_and_the_child_is_idle_again,
    a_run_whose_thread_ends_too_early_has_failed,
    a_child_in_which_a_run_left_files_is_used_up,
    a_child_takes_one_run_at_a_time,
    a_run_that_is_stopped_ends_without_a_result,
    a_run_over_its_time_is_warned_and_then_stopped,
    a_child_whose_thread_does_not_stop_is_killed,
    a_run_is_warned_of_its_memory_once_and_the_child_is_killed_over_it,
    a_child_that_breaks_the_protocol_in_a_run_is_killed_and_its_run_ends_at_once,
    a_child_may_say_that_it_is_warm_until_it_has_read_of_its_run,
    a_child_that_closes_a_descriptor_has_to_end_and_gets_no_further_run,
    a_child_that_dies_in_a_run_ends_it_as_what_killed_it,
    a_child_that_is_not_needed_is_asked_to_end_and_then_killed,
];

#[test]
fn every_transition_of_the_table_is_taken_by_a_scenario() {
    let untaken = untaken::<Machine>(SCENARIOS);
    assert!(untaken.is_empty(), "{untaken:#?}");
}
