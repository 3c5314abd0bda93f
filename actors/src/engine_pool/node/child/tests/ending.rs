//! A child that breaks the protocol, dies, or is not needed.

use super::*;

#[test]
pub(super) fn a_child_that_breaks_the_protocol_in_a_run_is_killed_and_its_run_ends_at_once() {
    for event in [
        unknown_job(),
        ended_of(RunId::new("other"), ExitCause::Done),
        ready("20.1.0"),
        refuses(),
        broke(),
    ] {
        Walk::busy().expect(event, S::Dying, VIOLATED_IN_RUN);
    }
    for event in [
        log(),
        ended(ExitCause::Done),
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
pub(super) fn a_child_may_say_that_it_has_preloaded_until_it_has_read_of_its_run() {
    let mut walk = Walk::busy();
    for _ in 0..MOST_CROSSINGS {
        assert!(walk.on(preloaded()).is_empty());
    }
    walk.expect(preloaded(), S::Dying, VIOLATED_IN_RUN);
}

#[test]
pub(super) fn a_child_that_closes_a_descriptor_has_to_end_and_gets_no_run() {
    Walk::idle()
        .expect(closed(), S::Retiring, &["in 1000 ms"])
        .expect(closed_late(), S::Dying, VIOLATED);
    Walk::busy()
        .expect(closed(), S::Busy, &["in 1000 ms"])
        .expect(closed_late(), S::Dying, VIOLATED_IN_RUN);
}

#[test]
pub(super) fn a_child_that_dies_in_a_run_ends_it_as_what_killed_it() {
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
    Walk::loading().expect(
        exited(9),
        S::Gone,
        &["complain", "dismiss", "report declined", "report dead"],
    );
}

#[test]
pub(super) fn a_child_that_is_not_needed_is_asked_to_end_and_then_killed() {
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

#[test]
pub(super) fn a_child_whose_run_has_too_many_files_is_killed() {
    Walk::busy()
        .expect(Event::FilesOver(run()), S::Dying, &["complain", "kill"])
        .expect(
            exited(9),
            S::Gone,
            &["tell FilesError", "tell ended", "dismiss", "report dead"],
        );
}

#[test]
pub(super) fn a_child_that_takes_too_much_while_it_has_nothing_to_do_is_asked_to_end() {
    let restless = || Event::Restless("it has 40 threads".to_owned());
    Walk::idle().expect(
        restless(),
        S::Retiring,
        &["complain", "send Shutdown", "in 1000 ms"],
    );
    // A run has come meanwhile.
    Walk::busy().expect(restless(), S::Busy, &[]);
}
