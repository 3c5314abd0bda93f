//! Every setting of the worker. Flags, variables and defaults of the reference keep their names and meaning; the rest is
//! this project's. The flag is the key: `--claim-timeout` is `claim-timeout` in the file.

use super::setting::Heading::{
    Collections, Engine, Http, Lightning, Limits, Logging, Sentry, Workloops,
};
use super::setting::Setting;

pub(crate) static LIGHTNING: Setting = Setting::text(
    Lightning,
    "lightning",
    "URL",
    "Socket endpoint of Lightning, ws:// or wss://. `mock` is ws://localhost:8888/worker, and no secret is needed then",
)
.short('l')
.aliases(&["lightning-service-url"])
.env(&["WORKER_LIGHTNING_SERVICE_URL"])
.default("ws://localhost:4000/worker");

pub(crate) static SECRET: Setting = Setting::text(
    Lightning,
    "secret",
    "TEXT",
    "Signs the worker token; the same text as Lightning's WORKER_SECRET. Required",
)
.short('s')
.env(&["WORKER_SECRET"])
.secret()
.verbatim();

pub(crate) static LIGHTNING_PUBLIC_KEY: Setting = Setting::text(
    Lightning,
    "lightning-public-key",
    "BASE64",
    "Verify run tokens with this public key: the base64 of a PEM file",
)
.env(&["WORKER_LIGHTNING_PUBLIC_KEY"]);

pub(crate) static EXTRA_CA_FILE: Setting = Setting::text(
    Lightning,
    "extra-ca-file",
    "FILE",
    "PEM file of certificates trusted besides the system's, as Node.js has it",
)
.env(&["NODE_EXTRA_CA_CERTS"]);

pub(crate) static COMPRESSION: Setting = Setting::switch(
    Lightning,
    "compression",
    "true",
    "Offer to compress messages above 4 KiB (permessage-deflate); used where Lightning takes the offer",
)
.env(&["WORKER_COMPRESSION"]);

pub(crate) static NAME: Setting = Setting::text(
    Lightning,
    "name",
    "TEXT",
    "Name of this worker in its claims. Without WORKER_NAME, DEPLOYED_POD_NAME counts",
)
.env(&["WORKER_NAME", "DEPLOYED_POD_NAME"]);

pub(crate) static MESSAGE_TIMEOUT: Setting = Setting::text(
    Lightning,
    "message-timeout",
    "SECONDS",
    "How long a message waits for its reply before it counts as late",
)
.aliases(&["message-timeout-seconds"])
.env(&["WORKER_MESSAGE_TIMEOUT_SECONDS"])
.default("30");

pub(crate) static CLAIM_TIMEOUT: Setting = Setting::text(
    Lightning,
    "claim-timeout",
    "SECONDS",
    "Longest time that a claim without a reply keeps its slots: twice the message timeout, or this where it is shorter. A later reply counts all the same",
)
.aliases(&["claim-timeout-seconds"])
.env(&["WORKER_CLAIM_TIMEOUT_SECONDS"])
.default("3600");

pub(crate) static SOCKET_TIMEOUT: Setting = Setting::text(
    Lightning,
    "socket-timeout",
    "SECONDS",
    "Deprecated: sets the message timeout",
)
.aliases(&["socket-timeout-seconds"])
.env(&["WORKER_SOCKET_TIMEOUT_SECONDS"]);

pub(crate) static TIMEOUT_RETRY_COUNT: Setting = Setting::text(
    Lightning,
    "timeout-retry-count",
    "COUNT",
    "Times that a dataclip or credential is asked for while Lightning does not answer, before the run fails. Events of a run are sent again until its token expires",
)
.env(&["WORKER_TIMEOUT_RETRY_COUNT"])
.default("10");

pub(crate) static TIMEOUT_RETRY_DELAY: Setting = Setting::text(
    Lightning,
    "timeout-retry-delay",
    "MS",
    "Longest wait before a run joins its channel again, to send what was not answered",
)
.aliases(&["timeout-retry-delay-ms"])
.env(&["WORKER_TIMEOUT_RETRY_DELAY_MS"])
.default("30000");

pub(crate) static EVENT_WINDOW: Setting = Setting::text(
    Lightning,
    "event-window",
    "COUNT",
    "Events a run may have sent without an answer. 1 waits for each answer, as the reference does",
)
.env(&["WORKER_EVENT_WINDOW"])
.default("48");

pub(crate) static MAX_FRAME: Setting = Setting::text(
    Lightning,
    "max-frame-mb",
    "MB",
    "Largest message that Lightning takes; what is larger is withheld. Newer versions close the connection over one of 11,000,000 bytes. 0 for no limit",
)
.env(&["WORKER_MAX_FRAME_MB"])
.default("10.4");

pub(crate) static BATCH_LOGS: Setting = Setting::switch(
    Lightning,
    "batch-logs",
    "false",
    "Send log lines in batches",
)
.env(&["WORKER_BATCH_LOGS"]);

pub(crate) static BATCH_INTERVAL: Setting = Setting::text(
    Lightning,
    "batch-interval",
    "MS",
    "How long a batch of log lines stays open",
)
.env(&["WORKER_BATCH_INTERVAL"])
.default("10");

pub(crate) static BATCH_LIMIT: Setting = Setting::text(
    Lightning,
    "batch-limit",
    "LINES",
    "Lines after which a batch is sent at once",
)
.env(&["WORKER_BATCH_LIMIT"])
.default("50");

pub(crate) static CAPACITY: Setting = Setting::text(
    Workloops,
    "capacity",
    "COUNT",
    "Runs at a time: short for --workloops \"manual>*:COUNT\"",
)
.env(&["WORKER_CAPACITY"])
.default("5");

pub(crate) static WORKLOOPS: Setting = Setting::text(
    Workloops,
    "workloops",
    "GROUPS",
    "Queue groups and their slots, such as \"fast_lane:1 manual>*:4\"; not together with --capacity",
)
.env(&["WORKER_WORKLOOPS"])
.default("manual>*:5");

pub(crate) static LOOP: Setting = Setting::switch(
    Workloops,
    "loop",
    "true",
    "Whether to claim on a timer. Without, runs are claimed only by POST /claim and when Lightning calls",
);

pub(crate) static CLAIM_DEMAND: Setting = Setting::text(
    Workloops,
    "claim-demand",
    "COUNT",
    "Runs that one claim may ask for when Lightning says that there is work. An answer that is lost costs as many",
)
.env(&["WORKER_CLAIM_DEMAND"])
.default("1");

pub(crate) static BACKOFF: Setting = Setting::text(
    Workloops,
    "backoff",
    "MIN/MAX",
    "Seconds between claims while there is nothing to claim: the first wait, and the longest. A claim that brought a run is followed by the next at once",
)
.env(&["WORKER_BACKOFF"])
.default("1/10");

pub(crate) static SHUTDOWN_GRACE: Setting = Setting::text(
    Workloops,
    "shutdown-grace-seconds",
    "SECONDS",
    "After this time of draining the remaining runs are ended as WorkerShutdown. `auto`: when Lightning has been out of reach \
     for --max-run-duration-seconds and 30 s; `none`: never",
)
.env(&["WORKER_SHUTDOWN_GRACE_SECONDS"])
.default("auto");

pub(crate) static END_WITH_PARENT: Setting = Setting::switch(
    Workloops,
    "end-with-parent",
    "false",
    "Drain when the Node.js process that forked this worker has gone, and tell that process the worker's address after READY",
)
.env(&["WORKER_END_WITH_PARENT"]);

pub(crate) static REPO_DIR: Setting =
    Setting::text(Engine, "repo-dir", "DIR", "Where adaptors are installed")
        .short('d')
        .env(&["WORKER_REPO_DIR"])
        .default("~/.openfn/worker/repo");

pub(crate) static REPO_LOCK: Setting = Setting::switch(
    Engine,
    "repo-lock",
    "true",
    "Whether to lock the adaptor repository against other processes while installing",
);

pub(crate) static ALLOW_ADAPTOR_SOURCES: Setting = Setting::list(
    Engine,
    "allow-adaptor-sources",
    "SOURCES",
    "Where dependencies of adaptors may come from besides the registry: `git` (npm then starts git, and what the package \
     names), `file` (of this machine), `url`",
)
.env(&["WORKER_ALLOW_ADAPTOR_SOURCES"]);

pub(crate) static MONOREPO_DIR: Setting = Setting::text(
    Engine,
    "monorepo-dir",
    "DIR",
    "Where adaptors with the version `local` are loaded from",
)
.short('m')
.env(&["OPENFN_ADAPTORS_REPO"]);

pub(crate) static PRELOAD_ADAPTORS: Setting = Setting::list(
    Engine,
    "preload-adaptors",
    "SPECIFIERS",
    "Adaptors to install and load at start, such as @openfn/language-http@7.2.10",
)
.env(&["WORKER_PRELOAD_ADAPTORS"]);

pub(crate) static MOCK: Setting = Setting::switch(
    Engine,
    "mock",
    "false",
    "Use the mock engine, which needs no Node.js",
);

pub(crate) static NODE: Setting = Setting::text(
    Engine,
    "node",
    "FILE",
    "The Node.js executable, version 20 or newer",
)
.env(&["WORKER_NODE"])
.default("node");

pub(crate) static ENGINE_DIR: Setting = Setting::text(
    Engine,
    "engine-dir",
    "DIR",
    "The engine program with its packages. Unset: it is installed into --engine-cache-dir when missing",
)
.env(&["WORKER_ENGINE_DIR"]);

pub(crate) static ENGINE_CACHE_DIR: Setting = Setting::text(
    Engine,
    "engine-cache-dir",
    "DIR",
    "Where the engine program is installed",
)
.env(&["WORKER_ENGINE_CACHE_DIR"])
.default("~/.openfn/worker/engine");

pub(crate) static ENGINE_SPARES: Setting = Setting::text(
    Engine,
    "engine-spares",
    "COUNT",
    "Engine children kept ready for a run, with the adaptors loaded that it is likely to use. `auto` keeps as many as the last minute's runs needed at once: one at least, and no more than the slots or than fit into a quarter of the memory that is left at start",
)
.env(&["WORKER_ENGINE_SPARES"])
.default("auto");

pub(crate) static SANDBOX: Setting = Setting::text(
    Engine,
    "sandbox",
    "MODE",
    "OS sandbox of engine children: `auto`, `strict` (refuse to start without it) or `off`",
)
.env(&["WORKER_SANDBOX"])
.default("auto");

pub(crate) static DENY_EGRESS: Setting = Setting::list(
    Engine,
    "deny-egress",
    "CIDR",
    "Addresses that jobs cannot connect to, such as 10.0.0.0/8, besides link-local ones, the clouds' metadata services and the worker's own port \
     (`own-port`); `none` leaves out these",
)
.env(&["WORKER_DENY_EGRESS"]);

pub(crate) static ALLOW_EGRESS: Setting = Setting::list(
    Engine,
    "allow-egress",
    "CIDR",
    "Addresses that jobs can connect to although --deny-egress has them",
)
.env(&["WORKER_ALLOW_EGRESS"]);

pub(crate) static MEMORY_ENFORCEMENT: Setting = Setting::text(
    Engine,
    "memory-enforcement",
    "MODE",
    "What holds the memory limit beyond the V8 heap: `heap`, `cgroup` or `auto`",
)
.env(&["WORKER_MEMORY_ENFORCEMENT"])
.default("auto");

pub(crate) static VALIDATION_TIMEOUT: Setting = Setting::text(
    Engine,
    "engine-validation-timeout-ms",
    "MS",
    "How long a new engine child may take to say that it is ready",
)
.env(&["WORKER_VALIDATION_TIMEOUT_MS"])
.default("5000");

pub(crate) static VALIDATION_RETRIES: Setting = Setting::text(
    Engine,
    "engine-validation-retries",
    "COUNT",
    "Further tries when the engine does not start",
)
.env(&["WORKER_VALIDATION_RETRIES"])
.default("3");

pub(crate) static STATE_PROPS_TO_REMOVE: Setting = Setting::list(
    Engine,
    "state-props-to-remove",
    "KEYS",
    "Keys removed from the state at the end of each step",
)
.env(&["WORKER_STATE_PROPS_TO_REMOVE"])
.default("configuration,response");

pub(crate) static PROFILE: Setting = Setting::switch(
    Engine,
    "profile",
    "false",
    "Measure the peak memory of each step",
)
.env(&["WORKER_PROFILE"]);

pub(crate) static PROFILE_POLL_INTERVAL: Setting = Setting::text(
    Engine,
    "profile-poll-interval-ms",
    "MS",
    "How often the profiler looks",
)
.env(&["WORKER_PROFILE_POLL_INTERVAL_MS"])
.default("10");

pub(crate) static RUN_MEMORY: Setting =
    Setting::text(Limits, "run-memory", "MB", "Memory of a run")
        .env(&["WORKER_MAX_RUN_MEMORY_MB"])
        .default("500");

pub(crate) static RUN_FILES: Setting = Setting::text(
    Limits,
    "run-files",
    "MB",
    "What a run may write into temporary files; of these it may have 10000",
)
.env(&["WORKER_MAX_RUN_FILES_MB"])
.default("1024");

pub(crate) static PAYLOAD_MEMORY: Setting = Setting::text(
    Limits,
    "payload-memory",
    "MB",
    "Largest dataclip sent to Lightning, 0 to send none",
)
.env(&["WORKER_MAX_PAYLOAD_MB"])
.default("10");

pub(crate) static LOG_PAYLOAD_MEMORY: Setting = Setting::text(
    Limits,
    "log-payload-memory",
    "MB",
    "Largest log line sent to Lightning, 0 to send none",
)
.env(&["WORKER_MAX_LOG_PAYLOAD_MB"])
.default("1");

pub(crate) static STATE_MEMORY: Setting = Setting::text(
    Limits,
    "state-memory",
    "MB",
    "Largest state of a step. Unset: the run's memory limit",
)
.env(&["WORKER_MAX_STATE_MEMORY_MB"]);

pub(crate) static MAX_RUN_DURATION: Setting = Setting::text(
    Limits,
    "max-run-duration-seconds",
    "SECONDS",
    "Longest time a run may take, 0 for no limit",
)
.short('t')
.env(&["WORKER_MAX_RUN_DURATION_SECONDS"])
.default("300");

pub(crate) static LOG: Setting = Setting::text(
    Logging,
    "log",
    "LEVEL",
    "What is logged: none, error, always, warn, success, info, debug or trace, and TARGET=LEVEL for one part, as in \
     info,actors::run=debug",
)
.env(&["WORKER_LOG_LEVEL"])
.default(crate::logging::DEFAULT_FILTER);

pub(crate) static LOG_FORMAT: Setting = Setting::text(
    Logging,
    "log-format",
    "FORMAT",
    "`text`; `json` for one object a line in the names of OpenTelemetry; `gcp` in those of Google Cloud's logging",
)
.env(&["WORKER_LOG_FORMAT"])
.default("text");

pub(crate) static RECORD: Setting = Setting::text(
    Logging,
    "record",
    "FILE",
    "Record what is said to Lightning, for `ws-worker replay`. Secrets, dataclips and log texts are replaced, job code is not",
)
.env(&["WORKER_RECORD"]);

pub(crate) static RECORD_DATA: Setting = Setting::switch(
    Logging,
    "record-data",
    "false",
    "Leave dataclips and log texts in the recording",
)
.env(&["WORKER_RECORD_DATA"]);

pub(crate) static RECORD_MAX: Setting = Setting::text(
    Logging,
    "record-max-mb",
    "MB",
    "Size from which on a recording goes on in a new file. The one before is kept as FILE.1",
)
.env(&["WORKER_RECORD_MAX_MB"])
.default("64");

pub(crate) static HOST: Setting = Setting::text(
    Http,
    "host",
    "ADDRESS",
    "Address the HTTP server listens on",
)
.env(&["WORKER_HOST"])
.default("0.0.0.0");

pub(crate) static PORT: Setting = Setting::text(
    Http,
    "port",
    "PORT",
    "Port the HTTP server listens on, 0 for any free one",
)
.short('p')
.env(&["WORKER_PORT"])
.default("2222");

pub(crate) static HTTP_TOKEN: Setting = Setting::text(
    Http,
    "http-token",
    "TEXT",
    "Bearer token that everything but the health endpoints then asks for",
)
.env(&["WORKER_HTTP_TOKEN"])
.secret();

pub(crate) static PEERS: Setting = Setting::list(
    Http,
    "peers",
    "URL",
    "Addresses of other workers, such as http://worker-2:2222, which the status page shows beside this one. They are asked with this worker's --http-token",
)
.env(&["WORKER_PEERS"]);

pub(crate) static COLLECTIONS_URL: Setting = Setting::text(
    Collections,
    "collections-url",
    "URL",
    "Collections endpoint given to jobs; enables collections",
)
.short('c')
.env(&["WORKER_COLLECTIONS_URL"]);

pub(crate) static COLLECTIONS_VERSION: Setting = Setting::text(
    Collections,
    "collections-version",
    "VERSION",
    "Version of the collections adaptor, `latest` or `local`",
)
.env(&["WORKER_COLLECTIONS_VERSION"])
.default("latest");

pub(crate) static SENTRY_DSN: Setting =
    Setting::text(Sentry, "sentry-dsn", "DSN", "Where errors are reported")
        .aliases(&["dsn"])
        .env(&["WORKER_SENTRY_DSN"])
        .secret();

pub(crate) static SENTRY_ENV: Setting = Setting::text(
    Sentry,
    "sentry-env",
    "TEXT",
    "Environment named in error reports",
)
.env(&["WORKER_SENTRY_ENV"])
.default("dev");

pub(crate) static DEBUG: Setting =
    Setting::switch(Lightning, "debug", "false", "Allow a missing secret").hidden();

/// The settings that decide what the worker says to Lightning: they stand in the header of a recording, and hold for its
/// replay.
pub(crate) static RECORDED: &[&Setting] = &[
    &MESSAGE_TIMEOUT,
    &CLAIM_TIMEOUT,
    &TIMEOUT_RETRY_COUNT,
    &TIMEOUT_RETRY_DELAY,
    &EVENT_WINDOW,
    &BATCH_LOGS,
    &BATCH_INTERVAL,
    &BATCH_LIMIT,
    &WORKLOOPS,
    &LOOP,
    &BACKOFF,
    &CLAIM_DEMAND,
    &MOCK,
    &RUN_MEMORY,
    &PAYLOAD_MEMORY,
    &LOG_PAYLOAD_MEMORY,
    &STATE_MEMORY,
    &MAX_RUN_DURATION,
];

/// Every setting, in the order in which `--help` and `config` show them.
pub(crate) static ALL: &[&Setting] = &[
    &LIGHTNING,
    &SECRET,
    &LIGHTNING_PUBLIC_KEY,
    &EXTRA_CA_FILE,
    &COMPRESSION,
    &NAME,
    &MESSAGE_TIMEOUT,
    &CLAIM_TIMEOUT,
    &SOCKET_TIMEOUT,
    &TIMEOUT_RETRY_COUNT,
    &TIMEOUT_RETRY_DELAY,
    &EVENT_WINDOW,
    &MAX_FRAME,
    &BATCH_LOGS,
    &BATCH_INTERVAL,
    &BATCH_LIMIT,
    &DEBUG,
    &CAPACITY,
    &WORKLOOPS,
    &LOOP,
    &BACKOFF,
    &CLAIM_DEMAND,
    &SHUTDOWN_GRACE,
    &END_WITH_PARENT,
    &REPO_DIR,
    &REPO_LOCK,
    &ALLOW_ADAPTOR_SOURCES,
    &MONOREPO_DIR,
    &PRELOAD_ADAPTORS,
    &MOCK,
    &NODE,
    &ENGINE_DIR,
    &ENGINE_CACHE_DIR,
    &ENGINE_SPARES,
    &SANDBOX,
    &DENY_EGRESS,
    &ALLOW_EGRESS,
    &MEMORY_ENFORCEMENT,
    &VALIDATION_TIMEOUT,
    &VALIDATION_RETRIES,
    &STATE_PROPS_TO_REMOVE,
    &PROFILE,
    &PROFILE_POLL_INTERVAL,
    &RUN_MEMORY,
    &RUN_FILES,
    &PAYLOAD_MEMORY,
    &LOG_PAYLOAD_MEMORY,
    &STATE_MEMORY,
    &MAX_RUN_DURATION,
    &LOG,
    &LOG_FORMAT,
    &RECORD,
    &RECORD_DATA,
    &RECORD_MAX,
    &HOST,
    &PORT,
    &HTTP_TOKEN,
    &PEERS,
    &COLLECTIONS_URL,
    &COLLECTIONS_VERSION,
    &SENTRY_DSN,
    &SENTRY_ENV,
];
