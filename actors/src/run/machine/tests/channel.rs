//! The run's channel: lost, joined again, silent.

use std::time::Duration;

use protocol::lightning::RunPush;
use protocol::reasons::ExitReason;

use super::bench::{Bench, INVALID};
use crate::events::End;
use crate::lightning::{Blame, ChannelEvent, JoinTurn, Ticket};
use crate::run::machine::{Event, Timer};
use crate::run::messages::RunPhase;

const SECOND: Duration = Duration::from_secs(1);

fn socket_down(run: &mut Bench) {
    run.on(Event::Channel(ChannelEvent::SocketDown(Blame::Nobody)));
}

/// The timer of the next join, and how long it was set.
fn join_timer(run: &Bench) -> (Timer, Duration) {
    let timers = run.timers();
    let join = timers
        .into_iter()
        .rev()
        .find(|(timer, _)| matches!(timer, Timer::Join(_)));
    join.expect("a join is waited for")
}

/// Lets the timer of the next join go off; how long it was.
fn join_when_due(run: &mut Bench) -> Duration {
    let (timer, after) = join_timer(run);
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
    assert_eq!(run.deeds().last(), Some(&"join"));
    run.join_sent();
    run.accept("phx_join");
    assert_eq!(run.deeds(), ["fetch:credential", "run:log"]);
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
    assert_eq!(run.deeds().last(), Some(&"join"));
    run.join_sent();
    run.accept("phx_join");
    assert_eq!(run.deeds(), ["fetch:credential"]);
}

#[test]
fn a_webhook_response_that_may_be_forgotten_is_told_to_operators() {
    for (response, told) in [(None, false), (Some(true.into()), true)] {
        let mut run = Bench::executing();
        run.step_with(response);
        socket_down(&mut run);
        run.join_sent();
        run.accept("phx_join");
        let forgotten = run.log().iter().any(|line| line.contains("webhook"));
        assert_eq!(forgotten, told);
    }
}

#[test]
fn joins_that_are_refused_are_repeated_ever_later() {
    let mut run = Bench::new();
    run.join_sent();
    let mut waits = Vec::new();
    run.refuse("phx_join", r#"{"reason":"join crashed"}"#);
    assert_eq!(
        run.turn(),
        Some(JoinTurn::Among),
        "once it is repeated soon"
    );
    for _ in 0..3 {
        run.join_sent();
        run.refuse("phx_join", r#"{"reason":"join crashed"}"#);
        waits.push(join_when_due(&mut run).as_millis());
    }
    // Three quarters of 250, 500 and 1000 ms: chance is a half here.
    assert_eq!(waits, [187, 375, 750]);
}

#[test]
fn an_outdated_timer_and_an_outdated_join_change_nothing() {
    let mut run = Bench::new();
    run.join_sent();
    for _ in 0..2 {
        run.deeds();
        run.refuse("phx_join", r#"{"reason":"join crashed"}"#);
        if run.turn().is_some() {
            run.join_sent();
        }
    }
    let (timer, _) = join_timer(&run);
    socket_down(&mut run);
    assert_eq!(run.deeds(), ["join"]);
    run.on(Event::Fired(timer));
    let ticket = Ticket(0);
    run.on(Event::Channel(ChannelEvent::JoinSent { ticket }));
    assert!(run.deeds().is_empty());
}

/// How a run loses its channel.
type Lose = fn(&mut Bench);

/// However runs lose their channels, they do not all come back in one instant: a join goes out among the others', unless
/// it has a wait with jitter of its own.
#[test]
fn each_way_to_rejoin_is_spread() {
    let ways: [(&str, Lose); 6] = [
        ("the socket is lost", socket_down),
        ("the connection died", |run| {
            run.on(Event::ConnectionReplaced);
        }),
        ("the channel crashes", Bench::crash),
        ("the channel is closed", |run| {
            run.on(Event::Channel(ChannelEvent::Closed));
        }),
        ("a report is not answered", |run| run.wait(45 * SECOND)),
        ("the channel is not open", |run| {
            run.refuse("run:log", r#"{"reason":"unmatched topic"}"#);
        }),
    ];
    for (way, lose) in ways {
        let mut run = Bench::starting();
        assert_eq!(run.turn(), None);
        lose(&mut run);
        assert_eq!(run.turn(), Some(JoinTurn::Among), "{way}");
    }
    assert_eq!(
        Bench::new().turn(),
        Some(JoinTurn::First),
        "a new run is not"
    );
}

#[test]
fn a_run_over_whose_report_sockets_may_be_closed_lets_others_go_first() {
    let mut run = Bench::starting();
    for turn in [JoinTurn::Among, JoinTurn::Among, JoinTurn::Late] {
        run.on(Event::Channel(ChannelEvent::SocketDown(Blame::Frame)));
        assert_eq!(run.turn(), Some(turn));
        run.join_sent();
        run.accept("phx_join");
    }
}

#[test]
fn a_join_that_is_not_answered_is_sent_again() {
    let mut run = Bench::new();
    run.join_sent();
    run.deeds();
    run.wait(9 * SECOND);
    assert!(run.deeds().is_empty());
    run.wait(SECOND);
    assert_eq!(run.deeds(), ["join"]);
    run.join_sent();
    assert_eq!(run.deeds(), ["fetch:plan"]);
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
    run.join_sent();
    run.accept("phx_join");
    assert_eq!(run.deeds(), ["join", "run:log"]);
}
