//! From the layers to [`Settings`]: every rule on the worker's settings, in the order of the table.

mod engine;

use std::path::{Path, PathBuf};
use std::time::Duration;

use actors::config::{
    BatchConfig, ClaimConfig, CollectionsConfig, Config, DeliveryConfig, FrameLimit, Identity,
    LightningConfig, RunLimits, Secret, ShutdownGrace,
};
use actors::engine_pool::is_installable;
use actors::metrics::Metrics;
use actors::traces::Traces;
use protocol::backoff::ClaimBackoff;
use protocol::size::Mebibytes;
use protocol::token::RunTokenKey;
use protocol::workloop::{self, Workloop};
use traces::TraceSettings;

use super::http::http;
use super::layers::{Layers, Source};
use super::problem::SettingProblem;
use super::resolver::Resolver;
use super::sentry::sentry;
use super::values::ValueError;
use super::{RecordingSettings, Settings, table, values};
use crate::logging::{LogFilter, LogFormat, LogSettings};

/// The endpoint and the secret that `--lightning mock` stands for, as the reference's mock has them.
const MOCK_ENDPOINT: &str = "ws://localhost:8888/worker";
const MOCK_SECRET: &str = "abdefg";
/// What the reference signs with when `--debug` allows a missing secret.
const DEBUG_SECRET: &str = "<secret>";

/// Unanswered reports a run may hold in memory: three of the largest dataclips that a default worker sends, and room for
/// the log lines between them.
const OUTBOX_BYTES: usize = 16 * 1024 * 1024;

/// What a drain allows runs without a time limit for, while Lightning is away: the default limit.
const UNLIMITED_RUN: Duration = Duration::from_mins(5);

/// How much longer it waits for Lightning than a run may take.
const REPORTING: Duration = Duration::from_secs(30);

/// Reads every setting, and tells everything that is wrong, not only the first thing. A default stands in the settings for
/// what is wrong, for those who want to look further. `home` is the user's home directory, `worker_id` the name under which
/// this process signs its token.
pub(crate) fn resolve(
    layers: Layers,
    home: Option<&Path>,
    worker_id: String,
) -> (Settings, Vec<SettingProblem>) {
    let traces = TraceSettings::read(|variable| layers.environment.get(variable));
    let mut from = Resolver::new(layers);
    let mut warnings = Vec::new();
    let path = |text: &str| values::path(home, text);

    let (endpoint, secret) = endpoint_and_secret(&mut from, &mut warnings);
    let run_token_key = from.optional(&table::LIGHTNING_PUBLIC_KEY, |text| {
        RunTokenKey::from_base64_pem(text)
            .map_err(|error| ValueError::unusable(error, "the base64 of a PEM file"))
    });
    let extra_ca_file = from.optional(&table::EXTRA_CA_FILE, path);
    let name = from.optional(&table::NAME, values::text);
    let message_timeout = message_timeout(&mut from, &mut warnings);
    let lightning = LightningConfig {
        endpoint,
        secret: Secret::new(secret),
        run_token_key,
        extra_ca_file,
        compression: from.switch(&table::COMPRESSION),
        message_timeout,
        recorder: None,
        claim_timeout: from.required(&table::CLAIM_TIMEOUT, values::seconds),
    };
    let delivery = delivery(&mut from);

    let workloops = workloops(&mut from, &mut warnings);
    let claims = ClaimConfig {
        looping: from.switch(&table::LOOP),
        backoff: from.required(&table::BACKOFF, |text| {
            ClaimBackoff::parse(text)
                .map_err(|error| ValueError::unusable(error, "`min/max` in seconds, such as 1/10"))
        }),
        demand: from.required(&table::CLAIM_DEMAND, values::count(1)) as usize,
    };

    let engine = engine::resolve(&mut from, path);
    let limits = RunLimits {
        memory: from.required(&table::RUN_MEMORY, values::mebibytes),
        payload: from.required(&table::PAYLOAD_MEMORY, values::mebibytes_or_zero),
        log_payload: from.required(&table::LOG_PAYLOAD_MEMORY, values::mebibytes_or_zero),
        state: from.optional(&table::STATE_MEMORY, values::mebibytes),
        timeout: from.required(&table::MAX_RUN_DURATION, values::seconds_or_zero),
    };
    let shutdown_grace = from.required(&table::SHUTDOWN_GRACE, |text| grace(text, limits.timeout));
    let end_with_parent = from.switch(&table::END_WITH_PARENT);
    let mut log = LogSettings {
        filter: from.required(&table::LOG, |text| Ok(LogFilter::parse(text)?)),
        format: from.required(&table::LOG_FORMAT, |text| {
            values::one_of(
                &[
                    ("text", LogFormat::Text),
                    ("json", LogFormat::Json),
                    ("gcp", LogFormat::Gcp),
                ],
                text,
            )
        }),
        secrets: vec![lightning.secret.clone()],
        reports: None,
    };
    let recording = recording(&mut from, path);
    let http = http(&mut from, lightning.extra_ca_file.clone());
    log.secrets.extend(http.token.clone());
    let collections = collections(&mut from);
    sentry(&mut from, &mut log, lightning.extra_ca_file.clone());
    log.secrets
        .extend(traces.secrets.into_iter().map(Secret::new));
    warnings.extend(traces.warnings);

    let identity = Identity {
        id: worker_id,
        name,
        version: crate::VERSION.to_owned(),
    };
    let ids: Vec<_> = workloops.iter().map(|group| group.id.clone()).collect();
    let worker = Config {
        metrics: Metrics::new(&ids),
        traces: Traces::default(),
        identity,
        lightning,
        workloops,
        claims,
        delivery,
        limits,
        engine,
        collections,
        shutdown_grace,
    };
    let (effective, problems) = from.finish();
    (
        Settings {
            worker,
            http,
            log,
            recording,
            traces: traces.settings,
            end_with_parent,
            warnings,
            effective,
        },
        problems,
    )
}

fn endpoint_and_secret(from: &mut Resolver, warnings: &mut Vec<String>) -> (String, String) {
    let mock = from
        .given(&table::LIGHTNING)
        .is_some_and(|given| given.text() == "mock");
    let endpoint = from.required(&table::LIGHTNING, |text| match text {
        "mock" => Ok(MOCK_ENDPOINT.to_owned()),
        url => values::socket_url(url).map_err(|_| ValueError::NotAnEndpoint),
    });
    let debug = from.switch(&table::DEBUG);
    let given = from.given(&table::SECRET);
    let missing = given.is_none();
    if given.is_some_and(|given| given.text().trim() != given.text()) {
        warnings.push(format!(
            "{} begins or ends with white space, which is part of the secret, as in the reference: Lightning must have the \
             same. A file often ends with a line break that was not meant",
            table::SECRET.names()
        ));
    }
    let secret = from
        .optional(&table::SECRET, values::text)
        .unwrap_or_else(|| {
            if mock {
                MOCK_SECRET.to_owned()
            } else {
                DEBUG_SECRET.to_owned()
            }
        });
    match (missing, mock, debug) {
        (true, false, true) => warnings.push("WORKER_SECRET is not set: Lightning will refuse this worker".to_owned()),
        (true, false, false) => from.problem(SettingProblem::new(
            "WORKER_SECRET is not set: set it, or give --secret, to the text that Lightning has as its WORKER_SECRET",
        )),
        (true, true, _) | (false, ..) => {}
    }
    (endpoint, secret)
}

fn message_timeout(from: &mut Resolver, warnings: &mut Vec<String>) -> Duration {
    let explicit = from
        .given(&table::MESSAGE_TIMEOUT)
        .is_some_and(|given| given.source != Source::Default);
    let message = from.required(&table::MESSAGE_TIMEOUT, values::seconds);
    let Some(socket) = from.optional(&table::SOCKET_TIMEOUT, values::seconds) else {
        return message;
    };
    warnings.push(format!(
        "{} is deprecated: use {} and {}",
        table::SOCKET_TIMEOUT.names(),
        table::MESSAGE_TIMEOUT.names(),
        table::CLAIM_TIMEOUT.names()
    ));
    if explicit { message } else { socket }
}

fn delivery(from: &mut Resolver) -> DeliveryConfig {
    let request_attempts = from.required(&table::TIMEOUT_RETRY_COUNT, values::count(1));
    let retry_delay = from.required(&table::TIMEOUT_RETRY_DELAY, values::milliseconds);
    let window = from.required(&table::EVENT_WINDOW, values::count(1)) as usize;
    let frames = from.required(&table::MAX_FRAME, values::mebibytes_or_zero);
    let batching = from.switch(&table::BATCH_LOGS);
    let interval = from.required(&table::BATCH_INTERVAL, values::milliseconds);
    let limit = from.required(&table::BATCH_LIMIT, values::count(1)) as usize;
    let batch = batching.then_some(BatchConfig { limit, interval });
    DeliveryConfig {
        window,
        outbox_bytes: OUTBOX_BYTES,
        request_attempts,
        retry_delay,
        batch,
        frames: FrameLimit::new(frames),
    }
}

/// Capacity or workloops, whichever was given nearer to the operator's hand. Flag and variable are equally near, as in
/// the reference: both together are an error.
fn workloops(from: &mut Resolver, warnings: &mut Vec<String>) -> Vec<Workloop> {
    let rank = |given: Option<super::layers::Given>| match given.map(|given| given.source) {
        Some(Source::Flag | Source::Env(_)) => Source::Flag.rank(),
        Some(source @ (Source::File | Source::Default)) => source.rank(),
        None => Source::Default.rank(),
    };
    let capacity_rank = rank(from.given(&table::CAPACITY));
    let workloops_rank = rank(from.given(&table::WORKLOOPS));
    if capacity_rank == workloops_rank && capacity_rank != Source::Default.rank() {
        from.problem(SettingProblem::new(format!(
            "--workloops and --capacity are mutually exclusive: give {} or {}",
            table::WORKLOOPS.names(),
            table::CAPACITY.names()
        )));
    }
    if capacity_rank < workloops_rank {
        let given = from.given(&table::CAPACITY);
        let capacity = from.required(&table::CAPACITY, values::count(1));
        if let Some(mut given) = given {
            given.texts = vec![format!("manual>*:{capacity}")];
            from.counts(&table::WORKLOOPS, &given);
        }
        return vec![Workloop::from_capacity(capacity)];
    }
    let given = from.given(&table::WORKLOOPS);
    let (workloops, notes) = from.required(&table::WORKLOOPS, |text| {
        workloop::parse(text).map_err(|error| {
            ValueError::unusable(
                error,
                "groups of queues, each with its slots, such as \"fast_lane:1 manual>*:4\"",
            )
        })
    });
    warnings.extend(notes.iter().map(ToString::to_string));
    if let Some(mut given) = given {
        given.texts = vec![workloop::capacity(&workloops).to_string()];
        from.counts(&table::CAPACITY, &given);
    }
    workloops
}

/// When a drain ends what is left. What a run of this worker does is over after its time limit, and what is left then is to
/// tell Lightning of it.
fn grace(text: &str, longest_run: Duration) -> Result<ShutdownGrace, ValueError> {
    match text {
        "auto" => {
            let longest = if longest_run.is_zero() {
                UNLIMITED_RUN
            } else {
                longest_run
            };
            let away = longest + REPORTING;
            Ok(ShutdownGrace::Auto { away })
        }
        "none" => Ok(ShutdownGrace::Never),
        text => values::seconds_or_zero(text)
            .map(ShutdownGrace::After)
            .map_err(|_| ValueError::NotATime("seconds, 0 or more, `auto` or `none`")),
    }
}

fn recording(
    from: &mut Resolver,
    path: impl Fn(&str) -> Result<PathBuf, ValueError> + Copy,
) -> Option<RecordingSettings> {
    let file = from.optional(&table::RECORD, path);
    let data = from.switch(&table::RECORD_DATA);
    let most = from.required(&table::RECORD_MAX, values::count(1));
    file.map(|file| RecordingSettings {
        file,
        data,
        most_bytes: Mebibytes::new(f64::from(most)).bytes(),
    })
}

fn collections(from: &mut Resolver) -> Option<CollectionsConfig> {
    let url = from.optional(&table::COLLECTIONS_URL, |text| {
        values::url(&["http", "https"], text)
    });
    let version = from.required(&table::COLLECTIONS_VERSION, |text| {
        if is_installable(&format!("@openfn/language-collections@{text}")) {
            Ok(text.to_owned())
        } else {
            Err(ValueError::NotAVersion)
        }
    });
    url.map(|url| CollectionsConfig { url, version })
}
