//! The run's channel: lost, joined again, silent.

use std::time::Duration;

use protocol::lightning::RunPush;
use protocol::reasons::ExitReason;

use super::bench::{Bench, INVALID};
use crate::lightning::{Blame, ChannelEvent};
use crate::run::machine::{End, Event, Timer};
use crate::run::messages::RunPhase;

const SECOND: Duration = Duration::from_secs(1);

fn socket_down(run: &mut Bench) {
    run.on(Event::Channel(ChannelEvent::SocketDown(Blame::Nobody)));
}

/// Lets the timer of the next join go off; how long it was.
fn join_when_due(run: &mut Bench) -> Duration {
    let timers = run.timers();
    let join = timers
        .into_iter()
        .rev()
        .find(|(timer, _)| matches!(timer, Timer::Join(_)));
    let (timer, after) = join.expect("a join is waited for");
    run.on(Event::Fired(timer));
    after
}

#[test]
fn credentials_are_read_again_before_anything_is_sent_again() {
    let mut run = Bench::joined();
    run.plan_with_credential();
    run.accept("fetch:credential");
    run.prepared();
    run.loaded();
    socket_down(&mut run);
    run.deeds();
    run.socket_up();
    run.accept("phx_join");
    assert_eq!(run.deeds(), ["join", "fetch:credential", "run:log"]);
    // That it is not read again ends nothing.
    run.refuse("fetch:credential", INVALID);
    assert!(
        run.log()
            .iter()
            .any(|line| line.contains("did not read credential")),
        "{:?}",
        run.log()
    );
    run.accept("run:log");
    assert_eq!(run.phase(), RunPhase::Starting);
}

#[test]
fn a_credential_that_the_run_waits_for_is_asked_for_once_after_a_rejoin() {
    let mut run = Bench::joined();
    run.plan_with_credential();
    socket_down(&mut run);
    run.deeds();
    run.socket_up();
    run.accept("phx_join");
    assert_eq!(run.deeds(), ["join", "fetch:credential"]);
}

#[test]
fn a_webhook_response_that_may_be_forgotten_is_told_to_operators() {
    for (response, told) in [(None, false), (Some(true.into()), true)] {
        let mut run = Bench::executing();
        run.step_with(response);
        socket_down(&mut run);
        run.socket_up();
        run.accept("phx_join");
        let forgotten = run.log().iter().any(|line| line.contains("webhook"));
        assert_eq!(forgotten, told);
    }
}

#[test]
fn joins_that_are_refused_are_repeated_ever_later() {
    let mut run = Bench::new();
    run.socket_up();
    let mut waits = Vec::new();
    run.refuse("phx_join", r#"{"reason":"join crashed"}"#);
    for _ in 0..3 {
        run.refuse("phx_join", r#"{"reason":"join crashed"}"#);
        waits.push(join_when_due(&mut run).as_millis());
    }
    // Three quarters of 250, 500 and 1000 ms: chance is a half here.
    assert_eq!(waits, [187, 375, 750]);
}

#[test]
fn an_outdated_timer_joins_nothing() {
    let mut run = Bench::new();
    run.on(Event::Channel(ChannelEvent::SocketUp { spread: SECOND }));
    let (timer, after) = run
        .timers()
        .into_iter()
        .find(|(timer, _)| matches!(timer, Timer::Join(_)))
        .unwrap();
    assert_eq!(after, SECOND / 2);
    socket_down(&mut run);
    run.deeds();
    run.on(Event::Fired(timer));
    assert!(run.deeds().is_empty());
}

#[test]
fn a_join_that_is_not_answered_is_sent_again() {
    let mut run = Bench::new();
    run.socket_up();
    run.deeds();
    run.wait(9 * SECOND);
    assert!(run.deeds().is_empty());
    run.wait(SECOND);
    assert_eq!(run.deeds(), ["join", "fetch:plan"]);
}

#[test]
fn a_report_that_is_not_answered_is_first_told_of_and_later_the_channel_joined_anew() {
    let mut run = Bench::starting();
    run.wait(30 * SECOND);
    assert!(run.log().iter().any(|line| line.ends_with("; waiting")));
    run.deeds();
    run.wait(14 * SECOND);
    assert!(run.deeds().is_empty());
    run.wait(SECOND);
    assert_eq!(run.deeds(), ["join"]);
}

#[test]
fn lightning_may_cancel_a_run() {
    let mut run = Bench::executing();
    run.on(Event::Channel(ChannelEvent::Pushed(RunPush::Cancel)));
    run.ended();
    run.accept_all();
    assert_eq!(run.end(), Some(End::Reported(ExitReason::Cancel)));
}

#[test]
fn what_was_sent_on_a_connection_that_died_is_sent_on_its_successor() {
    let mut run = Bench::starting();
    run.deeds();
    run.on(Event::ConnectionReplaced);
    run.socket_up();
    run.accept("phx_join");
    assert_eq!(run.deeds(), ["subscribe", "join", "run:log"]);
}
