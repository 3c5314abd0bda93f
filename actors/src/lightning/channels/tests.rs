//! The joins of runs, without a socket.

use actix::prelude::*;

use super::*;

struct Nobody;

impl Actor for Nobody {
    type Context = Context<Self>;
}

impl Handler<ChannelEvent> for Nobody {
    type Result = ();

    fn handle(&mut self, _: ChannelEvent, _: &mut Self::Context) {}
}

/// How runs lose their channels.
type Lose = fn(&mut Channels, &[Topic]);

/// Runs that were joined on a socket.
fn joined(count: u64) -> (Channels, Vec<Topic>) {
    let mut channels = Channels::default();
    let topics: Vec<_> = (0..count)
        .map(|number| Topic::run(&protocol::ids::RunId::new(number.to_string())))
        .collect();
    for topic in &topics {
        wait(&mut channels, topic, 1, JoinTurn::First);
        assert_eq!(
            channels.turn(topic, JoinTurn::First),
            Some((Ticket(1), Duration::ZERO))
        );
        assert!(channels.joining_run(topic, Ticket(1)).is_some());
    }
    (channels, topics)
}

fn wait(channels: &mut Channels, topic: &Topic, ticket: u64, turn: JoinTurn) {
    channels.wait_to_join(Join {
        topic: topic.clone(),
        ticket: Ticket(ticket),
        payload: Bytes::new(),
        turn,
        subscriber: Nobody.start().recipient(),
    });
}

/// The times over which they join again.
fn spreads(channels: &Channels, topics: &[Topic]) -> Vec<Duration> {
    let spread = |topic| channels.turn(topic, JoinTurn::Among).unwrap().1;
    topics.iter().map(spread).collect()
}

#[actix::test]
async fn runs_that_lose_their_socket_or_all_their_channels_at_once_spread_their_joins() {
    let socket = |channels: &mut Channels, _: &[Topic]| channels.reset();
    let crash = |channels: &mut Channels, topics: &[Topic]| {
        for topic in topics {
            assert!(channels.run_ended(topic, None).is_some());
        }
    };
    let lost: [Lose; 2] = [socket, crash];
    for lose in lost {
        let (mut channels, topics) = joined(99);
        lose(&mut channels, &topics);
        for topic in &topics {
            wait(&mut channels, topic, 2, JoinTurn::Among);
        }
        let expected = Duration::from_millis(490);
        assert_eq!(spreads(&channels, &topics), vec![expected; 99]);
    }
}

#[actix::test]
async fn runs_on_a_new_connection_wait_for_its_socket_and_spread_their_joins() {
    let mut channels = Channels::default();
    let (_, topics) = joined(3);
    for topic in &topics {
        wait(&mut channels, topic, 2, JoinTurn::Among);
    }
    assert_eq!(channels.waiting_to_join().len(), 3);
    assert_eq!(
        spreads(&channels, &topics),
        vec![Duration::from_millis(10); 3]
    );
}

#[actix::test]
async fn a_channel_that_is_lost_alone_is_joined_at_once_among_any_number_of_others() {
    let (mut channels, topics) = joined(99);
    channels.run_ended(&topics[0], None);
    wait(&mut channels, &topics[0], 2, JoinTurn::Among);
    assert_eq!(spreads(&channels, &topics[..1]), [Duration::ZERO]);
}

#[actix::test]
async fn a_channel_that_is_left_before_it_is_joined_anew_is_left_by_its_last_join() {
    let (mut channels, topics) = joined(1);
    let open = channels.runs[&topics[0]].join_ref();
    wait(&mut channels, &topics[0], 2, JoinTurn::Among);
    assert!(open.is_some());
    assert_eq!(channels.leave_run(&topics[0]), open);
}

#[actix::test]
async fn a_join_whose_place_another_has_taken_is_not_sent() {
    let (mut channels, topics) = joined(1);
    wait(&mut channels, &topics[0], 2, JoinTurn::Late);
    assert_eq!(
        channels.turn(&topics[0], JoinTurn::Late),
        Some((Ticket(2), LATE))
    );
    wait(&mut channels, &topics[0], 3, JoinTurn::Among);
    assert!(channels.joining_run(&topics[0], Ticket(2)).is_none());
    assert!(channels.joining_run(&topics[0], Ticket(3)).is_some());
    assert!(channels.joining_run(&topics[0], Ticket(3)).is_none());
}
