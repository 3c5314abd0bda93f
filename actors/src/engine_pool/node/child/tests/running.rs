//! A child and its run: what it is told, how it ends, and what it may use.

use super::*;

#[test]
pub(super) fn a_run_that_cannot_be_written_as_a_command_fails_with_its_child() {
    const FAILED: &[&str] = &[
        "tell ExecutionError",
        "tell ended",
        "dismiss",
        "report ended",
        "kill",
    ];
    Walk::waited_for().expect(unsendable(), S::Dying, FAILED);
    Walk::loading().expect(unsendable(), S::Dying, FAILED);
}

#[test]
pub(super) fn a_child_that_cannot_be_spoken_to_in_a_run_is_killed() {
    Walk::waited_for()
        .after(Event::Proceed(run()))
        .expect(unsendable(), S::Dying, &["kill"]);
    Walk::busy().expect(unsendable(), S::Dying, &["kill"]);
    Walk::retiring().expect(unsendable(), S::Dying, &["kill"]);
}

#[test]
pub(super) fn a_run_is_executed_and_the_child_ends_with_it() {
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
        .expect(preload(), S::Busy, &[])
        .expect(log(), S::Busy, &["tell"])
        .expect(
            over(),
            S::Busy,
            &["tell", &format!("in {} ms", OVERSTAY.as_millis())],
        )
        .expect(elapsed(Timer::TimeOver(run())), S::Busy, &[])
        .expect(
            ended(ExitCause::Done),
            S::Dying,
            &["tell ended", "dismiss", "report ended", "kill"],
        )
        .expect(elapsed(Timer::Overstay(run())), S::Dying, &[])
        .expect(exited(9), S::Gone, &["report dead"]);
}

#[test]
pub(super) fn a_run_whose_code_ends_the_process_has_failed() {
    Walk::busy().expect(
        ended(ExitCause::Exit),
        S::Dying,
        &[
            "tell ExitError",
            "tell ended",
            "dismiss",
            "report ended",
            "kill",
        ],
    );
}

#[test]
pub(super) fn a_child_takes_one_run() {
    let declined = &["report declined"];
    Walk::busy().expect(Event::Execute(request()), S::Busy, declined);
    Walk::retiring().expect(Event::Execute(request()), S::Retiring, declined);
    Walk::busy()
        .after(over())
        .after(ended(ExitCause::Done))
        .expect(Event::Execute(request()), S::Dying, declined);
}

#[test]
pub(super) fn a_run_that_is_stopped_ends_with_its_child_and_without_a_result() {
    Walk::busy()
        .expect(Event::Stop(run()), S::Dying, &["close budget", "kill"])
        .expect(log(), S::Dying, &["tell"])
        .expect(over(), S::Dying, &[])
        .expect(ended(ExitCause::Done), S::Dying, &[])
        .expect(
            exited(9),
            S::Gone,
            &["tell ended", "dismiss", "report dead"],
        );
}

#[test]
pub(super) fn a_run_over_its_time_is_warned_and_then_ends_with_its_child() {
    Walk::busy()
        .expect(elapsed(Timer::TimeNear(run())), S::Busy, &["warn"])
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
pub(super) fn a_child_that_does_not_end_with_its_run_is_killed() {
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
pub(super) fn a_run_is_warned_of_its_memory_once_and_the_child_is_killed_over_it() {
    Walk::busy()
        .expect(elapsed(Timer::Watch(run())), S::Busy, &["measure"])
        .expect(measured(195), S::Busy, &["warn", "in 100 ms"])
        .expect(measured(195), S::Busy, &["in 100 ms"])
        .expect(measured(400), S::Dying, &["complain", "kill"])
        .expect(
            exited(9),
            S::Gone,
            &["tell OOMError", "tell ended", "dismiss", "report dead"],
        );
}

#[test]
pub(super) fn a_process_that_hides_its_size_is_killed_and_one_that_was_only_ending_is_not() {
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
