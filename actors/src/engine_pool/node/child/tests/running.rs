//! A child and its run: what it is told, how it ends, and what it may use.

use super::*;

#[test]
pub(super) fn a_run_that_cannot_be_written_as_a_command_fails_and_costs_no_child() {
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
pub(super) fn a_child_that_cannot_be_spoken_to_in_a_run_is_killed() {
    Walk::waited_for()
        .after(Event::Proceed(run()))
        .expect(unsendable(), S::Dying, &["kill"]);
    Walk::busy().expect(unsendable(), S::Dying, &["kill"]);
    Walk::stopping().expect(unsendable(), S::Dying, &["kill"]);
    Walk::retiring().expect(unsendable(), S::Dying, &["kill"]);
}

#[test]
pub(super) fn a_run_is_executed_and_the_child_is_idle_again() {
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
        .expect(
            warm(),
            S::Busy,
            &[r#"send Warm(Warm { threads: 1, adaptors: ["/a"] })"#],
        )
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
pub(super) fn a_run_whose_thread_ends_too_early_has_failed() {
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
pub(super) fn a_child_in_which_a_run_left_files_is_used_up() {
    let mut left = thread_ended(ExitCause::Done);
    if let Event::ThreadEnded { files, .. } = &mut left {
        *files = Files::Some;
    }
    Walk::busy()
        .after(over())
        .expect(left, S::Idle, &["tell ended", "dismiss", "report used up"]);
}

#[test]
pub(super) fn a_child_takes_one_run_at_a_time() {
    let declined = &["report declined"];
    Walk::busy().expect(Event::Execute(request()), S::Busy, declined);
    Walk::stopping().expect(Event::Execute(request()), S::Stopping, declined);
    Walk::retiring().expect(Event::Execute(request()), S::Retiring, declined);
}

#[test]
pub(super) fn a_run_that_is_stopped_ends_without_a_result() {
    Walk::busy()
        .expect(
            Event::Stop(run()),
            S::Stopping,
            &["close budget", "send Cancel(RunId(r))", "in 800 ms"],
        )
        .expect(log(), S::Stopping, &["tell"])
        .expect(
            warm(),
            S::Stopping,
            &[r#"send Warm(Warm { threads: 1, adaptors: ["/a"] })"#],
        )
        .expect(over(), S::Stopping, &[])
        .expect(
            thread_ended(ExitCause::Cancelled),
            S::Idle,
            &["tell ended", "dismiss", "report idle"],
        )
        .expect(elapsed(Timer::Unstopped(run())), S::Idle, &[]);
}

#[test]
pub(super) fn a_run_over_its_time_is_warned_and_then_stopped() {
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
pub(super) fn a_child_whose_thread_does_not_stop_is_killed() {
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
pub(super) fn a_run_is_warned_of_its_memory_once_and_the_child_is_killed_over_it() {
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
