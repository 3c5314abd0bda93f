//! Lightning's end of the sockets: a server on the loopback interface whose every answer comes from the player.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::{Actor, ActorContext as _, Addr, AsyncContext as _, Handler, Message, StreamHandler};
use actix_web::dev::ServerHandle;
use actix_web::web::{Data, Payload, route};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use actix_web_actors::ws::{self, CloseCode, CloseReason, ProtocolError, WebsocketContext};
use actors::engine_pool::RecordedEngine;
use tokio::sync::Notify;

use super::player::{Connection, Effect, Player};

/// As large as the worker's own limit for what it receives.
const MOST_BYTES: usize = 100 << 20;

/// What the sockets share.
pub(super) struct Stage {
    player: Mutex<Player>,
    sockets: Mutex<HashMap<Connection, Addr<Socket>>>,
    connections: AtomicU64,
    engine: RecordedEngine,
    /// Something was said that is in the recording, or should not have been said.
    pub(super) moved: Notify,
}

impl Stage {
    pub(super) fn new(player: Player, engine: RecordedEngine) -> Self {
        Self {
            player: Mutex::new(player),
            sockets: Mutex::default(),
            connections: AtomicU64::new(0),
            engine,
            moved: Notify::new(),
        }
    }

    // What panics while it holds a lock ends the replay as the worker's silence does.
    pub(super) fn player(&self) -> MutexGuard<'_, Player> {
        self.player.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sockets(&self) -> MutexGuard<'_, HashMap<Connection, Addr<Socket>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn said(&self, connection: Connection, text: &str) {
        let (effects, moved) = {
            let mut player = self.player();
            let before = player.moves();
            let effects = player.said(connection, text);
            (effects, player.moves() != before)
        };
        self.perform(effects);
        if moved {
            self.moved.notify_one();
        }
    }

    /// Gives the worker what was held back.
    pub(super) fn let_go(&self) {
        let effects = self.player().let_go();
        self.perform(effects);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a socket that has just been closed hears nothing, as over a network"
    )]
    fn perform(&self, effects: Vec<Effect>) {
        for effect in effects {
            let (to, out) = match effect {
                Effect::Text(to, text) => (to, Out::Text(text)),
                Effect::Binary(to, bytes) => (to, Out::Binary(bytes)),
                Effect::End(to, code) => (to, Out::End(code)),
                Effect::Tell(run, progress) => {
                    self.engine.tell(&run, *progress);
                    continue;
                }
            };
            if let Some(socket) = self.sockets().get(&to) {
                socket.do_send(out);
            }
        }
    }
}

/// Starts the server on a free port.
///
/// # Errors
/// The system gives no port.
pub(super) fn serve(stage: &Arc<Stage>) -> std::io::Result<(SocketAddr, ServerHandle)> {
    let stage = Data::from(Arc::clone(stage));
    let server = HttpServer::new(move || {
        let app = App::new().app_data(stage.clone());
        app.default_service(route().to(upgrade))
    });
    let server = server
        .workers(1)
        .disable_signals()
        .shutdown_timeout(0)
        .bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = server.addrs().first().copied();
    let address = address.ok_or_else(|| std::io::Error::other("no address was bound"))?;
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(server);
    Ok((address, handle))
}

async fn upgrade(
    request: HttpRequest,
    stream: Payload,
    stage: Data<Stage>,
) -> Result<HttpResponse, actix_web::Error> {
    let socket = Socket {
        connection: stage.connections.fetch_add(1, Ordering::Relaxed) + 1,
        stage: stage.into_inner(),
    };
    ws::WsResponseBuilder::new(socket, &request, stream)
        .frame_size(MOST_BYTES)
        .start()
}

struct Socket {
    connection: Connection,
    stage: Arc<Stage>,
}

#[derive(Message)]
#[rtype(result = "()")]
enum Out {
    Text(String),
    Binary(bytes::Bytes),
    End(Option<u16>),
}

impl Actor for Socket {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.stage
            .sockets()
            .insert(self.connection, context.address());
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.stage.sockets().remove(&self.connection);
    }
}

impl StreamHandler<Result<ws::Message, ProtocolError>> for Socket {
    fn handle(&mut self, message: Result<ws::Message, ProtocolError>, context: &mut Self::Context) {
        match message {
            Ok(ws::Message::Text(text)) => self.stage.said(self.connection, &text),
            Ok(ws::Message::Ping(data)) => context.pong(&data),
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Close(reason)) => {
                context.close(reason);
                context.stop();
            }
            Ok(ws::Message::Binary(_) | ws::Message::Continuation(_)) | Err(_) => context.stop(),
        }
    }
}

impl Handler<Out> for Socket {
    type Result = ();

    fn handle(&mut self, out: Out, context: &mut Self::Context) {
        match out {
            Out::Text(text) => context.text(text),
            Out::Binary(bytes) => context.binary(bytes),
            Out::End(code) => {
                if let Some(code) = code {
                    context.close(Some(CloseReason {
                        code: CloseCode::from(code),
                        description: None,
                    }));
                }
                context.stop();
            }
        }
    }
}
