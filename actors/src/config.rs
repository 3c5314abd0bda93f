//! What the actors are told at start. `src/` builds it from flags, environment and file; nothing here reads any of them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use adaptors::{AllowedSources, DependencySource};
use protocol::backoff::ClaimBackoff;
use protocol::lightning::escaped_len;
use protocol::size::Mebibytes;
use protocol::token::RunTokenKey;
use protocol::workloop::Workloop;
pub use sandbox::egress::{BadEntry as BadEgressEntry, Rules as EgressRules};
pub use sandbox::{MemoryEnforcement, SandboxMode};

use crate::engine_pool::RecordedEngine;
use crate::lightning::Recorder;
use crate::metrics::Metrics;
use crate::traces::Traces;

/// A text that never shows in `Debug`, so that no log line can leak it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that signs with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Everything the worker's actors need to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who this worker is.
    pub identity: Identity,
    /// How to reach Lightning.
    pub lightning: LightningConfig,
    /// The queue groups, one workloop each; at least one.
    pub workloops: Vec<Workloop>,
    /// When to claim.
    pub claims: ClaimConfig,
    /// How reports are delivered.
    pub delivery: DeliveryConfig,
    /// Limits of a run whose plan does not name its own.
    pub limits: RunLimits,
    /// What executes runs.
    pub engine: EngineConfig,
    /// Collections, if a URL was given.
    pub collections: Option<CollectionsConfig>,
    /// When the runs that a draining worker still has are ended as `exception`, `WorkerShutdown`.
    pub shutdown_grace: ShutdownGrace,
    /// Where the actors count what they do.
    pub metrics: Metrics,
    /// Who makes traces of the runs.
    pub traces: Traces,
}

impl Config {
    /// Slots of all groups together.
    pub fn capacity(&self) -> u32 {
        self.workloops.iter().map(|workloop| workloop.slots).sum()
    }
}

/// How long a draining worker waits for its runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownGrace {
    /// For all of them, unless Lightning has been out of reach for so long at a stretch: they could not be reported.
    Auto {
        /// How long.
        away: Duration,
    },
    /// For all of them, whatever happens.
    Never,
    /// This long.
    After(Duration),
}

/// Who this worker is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The `worker_id` of the worker token, new each process start (protocol spec, section 1.2).
    pub id: String,
    /// The `worker_name` of a claim (`WORKER_NAME`), null on the wire when absent.
    pub name: Option<String>,
    /// This program's version, sent when connecting and in `run:start`.
    pub version: String,
}

/// How to reach Lightning.
#[derive(Debug, Clone)]
pub struct LightningConfig {
    /// The endpoint as configured, e.g. `ws://localhost:4000/worker`; `/websocket` is appended (protocol spec, section 1.1).
    pub endpoint: String,
    /// Signs the worker token.
    pub secret: Secret,
    /// Verifies run tokens, when set (protocol spec, section 7).
    pub run_token_key: Option<RunTokenKey>,
    /// A PEM file of certificates trusted besides the system's (`NODE_EXTRA_CA_CERTS`, as Node has it).
    pub extra_ca_file: Option<PathBuf>,
    /// Offer permessage-deflate (RFC 7692), and use it where the server takes it.
    pub compression: bool,
    /// How long any message but a claim waits for its reply before it counts as late.
    pub message_timeout: Duration,
    /// Longest time that a claim without a reply keeps its slots; twice the message timeout where that is shorter.
    pub claim_timeout: Duration,
    /// What goes over the wire is recorded here, when set.
    pub recorder: Option<Recorder>,
}

/// When to claim.
#[derive(Debug, Clone)]
pub struct ClaimConfig {
    /// `false` under `--no-loop`: only `/claim` and `work-available` claim.
    pub looping: bool,
    /// Waits between claims of one group.
    pub backoff: ClaimBackoff,
    /// Most runs that one claim asks for, where Lightning has said that there is work; 1 is the reference's way. An
    /// answer that is lost costs the runs in it.
    pub demand: usize,
}

/// How reports are delivered.
#[derive(Debug, Clone)]
pub struct DeliveryConfig {
    /// Unanswered reports a run may have in flight; 1 is the reference's lock-step.
    pub window: usize,
    /// Bytes of unanswered reports a run may hold before its job has to wait.
    pub outbox_bytes: usize,
    /// How often a dataclip or credential is asked for while Lightning does not answer, before its run fails.
    pub request_attempts: u32,
    /// Longest wait before a run's channel is joined again.
    pub retry_delay: Duration,
    /// Send log lines as `run:batch_logs`, when set.
    pub batch: Option<BatchConfig>,
    /// The largest frame that Lightning takes.
    pub frames: FrameLimit,
}

/// The largest frame that Lightning takes: newer versions close the socket, and with it every channel, over a larger one
/// (protocol spec, section 1.1).
#[derive(Debug, Clone, Copy)]
pub struct FrameLimit {
    bytes: Option<usize>,
    given: Mebibytes,
}

impl FrameLimit {
    /// What a frame has around its payload, at most: its array, two refs, a topic and an event, bytes.
    const AROUND: usize = 512;

    /// A report has fields beside its state: ids, figures, an error, bytes.
    const BESIDE_STATE: usize = 4 << 10;

    /// A limit of this size; 0 is none.
    pub fn new(limit: Mebibytes) -> Self {
        let bytes = usize::try_from(limit.bytes()).unwrap_or(usize::MAX);
        Self {
            bytes: (bytes > 0).then_some(bytes),
            given: limit,
        }
    }

    /// MiB, as it was given.
    pub fn mebibytes(self) -> f64 {
        self.given.get()
    }

    /// Whether a frame with a payload of so many bytes is taken.
    pub fn take_payload(self, bytes: usize) -> bool {
        self.bytes
            .is_none_or(|limit| bytes.saturating_add(Self::AROUND) <= limit)
    }

    /// Whether a report is taken that has a state of so many bytes, as they are on the wire.
    pub fn take(self, state_bytes: usize) -> bool {
        self.take_payload(state_bytes.saturating_add(Self::BESIDE_STATE))
    }

    /// Whether a report is taken that has this JSON text in a string: quotes and backslashes become two bytes.
    pub fn take_escaped(self, json: &str) -> bool {
        // JSON has no control characters but line ends and tabs, which become two bytes as well.
        self.take(json.len().saturating_mul(2)) || self.take(escaped_len(json))
    }
}

/// How log lines are batched (protocol spec, section 5.4).
#[derive(Debug, Clone, Copy)]
pub struct BatchConfig {
    /// Lines after which a batch goes out.
    pub limit: usize,
    /// Time after which an open batch goes out.
    pub interval: Duration,
}

/// Limits of a run whose plan does not name its own (protocol spec, section 6.4).
#[derive(Debug, Clone, Copy)]
pub struct RunLimits {
    /// Run timeout; zero is none.
    pub timeout: Duration,
    /// V8 heap of a run.
    pub memory: Mebibytes,
    /// Largest dataclip sent to Lightning; zero sends none.
    pub payload: Mebibytes,
    /// Largest log line sent to Lightning; zero sends none.
    pub log_payload: Mebibytes,
    /// Largest state of a step; `None` is the run's memory limit.
    pub state: Option<Mebibytes>,
}

/// What executes runs.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one, read at start")]
pub enum EngineConfig {
    /// The mock engine of the engine spec, section 9: no Node. By [`EngineConfig::mock`], which asks whether it is there.
    Mock,
    /// That of a replay, which says what it is told to say.
    Recorded(RecordedEngine),
    /// Node children running `@openfn/runtime`.
    Node(NodeConfig),
}

/// The program was built without the cargo feature `mock-engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this build has no mock engine: build with the cargo feature `mock-engine` (an image with `--build-arg FEATURES=mock-engine`)"
)]
pub struct NoMockEngine;

impl EngineConfig {
    /// The mock engine.
    ///
    /// # Errors
    /// In a program that has none.
    pub fn mock() -> Result<Self, NoMockEngine> {
        if cfg!(feature = "mock-engine") {
            Ok(Self::Mock)
        } else {
            Err(NoMockEngine)
        }
    }
}

/// How engine children are run.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The Node.js executable, found on `PATH` when it is a bare name.
    pub node: PathBuf,
    /// The engine program with its packages (`WORKER_ENGINE_DIR`); `None` installs it into `cache_dir`.
    pub engine_dir: Option<PathBuf>,
    /// Where the engine program is installed when no folder is given.
    pub cache_dir: PathBuf,
    /// The adaptor repository.
    pub repo_dir: PathBuf,
    /// Take the locks that make the repository safe between processes.
    pub repo_lock: bool,
    /// Where an adaptor's dependencies may come from, besides the registry.
    pub adaptor_sources: AllowedSources,
    /// Where `@local` adaptors are.
    pub monorepo_dir: Option<PathBuf>,
    /// Adaptor specifiers to install and load at start.
    pub preload: Vec<String>,
    /// Children that wait for a run.
    pub spares: Spares,
    /// Whether children are sandboxed.
    pub sandbox: SandboxMode,
    /// Where jobs may not connect to.
    pub egress: EgressRules,
    /// How memory is limited beyond the V8 heap.
    pub memory_enforcement: MemoryEnforcement,
    /// What a run may have in files of its own.
    pub files: Mebibytes,
    /// How long a new child may take to say that it is ready.
    pub validation_timeout: Duration,
    /// Further tries after a first failed handshake.
    pub validation_retries: u32,
    /// Keys deleted from the state at the end of each step.
    pub state_props_to_remove: Vec<String>,
    /// Peak memory of each step.
    pub profile: Option<Duration>,
}

impl NodeConfig {
    /// What installs and bundles.
    pub(crate) fn tools(&self) -> adaptors::Tools {
        adaptors::Tools {
            node: self.node.clone(),
            sandbox: self.sandbox,
            sources: self.adaptor_sources,
        }
    }
}

/// How many children are kept ready for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spares {
    /// So many.
    Exactly(usize),
    /// As many as the last minute's runs needed at once: one at least, and no more than so many.
    UpTo(usize),
}

/// Where collections live (protocol spec, section 6.5).
#[derive(Debug, Clone)]
pub struct CollectionsConfig {
    /// The endpoint given to jobs.
    pub url: String,
    /// The adaptor version: a version, `latest` (asked of npm once at start) or `local`.
    pub version: String,
}
