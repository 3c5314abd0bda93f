//! The actor itself: its sockets one after the other, and the heartbeat.

use std::time::{Duration, Instant};

use actix::prelude::*;
use log_events::{event, millis, table};
use protocol::backoff::{Obstacle, ReconnectBackoff};
use protocol::ids::{MessageRef, RunId, Topic, WorkloopId};
use protocol::lightning::{ClaimedRun, LongPayload, QueueJoin};
use protocol::phoenix::{encode_push, encode_push_around};
use protocol::token::worker_token;

use super::channels::Channels;
use super::client::{TlsError, http_client, url};
use super::liveness::{AnswersHeartbeats, Due, Liveness, PING_INTERVAL};
use super::messages::{Blame, ChannelEvent, ConnectionState, JoinTurn};
use super::recorder::Microphone;
use super::socket::{self, Fault, Generation, Long, Outgoing, Socket, SocketEnd};
use crate::clock;
use crate::config::{Identity, LightningConfig};
use crate::metrics::Metrics;
use crate::tell::Tell as _;

pub(super) enum State {
    Connecting,
    Connected(Connected),
    Waiting,
    Closed,
}

pub(super) struct Connected {
    pub(super) socket: Socket,
    pub(super) liveness: Liveness,
    pub(super) queue: QueueState,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum QueueState {
    Joining,
    Joined,
    /// Refused or lost: it is joined again after a while.
    Waiting,
    /// This socket carries runs only.
    None,
}

impl State {
    pub(super) fn shown(&self) -> ConnectionState {
        match self {
            Self::Connecting => ConnectionState::Connecting,
            Self::Connected(_) => ConnectionState::Connected,
            Self::Waiting => ConnectionState::Waiting,
            Self::Closed => ConnectionState::Closed,
        }
    }
}

/// See the documentation of [`super`].
pub struct LightningConnection {
    config: LightningConfig,
    identity: Identity,
    /// The join of `worker:queue`; none on a connection that carries runs only.
    pub(super) queue_join: Option<QueueJoin>,
    client: awc::Client,
    pub(super) state: State,
    pub(super) since: Instant,
    pub(super) generation: Generation,
    pub(super) backoff: ReconnectBackoff,
    pub(super) queue_refusals: u32,
    pub(super) channels: Channels,
    /// Claimed runs whose workloop died before it took them.
    pub(super) inheritance: Vec<(WorkloopId, Vec<ClaimedRun>)>,
    pub(super) connects: u64,
    pub(super) last_error: Option<String>,
    pub(super) metrics: Metrics,
    heartbeats: AnswersHeartbeats,
    pub(super) microphone: Microphone,
    /// The moving average of the round trips.
    pub(super) smoothed: Duration,
}

impl LightningConnection {
    /// A connection that opens its first socket when it is started. With `queue_join` it joins the queue on each socket.
    /// `heartbeats` is what the process knows of the endpoint.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub(crate) fn new(
        config: LightningConfig,
        identity: Identity,
        queue_join: Option<QueueJoin>,
        metrics: Metrics,
        heartbeats: AnswersHeartbeats,
    ) -> Result<Self, TlsError> {
        Ok(Self {
            client: http_client(config.extra_ca_file.as_deref())?,
            microphone: Microphone::new(config.recorder.clone()),
            config,
            identity,
            queue_join,
            state: State::Connecting,
            since: Instant::now(),
            generation: Generation::default(),
            backoff: ReconnectBackoff::default(),
            queue_refusals: 0,
            channels: Channels::default(),
            inheritance: Vec::new(),
            connects: 0,
            last_error: None,
            metrics,
            heartbeats,
            smoothed: Duration::ZERO,
        })
    }

    pub(super) fn enter(&mut self, state: State) {
        self.state = state;
        self.since = Instant::now();
    }

    pub(super) fn connect(&mut self, ctx: &mut Context<Self>) {
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
                let why = format!("the worker token cannot be signed: {error}");
                self.failed(generation, why, Obstacle::Unreachable, ctx);
                return;
            }
        };
        let url = url(&self.config.endpoint, &token, &self.identity.version);
        let events = ctx.address().recipient();
        let opening = socket::open(
            self.client.clone(),
            url,
            self.config.compression,
            generation,
            events,
        )
        .into_actor(self);
        ctx.spawn(opening.map(move |opened, this, ctx| {
            if generation != this.generation || matches!(this.state, State::Closed) {
                return;
            }
            match opened {
                Ok(socket) => this.opened(socket, ctx),
                Err(error) => this.failed(generation, error.to_string(), error.obstacle(), ctx),
            }
        }));
    }

    fn opened(&mut self, socket: Socket, ctx: &mut Context<Self>) {
        self.connects += 1;
        self.metrics.connected();
        self.microphone.opened();
        let how = if self.connects == 1 {
            "connected"
        } else {
            "reconnected"
        };
        event!(table::LIGHTNING_CONNECTED, address:% = self.config.endpoint; "{how} to Lightning at {}", self.config.endpoint);
        let generation = socket.generation;
        let liveness = Liveness::new(
            socket.progress.clone(),
            self.heartbeats.clone(),
            tokio::time::Instant::now(),
        );
        self.enter(State::Connected(Connected {
            socket,
            liveness,
            queue: QueueState::None,
        }));
        if self.queue_join.is_some() {
            self.join_queue(ctx);
        } else {
            self.backoff.reset();
        }
        for (topic, turn) in self.channels.waiting_to_join() {
            // None is new on a new socket: all of them come at once.
            let turn = if turn == JoinTurn::First {
                JoinTurn::Among
            } else {
                turn
            };
            self.join_in_turn(topic, turn, ctx);
        }
        schedule_ping(generation, ctx);
    }

    fn failed(
        &mut self,
        generation: Generation,
        why: String,
        obstacle: Obstacle,
        ctx: &mut Context<Self>,
    ) {
        if generation != self.generation {
            return;
        }
        self.microphone.not_opened(&why);
        let wait = self.backoff.next(obstacle, rand::random::<f64>());
        event!(
            table::LIGHTNING_UNREACHABLE, address:% = self.config.endpoint, error = why, retry_ms = millis(wait);
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

    pub(super) fn lost(&mut self, ended: SocketEnd, ctx: &mut Context<Self>) {
        self.microphone.lost(&ended);
        let SocketEnd { why, fault, .. } = ended;
        let wait = self
            .backoff
            .next(Obstacle::TurnedAway, rand::random::<f64>());
        event!(
            table::LIGHTNING_LOST, address:% = self.config.endpoint, error = why, retry_ms = millis(wait);
            "the connection to Lightning was lost: {why}; reconnecting in {} ms",
            wait.as_millis()
        );
        self.metrics.connection_lost();
        self.last_error = Some(why);
        // Entering another state drops the socket, whose tasks end.
        self.wait(wait, ctx);
        self.queue_lost();
        let culprit = match fault {
            Fault::Size => self.channels.largest_push(),
            Fault::None | Fault::Frame => None,
        };
        self.channels.reset();
        for (topic, run) in self.channels.run_topics() {
            let blame = match (fault, &culprit) {
                (Fault::None, _) => Blame::Nobody,
                (_, None) => Blame::Frame,
                (_, Some((of, ticket))) if of == topic => Blame::TooLarge(*ticket),
                (_, Some(_)) => Blame::Nobody,
            };
            run.tell(ChannelEvent::SocketDown(blame));
        }
    }

    /// Sends a push whose payload is made while it is written.
    pub(super) fn send_long(
        &self,
        join_ref: MessageRef,
        reference: MessageRef,
        topic: &Topic,
        event: &str,
        payload: LongPayload,
    ) {
        if let State::Connected(connected) = &self.state {
            log::trace!(run_id = topic.run_id().as_ref().map(RunId::as_str); "-> {topic} {event} ({} bytes)", payload.bytes());
            let (begin, end) = encode_push_around(Some(join_ref), reference, topic, event);
            self.microphone.sent_long(&begin, &payload, end);
            connected.socket.send(Outgoing::Long(Box::new(Long {
                begin,
                payload,
                end,
            })));
        }
    }

    pub(super) fn send_text(
        &self,
        join_ref: Option<MessageRef>,
        reference: MessageRef,
        topic: &Topic,
        event: &str,
        payload: &[u8],
    ) {
        if let State::Connected(connected) = &self.state {
            log::trace!(run_id = topic.run_id().as_ref().map(RunId::as_str); "-> {topic} {event} ({} bytes)", payload.len());
            let text = encode_push(join_ref, reference, topic, event, payload);
            self.microphone.sent(&text);
            connected.socket.send(Outgoing::Text(text));
        }
    }

    /// Pings, sends a heartbeat or gives the socket up, whatever is due.
    fn tick(&mut self, generation: Generation, ctx: &mut Context<Self>) {
        let State::Connected(connected) = &mut self.state else {
            return;
        };
        if generation != connected.socket.generation {
            return;
        }
        let now = tokio::time::Instant::now();
        match connected.liveness.due(now) {
            Due::Dead(dead) => {
                self.lost(dead.to_string().into(), ctx);
                return;
            }
            Due::Ping => connected.socket.send(Outgoing::Ping),
            Due::PingAndHeartbeat => {
                connected.socket.send(Outgoing::Ping);
                let reference = self.channels.next_ref();
                connected.liveness.sent(reference, now);
                let topic = Topic::phoenix();
                let frame = encode_push(None, reference, &topic, "heartbeat", b"{}");
                connected.socket.send(Outgoing::Heartbeat(frame));
            }
        }
        schedule_ping(generation, ctx);
    }
}

fn schedule_ping(generation: Generation, ctx: &mut Context<LightningConnection>) {
    ctx.run_later(PING_INTERVAL, move |this, ctx| this.tick(generation, ctx));
}

impl Actor for LightningConnection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Bursts of reports of all runs pass through here; the runs' windows bound them, not this mailbox.
        ctx.set_mailbox_capacity(1024);
        self.connect(ctx);
    }
}
