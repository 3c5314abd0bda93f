//! `LightningConnection`: the one socket to Lightning and every channel on it.
//!
//! *Owns* the socket, its refs and join refs, the join of `worker:queue`, the heartbeat. Runs own what they have to say:
//! the connection delivers pushes and answers, it repeats nothing.
//!
//! ```text
//! Connecting ──open──▶ Connected ──lost──▶ Waiting ──▶ Connecting
//!     └──failed──▶ Waiting                 any state ──Disconnect──▶ Closed
//! ```
//!
//! *Accepts* [`Subscribe`], [`Join`], [`Push`], [`Leave`] of runs, [`SubscribeQueue`], [`Claim`] of workloops,
//! [`Disconnect`], [`GetConnectionStatus`]. *Emits* [`ChannelEvent`] to the owner of a topic, [`QueueEvent`] to the
//! workloops. *Started and stopped* by the supervisor. *If it dies* the socket closes with it; the supervisor starts a new
//! one and tells runs and workloops, who subscribe again and resend what was not answered.

mod channels;
mod messages;
mod socket;

use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::Bytes;
use protocol::backoff::ReconnectBackoff;
use protocol::ids::{MessageRef, Topic};
use protocol::lightning::{ClaimReply, QueueJoin};
use protocol::phoenix::{Frame, Payload, ReplyStatus, ServerMessage, encode_push};
use protocol::token::worker_token;

use self::channels::{Channels, Waiting};
pub use self::messages::{
    ChannelEvent, Claim, ClaimError, ConnectionStatus, Disconnect, GetConnectionStatus, Join,
    Leave, Push, QueueEvent, Subscribe, SubscribeQueue, Ticket,
};
use self::socket::{Generation, Outgoing, Socket, SocketEvent, SocketEventKind};
use crate::clock;
use crate::config::{Identity, LightningConfig};
use crate::metrics::Metrics;

/// As the reference's client; the server closes a connection that was silent for 60 s (protocol spec, section 1.4).
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);

/// Waits before the queue is joined again after a refusal, the last one repeated (protocol spec, section 1.5).
const QUEUE_REJOIN_DELAYS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

enum State {
    Connecting,
    Connected(Connected),
    Waiting,
    Closed,
}

struct Connected {
    socket: Socket,
    /// When something last arrived: any frame counts as life, for the npm mock answers no heartbeat.
    heard: Instant,
    queue: QueueState,
}

enum QueueState {
    Joining,
    Joined,
    Refused,
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected(_) => "connected",
            Self::Waiting => "waiting",
            Self::Closed => "closed",
        }
    }
}

/// See the module's documentation.
pub struct LightningConnection {
    config: LightningConfig,
    identity: Identity,
    queue_join: QueueJoin,
    client: awc::Client,
    state: State,
    since: Instant,
    generation: Generation,
    backoff: ReconnectBackoff,
    queue_refusals: usize,
    channels: Channels,
    connects: u64,
    last_error: Option<String>,
    metrics: Metrics,
    /// The moving average of the round trips; `None` before the first.
    smoothed: Option<Duration>,
}

impl LightningConnection {
    /// A connection that opens its first socket when it is started.
    ///
    /// # Errors
    /// A text that names what cannot be used, when TLS cannot be set up.
    pub fn new(
        config: LightningConfig,
        identity: Identity,
        queue_join: QueueJoin,
        metrics: Metrics,
    ) -> Result<Self, String> {
        Ok(Self {
            metrics,
            smoothed: None,
            client: socket::client(config.extra_ca_file.as_deref())?,
            config,
            identity,
            queue_join,
            state: State::Connecting,
            since: Instant::now(),
            generation: Generation::default(),
            backoff: ReconnectBackoff::default(),
            queue_refusals: 0,
            channels: Channels::default(),
            connects: 0,
            last_error: None,
        })
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.since = Instant::now();
    }

    fn connect(&mut self, ctx: &mut Context<Self>) {
        self.generation = self.generation.next();
        let generation = self.generation;
        self.enter(State::Connecting);
        let token = match worker_token(
            self.config.secret.expose(),
            &self.identity.id,
            clock::now_seconds(),
        ) {
            Ok(token) => token,
            Err(error) => {
                self.failed(
                    generation,
                    format!("the worker token cannot be signed: {error}"),
                    ctx,
                );
                return;
            }
        };
        let url = socket::url(&self.config.endpoint, &token, &self.identity.version);
        let events = ctx.address().recipient();
        let opening = socket::open(self.client.clone(), url, generation, events).into_actor(self);
        ctx.spawn(opening.map(move |opened, this, ctx| {
            if generation != this.generation || matches!(this.state, State::Closed) {
                return;
            }
            match opened {
                Ok(socket) => this.opened(socket, ctx),
                Err(error) => this.failed(generation, error.to_string(), ctx),
            }
        }));
    }

    fn opened(&mut self, socket: Socket, ctx: &mut Context<Self>) {
        self.connects += 1;
        self.metrics.connected();
        if self.connects == 1 {
            log::info!("connected to Lightning at {}", self.config.endpoint);
        } else {
            log::info!("reconnected to Lightning at {}", self.config.endpoint);
        }
        let generation = socket.generation;
        self.enter(State::Connected(Connected {
            socket,
            heard: Instant::now(),
            queue: QueueState::Joining,
        }));
        self.join_queue();
        for run in self.channels.runs() {
            run.do_send(ChannelEvent::SocketUp);
        }
        self.schedule_heartbeat(generation, ctx);
    }

    fn failed(&mut self, generation: Generation, why: String, ctx: &mut Context<Self>) {
        if generation != self.generation {
            return;
        }
        let wait = self.backoff.next(rand::random::<f64>());
        log::error!(
            "not connected to Lightning at {}: {why}; trying again in {} ms",
            self.config.endpoint,
            wait.as_millis()
        );
        self.last_error = Some(why);
        self.wait(wait, ctx);
    }

    fn wait(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        self.enter(State::Waiting);
        let generation = self.generation;
        ctx.run_later(wait, move |this, ctx| {
            if generation == this.generation && matches!(this.state, State::Waiting) {
                this.connect(ctx);
            }
        });
    }

    fn lost(&mut self, why: String, ctx: &mut Context<Self>) {
        let wait = self.backoff.next(rand::random::<f64>());
        log::warn!(
            "the connection to Lightning was lost: {why}; reconnecting in {} ms",
            wait.as_millis()
        );
        self.metrics.connection_lost();
        self.last_error = Some(why);
        // Entering another state drops the socket, whose tasks end.
        self.wait(wait, ctx);
        self.queue_lost();
        self.channels.reset();
        for run in self.channels.runs() {
            run.do_send(ChannelEvent::SocketDown);
        }
    }

    fn queue_lost(&mut self) {
        for (workloop, ticket) in self.channels.queue_ended() {
            if let Some(subscriber) = self.channels.workloop(&workloop) {
                subscriber.do_send(QueueEvent::ClaimAnswered {
                    ticket,
                    outcome: Err(ClaimError::ConnectionLost),
                });
            }
        }
        for workloop in self.channels.workloops() {
            workloop.do_send(QueueEvent::Lost);
        }
    }

    fn send_text(
        &self,
        join_ref: Option<MessageRef>,
        reference: MessageRef,
        topic: &Topic,
        event: &str,
        payload: &[u8],
    ) {
        if let State::Connected(connected) = &self.state {
            log::trace!("-> {topic} {event} ({} bytes)", payload.len());
            connected.socket.send(Outgoing::Text(encode_push(
                join_ref, reference, topic, event, payload,
            )));
        }
    }

    fn join_queue(&mut self) {
        let State::Connected(connected) = &mut self.state else {
            return;
        };
        connected.queue = QueueState::Joining;
        let payload = match serde_json::to_vec(&self.queue_join) {
            Ok(payload) => payload,
            Err(error) => {
                log::error!(
                    "the join of {} cannot be written as JSON: {error}",
                    Topic::queue()
                );
                return;
            }
        };
        let join_ref = self.channels.joining_queue();
        self.send_text(
            Some(join_ref),
            join_ref,
            &Topic::queue(),
            "phx_join",
            &payload,
        );
    }

    fn rejoin_queue_later(&mut self, ctx: &mut Context<Self>) {
        let State::Connected(connected) = &mut self.state else {
            return;
        };
        connected.queue = QueueState::Refused;
        let delay = QUEUE_REJOIN_DELAYS[self.queue_refusals.min(QUEUE_REJOIN_DELAYS.len() - 1)];
        self.queue_refusals += 1;
        let generation = self.generation;
        ctx.run_later(delay, move |this, _| {
            let refused = matches!(
                &this.state,
                State::Connected(Connected {
                    queue: QueueState::Refused,
                    ..
                })
            );
            if generation == this.generation && refused {
                this.join_queue();
            }
        });
    }

    /// A heartbeat and a ping each interval; a peer that was silent for a whole interval after one is gone.
    fn schedule_heartbeat(&self, generation: Generation, ctx: &mut Context<Self>) {
        let asked = Instant::now();
        ctx.run_later(HEARTBEAT_INTERVAL, move |this, ctx| {
            let State::Connected(connected) = &this.state else {
                return;
            };
            if generation != connected.socket.generation {
                return;
            }
            if connected.heard < asked {
                let seconds = HEARTBEAT_INTERVAL.as_secs();
                this.lost(
                    format!("Lightning sent nothing for {seconds} s after a heartbeat"),
                    ctx,
                );
                return;
            }
            connected.socket.send(Outgoing::Ping);
            let reference = this.channels.next_ref();
            this.send_text(None, reference, &Topic::phoenix(), "heartbeat", b"{}");
            this.schedule_heartbeat(generation, ctx);
        });
    }

    fn received(&mut self, message: ServerMessage, ctx: &mut Context<Self>) {
        match message {
            ServerMessage::Reply {
                topic,
                join_ref,
                reference,
                status,
                response,
            } => {
                match self.channels.answered(&reference, join_ref.as_deref()) {
                    // Heartbeats, leaves, and refs that were answered already.
                    None => log::trace!("ignored a reply on {topic} to ref {reference}"),
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
                payload,
            } => {
                if topic == Topic::queue() {
                    if event == "work-available"
                        && self.channels.is_current_queue(join_ref.as_deref())
                    {
                        for workloop in self.channels.workloops() {
                            workloop.do_send(QueueEvent::WorkAvailable);
                        }
                    }
                } else if self.channels.is_current_run(&topic, join_ref.as_deref())
                    && let Some(run) = self.channels.run(&topic)
                {
                    run.do_send(ChannelEvent::Pushed { event, payload });
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
            } => {
                self.round_trip(event, sent.elapsed());
                if let Some(run) = self.channels.run(&topic) {
                    run.do_send(ChannelEvent::Reply {
                        ticket,
                        status,
                        response,
                    });
                }
            }
            Waiting::Claim { workloop, ticket } => {
                let outcome = claim_outcome(&status, &response);
                if let Some(subscriber) = self.channels.workloop(&workloop) {
                    subscriber.do_send(QueueEvent::ClaimAnswered { ticket, outcome });
                }
            }
            Waiting::QueueJoin => self.queue_answered(&status, &response, ctx),
        }
    }

    /// Takes in how long Lightning took to answer an event of a run.
    fn round_trip(&mut self, event: &str, took: Duration) {
        self.metrics.answered(event, took);
        // Seven parts old and one part new, as TCP smooths its own: one slow answer does not decide.
        self.smoothed = Some(match self.smoothed {
            Some(smoothed) => (smoothed * 7 + took) / 8,
            None => took,
        });
        self.metrics
            .smoothed_round_trip(self.smoothed.unwrap_or_default());
    }

    fn queue_answered(
        &mut self,
        status: &ReplyStatus,
        response: &Payload,
        ctx: &mut Context<Self>,
    ) {
        if *status == ReplyStatus::Ok {
            if let State::Connected(connected) = &mut self.state {
                connected.queue = QueueState::Joined;
            }
            // Only now: a server that accepts sockets and refuses the queue must not be asked every second.
            self.backoff.reset();
            self.queue_refusals = 0;
            log::debug!("joined {}", Topic::queue());
            for workloop in self.channels.workloops() {
                workloop.do_send(QueueEvent::Joined);
            }
        } else {
            let why = protocol::phoenix::error_detail("phx_join", response);
            log::error!("Lightning refused the join of {}: {why}", Topic::queue());
            self.last_error = Some(why);
            self.queue_lost();
            self.rejoin_queue_later(ctx);
        }
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
                log::warn!("the channel {topic} {how}; joining it again");
                self.queue_lost();
                self.rejoin_queue_later(ctx);
            }
        } else if let Some(run) = self.channels.run_ended(topic, join_ref) {
            run.do_send(if crashed {
                ChannelEvent::Crashed
            } else {
                ChannelEvent::Closed
            });
        }
    }
}

fn claim_outcome(
    status: &ReplyStatus,
    response: &Payload,
) -> Result<Vec<protocol::lightning::ClaimedRun>, ClaimError> {
    if *status != ReplyStatus::Ok {
        return Err(ClaimError::Refused(protocol::phoenix::error_detail(
            "claim", response,
        )));
    }
    ClaimReply::from_payload(response)
        .map(|reply| reply.runs)
        .map_err(|error| ClaimError::Malformed(error.to_string()))
}

impl Actor for LightningConnection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Bursts of reports of all runs pass through here; the runs' windows bound them, not this mailbox.
        ctx.set_mailbox_capacity(1024);
        self.connect(ctx);
    }
}

impl Handler<SocketEvent> for LightningConnection {
    type Result = ();

    fn handle(&mut self, event: SocketEvent, ctx: &mut Self::Context) {
        let State::Connected(connected) = &mut self.state else {
            return;
        };
        if event.generation != connected.socket.generation {
            return;
        }
        connected.heard = Instant::now();
        let frame = match event.kind {
            SocketEventKind::Life => return,
            SocketEventKind::Ended(why) => {
                self.lost(why, ctx);
                return;
            }
            SocketEventKind::Text(text) => Frame::decode_text_bytes(&text),
            SocketEventKind::Binary(bytes) => Frame::decode_binary_from_server(&bytes),
        };
        match frame.map(ServerMessage::from) {
            Ok(message) => self.received(message, ctx),
            // One frame that cannot be read says nothing about the others: the answer it may have been is missed by
            // whoever waits for it, and asked for again.
            Err(error) => log::warn!("Lightning sent a frame that cannot be read: {error}"),
        }
    }
}

impl Handler<Subscribe> for LightningConnection {
    type Result = ();

    fn handle(&mut self, message: Subscribe, _: &mut Self::Context) {
        if matches!(self.state, State::Connected(_)) {
            message.subscriber.do_send(ChannelEvent::SocketUp);
        }
        self.channels
            .subscribe_run(message.topic, message.subscriber);
    }
}

impl Handler<SubscribeQueue> for LightningConnection {
    type Result = ();

    fn handle(&mut self, message: SubscribeQueue, _: &mut Self::Context) {
        if matches!(
            &self.state,
            State::Connected(Connected {
                queue: QueueState::Joined,
                ..
            })
        ) {
            message.subscriber.do_send(QueueEvent::Joined);
        }
        self.channels
            .subscribe_workloop(message.workloop, message.subscriber);
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
        if let Some((join_ref, reference)) =
            self.channels
                .pushing_run(&message.topic, message.ticket, message.event)
        {
            self.send_text(
                Some(join_ref),
                reference,
                &message.topic,
                message.event,
                &message.payload,
            );
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

impl Handler<Claim> for LightningConnection {
    type Result = ();

    fn handle(&mut self, message: Claim, _: &mut Self::Context) {
        let Claim {
            workloop,
            ticket,
            request,
        } = message;
        let joined = matches!(
            &self.state,
            State::Connected(Connected {
                queue: QueueState::Joined,
                ..
            })
        );
        let payload = serde_json::to_vec(&request).map(Bytes::from);
        let refused = match payload {
            Err(error) => Some(ClaimError::Refused(format!(
                "the claim cannot be written as JSON: {error}"
            ))),
            Ok(payload) if joined => match self.channels.claiming(workloop.clone(), ticket) {
                Some((join_ref, reference)) => {
                    self.send_text(
                        Some(join_ref),
                        reference,
                        &Topic::queue(),
                        "claim",
                        &payload,
                    );
                    None
                }
                None => Some(ClaimError::NotConnected),
            },
            Ok(_) => Some(ClaimError::NotConnected),
        };
        if let Some(error) = refused
            && let Some(subscriber) = self.channels.workloop(&workloop)
        {
            subscriber.do_send(QueueEvent::ClaimAnswered {
                ticket,
                outcome: Err(error),
            });
        }
    }
}

impl Handler<Disconnect> for LightningConnection {
    type Result = ();

    fn handle(&mut self, _: Disconnect, _: &mut Self::Context) {
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
        if let State::Connected(connected) = &self.state {
            connected.socket.send(Outgoing::Close);
        }
        self.channels.reset();
        // Dropping the socket lets the writer end after it has written what was queued.
        self.enter(State::Closed);
    }
}

impl Handler<GetConnectionStatus> for LightningConnection {
    type Result = MessageResult<GetConnectionStatus>;

    fn handle(&mut self, _: GetConnectionStatus, _: &mut Self::Context) -> Self::Result {
        let queue_joined = matches!(
            &self.state,
            State::Connected(Connected {
                queue: QueueState::Joined,
                ..
            })
        );
        MessageResult(ConnectionStatus {
            state: self.state.name(),
            queue_joined,
            since: self.since,
            connects: self.connects,
            last_error: self.last_error.clone(),
        })
    }
}
