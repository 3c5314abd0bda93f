//! What arrives on the socket, and whom it concerns.

use std::time::Duration;

use actix::prelude::*;
use log_events::{event, table};
use protocol::ids::{RunId, Topic};
use protocol::lightning::{RefusalMeaning, RunPush};
use protocol::phoenix::{Frame, Payload, ReplyStatus, ServerMessage};
use tokio::time::Instant;

use super::channels::Waiting;
use super::connection::{LightningConnection, State};
use super::messages::{ChannelEvent, ClaimError, QueueEvent};
use super::queue::claim_outcome;
use super::socket::{SocketEvent, SocketEventKind};
use crate::tell::Tell as _;

impl Handler<SocketEvent> for LightningConnection {
    type Result = ();

    fn handle(&mut self, event: SocketEvent, ctx: &mut Self::Context) {
        let State::Connected(connected) = &mut self.state else {
            return;
        };
        if event.generation != connected.socket.generation {
            return;
        }
        connected.liveness.heard(Instant::now());
        self.microphone.received(&event.kind);
        let frame = match event.kind {
            SocketEventKind::Life => return,
            SocketEventKind::Ended(ended) => {
                self.lost(ended, ctx);
                return;
            }
            SocketEventKind::Text(text) => Frame::decode_text_bytes(&text),
            SocketEventKind::Binary(bytes) => Frame::decode_binary_from_server(&bytes),
        };
        match frame.map(ServerMessage::from) {
            Ok(message) => self.received(message, ctx),
            // One frame that cannot be read says nothing about the others: the answer it may have been is missed by
            // whoever waits for it, and asked for again.
            Err(error) => {
                event!(table::LIGHTNING_UNREADABLE, error:% = error; "Lightning sent a frame that cannot be read: {error}");
            }
        }
    }
}

impl LightningConnection {
    fn received(&mut self, message: ServerMessage, ctx: &mut Context<Self>) {
        match message {
            ServerMessage::Reply {
                topic,
                join_ref,
                reference,
                status,
                response,
            } => {
                if topic == Topic::phoenix()
                    && let State::Connected(connected) = &mut self.state
                {
                    connected.liveness.answered(&reference);
                }
                let waiting = self
                    .channels
                    .answered(&topic, &reference, join_ref.as_deref());
                match waiting {
                    // Heartbeats, leaves, and refs that were answered already.
                    None => {
                        log::trace!(run_id = topic.run_id().as_ref().map(RunId::as_str); "ignored a reply on {topic} to ref {reference}");
                    }
                    Some(waiting) => self.answered(waiting, status, response, ctx),
                }
            }
            ServerMessage::ChannelCrashed { topic, join_ref } => {
                self.channel_ended(&topic, join_ref.as_deref(), true, ctx);
            }
            ServerMessage::ChannelClosed { topic, join_ref } => {
                self.channel_ended(&topic, join_ref.as_deref(), false, ctx);
            }
            ServerMessage::Push {
                topic,
                join_ref,
                event,
                payload: _,
            } => {
                if topic == Topic::queue() {
                    if event == protocol::lightning::QueueEvent::WorkAvailable.name()
                        && self.channels.is_current_queue(join_ref.as_deref())
                    {
                        for workloop in self.channels.workloops() {
                            workloop.tell(QueueEvent::WorkAvailable);
                        }
                    }
                } else if self.channels.is_current_run(&topic, join_ref.as_deref())
                    && let Some(run) = self.channels.run(&topic)
                {
                    match RunPush::from_name(&event) {
                        Some(push) => run.tell(ChannelEvent::Pushed(push)),
                        None => {
                            log::debug!(run_id = topic.run_id().as_ref().map(RunId::as_str); "ignored the event {event} on {topic}");
                        }
                    }
                }
            }
        }
    }

    fn answered(
        &mut self,
        waiting: Waiting,
        status: ReplyStatus,
        response: Payload,
        ctx: &mut Context<Self>,
    ) {
        match waiting {
            Waiting::Run {
                topic,
                ticket,
                event,
                sent,
                ..
            } => {
                self.metrics.answered(event, sent.elapsed());
                self.smooth(sent.elapsed());
                if let Some(run) = self.channels.run(&topic) {
                    run.tell(ChannelEvent::Reply {
                        ticket,
                        status,
                        response,
                    });
                }
            }
            Waiting::Claim {
                workloop,
                claimant,
                sent,
            } => {
                let smoothed = self.smooth(sent.elapsed());
                let outcome = claim_outcome(&status, &response);
                let gone = matches!(&outcome, Err(ClaimError::Refused(refusal)) if refusal.meaning() == RefusalMeaning::ChannelGone);
                if let Some(subscriber) = self.channels.workloop(&workloop) {
                    subscriber.tell(QueueEvent::RoundTrip(smoothed));
                }
                self.claim_answered(workloop, claimant, outcome, ctx);
                if gone {
                    self.queue_ended("is not open on Lightning's side", ctx);
                }
            }
            Waiting::QueueJoin => self.queue_answered(&status, &response, ctx),
        }
    }

    /// Takes in how long Lightning took to answer; gives the moving average.
    fn smooth(&mut self, took: Duration) -> Duration {
        // Seven parts old and one part new, as TCP smooths its own: one slow answer does not decide.
        self.smoothed = (self.smoothed * 7 + took) / 8;
        self.metrics.smoothed_round_trip(self.smoothed);
        self.smoothed
    }

    fn channel_ended(
        &mut self,
        topic: &Topic,
        join_ref: Option<&str>,
        crashed: bool,
        ctx: &mut Context<Self>,
    ) {
        if *topic == Topic::queue() {
            if self.channels.is_current_queue(join_ref) {
                let how = if crashed {
                    "crashed"
                } else {
                    "was closed by Lightning"
                };
                self.queue_ended(how, ctx);
            }
        } else if let Some((run, unanswered)) = self.channels.run_ended(topic, join_ref) {
            run.tell(if crashed {
                ChannelEvent::Crashed { unanswered }
            } else {
                ChannelEvent::Closed
            });
        }
    }

    fn queue_ended(&mut self, how: &str, ctx: &mut Context<Self>) {
        event!(table::LIGHTNING_QUEUE_LOST, error = how; "the channel {} {how}; joining it again", Topic::queue());
        self.queue_lost();
        self.rejoin_queue_later(ctx);
    }
}
