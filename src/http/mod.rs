//! The HTTP server: health, claims on demand, status, and what an administrator may do.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /`, `GET /livez` | 200 `OK` as long as the process turns over |
//! | `GET /readyz` | 200 `OK` when connected and able to execute, else 503 with the reason |
//! | `GET /status` | what the worker does, as JSON |
//! | `GET /` with `Accept: text/html` | the status page |
//! | `GET /events` | the same as server-sent events, twice a second, with the last fifteen minutes |
//! | `GET /metrics` | counters and gauges in Prometheus' text format |
//! | `POST /claim` | 200 `complete` when a run was claimed, else 204 |
//! | `DELETE /runs/{id}` | 202 when the run was active and is being ended, else 404 |
//! | `POST /drain` | 202; the worker takes no more runs, finishes those it has, and ends |
//!
//! With a token set, all but the health endpoints ask for `Authorization: Bearer <token>`. With and without one, what
//! changes the worker is refused with 403 when a browser sends it for a page of another site.
//!
//! It serves until the worker has ended: while runs are waited for, an orchestrator sees that the process lives and is not
//! ready, and Prometheus counts the last of them.

mod auth;
mod history;
mod metrics;
mod page;
mod peers;
mod routes;
#[cfg(test)]
mod testing;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use actors::metrics::Metrics;
use actors::supervisor::WorkerStatus;
use log_events::{event, table};
use protocol::ids::RunId;

use crate::logging::Log;
use crate::settings::HttpSettings;
use metrics::Exporter;
use page::Sources;
use peers::Asking;
use routes::Routes;

/// What the HTTP server may ask of the worker.
pub(crate) trait Controls: Clone + Send + 'static {
    /// Claims once for every group with a free slot; true when a run came back.
    fn claim_now(&self) -> impl Future<Output = bool>;
    /// What the worker does; `None` when it is about to end.
    fn status(&self) -> impl Future<Output = Option<WorkerStatus>>;
    /// Why no work can be done at the moment, if so.
    fn unready(&self) -> impl Future<Output = Option<String>>;
    /// Ends an active run; false when there is none with this id.
    fn cancel_run(&self, id: RunId) -> impl Future<Output = bool>;
    /// Takes no more runs, and ends when those at work have.
    fn drain(&self);
}

/// A socket that is bound, but not served yet.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {host}:{port} (choose another with --port / WORKER_PORT or --host / WORKER_HOST)"
)]
pub struct BindError {
    host: String,
    port: u16,
    #[source]
    source: io::Error,
}

impl Bound {
    /// Binds the address of the settings, so that a port that is taken is known before anything starts.
    pub(crate) fn new(settings: &HttpSettings) -> Result<Self, BindError> {
        let bind = || -> io::Result<Self> {
            let addresses: Vec<SocketAddr> = (settings.host.as_str(), settings.port)
                .to_socket_addrs()?
                .collect();
            let listener = TcpListener::bind(addresses.as_slice())?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bind().map_err(|source| BindError {
            host: settings.host.clone(),
            port: settings.port,
            source,
        })
    }

    /// Where it listens, with the port that was found when 0 was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the handle is told to stop. To be called inside an actix System.
    pub(crate) fn serve(
        self,
        controls: impl Controls,
        settings: &HttpSettings,
        metrics: &Metrics,
        log: Log,
    ) -> io::Result<ServerHandle> {
        let sources = Sources::new(log);
        sources.history.follow(metrics.clone());
        sources.ask(Asking {
            urls: settings.peers.clone(),
            token: settings.token.clone(),
            extra_ca_file: settings.extra_ca_file.clone(),
        });
        let exporter = Exporter::new(metrics);
        let routes = Routes::new(controls, settings.token.clone(), exporter, sources);
        let server = HttpServer::new(move || App::new().configure(|app| routes.configure(app)))
            // One thread of its own is plenty for an operator's requests, and leaves the actors' thread alone.
            .workers(1)
            .disable_signals()
            // A claim that waits for its reply must not hold up the end of a drained worker.
            .shutdown_timeout(1)
            .listen(self.listener)?
            .run();
        let handle = server.handle();
        actix_rt::spawn(async move {
            if let Err(error) = server.await {
                event!(table::HTTP_FAILED, error:% = error; "the HTTP server ended: {error}");
            }
        });
        Ok(handle)
    }
}
