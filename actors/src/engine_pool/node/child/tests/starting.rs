//! A child until it is idle for the first time.

use super::*;
use crate::engine_pool::node::error::LaunchError;

#[test]
pub(super) fn a_child_that_cannot_be_started_is_dead() {
    Walk::through([])
        .expect(Event::Execute(request()), S::Spawning, &["report declined"])
        .expect(
            Event::SpawnFailed(LaunchError::NoSockets),
            S::Gone,
            &["report dead"],
        )
        .expect(Event::Execute(request()), S::Gone, &["report declined"]);
}

#[test]
pub(super) fn a_child_is_idle_once_it_has_answered() {
    Walk::through([])
        .expect(
            Event::Spawned {
                pid: 7,
                patience: LIMIT,
            },
            S::Handshake,
            &["in 10000 ms"],
        )
        .expect(
            preload(),
            S::Handshake,
            &[r#"send Preload(Preload { adaptors: ["/a"], later: 0 })"#],
        )
        .expect(ready("20.1.0"), S::Idle, &["count", "report ready"])
        .expect(elapsed(Timer::Handshake(LIMIT)), S::Idle, &[])
        .expect(
            preload(),
            S::Idle,
            &[r#"send Preload(Preload { adaptors: ["/a"], later: 0 })"#],
        )
        .expect(preloaded(), S::Idle, &["report preloaded"]);
}

#[test]
pub(super) fn a_child_that_does_not_answer_in_time_is_killed_and_another_gets_its_run() {
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
pub(super) fn a_child_that_is_too_old_or_speaks_another_protocol_is_killed() {
    Walk::handshake().expect(ready("18.20.4"), S::Dying, &["kill"]);
    let other = ChildEvent::Ready {
        protocol: 2,
        node: "20.1.0".to_owned(),
        runtime: "1".to_owned(),
    };
    Walk::handshake().expect(Event::Said(other, None), S::Dying, VIOLATED);
}

#[test]
pub(super) fn a_child_that_speaks_before_it_is_ready_is_killed() {
    for event in [
        preloaded(),
        log(),
        ended(ExitCause::Done),
        broke(),
        refuses(),
    ] {
        Walk::handshake().expect(event, S::Dying, VIOLATED);
    }
}

#[test]
pub(super) fn a_run_may_come_and_begin_before_the_child_has_answered() {
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
pub(super) fn a_run_that_is_stopped_before_the_child_has_answered_ends_with_the_child() {
    Walk::waited_for()
        .expect(Event::Stop(run()), S::Dying, &["close budget", "kill"])
        .expect(
            exited(9),
            S::Gone,
            &["tell ended", "dismiss", "report dead"],
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
            &["tell TimeoutError", "tell ended", "dismiss", "report dead"],
        );
}

#[test]
pub(super) fn a_child_that_dies_before_it_has_answered_gives_its_run_back() {
    Walk::handshake().expect(exited(3 << 8), S::Gone, &["report dead"]);
    Walk::waited_for()
        .expect(closed(), S::Handshake, &["in 1000 ms"])
        .expect(
            exited(3 << 8),
            S::Gone,
            &["complain", "dismiss", "report declined", "report dead"],
        );
    Walk::handshake()
        .expect(closed(), S::Retiring, &["in 1000 ms"])
        .expect(Event::Execute(request()), S::Retiring, &["report declined"])
        .expect(closed_late(), S::Dying, VIOLATED);
    Walk::waited_for()
        .after(closed())
        .expect(closed_late(), S::Dying, VIOLATED_IN_RUN);
}

#[test]
pub(super) fn a_child_that_is_not_needed_before_it_has_answered_is_asked_to_end() {
    Walk::handshake().expect(Event::Retire, S::Retiring, &["send Shutdown", "in 1000 ms"]);
    // One that has a run ends with it.
    Walk::waited_for().expect(Event::Retire, S::Handshake, &[]);
    Walk::busy().expect(Event::Retire, S::Busy, &[]);
}
