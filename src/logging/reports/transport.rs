//! The way to Sentry: one thread with the HTTP client that the worker has anyway, behind a queue that never fills memory.

use std::io;
use std::path::Path;
use std::sync::mpsc as blocking;
use std::time::{Duration, Instant};

use actors::causes::with_causes;
use log_events::{event, table};
use sentry::types::Dsn;
use sentry::{Envelope, Transport};
use tokio::sync::mpsc;

/// Reports that may wait; further ones are dropped, for the log has them all.
const WAITING: usize = 64;

/// How long nothing is sent after Sentry said that it is too much, unless Sentry said how long.
const PAUSE: Duration = Duration::from_secs(60);

enum Item {
    Report(Box<Envelope>),
    /// Answered when everything before it was sent.
    Flush(blocking::Sender<()>),
}

/// Sends reports.
pub(super) struct SentryTransport(mpsc::Sender<Item>);

impl SentryTransport {
    /// Starts the thread.
    pub(super) fn start(dsn: &Dsn, extra_ca_file: Option<&Path>) -> io::Result<Self> {
        let (sender, queue) = mpsc::channel(WAITING);
        let (url, auth) = (
            dsn.envelope_api_url().to_string(),
            dsn.to_auth(Some(concat!("ws-worker/", env!("CARGO_PKG_VERSION"))))
                .to_string(),
        );
        let extra_ca_file = extra_ca_file.map(Path::to_path_buf);
        std::thread::Builder::new()
            .name("sentry".to_owned())
            .spawn(move || {
                let runtime = match actix_rt::Runtime::new() {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        event!(table::SENTRY_FAILED, error:% = error; "errors are not reported to Sentry: {error}");
                        return;
                    }
                };
                runtime.block_on(async {
                    match actors::lightning::http_client(extra_ca_file.as_deref()) {
                        Ok(client) => deliver(queue, &client, &url, &auth).await,
                        Err(error) => {
                            let error = with_causes(&error);
                            event!(table::SENTRY_FAILED, error = error; "errors are not reported to Sentry: {error}");
                        }
                    }
                });
            })?;
        Ok(Self(sender))
    }
}

async fn deliver(mut queue: mpsc::Receiver<Item>, client: &awc::Client, url: &str, auth: &str) {
    let mut paused_until: Option<Instant> = None;
    while let Some(item) = queue.recv().await {
        let envelope = match item {
            Item::Report(envelope) => envelope,
            Item::Flush(done) => {
                if done.send(()).is_err() {
                    log::debug!("nobody waits for the last reports to Sentry any more");
                }
                continue;
            }
        };
        if paused_until.is_some_and(|until| Instant::now() < until) {
            continue;
        }
        let mut body = Vec::new();
        if let Err(error) = envelope.to_writer(&mut body) {
            log::debug!("a report to Sentry cannot be written: {error}");
            continue;
        }
        let answer = client
            .post(url)
            .insert_header(("x-sentry-auth", auth))
            .insert_header(("content-type", "application/x-sentry-envelope"))
            .send_body(body)
            .await;
        // At debug only: a warning would be noted as a problem for each report that is lost.
        match answer {
            Ok(answer) if answer.status().as_u16() == 429 => {
                let said = answer
                    .headers()
                    .get("retry-after")
                    .and_then(|value| value.to_str().ok()?.parse().ok());
                paused_until = Some(Instant::now() + said.map_or(PAUSE, Duration::from_secs));
            }
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => log::debug!("Sentry answered a report with {}", answer.status()),
            Err(error) => log::debug!("a report did not reach Sentry: {error}"),
        }
    }
}

impl Transport for SentryTransport {
    fn send_envelope(&self, envelope: Envelope) {
        if self.0.try_send(Item::Report(Box::new(envelope))).is_err() {
            log::debug!("a report to Sentry is dropped: too many wait");
        }
    }

    fn flush(&self, timeout: Duration) -> bool {
        let (done, waiting) = blocking::channel();
        self.0.try_send(Item::Flush(done)).is_ok() && waiting.recv_timeout(timeout).is_ok()
    }
}
