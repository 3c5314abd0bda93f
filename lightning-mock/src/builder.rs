//! Start of the server, inside a running actix system or on a thread of its own.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpServer, web};
use serde_json::Value;

use crate::chaos::{Chaos, Rule};
use crate::collections::Collections;
use crate::http;
use crate::keys::{KeyError, RunKey};
use crate::mock_server::MockServer;
use crate::recorder::Recorder;
use crate::rules::{Announce, RollBack, Rules};
use crate::store::Store;
use crate::world::{Inflated, Shared, World};

/// Largest plan that `POST /run` takes.
const PLAN_LIMIT: usize = 100 * 1024 * 1024;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is taken, or the address is not this machine's.
    #[error("cannot listen on {host}:{port}")]
    Listen {
        /// The address that was asked for.
        host: String,
        /// The port that was asked for; 0 is any free one.
        port: u16,
        /// Why the system refused it.
        source: io::Error,
    },
    /// The key for run tokens.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No thread, or it ended before the server listened.
    #[error("cannot start the server's thread")]
    Thread(#[source] io::Error),
}

/// Where a test begins: a builder, or a server at once.
#[derive(Debug)]
pub struct MockLightning;

impl MockLightning {
    /// A server yet to be configured.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A server with default settings on a free port, on its own thread.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn spawn_thread() -> Result<MockServer, StartError> {
        Self::builder().spawn_thread()
    }
}

/// How the server is to behave; each setting has the default of the real server, or none.
#[derive(Debug, Clone)]
pub struct Builder {
    host: String,
    port: u16,
    run_token_key: Option<String>,
    cheap_tokens: bool,
    record: bool,
    rules: Rules,
    collections: Vec<String>,
    chaos: Chaos,
    credentials: HashMap<String, Value>,
    dataclips: HashMap<String, Value>,
    /// The state of another server that this one is to have too.
    shared: Option<Arc<Shared>>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 0,
            run_token_key: None,
            cheap_tokens: false,
            record: true,
            rules: Rules {
                secret: None,
                quirks: false,
                announce: Announce::OnRequest,
                grace_seconds: 60,
                // What newer Phoenix versions allow.
                channel_limit: 100,
                max_frame_bytes: 11_000_000,
                roll_back: RollBack::Never,
                compression: false,
                idle: Duration::from_secs(60),
            },
            collections: Vec::new(),
            chaos: Chaos::default(),
            credentials: HashMap::new(),
            dataclips: HashMap::new(),
            shared: None,
        }
    }
}

impl Builder {
    /// The address to listen on; `127.0.0.1` unless set.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// The port; 0, the default, takes a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Check worker tokens against this secret. Without one any token is let in.
    #[must_use]
    pub fn secret(mut self, secret: Option<&str>) -> Self {
        self.rules.secret = secret.map(str::to_owned);
        self
    }

    /// The RSA private key, as PEM text, that signs run tokens, instead of the built-in test key.
    #[must_use]
    pub fn run_token_key(mut self, pem: impl Into<String>) -> Self {
        self.run_token_key = Some(pem.into());
        self
    }

    /// Sign run tokens with a hash instead of RSA: for load tests. A worker that has a public key refuses them.
    #[must_use]
    pub fn cheap_tokens(mut self, cheap: bool) -> Self {
        self.cheap_tokens = cheap;
        self
    }

    /// Keep every frame in memory for `events()`; on unless switched off.
    #[must_use]
    pub fn record(mut self, record: bool) -> Self {
        self.record = record;
        self
    }

    /// When `work-available` is pushed; on request only, unless set.
    #[must_use]
    pub fn announce(mut self, announce: Announce) -> Self {
        self.rules.announce = announce;
        self
    }

    /// What a run token lasts beyond the run's timeout, in seconds; 60 unless set.
    #[must_use]
    pub fn grace_seconds(mut self, seconds: u64) -> Self {
        self.rules.grace_seconds = seconds;
        self
    }

    /// How many topics a socket may join; 100 unless set.
    #[must_use]
    pub fn channel_limit(mut self, limit: usize) -> Self {
        self.rules.channel_limit = limit;
        self
    }

    /// The largest frame that is taken, in bytes; 11,000,000 as in newer versions of Lightning, unless set. Over a larger one
    /// the connection is closed with 1009.
    #[must_use]
    pub fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.rules.max_frame_bytes = bytes;
        self
    }

    /// When claimed runs that nobody takes up go back into their queue; never, as on older servers, unless set.
    #[must_use]
    pub fn roll_back(mut self, roll_back: RollBack) -> Self {
        self.rules.roll_back = roll_back;
        self
    }

    /// Take an offer of permessage-deflate, and compress every message; off unless set, as in older endpoints.
    #[must_use]
    pub fn compression(mut self, compression: bool) -> Self {
        self.rules.compression = compression;
        self
    }

    /// Close a socket on which nothing arrives for this long; 60 s, as Phoenix does, unless set. The npm mock never does.
    #[must_use]
    pub fn idle(mut self, time: Duration) -> Self {
        self.rules.idle = time;
        self
    }

    /// Answer as OpenFn's npm mock does: replies named `chan_reply_<ref>`, dataclips as arrays of numbers, no answer
    /// to heartbeats and leaves, one run a claim, its own checks of `step:complete` and `run:complete`.
    #[must_use]
    pub fn quirks(mut self, quirks: bool) -> Self {
        self.rules.quirks = quirks;
        self
    }

    /// A collection that exists from the start. Without any, a collection begins to exist with its first use.
    #[must_use]
    pub fn collection(mut self, name: impl Into<String>) -> Self {
        self.collections.push(name.into());
        self
    }

    /// Faults by rule; the same seed and the same pushes give the same faults.
    #[must_use]
    pub fn chaos(mut self, rules: Vec<Rule>, seed: u64) -> Self {
        self.chaos = Chaos::new(rules, seed);
        self
    }

    /// Stores a credential before the start, for any run to fetch.
    #[must_use]
    pub fn credential(mut self, id: impl Into<String>, body: Value) -> Self {
        self.credentials.insert(id.into(), body);
        self
    }

    /// Stores a dataclip before the start, for any run to fetch.
    #[must_use]
    pub fn dataclip(mut self, id: impl Into<String>, body: Value) -> Self {
        self.dataclips.insert(id.into(), body);
        self
    }

    /// A further node of the same Lightning: it knows what `node` knows, and its other settings count for nothing but
    /// address and port.
    #[must_use]
    pub fn node_of(mut self, node: &MockServer) -> Self {
        self.shared = Some(node.shared());
        self
    }

    /// Starts inside the running actix system. The server stops when the handle is dropped.
    ///
    /// # Errors
    /// [`StartError`].
    #[expect(
        clippy::unused_async,
        reason = "it needs a running actix system, which only an async caller has"
    )]
    pub async fn start(self) -> Result<MockServer, StartError> {
        let (handle, shared, port) = self.bind()?;
        Ok(MockServer::new(shared, port, handle, None))
    }

    /// Starts on a thread of its own. The server stops, and the thread ends, when the handle is dropped.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn spawn_thread(self) -> Result<MockServer, StartError> {
        let (started, wait_started) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("lightning-mock".to_owned())
            .spawn(move || {
                actix_rt::System::new().block_on(async move {
                    let (finish, finished) = tokio::sync::oneshot::channel();
                    let server = self
                        .bind()
                        .map(|(handle, shared, port)| (handle, shared, port, finish));
                    if started.send(server).is_ok() {
                        // Sent, or dropped with the handle: both end the thread.
                        finished.await.unwrap_or_default();
                    }
                });
            })
            .map_err(StartError::Thread)?;
        match wait_started.recv() {
            Ok(Ok((handle, shared, port, finish))) => Ok(MockServer::new(
                shared,
                port,
                handle,
                Some((finish, thread)),
            )),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StartError::Thread(io::Error::other(
                "it ended before the server listened",
            ))),
        }
    }

    fn world(&self) -> Result<World, StartError> {
        let key = match &self.run_token_key {
            Some(pem) => RunKey::from_pem(pem)?,
            None if self.cheap_tokens => RunKey::cheap(),
            None => RunKey::test()?,
        };
        let mut store = Store::default();
        store.credentials.clone_from(&self.credentials);
        store.dataclips = self
            .dataclips
            .iter()
            .map(|(id, body)| (id.clone(), Some(body.clone())))
            .collect();
        Ok(World {
            rules: self.rules.clone(),
            key,
            store,
            recorder: Recorder::new(self.record),
            collections: Collections::new(self.collections.clone()),
            sockets: HashMap::new(),
            last_socket: 0,
            faults: Vec::new(),
            chaos: self.chaos.clone(),
            away_until: 0,
            database_away_until: 0,
            hung_until: 0,
            unjoined: Vec::new(),
            inflated: Inflated::default(),
        })
    }

    fn bind(self) -> Result<(ServerHandle, Arc<Shared>, u16), StartError> {
        let shared = match &self.shared {
            Some(shared) => Arc::clone(shared),
            None => Shared::new(self.world()?),
        };
        let data = web::Data::from(Arc::clone(&shared));
        let listen = |source| StartError::Listen {
            host: self.host.clone(),
            port: self.port,
            source,
        };
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .app_data(web::PayloadConfig::new(PLAN_LIMIT))
                .configure(http::routes)
        })
        // As Lightning's server does: a small frame behind another must not wait for the other's acknowledgement.
        .on_connect(|connection, _| {
            if let Some(stream) = connection.downcast_ref::<TcpStream>()
                && let Err(error) = stream.set_nodelay(true)
            {
                log::warn!("TCP_NODELAY: {error}");
            }
        })
        .workers(1)
        .disable_signals()
        .shutdown_timeout(1)
        .bind((self.host.as_str(), self.port))
        .map_err(listen)?;
        let port = server
            .addrs()
            .first()
            .map_or(self.port, std::net::SocketAddr::port);
        let server = server.run();
        let handle = server.handle();
        actix_rt::spawn(server);
        Ok((handle, shared, port))
    }
}
