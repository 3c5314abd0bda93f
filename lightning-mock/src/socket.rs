//! The actor of one WebSocket connection.
//!
//! Owns the connection and its [`Session`]; everything else is in the shared [`World`]. Started by the upgrade request,
//! ends with the connection. If it dies, its channels die, and runs stay as they are, like on the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext as _, AsyncContext as _, Handler, StreamHandler};
use actix_http::ws::Item;
use actix_web_actors::ws::{self, CloseCode, CloseReason, ProtocolError, WebsocketContext};
use bytes::BytesMut;
use serde_json::Value;

use crate::messages::ToSocket;
use crate::recorder::{Direction, RecordedEvent};
use crate::rules::{Announce, MESSAGE_LIMIT};
use crate::session::{Out, Session};
use crate::world::{Shared, World, now};

const DEBOUNCE: Duration = Duration::from_millis(500);

/// A connection of a worker.
#[derive(Debug)]
pub(crate) struct Socket {
    id: u64,
    shared: Arc<Shared>,
    session: Session,
    parts: BytesMut,
    announcing: bool,
    /// When something last arrived.
    heard: Instant,
}

impl Socket {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let id = shared.with(|world| {
            world.last_socket += 1;
            world.last_socket
        });
        Self {
            id,
            shared,
            session: Session::new(id),
            parts: BytesMut::new(),
            announcing: false,
            heard: Instant::now(),
        }
    }

    fn receive(&mut self, text: &str, context: &mut WebsocketContext<Self>) {
        let session = &mut self.session;
        let out = self.shared.with(|world| session.receive(world, text));
        self.send(out, context);
    }

    fn send(&mut self, out: impl IntoIterator<Item = Out>, context: &mut WebsocketContext<Self>) {
        for out in out {
            match out {
                Out::Text(text) => context.text(text),
                Out::Binary(data) => context.binary(data),
                Out::Cut => self.end(None, context),
                Out::Close(code) => self.end(Some(code), context),
                Out::Later(time, late) => {
                    context.run_later(time, |socket, context| socket.send(late, context));
                }
                Out::Claimed(runs) => self.session.claimed(&runs),
                Out::CutAll => {
                    self.shared.tell(&ToSocket::Disconnect(None));
                    self.end(None, context);
                }
            }
        }
    }

    fn end(&mut self, code: Option<u16>, context: &mut WebsocketContext<Self>) {
        if let Some(code) = code {
            context.close(Some(CloseReason {
                code: CloseCode::from(code),
                description: None,
            }));
        }
        context.stop();
    }

    fn announce(&mut self, context: &mut WebsocketContext<Self>) {
        context.notify(ToSocket::work_available());
    }

    fn note(&self, world: &mut World, event: &str) {
        world.recorder.record(|| RecordedEvent {
            seq: 0,
            time: now(),
            socket: self.id,
            direction: Direction::Socket,
            join_ref: None,
            reference: None,
            topic: String::new(),
            event: event.to_owned(),
            payload: Value::Null,
        });
    }
}

impl Actor for Socket {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let address = context.address();
        log::debug!("socket {} connected", self.id);
        self.shared.with(|world| {
            world.sockets.insert(self.id, address.recipient());
            self.note(world, "connected");
        });
        let (idle, quirks) = self
            .shared
            .read(|world| (world.rules.idle, world.rules.quirks));
        if !quirks {
            context.run_interval(idle / 4, move |socket, context| {
                if socket.heard.elapsed() >= idle {
                    socket.end(Some(1000), context);
                }
            });
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        log::debug!("socket {} disconnected", self.id);
        Arc::clone(&self.shared).with(|world| {
            world.sockets.remove(&self.id);
            self.session.ended_with(world);
            self.note(world, "disconnected");
        });
    }
}

impl StreamHandler<Result<ws::Message, ProtocolError>> for Socket {
    fn handle(&mut self, message: Result<ws::Message, ProtocolError>, context: &mut Self::Context) {
        self.heard = Instant::now();
        match message {
            Ok(ws::Message::Text(text)) => self.receive(&text, context),
            Ok(ws::Message::Continuation(part)) => self.join_parts(part, context),
            Ok(ws::Message::Ping(data)) => context.pong(&data),
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Close(reason)) => {
                context.close(reason);
                context.stop();
            }
            // Nothing in this protocol is sent in binary by the worker.
            Ok(ws::Message::Binary(_)) => self.end(Some(1011), context),
            Err(ProtocolError::Overflow) => self.end(Some(1009), context),
            Err(error) => {
                log::warn!("socket {}: {error}", self.id);
                self.end(Some(1002), context);
            }
        }
    }
}

impl Socket {
    fn join_parts(&mut self, part: Item, context: &mut WebsocketContext<Self>) {
        let (data, last) = match part {
            Item::FirstText(data) | Item::FirstBinary(data) => {
                self.parts.clear();
                (data, false)
            }
            Item::Continue(data) => (data, false),
            Item::Last(data) => (data, true),
        };
        if self.parts.len() + data.len() > MESSAGE_LIMIT {
            return self.end(Some(1009), context);
        }
        self.parts.extend_from_slice(&data);
        if last {
            let message = std::mem::take(&mut self.parts);
            match std::str::from_utf8(&message) {
                Ok(text) => self.receive(text, context),
                Err(_) => self.end(Some(1007), context),
            }
        }
    }
}

impl Socket {
    fn push(
        &mut self,
        topic: &str,
        event: &str,
        payload: &Value,
        context: &mut WebsocketContext<Self>,
    ) {
        let session = &self.session;
        let out = self
            .shared
            .with(|world| session.broadcast(world, topic, event, payload));
        self.send(out, context);
    }

    fn new_run(&mut self, context: &mut WebsocketContext<Self>) {
        match self.shared.read(|world| world.rules.announce) {
            Announce::OnRequest => {}
            Announce::Immediately => self.announce(context),
            Announce::Debounced if self.announcing => {}
            Announce::Debounced => {
                self.announcing = true;
                context.run_later(DEBOUNCE, |socket, context| {
                    socket.announcing = false;
                    socket.announce(context);
                });
            }
        }
    }
}

impl Handler<ToSocket> for Socket {
    type Result = ();

    fn handle(&mut self, message: ToSocket, context: &mut Self::Context) {
        match message {
            ToSocket::Push {
                topic,
                event,
                payload,
            } => self.push(&topic, &event, &payload, context),
            ToSocket::NewRun => self.new_run(context),
            ToSocket::Disconnect(code) => self.end(code, context),
        }
    }
}
