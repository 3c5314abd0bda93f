//! The actor itself: its sockets one after the other, and the heartbeat.

use std::time::{Duration, Instant};

use actix::prelude::*;
use protocol::backoff::ReconnectBackoff;
use protocol::ids::{MessageRef, RunId, Topic, WorkloopId};
use protocol::lightning::{ClaimedRun, LongPayload, QueueJoin};
use protocol::phoenix::{encode_push, encode_push_around};
use protocol::token::worker_token;

use super::channels::Channels;
use super::client::{http_client, url};
use super::messages::ChannelEvent;
use super::recorder::Microphone;
use super::socket::{self, Ended, Generation, Long, Outgoing, Socket};
use crate::clock;
use crate::config::{Identity, LightningConfig};
use crate::metrics::Metrics;

/// As the reference's client; the server closes a connection that was silent for 60 s (protocol spec, section 1.4).
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);

/// How often the peer is pinged between heartbeats, and looked at for its last sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// A peer that was silent for so long, though pinged twice at least, is gone. Not shorter: a busy server answers late
/// (protocol spec, section 1.4).
const SILENCE: Duration = Duration::from_secs(30);

pub(super) enum State {
    Connecting,
    Connected(Connected),
    Waiting,
    Closed,
}

pub(super) struct Connected {
    pub(super) socket: Socket,
    /// When something last arrived: any frame counts as life, for the npm mock answers no heartbeat.
    pub(super) heard: Instant,
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
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected(_) => "connected",
            Self::Waiting => "waiting",
            Self::Closed => "closed",
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
    pub(super) queue_refusals: usize,
    pub(super) channels: Channels,
    /// Claimed runs whose workloop died before it took them.
    pub(super) inheritance: Vec<(WorkloopId, Vec<ClaimedRun>)>,
    pub(super) connects: u64,
    pub(super) last_error: Option<String>,
    pub(super) metrics: Metrics,
    pub(super) microphone: Microphone,
    /// The moving average of the round trips.
    pub(super) smoothed: Duration,
}

impl LightningConnection {
    /// A connection that opens its first socket when it is started. With `queue_join` it joins the queue on each socket.
    ///
    /// # Errors
    /// A text that names what cannot be used, when TLS cannot be set up.
    pub fn new(
        config: LightningConfig,
        identity: Identity,
        queue_join: Option<QueueJoin>,
        metrics: Metrics,
    ) -> Result<Self, String> {
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
                self.failed(generation, why, ctx);
                return;
            }
        };
        let url = url(&self.config.endpoint, &token, &self.identity.version);
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
        self.microphone.opened();
        let how = if self.connects == 1 {
            "connected"
        } else {
            "reconnected"
        };
        log::info!("{how} to Lightning at {}", self.config.endpoint);
        let generation = socket.generation;
        self.enter(State::Connected(Connected {
            socket,
            heard: Instant::now(),
            queue: QueueState::None,
        }));
        if self.queue_join.is_some() {
            self.join_queue(ctx);
        } else {
            self.backoff.reset();
        }
        for run in self.channels.runs() {
            run.do_send(ChannelEvent::SocketUp);
        }
        self.schedule_ping(generation, Instant::now(), ctx);
    }

    fn failed(&mut self, generation: Generation, why: String, ctx: &mut Context<Self>) {
        if generation != self.generation {
            return;
        }
        self.microphone.not_opened(&why);
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

    pub(super) fn lost(&mut self, ended: Ended, ctx: &mut Context<Self>) {
        self.microphone.lost(&ended);
        let Ended {
            why, over_a_frame, ..
        } = ended;
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
            run.do_send(ChannelEvent::SocketDown { over_a_frame });
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

    /// Pings, and every third time a heartbeat too; a peer that was silent for too long is gone.
    fn schedule_ping(&self, generation: Generation, beat: Instant, ctx: &mut Context<Self>) {
        ctx.run_later(PING_INTERVAL, move |this, ctx| {
            let State::Connected(connected) = &this.state else {
                return;
            };
            if generation != connected.socket.generation {
                return;
            }
            if connected.heard.elapsed() >= SILENCE {
                let seconds = SILENCE.as_secs();
                this.lost(
                    format!("Lightning sent nothing for {seconds} s").into(),
                    ctx,
                );
                return;
            }
            connected.socket.send(Outgoing::Ping);
            let mut beat = beat;
            if beat.elapsed() >= HEARTBEAT_INTERVAL {
                beat = Instant::now();
                let reference = this.channels.next_ref();
                this.send_text(None, reference, &Topic::phoenix(), "heartbeat", b"{}");
            }
            this.schedule_ping(generation, beat, ctx);
        });
    }
}

impl Actor for LightningConnection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Bursts of reports of all runs pass through here; the runs' windows bound them, not this mailbox.
        ctx.set_mailbox_capacity(1024);
        self.connect(ctx);
    }
}
