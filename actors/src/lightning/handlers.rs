//! What runs and the supervisor ask for.

use std::time::Duration;

use actix::prelude::*;
use protocol::ids::Topic;
use protocol::lightning::PushPayload;

use super::channels::JOIN;
use super::connection::{LightningConnection, State};
use super::messages::{
    ChannelEvent, ConnectionStatus, Disconnect, GetConnectionStatus, Join, JoinTurn, Leave, Push,
    Ticket,
};
use crate::tell::Tell as _;

/// How long the last frames may take to be written at the end.
const FAREWELL: Duration = Duration::from_secs(2);

impl Handler<Join> for LightningConnection {
    type Result = ();

    fn handle(&mut self, message: Join, ctx: &mut Self::Context) {
        let (topic, turn) = (message.topic.clone(), message.turn);
        self.channels.wait_to_join(message);
        if matches!(self.state, State::Connected(_)) {
            self.join_in_turn(topic, turn, ctx);
        }
    }
}

impl LightningConnection {
    /// Joins a topic whose join waits when its turn comes.
    pub(super) fn join_in_turn(&mut self, topic: Topic, turn: JoinTurn, ctx: &mut Context<Self>) {
        let Some((ticket, spread)) = self.channels.turn(&topic, turn) else {
            return;
        };
        if spread.is_zero() {
            self.join_run(&topic, ticket);
            return;
        }
        let delay = spread.mul_f64(rand::random::<f64>());
        ctx.run_later(delay, move |this, _| this.join_run(&topic, ticket));
    }

    /// Sends the join with this ticket, if it still waits.
    fn join_run(&mut self, topic: &Topic, ticket: Ticket) {
        if !matches!(self.state, State::Connected(_)) {
            return;
        }
        let Some((join_ref, payload)) = self.channels.joining_run(topic, ticket) else {
            return;
        };
        self.send_text(Some(join_ref), join_ref, topic, JOIN, &payload);
        if let Some(run) = self.channels.run(topic) {
            run.tell(ChannelEvent::JoinSent { ticket });
        }
    }
}

impl Handler<Push> for LightningConnection {
    type Result = ();

    fn handle(&mut self, message: Push, _: &mut Self::Context) {
        let bytes = message.payload.bytes();
        if let Some((join_ref, reference)) =
            self.channels
                .pushing_run(&message.topic, message.ticket, message.event, bytes)
        {
            let topic = &message.topic;
            match message.payload {
                PushPayload::Whole(json) => {
                    self.send_text(Some(join_ref), reference, topic, message.event, &json);
                }
                PushPayload::Long(long) => {
                    self.send_long(join_ref, reference, topic, message.event, long);
                }
            }
        }
    }
}

impl Handler<Leave> for LightningConnection {
    type Result = ();

    fn handle(&mut self, message: Leave, _: &mut Self::Context) {
        if let Some(join_ref) = self.channels.leave_run(&message.topic) {
            let reference = self.channels.next_ref();
            self.send_text(
                Some(join_ref),
                reference,
                &message.topic,
                "phx_leave",
                b"{}",
            );
        }
    }
}

impl Handler<Disconnect> for LightningConnection {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Disconnect, _: &mut Self::Context) -> Self::Result {
        if let Some(join_ref) = self.channels.queue_join_ref() {
            let reference = self.channels.next_ref();
            self.send_text(
                Some(join_ref),
                reference,
                &Topic::queue(),
                "phx_leave",
                b"{}",
            );
        }
        self.channels.reset();
        if matches!(self.state, State::Connected(_)) {
            self.microphone.closed();
        }
        let last = std::mem::replace(&mut self.state, State::Closed);
        self.enter(State::Closed);
        Box::pin(async move {
            if let State::Connected(connected) = last {
                connected.socket.close(FAREWELL).await;
            }
        })
    }
}

impl Handler<GetConnectionStatus> for LightningConnection {
    type Result = MessageResult<GetConnectionStatus>;

    fn handle(&mut self, _: GetConnectionStatus, _: &mut Self::Context) -> Self::Result {
        MessageResult(ConnectionStatus {
            state: self.state.shown(),
            queue_joined: self.is_queue_joined(),
            since: self.since,
            connects: self.connects,
            last_error: self.last_error.clone(),
        })
    }
}

#[cfg(test)]
impl Handler<crate::events::Panic> for LightningConnection {
    type Result = ();

    fn handle(&mut self, _: crate::events::Panic, _: &mut Self::Context) {
        panic!("the connection was asked to panic by a test");
    }
}
