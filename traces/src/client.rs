//! The HTTP client of the exporter: the one that the worker has anyway, so that the same certificates are trusted and no
//! second one is linked. It belongs to one thread, and requests are handed to that.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actors::causes::with_causes;
use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::sync::{mpsc, oneshot};

/// The largest answer that is read, bytes: it says at most how many spans were refused.
const LARGEST_ANSWER: usize = 64 * 1024;

/// Requests that may wait: the exporter makes one at a time.
const WAITING: usize = 2;

/// Why a request was not answered.
#[derive(Debug, Clone, thiserror::Error)]
enum ClientError {
    /// There is no HTTP client.
    #[error("the certificates to trust cannot be read: {0}")]
    NoClient(String),
    /// It was not sent, or not answered.
    #[error("{0}")]
    Unsent(String),
    /// The answer is not what a collector says.
    #[error("the answer of the collector cannot be read: {0}")]
    Unreadable(String),
    /// The thread of the client is gone.
    #[error("the HTTP client has ended")]
    Ended,
}

/// Why the last request failed; clones have the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastFailure(Arc<Mutex<Option<String>>>);

impl LastFailure {
    /// The words, once.
    pub(crate) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn is(&self, why: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }
}

struct Asked {
    request: Request<Bytes>,
    answer: oneshot::Sender<Result<Response<Bytes>, ClientError>>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Client {
    requests: mpsc::Sender<Asked>,
    failure: LastFailure,
}

impl Client {
    /// Starts the thread; a request fails after `timeout`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(
        timeout: Duration,
        extra_ca_file: Option<PathBuf>,
        failure: LastFailure,
    ) -> io::Result<Self> {
        let (requests, queue) = mpsc::channel(WAITING);
        std::thread::Builder::new()
            .name("traces".to_owned())
            .spawn(move || {
                let runtime = match actix_rt::Runtime::new() {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        // Each request fails from now on, which is told.
                        log::debug!("there is no runtime for traces: {error}");
                        return;
                    }
                };
                runtime.block_on(async {
                    let client = actors::lightning::http_client(extra_ca_file.as_deref());
                    let client = client.map_err(|error| ClientError::NoClient(with_causes(&error)));
                    answer(queue, client, timeout).await;
                });
            })?;
        Ok(Self { requests, failure })
    }

    async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { request, answer };
        if self.requests.send(asked).await.is_err() {
            return Err(ClientError::Ended);
        }
        answered.await.unwrap_or(Err(ClientError::Ended))
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        match self.ask(request).await {
            Ok(response) => {
                if !response.status().is_success() {
                    self.failure.is(format!("it answers {}", response.status()));
                }
                Ok(response)
            }
            Err(error) => {
                self.failure.is(error.to_string());
                Err(error.into())
            }
        }
    }
}

async fn answer(
    mut queue: mpsc::Receiver<Asked>,
    client: Result<awc::Client, ClientError>,
    timeout: Duration,
) {
    while let Some(Asked { request, answer }) = queue.recv().await {
        let answered = match &client {
            // The client's own limit is one for the head of the answer.
            Ok(client) => match tokio::time::timeout(timeout, send(client, request, timeout)).await
            {
                Ok(answered) => answered,
                Err(_) => Err(ClientError::Unsent(format!(
                    "no answer within {} ms",
                    timeout.as_millis()
                ))),
            },
            Err(error) => Err(error.clone()),
        };
        if answer.send(answered).is_err() {
            log::debug!("nobody waits for the answer of the collector any more");
        }
    }
}

async fn send(
    client: &awc::Client,
    request: Request<Bytes>,
    timeout: Duration,
) -> Result<Response<Bytes>, ClientError> {
    let (head, body) = request.into_parts();
    let mut asking = client.post(head.uri.to_string()).timeout(timeout);
    for (name, value) in &head.headers {
        asking = asking.insert_header((name.as_str(), value.as_bytes()));
    }
    let mut answer = asking
        .send_body(body)
        .await
        .map_err(|error| ClientError::Unsent(with_causes(&error)))?;
    let mut response = Response::builder().status(answer.status().as_u16());
    for (name, value) in answer.headers() {
        response = response.header(name.as_str(), value.as_bytes());
    }
    let body = answer
        .body()
        .limit(LARGEST_ANSWER)
        .await
        .map_err(|error| ClientError::Unreadable(with_causes(&error)))?;
    response
        .body(body)
        .map_err(|error| ClientError::Unreadable(with_causes(&error)))
}
