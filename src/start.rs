//! `ws-worker start`: the worker from its first line to its exit code.

mod signals;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::dev::ServerHandle;
use actors::causes::with_causes;
use actors::config::EngineConfig;
use actors::lightning::{Recorder, TlsError};
use actors::supervisor::{
    ClaimOutcome, Exit, Supervisor, SupervisorHandle, WorkerState, WorkerStatus,
};
use actors::traces::Traces;
use futures_util::FutureExt as _;
use log_events::{event, millis, table};
use protocol::ids::RunId;
use protocol::lightning::Timestamp;
use protocol::recording::{self, Header};
use traces::RunTracer;

use self::signals::{Signals, Terminating, louder_on_signal};
use crate::http::{BindError, Bound, Controls};
use crate::ipc::ParentChannel;
use crate::logging::Log;
use crate::settings::Settings;

/// How long the runs in hand may take to tell Lightning of their end after the second signal.
const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// Why the worker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address of the HTTP server is taken or no address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The operating system gives no socket or no signals.
    #[error("the operating system refused a resource")]
    Resource(#[from] std::io::Error),
    /// The file of `--record` cannot be written.
    #[error("the recording {} cannot be begun: give --record a file in a folder that the worker may write to", .file.display())]
    Recording {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Runs the worker until it has ended; returns the exit code (command line spec, section 3). To be called inside an
/// actix System, on its main arbiter.
///
/// # Errors
///
/// The worker could not be started; nothing of it runs then.
pub async fn run(
    settings: Settings,
    parent: Option<ParentChannel>,
    log: Log,
) -> Result<u8, StartError> {
    let mut signals = Signals::new()?;
    let tied = settings.end_with_parent;
    louder_on_signal(log.level.clone())?;
    let Launched {
        worker,
        server,
        address,
        recorder,
        tracer,
    } = launch(settings, log)?;
    let parent = parent.map(|parent| tell_ready(parent, tied.then_some(address)));
    let code = until_ended(worker, server, &mut signals, gone(parent, tied)).await;
    if let Some(recorder) = recorder {
        recorder.finish();
    }
    if let Some(tracer) = tracer {
        tracer.finish();
    }
    Ok(code)
}

/// A worker at work, with its HTTP server.
pub(crate) struct Launched {
    pub(crate) worker: SupervisorHandle,
    pub(crate) server: ServerHandle,
    pub(crate) address: SocketAddr,
    pub(crate) recorder: Option<Recorder>,
    pub(crate) tracer: Option<RunTracer>,
}

/// Starts the worker and its HTTP server, inside an actix System.
pub(crate) fn launch(mut settings: Settings, log: Log) -> Result<Launched, StartError> {
    let bound = Bound::new(&settings.http)?;
    for warning in &settings.warnings {
        event!(table::SETTINGS_DOUBTFUL; "{warning}");
    }
    event!(
        table::WORKER_STARTING, version = crate::VERSION, worker_name:% = settings.worker.identity.id;
        "ws-worker {} starting as {}",
        crate::VERSION,
        settings.worker.identity.id
    );
    for workloop in &settings.worker.workloops {
        event!(table::WORKLOOP_OPENED, workloop = workloop.id.as_str(), slots = workloop.slots; "workloop {} with {} slots", workloop.id, workloop.slots);
    }
    let address = bound.address();
    let metrics = settings.worker.metrics.clone();
    let looping = settings.worker.claims.looping;
    if let EngineConfig::Node(engine) = &mut settings.worker.engine {
        engine.egress = std::mem::take(&mut engine.egress).with_own_port(address.port());
    }
    let recorder = record(&settings)?;
    settings.worker.lightning.recorder.clone_from(&recorder);
    let tracer = trace(&settings);
    if let Some(tracer) = &tracer {
        settings.worker.traces = Traces::by(Arc::new(tracer.clone()));
        log.traces.are_made_by(tracer.clone());
    }
    let worker = Supervisor::start(settings.worker)?;
    let server = bound.serve(worker.clone(), &settings.http, &metrics, log)?;
    event!(table::WORKER_LISTENING, address:% = address; "listening on http://{address}");
    if !looping {
        event!(table::WORKER_ON_REQUEST, address:% = address; "nothing is claimed until asked: curl -X POST http://localhost:{}/claim", address.port());
    }
    Ok(Launched {
        worker,
        server,
        address,
        recorder,
        tracer,
    })
}

/// Begins the traces that were asked for. A worker that cannot make them does its work without.
fn trace(settings: &Settings) -> Option<RunTracer> {
    let started = RunTracer::start(
        settings.traces.as_ref()?,
        &settings.worker.identity.id,
        crate::VERSION,
        settings.worker.lightning.extra_ca_file.as_deref(),
    );
    started
        .inspect_err(|error| {
            let error = with_causes(error);
            event!(table::TRACES_REFUSED, error = error; "there are no traces: {error}");
        })
        .ok()
}

/// Begins the recording that was asked for.
fn record(settings: &Settings) -> Result<Option<Recorder>, StartError> {
    let Some(recording) = &settings.recording else {
        return Ok(None);
    };
    let header = Header {
        recording: recording::VERSION,
        worker: crate::VERSION.to_owned(),
        time: Timestamp::from_micros(micros()),
        part: 1,
        data: recording.data,
        settings: settings.recorded(),
    };
    let file = &recording.file;
    let what = if recording.data {
        "dataclips, log texts and job code are in it"
    } else {
        "job code is in it"
    };
    event!(table::RECORDING_STARTED, file:% = file.display(); "recording to {}: {what}", file.display());
    Recorder::start(file, recording.most_bytes, header)
        .map(Some)
        .map_err(|source| StartError::Recording {
            file: file.clone(),
            source,
        })
}

fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}

/// Gives the process its TLS provider, unless it has one.
pub fn install_tls() {
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        log::debug!("the process has a TLS provider already");
    }
}

/// Tells a parent that the worker is ready, and one that has asked for it the address.
fn tell_ready(mut parent: ParentChannel, address: Option<SocketAddr>) -> ParentChannel {
    let told = parent
        .send_ready()
        .and_then(|()| address.map_or(Ok(()), |address| parent.send_address(address)));
    if let Err(error) = told {
        event!(table::WORKER_PARENT_DEAF, error:% = error; "the parent process could not be told that the worker is ready: {error}");
    }
    parent
}

/// Resolves when the parent that this worker is tied to has gone; never without one. It holds the channel open: a parent
/// takes its closing for our death.
async fn gone(parent: Option<ParentChannel>, tied: bool) {
    match parent {
        Some(parent) if tied => {
            if let Err(error) = parent.closed().await {
                event!(table::WORKER_PARENT_DEAF, error:% = error; "the end of the parent process will not be noticed: {error}");
                std::future::pending::<()>().await;
            }
        }
        parent => {
            let _open = parent;
            std::future::pending::<()>().await;
        }
    }
}

/// What the end of the worker depends on.
enum Occasion {
    Signal(Terminating),
    /// The parent that it is tied to.
    ParentGone,
    /// [`STOP_PATIENCE`] is over.
    OutOfPatience,
}

/// How far the end of the worker has come.
enum Stage {
    Running,
    Draining,
    Stopping { signal: Terminating },
}

async fn until_ended(
    worker: SupervisorHandle,
    server: ServerHandle,
    signals: &mut Signals,
    gone: impl Future<Output = ()>,
) -> u8 {
    let mut gone = std::pin::pin!(gone.fuse());
    let mut stage = Stage::Running;
    loop {
        let patience = async {
            match stage {
                Stage::Running | Stage::Draining => std::future::pending().await,
                Stage::Stopping { .. } => tokio::time::sleep(STOP_PATIENCE).await,
            }
        };
        let occasion = tokio::select! {
            exit = worker.wait() => {
                // Nobody waits for it: a connection that is kept alive must not hold up the end.
                actix_rt::spawn(server.stop(false));
                return match stage {
                    Stage::Stopping { signal } => signal.exit_code(),
                    Stage::Running | Stage::Draining => exit_code(&exit),
                };
            }
            () = patience => Occasion::OutOfPatience,
            () = &mut gone => Occasion::ParentGone,
            signal = signals.next() => Occasion::Signal(signal),
        };
        stage = match (stage, occasion) {
            (Stage::Running, Occasion::ParentGone) => {
                event!(table::WORKER_STOP_REQUESTED, cause = "parent_gone"; "the parent process has gone: draining");
                worker.drain();
                Stage::Draining
            }
            (Stage::Running, Occasion::Signal(signal)) => {
                event!(table::WORKER_STOP_REQUESTED, signal:% = signal, cause = "signal"; "{signal} RECEIVED: CLOSING SERVER");
                worker.drain();
                Stage::Draining
            }
            (Stage::Draining, Occasion::Signal(signal)) => {
                event!(table::WORKER_DRAIN_FORCED, signal:% = signal, cause = "signal"; "{signal} received while draining: ending the runs in hand");
                worker.stop_now();
                Stage::Stopping { signal }
            }
            (Stage::Stopping { signal }, Occasion::Signal(_)) => return signal.exit_code(),
            (Stage::Stopping { signal }, Occasion::OutOfPatience) => {
                event!(
                    table::WORKER_STOP_TIMED_OUT, duration_ms = millis(STOP_PATIENCE);
                    "the runs in hand did not end within {} s; leaving them",
                    STOP_PATIENCE.as_secs()
                );
                return signal.exit_code();
            }
            // Its end has begun already, or it has nobody to wait for.
            (stage, Occasion::ParentGone) => stage,
            (stage @ (Stage::Running | Stage::Draining), Occasion::OutOfPatience) => stage,
        };
    }
}

fn exit_code(exit: &Exit) -> u8 {
    let (code, error) = match exit {
        Exit::Drained => {
            event!(table::WORKER_ENDED, exit_code = 0; "everything in hand is finished");
            return 0;
        }
        Exit::BadToken => (
            1,
            "ended because a run token failed verification: check WORKER_LIGHTNING_PUBLIC_KEY"
                .to_owned(),
        ),
        Exit::EngineUnavailable(why) => (
            70,
            format!("the engine cannot be started: {why}; `ws-worker check` looks for the cause"),
        ),
        Exit::GaveUp(why) => (70, format!("giving up: {why}")),
    };
    event!(table::WORKER_FAILED, error = error, exit_code = code; "{error}");
    code
}

impl Controls for SupervisorHandle {
    async fn claim_now(&self) -> bool {
        Self::claim_now(self).await == ClaimOutcome::Claimed
    }

    async fn status(&self) -> Option<WorkerStatus> {
        Self::status(self).await
    }

    async fn unready(&self) -> Option<String> {
        match Self::status(self).await {
            Some(status) => unready(&status),
            None => Some("the worker is ending".to_owned()),
        }
    }

    async fn cancel_run(&self, id: RunId) -> bool {
        Self::cancel_run(self, id).await
    }

    fn drain(&self) {
        Self::drain(self);
    }
}

/// Why a worker in this state can do no work, if so.
fn unready(status: &WorkerStatus) -> Option<String> {
    if status.state != WorkerState::Running {
        return Some(format!("the worker is {}", status.state));
    }
    if !status.connection.queue_joined {
        let why = status
            .connection
            .last_error
            .as_deref()
            .map_or_else(String::new, |error| format!(": {error}"));
        return Some(format!(
            "not connected to Lightning ({}){why}",
            status.connection.state
        ));
    }
    match &status.engine {
        None => Some("the engine is being restarted".to_owned()),
        Some(engine) if !engine.state.is_ready() => Some(format!("the engine is {}", engine.state)),
        Some(_) => None,
    }
}
