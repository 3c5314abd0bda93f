//! What runs and the supervisor ask for.

use std::time::Duration;

use actix::prelude::*;
use protocol::ids::Topic;
use protocol::lightning::PushPayload;

use super::connection::{LightningConnection, State};
use super::messages::{
    ChannelEvent, ConnectionStatus, Disconnect, GetConnectionStatus, Join, Leave, Push, Subscribe,
};

/// How long the last frames may take to be written at the end.
const FAREWELL: Duration = Duration::from_secs(2);

impl Handler<Subscribe> for LightningConnection {
    type Result = ();

    fn handle(&mut self, message: Subscribe, _: &mut Self::Context) {
        if matches!(self.state, State::Connected(_)) {
            message.subscriber.do_send(ChannelEvent::SocketUp {
                spread: Duration::ZERO,
            });
        }
        self.channels
            .subscribe_run(message.topic, message.subscriber);
    }
}

impl Handler<Join> for LightningConnection {
    type Result = ();

    fn handle(&mut self, message: Join, _: &mut Self::Context) {
        if matches!(self.state, State::Connected(_))
            && let Some(join_ref) = self.channels.joining_run(&message.topic, message.ticket)
        {
            self.send_text(
                Some(join_ref),
                join_ref,
                &message.topic,
                "phx_join",
                &message.payload,
            );
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
