//! The worker inside another program.

use std::net::SocketAddr;
use std::sync::mpsc;

use actors::supervisor::{ClaimOutcome, Exit, SupervisorHandle, WorkerStatus};
use protocol::ids::RunId;

use crate::cli::Flags;
use crate::logging::Log;
use crate::settings::{BadSettings, SettingProblem, Settings, known, table};
use crate::start::{self, Launched, StartError};

/// A worker that runs on a thread of its own; usable from any asynchronous runtime, and from none.
///
/// It says what it does through the `log` crate, reads no environment variable, handles no signal and never ends the
/// process. Dropping the handle leaves the worker at work: ask it to [`drain`](Worker::drain) and
/// [`wait`](Worker::wait) for it.
///
/// ```
/// use ws_worker::{Exit, Worker};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let lightning = lightning_mock::MockLightning::builder().secret(Some("a secret")).spawn_thread()?;
/// # let url = lightning.ws_url();
/// let worker = Worker::builder()
///     .lightning(url)
///     .secret("a secret")
///     .workloops("fast_lane:1 manual>*:4")
///     .set("mock", "true") // any key of config/worker.toml
///     .start()?;
/// println!("its status page is http://{}", worker.address());
/// // … later:
/// worker.drain();
/// assert_eq!(worker.wait_blocking(), Exit::Drained);
/// # Ok(())
/// # }
/// ```
pub struct Worker {
    handle: SupervisorHandle,
    address: SocketAddr,
    ended: mpsc::Receiver<Exit>,
}

/// Why an embedded worker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] BadSettings),
    /// The worker does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system gives no thread.
    #[error("no thread can be started for the worker")]
    Thread(#[source] std::io::Error),
    /// The thread ended before the worker was started.
    #[error("the worker's thread ended before it had started")]
    Lost,
}

/// What a worker is told before it starts; defaults are those of the command line, but that the HTTP server listens on any
/// free port of the loopback interface.
#[derive(Debug, Default)]
pub struct Builder {
    given: Vec<(String, String)>,
}

impl Builder {
    /// Any setting by its key in `config/worker.toml`, with the text that an environment variable would have. The last
    /// value given for a key counts.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.given.push((key.into(), value.into()));
        self
    }

    /// The socket endpoint of Lightning, `ws://` or `wss://`.
    #[must_use]
    pub fn lightning(self, url: impl Into<String>) -> Self {
        self.set(table::LIGHTNING.key, url)
    }

    /// The secret shared with Lightning.
    #[must_use]
    pub fn secret(self, secret: impl Into<String>) -> Self {
        self.set(table::SECRET.key, secret)
    }

    /// The queue groups and their slots, such as `fast_lane:1 manual>*:4`.
    #[must_use]
    pub fn workloops(self, groups: impl Into<String>) -> Self {
        self.set(table::WORKLOOPS.key, groups)
    }

    /// Where the HTTP server listens.
    #[must_use]
    pub fn http(self, host: impl Into<String>, port: u16) -> Self {
        self.set(table::HOST.key, host)
            .set(table::PORT.key, port.to_string())
    }

    /// Starts the worker; returns when its HTTP server listens. The connection to Lightning comes up afterwards.
    ///
    /// # Errors
    ///
    /// The settings are wrong (all problems at once), the HTTP server's address is taken, or the system refuses a
    /// resource.
    pub fn start(self) -> Result<Worker, EmbedError> {
        let settings = self.settings()?;
        start::install_tls();
        let (started, starting) = mpsc::channel();
        let (ending, ended) = mpsc::channel();
        std::thread::Builder::new()
            .name("ws-worker".to_owned())
            .spawn(move || {
                actix_rt::System::new().block_on(live(settings, &started, &ending));
            })
            .map_err(EmbedError::Thread)?;
        let (handle, address) = starting.recv().map_err(|_| EmbedError::Lost)??;
        Ok(Worker {
            handle,
            address,
            ended,
        })
    }

    fn settings(self) -> Result<Settings, BadSettings> {
        let mut problems: Vec<SettingProblem> = Vec::new();
        let mut given = vec![
            (&table::HOST, "127.0.0.1".to_owned()),
            (&table::PORT, "0".to_owned()),
        ];
        for (key, value) in self.given {
            match known(&key) {
                Ok(setting) => given.push((setting, value)),
                Err(problem) => problems.push(problem),
            }
        }
        let (settings, bad) = Flags::default().with(given).inspect([]);
        problems.extend(bad);
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(BadSettings(problems))
        }
    }
}

type Started = Result<(SupervisorHandle, SocketAddr), StartError>;

/// The life of the worker's thread.
async fn live(settings: Settings, started: &mpsc::Sender<Started>, ending: &mpsc::Sender<Exit>) {
    let launched = start::launch(settings, Log::default());
    let (answer, launched) = match launched {
        Ok(launched) => (
            Ok((launched.worker.clone(), launched.address)),
            Some(launched),
        ),
        Err(error) => (Err(error), None),
    };
    if started.send(answer).is_err() {
        log::debug!("nobody waits for the worker to start any more");
    }
    if let Some(Launched {
        worker,
        server,
        recorder,
        ..
    }) = launched
    {
        let exit = worker.wait().await;
        server.stop(true).await;
        if let Some(recorder) = recorder {
            recorder.finish();
        }
        if ending.send(exit).is_err() {
            log::debug!("nobody waits for the end of the worker any more");
        }
    }
}

impl Worker {
    /// A builder with nothing set.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where its HTTP server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it does; `None` when it has ended.
    pub async fn status(&self) -> Option<WorkerStatus> {
        self.handle.status().await
    }

    /// Claims once for every group with a free slot; whether a run came back.
    pub async fn claim_now(&self) -> bool {
        self.handle.claim_now().await == ClaimOutcome::Claimed
    }

    /// Ends one run with reason `cancel`; whether it was active.
    pub async fn cancel_run(&self, id: &str) -> bool {
        self.handle.cancel_run(RunId::new(id)).await
    }

    /// Takes no more work, finishes what is in hand, then ends.
    pub fn drain(&self) {
        self.handle.drain();
    }

    /// Ends the runs in hand as `exception`, `WorkerShutdown`, then ends.
    pub fn stop_now(&self) {
        self.handle.stop_now();
    }

    /// Waits until it has ended.
    pub async fn wait(&self) -> Exit {
        self.handle.wait().await
    }

    /// Waits, without a runtime, until it has ended and its HTTP server is closed.
    pub fn wait_blocking(self) -> Exit {
        // A thread that ends without a word has panicked.
        self.ended
            .recv()
            .unwrap_or_else(|_| Exit::GaveUp("the worker's thread died".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_settings_that_are_wrong_are_named_at_once() {
        let started = Worker::builder()
            .set("capacitty", "3")
            .set("backoff", "5/1")
            .start();
        let Err(error) = started else {
            panic!("it started")
        };
        let text = error.to_string();
        for part in ["did you mean `capacity`?", "5/1", "WORKER_SECRET"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
