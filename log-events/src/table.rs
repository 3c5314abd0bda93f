//! The events, by the part of the worker that they are about.

use log::Level;

use crate::LogEvent;

macro_rules! events {
    ($($name:ident: $text:literal, $level:ident, $mark:expr, $meaning:literal, $action:literal, [$($field:literal),*];)+) => {
        $(
            #[doc = $meaning]
            pub const $name: LogEvent = LogEvent {
                name: $text,
                level: Level::$level,
                mark: $mark,
                meaning: $meaning,
                action: $action,
                fields: &[$($field),*],
            };
        )+

        /// All of them.
        pub const ALL: &[&LogEvent] = &[$(&$name),+];
    };
}

events! {
    WORKER_STARTING: "worker.starting", Info, None, "The program begins",
        "", ["version", "worker_name"];
    WORKER_LISTENING: "worker.listening", Info, Some("always"), "The HTTP server takes requests",
        "", ["address"];
    WORKER_ON_REQUEST: "worker.on_request", Info, Some("always"), "Nothing is claimed until `POST /claim` asks for it (`--no-loop`)",
        "", ["address"];
    WORKER_STOP_REQUESTED: "worker.stop_requested", Info, Some("always"), "The worker is asked to finish what it has in hand and end: by a signal, or by `POST /drain`",
        "", ["signal", "cause"];
    WORKER_DRAINING: "worker.draining", Info, None, "The worker claims no more and finishes the runs in hand",
        "", ["runs"];
    WORKER_DRAIN_WAITS: "worker.drain_waits", Info, None, "A drain goes on: for what it waits",
        "", ["runs"];
    WORKER_DRAIN_BLOCKED: "worker.drain_blocked", Warn, None, "A drain goes on, and Lightning is out of reach, so that no run can be reported",
        "Look at Lightning and the way to it; the runs in hand are ended when it stays away.", ["runs"];
    WORKER_DRAIN_FORCED: "worker.drain_forced", Warn, None, "A drain has no more patience: the runs in hand are ended, and reported as killed",
        "Raise `--shutdown-grace-seconds` if runs need longer to finish.", ["runs", "cause", "signal"];
    WORKER_STOP_TIMED_OUT: "worker.stop_timed_out", Error, None, "Runs that were to end did not, and are left",
        "Lightning marks them as lost; look in the log for what their engine children did.", ["duration_ms"];
    WORKER_ENDED: "worker.ended", Info, Some("success"), "Everything in hand was finished",
        "", ["exit_code"];
    WORKER_FAILED: "worker.failed", Error, None, "The worker ends because it cannot do its work",
        "The text says why; `ws-worker check` looks for the cause.", ["error", "exit_code"];
    WORKER_ACTOR_DIED: "worker.actor_died", Error, None, "A part of the worker has panicked and is started again",
        "Report it as a defect, with the `worker.panicked` before it.", ["actor", "run_id", "error", "retry_ms"];
    WORKER_ACTOR_GIVEN_UP: "worker.actor_given_up", Error, None, "A part of the worker died too often to be started again; the worker ends",
        "Report it as a defect, with the `worker.panicked` before it.", ["actor", "run_id", "error"];
    WORKER_PANICKED: "worker.panicked", Error, None, "The program has a defect that was met just now",
        "Report it as a defect, with this line.", ["thread", "address", "error"];
    WORKER_MEMORY_READABLE: "worker.memory_readable", Warn, None, "Jobs that run as the worker's user could read its memory where no sandbox keeps them from it",
        "Let the container make `prctl` calls, or keep the sandbox on.", ["error"];
    WORKER_PARENT_DEAF: "worker.parent_deaf", Warn, None, "The Node process that started the worker could not be told that it is ready",
        "", ["error"];

    SETTINGS_DOUBTFUL: "settings.doubtful", Warn, None, "A setting is accepted that hardly means what it says",
        "Change the setting as the text says.", [];

    HTTP_FAILED: "http.failed", Error, None, "The HTTP server has ended; runs go on",
        "Restart the worker: it can be neither watched nor asked to drain.", ["error"];

    HTTP_NO_PEERS: "http.no_peers", Warn, None, "The status page cannot ask other workers (`--peers`)",
        "See the error.", ["error"];
    LOG_LEVEL: "log.level", Info, Some("always"), "The log's filter was changed while the program runs",
        "", ["level", "duration_ms", "cause"];

    SENTRY_FAILED: "sentry.failed", Warn, None, "Errors are not reported to Sentry",
        "Check `WORKER_SENTRY_DSN`.", ["error"];

    TRACES_STARTED: "traces.started", Info, None, "Traces of runs go to a collector",
        "", ["address"];
    TRACES_REFUSED: "traces.refused", Warn, None, "Traces are wanted, and cannot be made; runs go on without",
        "Change the variables of OpenTelemetry as the text says; docs/traces.md has them.", ["error"];
    TRACES_LOST: "traces.lost", Warn, None, "Spans did not reach the collector; said once a minute at most",
        "Look at the collector, and at the address and the headers that the worker was given.", ["address", "spans", "error"];
    TRACES_ARRIVE: "traces.arrive", Info, None, "Spans reach the collector again",
        "", ["address"];

    RECORDING_STARTED: "recording.started", Warn, None, "What is said to Lightning is written to a file",
        "Switch `--record` off when the recording is no longer needed.", ["file"];
    RECORDING_FAILED: "recording.failed", Error, None, "The recording ends, since it cannot be written",
        "Make room on the disk, or record elsewhere.", ["file", "error"];
    RECORDING_GAPS: "recording.gaps", Warn, None, "Records are missing in the recording",
        "Record to a faster disk.", ["records", "error"];

    WORKLOOP_OPENED: "workloop.opened", Info, None, "A queue group is claimed for",
        "", ["workloop", "slots"];
    WORKLOOP_HELD: "workloop.held", Warn, None, "A group claims less, or nothing, for now",
        "Cause `memory`: give the worker more memory, or lower `--run-memory` or the slots. Cause `latency`: look at Lightning.", ["workloop", "cause", "ceiling_mib", "round_trip_ms"];
    WORKLOOP_RELEASED: "workloop.released", Info, None, "A group claims as before",
        "", ["workloop", "cause"];

    CLAIM_FAILED: "claim.failed", Warn, None, "Lightning refused a claim, or it could not be sent; the group tries again",
        "If it lasts: look at Lightning's log.", ["workloop", "error"];
    CLAIM_UNANSWERED: "claim.unanswered", Warn, None, "Lightning did not answer a claim in time; its slot is claimed for again",
        "If it lasts: look at Lightning's database.", ["workloop", "duration_ms"];
    CLAIM_UNREADABLE: "claim.unreadable", Error, None, "Lightning handed out what is no run; it cannot be executed or reported",
        "Compare the versions of Lightning and the worker.", ["error"];

    RUN_CLAIMED: "run.claimed", Debug, None, "A run was claimed",
        "", ["run_id", "workloop"];
    RUN_STARTED: "run.started", Debug, None, "Lightning knows that the run has started; its first step begins",
        "", ["run_id", "workloop", "duration_ms"];
    RUN_ENDED: "run.ended", Info, None, "A run has ended and Lightning knows how",
        "", ["run_id", "workloop", "project_id", "reason", "error_type", "duration_ms", "steps", "adaptors"];
    RUN_LOST: "run.lost", Error, None, "A run's end could not be reported: Lightning will mark the run as lost",
        "Look at the run in Lightning; its job may have run.", ["run_id", "workloop", "cause", "lost", "error"];
    RUN_TOKEN_INVALID: "run.token_invalid", Error, None, "A run's token does not verify, so that no run can be trusted; the worker takes no more work",
        "Set `WORKER_LIGHTNING_PUBLIC_KEY` to the key of this Lightning.", ["run_id", "error"];
    RUN_CLAIMED_AGAIN: "run.claimed_again", Warn, None, "Lightning handed out a run again that is in hand; it is executed once",
        "", ["run_id", "workloop"];
    RUN_CANCELLED: "run.cancelled", Info, None, "Lightning cancels a run",
        "", ["run_id"];
    RUN_REJOINS: "run.rejoins", Warn, None, "A run lost its channel and joins it again; nothing of it is lost",
        "", ["run_id", "cause", "duration_ms"];
    RUN_RESENDS: "run.resends", Info, None, "A run is on its channel again and sends what was not answered",
        "", ["run_id", "resent"];
    RUN_JOIN_REFUSED: "run.join_refused", Warn, None, "Lightning refused the join of a run's channel; it is tried again",
        "", ["run_id", "error", "retry_ms"];
    RUN_REQUEST_REFUSED: "run.request_refused", Warn, None, "Lightning refused a run's plan, dataclip or credential; it is asked again",
        "", ["run_id", "report", "error", "retry_ms"];
    RUN_UNANSWERED: "run.unanswered", Warn, None, "Lightning has been silent about something that a run waits for",
        "", ["run_id", "report", "duration_ms"];
    RUN_PLAN_DOUBTFUL: "run.plan_doubtful", Warn, None, "A run's plan has something that is ignored",
        "", ["run_id", "error"];
    RUN_TOKEN_EXPIRED: "run.token_expired", Warn, None, "A run's token expired while its reports wait; they go out as long as its channel is open",
        "If it had expired before the claim: set the clock right.", ["run_id", "duration_ms"];
    RUN_CHILD_REPLACED: "run.child_replaced", Warn, None, "The engine child of a run died before its job began: another one takes it",
        "", ["run_id"];
    RUN_DATACLIP_WITHHELD: "run.dataclip_withheld", Warn, None, "The output of a step is too large for Lightning, or it refuses it: the step is completed without",
        "Raise `--payload-memory` or Lightning's own limit, or have the job return less.", ["run_id", "dataclip_id", "job_id", "bytes"];
    RUN_LINES_DROPPED: "run.lines_dropped", Warn, None, "Lightning refused log lines of a run for good, or they were unreadable",
        "", ["run_id", "lines", "error"];
    RUN_SECRETS_SHOWN: "run.secrets_shown", Warn, None, "Lightning did not read a run's credentials again after the connection was lost: its log may show them",
        "Look at the run's log in Lightning.", ["run_id", "error"];
    RUN_WEBHOOK_FORGOTTEN: "run.webhook_forgotten", Warn, None, "Lightning may have forgotten the webhook response of a run when the connection was lost",
        "", ["run_id"];
    RUN_EVENT_IGNORED: "run.event_ignored", Warn, None, "The engine told something of a run that cannot be so; it is ignored",
        "Report it as a defect.", ["run_id", "job_id", "error"];

    EVENT_REFUSED: "event.refused", Error, None, "Lightning refused a report for good; what it said is lost",
        "Look at Lightning's log for this run.", ["run_id", "report", "error"];
    EVENT_RETRIED: "event.retried", Warn, None, "Lightning refused a report, not for good: it goes out again, mended or as it was",
        "", ["run_id", "report", "error"];
    EVENT_RESENT: "event.resent", Debug, None, "A report goes out again",
        "", ["run_id", "report"];
    EVENT_TOO_LARGE: "event.too_large", Warn, None, "A report is larger than a message to Lightning may be; it goes out without its state",
        "", ["run_id", "report", "bytes"];
    EVENT_UNWRITABLE: "event.unwritable", Error, None, "A report cannot be written as JSON; it is dropped",
        "Report it as a defect.", ["run_id", "report", "error"];

    LIGHTNING_CONNECTED: "lightning.connected", Info, None, "The socket to Lightning is open",
        "", ["address", "connection"];
    LIGHTNING_UNREACHABLE: "lightning.unreachable", Error, None, "There is no socket to Lightning: nothing is claimed or reported until there is",
        "`ws-worker check --connect` says which layer fails.", ["address", "error", "retry_ms"];
    LIGHTNING_LOST: "lightning.lost", Warn, None, "The socket to Lightning was lost; runs go on and report later",
        "If it lasts, `lightning.unreachable` follows.", ["address", "error", "retry_ms"];
    LIGHTNING_QUEUE_REFUSED: "lightning.queue_refused", Error, None, "Lightning lets the worker not claim",
        "Check that `WORKER_SECRET` is that of this Lightning.", ["error"];
    LIGHTNING_QUEUE_LOST: "lightning.queue_lost", Warn, None, "The queue's channel was closed, or its join was not answered; it is joined again",
        "", ["error", "duration_ms"];
    LIGHTNING_UNREADABLE: "lightning.unreadable", Warn, None, "Lightning sent a frame that cannot be read; it is ignored",
        "Compare the versions of Lightning and the worker.", ["error"];
    LIGHTNING_CONNECTION_ADDED: "lightning.connection_added", Info, None, "A further socket to Lightning is opened for further runs",
        "", ["connection"];
    LIGHTNING_CONNECTION_FAILED: "lightning.connection_failed", Error, None, "A further socket to Lightning cannot be opened; runs share the others",
        "See the error; a restart tries again.", ["error"];

    COLLECTIONS_FOUND: "collections.found", Info, None, "The version of the collections adaptor was looked up",
        "", ["version"];
    COLLECTIONS_UNKNOWN: "collections.unknown", Error, None, "The version of the collections adaptor cannot be looked up; runs that use it ask again, and fail without",
        "Let the worker reach the npm registry, or set `--collections-version`.", ["error"];

    ENGINE_READY: "engine.ready", Info, None, "Runs can be executed",
        "", ["node", "runtime", "duration_ms"];
    ENGINE_SETTINGS: "engine.settings", Debug, None, "What the engine was told",
        "", ["file"];
    ENGINE_VALIDATION_FAILED: "engine.validation_failed", Warn, None, "The engine did not start; it is tried again",
        "If `worker.failed` follows: `ws-worker check`.", ["error", "retry_ms"];
    ENGINE_UNAVAILABLE: "engine.unavailable", Error, None, "The engine cannot be started; the worker ends",
        "`ws-worker check` looks for the cause.", ["error"];
    ENGINE_INSTALLING: "engine.installing", Info, None, "The engine's packages are installed; this is done once",
        "", ["file"];
    ENGINE_INSTALLED: "engine.installed", Info, None, "The engine's packages are there",
        "", ["duration_ms"];
    ENGINE_UNBUNDLED: "engine.unbundled", Warn, None, "The engine is loaded from its plain files, so that runs cost more",
        "See the error.", ["error"];
    ENGINE_FOLDER_LEFT: "engine.folder_left", Warn, None, "A folder of an engine that was not installed cannot be removed",
        "Remove it by hand.", ["file", "error"];
    ENGINE_MEMORY: "engine.memory", Info, None, "By what the memory of runs is limited",
        "", ["cause", "error"];
    ENGINE_NO_CHILD: "engine.no_child", Error, None, "No engine child can be started for a run; it is reported as an exception",
        "See the error: memory, processes or files are exhausted, or `ws-worker check` says what is missing.", ["run_id", "file", "error"];
    ENGINE_CHILD_DIED: "engine.child_died", Error, None, "An engine child has ended by itself; its run is reported as crashed, others go on",
        "Look at the run: its job ended the process, or the kernel did for want of memory.", ["pid", "run_id", "error"];
    ENGINE_CHILD_OVER_MEMORY: "engine.child_over_memory", Warn, None, "A run uses more memory than it may: it is ended as OOMError",
        "Raise `--run-memory`, or have the job work on less at a time.", ["pid", "run_id", "error"];
    ENGINE_CHILD_OVER_FILES: "engine.child_over_files", Warn, None, "A run has more files, or larger ones, than it may: it is ended",
        "Have the job remove what it no longer needs.", ["pid", "run_id", "error"];
    ENGINE_CHILD_RESTLESS: "engine.child_restless", Warn, None, "A child that waits for a run works, grows or opens files, and is ended",
        "Look at the adaptors that are loaded ahead: one of them starts something of its own.", ["pid", "run_id", "error"];
    ENGINE_CHILD_REFUSED: "engine.child_refused", Warn, None, "A connection was refused to a process that executes no run (`--deny-egress`)",
        "", ["pid", "run_id", "error"];
    ENGINE_CHILD_ODD: "engine.child_odd", Error, None, "An engine child did or said what it should not",
        "A job may have tried to leave its sandbox: look at the run.", ["pid", "run_id", "error"];
    ENGINE_COMPILE_FAILED: "engine.compile_failed", Error, None, "The compiler has panicked over a job; the run is reported as an exception",
        "Report it as a defect, with the job.", ["run_id", "error"];
    ENGINE_THREAD_FAILED: "engine.thread_failed", Warn, None, "The mock engine has no further thread",
        "", ["error"];

    INSTALLER_DIED: "installer.died", Error, None, "The adaptor installer has panicked and is started again",
        "Report it as a defect, with the `worker.panicked` before it.", [];

    ADAPTOR_INSTALLING: "adaptor.installing", Info, None, "An adaptor is being installed",
        "", ["adaptor", "run_id"];
    ADAPTOR_INSTALLED: "adaptor.installed", Info, None, "An adaptor was installed",
        "", ["adaptor", "duration_ms", "run_id"];
    ADAPTOR_INSTALL_FAILED: "adaptor.install_failed", Error, None, "An adaptor cannot be installed; its runs end as AutoinstallError",
        "The text has npm's own error: the registry, the way to it, or a version that does not exist.", ["adaptor", "error", "run_id"];
    ADAPTOR_FOUND: "adaptor.found", Debug, None, "An adaptor is there already, or its version was looked up",
        "", ["adaptor", "version", "run_id"];
    ADAPTOR_BLACKLISTED: "adaptor.blacklisted", Warn, None, "An adaptor may not be installed by this worker",
        "", ["adaptor", "run_id"];
    ADAPTOR_BUNDLED: "adaptor.bundled", Debug, None, "An adaptor was made into one script, which loads faster",
        "", ["adaptor", "duration_ms"];
    ADAPTOR_UNBUNDLED: "adaptor.unbundled", Info, None, "An adaptor is loaded from its plain files, which is slower",
        "", ["adaptor", "error"];

    ADAPTORS_PRELOADED: "adaptors.preloaded", Info, None, "Adaptors are installed ahead of runs",
        "", ["adaptors", "duration_ms"];
    ADAPTORS_PRELOAD_FAILED: "adaptors.preload_failed", Warn, None, "Adaptors could not be installed ahead; runs try again",
        "", ["error"];

    REPOSITORY_CLEANED: "repository.cleaned", Info, None, "What an interrupted install had left is removed",
        "", ["adaptor", "file"];
    REPOSITORY_WAITS: "repository.waits", Info, None, "Another worker installs into the same repository; this one waits",
        "", ["file"];
    REPOSITORY_LOCK_LOST: "repository.lock_lost", Warn, None, "The repository's lock was taken over by another worker, or cannot be kept or given back",
        "Check the file system that the repository is on, and the clocks of those who share it.", ["file", "error"];

    SANDBOX_COMPLETE: "sandbox.complete", Info, None, "Every layer of the sandbox is on",
        "", [];
    SANDBOX_DEGRADED: "sandbox.degraded", Warn, None, "Layers of the sandbox are missing; jobs are kept in less",
        "`ws-worker check` says what each layer needs.", ["missing"];
    SANDBOX_OFF: "sandbox.off", Warn, None, "Jobs are not confined: they can read what the worker can, and connect to whatever it can",
        "Switch `--sandbox` on unless every job is trusted.", [];
    SANDBOX_SWEPT: "sandbox.swept", Info, None, "What killed workers had left is removed",
        "", ["workers", "processes"];
    SANDBOX_LEFTOVER: "sandbox.leftover", Warn, None, "A process that a killed worker left cannot be ended",
        "End it by hand.", ["pid", "error"];
    SANDBOX_SUPERUSER: "sandbox.superuser", Warn, None, "A program runs as the superuser, without capabilities, since another user could not read it",
        "Let everybody read and enter the folder, or start the worker as a user of its own.", ["file"];
    SANDBOX_FOLDER_LEFT: "sandbox.folder_left", Warn, None, "A private folder cannot be removed",
        "Remove it by hand.", ["file", "error"];
    SANDBOX_CGROUP_FAILED: "sandbox.cgroup_failed", Warn, None, "A process could not be put into a cgroup of its own; its memory is watched instead",
        "", ["pid", "error"];
    SANDBOX_EGRESS_FAILED: "sandbox.egress_failed", Error, None, "The connections of a process can no longer be judged: all of them are refused",
        "Report it as a defect.", ["pid", "error"];
}
