// Made from src/settings/table.rs by `UPDATE_README=1 cargo test --lib options_of_the_npm_package`.

/** The settings of the worker. Whatever is not set here counts as for the program: variable, file, default. */
export interface Settings {
  /** Socket endpoint of Lightning, ws:// or wss://. `mock` is ws://localhost:8888/worker, and no secret is needed then. Variable: `WORKER_LIGHTNING_SERVICE_URL`. Default: `ws://localhost:4000/worker`. */
  lightning?: string | number;
  /** Signs the worker token; the same text as Lightning's WORKER_SECRET. Required. Variable: `WORKER_SECRET`. */
  secret?: string | number;
  /** Verify run tokens with this public key: the base64 of a PEM file. Variable: `WORKER_LIGHTNING_PUBLIC_KEY`. */
  lightningPublicKey?: string | number;
  /** PEM file of certificates trusted besides the system's, as Node.js has it. Variable: `NODE_EXTRA_CA_CERTS`. */
  extraCaFile?: string | number;
  /** Offer to compress messages above 4 KiB (permessage-deflate); used where Lightning takes the offer. Variable: `WORKER_COMPRESSION`. Default: `true`. */
  compression?: boolean;
  /** Name of this worker in its claims. Without WORKER_NAME, DEPLOYED_POD_NAME counts. Variable: `WORKER_NAME`. */
  name?: string | number;
  /** How long a message waits for its reply before it counts as late. Variable: `WORKER_MESSAGE_TIMEOUT_SECONDS`. Default: `30`. */
  messageTimeout?: string | number;
  /** Longest time that a claim without a reply keeps its slots: twice the message timeout, or this where it is shorter. A later reply counts all the same. Variable: `WORKER_CLAIM_TIMEOUT_SECONDS`. Default: `3600`. */
  claimTimeout?: string | number;
  /** Deprecated: sets the message timeout. Variable: `WORKER_SOCKET_TIMEOUT_SECONDS`. */
  socketTimeout?: string | number;
  /** Times that a dataclip or credential is asked for while Lightning does not answer, before the run fails. Events of a run are sent again until its token expires. Variable: `WORKER_TIMEOUT_RETRY_COUNT`. Default: `10`. */
  timeoutRetryCount?: string | number;
  /** Longest wait before a run joins its channel again, to send what was not answered. Variable: `WORKER_TIMEOUT_RETRY_DELAY_MS`. Default: `30000`. */
  timeoutRetryDelay?: string | number;
  /** Events a run may have sent without an answer. 1 waits for each answer, as the reference does. Variable: `WORKER_EVENT_WINDOW`. Default: `48`. */
  eventWindow?: string | number;
  /** Largest message that Lightning takes; what is larger is withheld. Newer versions close the connection over one of 11,000,000 bytes. 0 for no limit. Variable: `WORKER_MAX_FRAME_MB`. Default: `10.4`. */
  maxFrameMb?: string | number;
  /** Send log lines in batches. Variable: `WORKER_BATCH_LOGS`. Default: `false`. */
  batchLogs?: boolean;
  /** How long a batch of log lines stays open. Variable: `WORKER_BATCH_INTERVAL`. Default: `10`. */
  batchInterval?: string | number;
  /** Lines after which a batch is sent at once. Variable: `WORKER_BATCH_LIMIT`. Default: `50`. */
  batchLimit?: string | number;
  /** Runs at a time: short for --workloops "manual>*:COUNT". Variable: `WORKER_CAPACITY`. Default: `5`. */
  capacity?: string | number;
  /** Queue groups and their slots, such as "fast_lane:1 manual>*:4"; not together with --capacity. Variable: `WORKER_WORKLOOPS`. Default: `manual>*:5`. */
  workloops?: string | number;
  /** Whether to claim on a timer. Without, runs are claimed only by POST /claim and when Lightning calls. Default: `true`. */
  loop?: boolean;
  /** Seconds between claims while there is nothing to claim: the first wait, and the longest. A claim that brought a run is followed by the next at once. Variable: `WORKER_BACKOFF`. Default: `1/10`. */
  backoff?: string | number;
  /** Runs that one claim may ask for when Lightning says that there is work. An answer that is lost costs as many. Variable: `WORKER_CLAIM_DEMAND`. Default: `1`. */
  claimDemand?: string | number;
  /** After this time of draining the remaining runs are ended as WorkerShutdown. `auto`: when Lightning has been out of reach for --max-run-duration-seconds and 30 s; `none`: never. Variable: `WORKER_SHUTDOWN_GRACE_SECONDS`. Default: `auto`. */
  shutdownGraceSeconds?: string | number;
  /** Drain when the Node.js process that forked this worker has gone, and tell that process the worker's address after READY. Variable: `WORKER_END_WITH_PARENT`. Default: `false`. */
  endWithParent?: boolean;
  /** Where adaptors are installed. Variable: `WORKER_REPO_DIR`. Default: `~/.openfn/worker/repo`. */
  repoDir?: string | number;
  /** Whether to lock the adaptor repository against other processes while installing. Default: `true`. */
  repoLock?: boolean;
  /** Where dependencies of adaptors may come from besides the registry: `git` (npm then starts git, and what the package names), `file` (of this machine), `url`. Variable: `WORKER_ALLOW_ADAPTOR_SOURCES`. */
  allowAdaptorSources?: string | readonly string[];
  /** Where adaptors with the version `local` are loaded from. Variable: `OPENFN_ADAPTORS_REPO`. */
  monorepoDir?: string | number;
  /** Adaptors to install and load at start, such as @openfn/language-http@7.2.10. Variable: `WORKER_PRELOAD_ADAPTORS`. */
  preloadAdaptors?: string | readonly string[];
  /** Use the mock engine, which needs no Node.js. Default: `false`. */
  mock?: boolean;
  /** The Node.js executable, version 20 or newer. Variable: `WORKER_NODE`. Default: `node`. */
  node?: string | number;
  /** The engine program with its packages. Unset: it is installed into --engine-cache-dir when missing. Variable: `WORKER_ENGINE_DIR`. */
  engineDir?: string | number;
  /** Where the engine program is installed. Variable: `WORKER_ENGINE_CACHE_DIR`. Default: `~/.openfn/worker/engine`. */
  engineCacheDir?: string | number;
  /** Engine children kept ready for a run, with the adaptors loaded that it is likely to use. `auto` keeps as many as the last minute's runs needed at once: one at least, and no more than the slots or than fit into a quarter of the memory that is left at start. Variable: `WORKER_ENGINE_SPARES`. Default: `auto`. */
  engineSpares?: string | number;
  /** OS sandbox of engine children: `auto`, `strict` (refuse to start without it) or `off`. Variable: `WORKER_SANDBOX`. Default: `auto`. */
  sandbox?: string | number;
  /** Addresses that jobs cannot connect to, such as 10.0.0.0/8, besides link-local ones, the clouds' metadata services and the worker's own port (`own-port`); `none` leaves out these. Variable: `WORKER_DENY_EGRESS`. */
  denyEgress?: string | readonly string[];
  /** Addresses that jobs can connect to although --deny-egress has them. Variable: `WORKER_ALLOW_EGRESS`. */
  allowEgress?: string | readonly string[];
  /** What holds the memory limit beyond the V8 heap: `heap`, `cgroup` or `auto`. Variable: `WORKER_MEMORY_ENFORCEMENT`. Default: `auto`. */
  memoryEnforcement?: string | number;
  /** How long a new engine child may take to say that it is ready. Variable: `WORKER_VALIDATION_TIMEOUT_MS`. Default: `5000`. */
  engineValidationTimeoutMs?: string | number;
  /** Further tries when the engine does not start. Variable: `WORKER_VALIDATION_RETRIES`. Default: `3`. */
  engineValidationRetries?: string | number;
  /** Keys removed from the state at the end of each step. Variable: `WORKER_STATE_PROPS_TO_REMOVE`. Default: `configuration,response`. */
  statePropsToRemove?: string | readonly string[];
  /** Measure the peak memory of each step. Variable: `WORKER_PROFILE`. Default: `false`. */
  profile?: boolean;
  /** How often the profiler looks. Variable: `WORKER_PROFILE_POLL_INTERVAL_MS`. Default: `10`. */
  profilePollIntervalMs?: string | number;
  /** Memory of a run. Variable: `WORKER_MAX_RUN_MEMORY_MB`. Default: `500`. */
  runMemory?: string | number;
  /** What a run may write into temporary files; of these it may have 10000. Variable: `WORKER_MAX_RUN_FILES_MB`. Default: `1024`. */
  runFiles?: string | number;
  /** Largest dataclip sent to Lightning, 0 to send none. Variable: `WORKER_MAX_PAYLOAD_MB`. Default: `10`. */
  payloadMemory?: string | number;
  /** Largest log line sent to Lightning, 0 to send none. Variable: `WORKER_MAX_LOG_PAYLOAD_MB`. Default: `1`. */
  logPayloadMemory?: string | number;
  /** Largest state of a step. Unset: the run's memory limit. Variable: `WORKER_MAX_STATE_MEMORY_MB`. */
  stateMemory?: string | number;
  /** Longest time a run may take, 0 for no limit. Variable: `WORKER_MAX_RUN_DURATION_SECONDS`. Default: `300`. */
  maxRunDurationSeconds?: string | number;
  /** What is logged: none, error, always, warn, success, info, debug or trace, and TARGET=LEVEL for one part, as in info,actors::run=debug. Variable: `WORKER_LOG_LEVEL`. Default: `info`. */
  log?: string | number;
  /** `text`; `json` for one object a line in the names of OpenTelemetry; `gcp` in those of Google Cloud's logging. Variable: `WORKER_LOG_FORMAT`. Default: `text`. */
  logFormat?: string | number;
  /** Record what is said to Lightning, for `ws-worker replay`. Secrets, dataclips and log texts are replaced, job code is not. Variable: `WORKER_RECORD`. */
  record?: string | number;
  /** Leave dataclips and log texts in the recording. Variable: `WORKER_RECORD_DATA`. Default: `false`. */
  recordData?: boolean;
  /** Size from which on a recording goes on in a new file. The one before is kept as FILE.1. Variable: `WORKER_RECORD_MAX_MB`. Default: `64`. */
  recordMaxMb?: string | number;
  /** Address the HTTP server listens on. Variable: `WORKER_HOST`. Default: `0.0.0.0`. */
  host?: string | number;
  /** Port the HTTP server listens on, 0 for any free one. Variable: `WORKER_PORT`. Default: `2222`. */
  port?: string | number;
  /** Bearer token that everything but the health endpoints then asks for. Variable: `WORKER_HTTP_TOKEN`. */
  httpToken?: string | number;
  /** Addresses of other workers, such as http://worker-2:2222, which the status page shows beside this one. They are asked with this worker's --http-token. Variable: `WORKER_PEERS`. */
  peers?: string | readonly string[];
  /** Collections endpoint given to jobs; enables collections. Variable: `WORKER_COLLECTIONS_URL`. */
  collectionsUrl?: string | number;
  /** Version of the collections adaptor, `latest` or `local`. Variable: `WORKER_COLLECTIONS_VERSION`. Default: `latest`. */
  collectionsVersion?: string | number;
  /** Where errors are reported. Variable: `WORKER_SENTRY_DSN`. */
  sentryDsn?: string | number;
  /** Environment named in error reports. Variable: `WORKER_SENTRY_ENV`. Default: `dev`. */
  sentryEnv?: string | number;
}
