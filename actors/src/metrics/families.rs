//! The families of metrics: their names, labels and bounds.

use prometheus::{Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts};

/// Bounds for what takes milliseconds when all is well, in seconds.
const LATENCY: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Bounds for the work of runs and steps, in seconds; the default limit of a run is 300 s.
const WORK: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0,
];

#[derive(Debug)]
pub(super) struct Families {
    pub(super) runs: IntCounterVec,
    pub(super) run_duration: Histogram,
    pub(super) claim_to_start: Histogram,
    pub(super) steps: IntCounterVec,
    pub(super) step_duration: Histogram,
    pub(super) claims: IntCounterVec,
    pub(super) claim_latency: Histogram,
    pub(super) round_trip: HistogramVec,
    pub(super) smoothed_round_trip: Gauge,
    pub(super) resends: IntCounterVec,
    pub(super) refusals: IntCounterVec,
    pub(super) log_lines_dropped: IntCounter,
    pub(super) connects: IntCounter,
    pub(super) connection_losses: IntCounter,
    pub(super) restarts: IntCounterVec,
    pub(super) loads: IntCounterVec,
    pub(super) spawn: Histogram,
    pub(super) load: Histogram,
    pub(super) child_exits: IntCounter,
    pub(super) installs: IntCounterVec,
    pub(super) install_duration: Histogram,
}

impl Families {
    pub(super) fn new() -> Self {
        Self {
            runs: counters(
                "runs_total",
                "Runs that have left the worker, by how they ended",
                &["reason", "workloop"],
            ),
            run_duration: histogram(
                "run_duration_seconds",
                "Time from the answer to a run's claim to the end of its last report",
                WORK,
            ),
            claim_to_start: histogram(
                "claim_to_start_seconds",
                "Time from the answer to a run's claim to its run:start being sent",
                LATENCY,
            ),
            steps: counters("steps_total", "Steps that have ended, by how", &["reason"]),
            step_duration: histogram("step_duration_seconds", "Time that steps took", WORK),
            claims: counters(
                "claims_total",
                "Claims by what they brought: runs, empty, failed or late",
                &["workloop", "result"],
            ),
            claim_latency: histogram(
                "claim_latency_seconds",
                "Time from a claim to its answer",
                LATENCY,
            ),
            round_trip: histograms(
                "event_round_trip_seconds",
                "Time from an event of a run to Lightning's answer",
                &["event"],
                LATENCY,
            ),
            smoothed_round_trip: gauge(
                "smoothed_round_trip_seconds",
                "Moving average of the round trips of all events",
            ),
            resends: counters(
                "event_resends_total",
                "Events that were sent again after a loss or an error",
                &["event"],
            ),
            refusals: counters(
                "event_refusals_total",
                "Events that Lightning answered with an error",
                &["event"],
            ),
            log_lines_dropped: counter(
                "log_lines_dropped_total",
                "Log lines of runs that Lightning refused for good",
            ),
            connects: counter(
                "socket_connects_total",
                "Sockets to Lightning that were opened",
            ),
            connection_losses: counter(
                "socket_losses_total",
                "Open sockets to Lightning that were lost",
            ),
            restarts: counters(
                "actor_restarts_total",
                "Actors that died and were replaced",
                &["actor"],
            ),
            loads: counters(
                "engine_loads_total",
                "Runs whose adaptors were loaded before they came (warm) or not (cold)",
                &["start"],
            ),
            spawn: histogram(
                "engine_spawn_seconds",
                "Time from the start of an engine child to its handshake",
                LATENCY,
            ),
            load: histogram(
                "engine_load_seconds",
                "Time from handing a run to the engine to its being loaded",
                LATENCY,
            ),
            child_exits: counter(
                "engine_child_exits_total",
                "Engine children that have ended",
            ),
            installs: counters(
                "adaptor_installs_total",
                "Adaptor installs by outcome: installed or failed",
                &["outcome"],
            ),
            install_duration: histogram(
                "adaptor_install_seconds",
                "Time that adaptor installs took",
                WORK,
            ),
        }
    }
}

/// What every name begins with.
const NAMESPACE: &str = "openfn_worker";

/// Why making a family cannot fail.
const VALID: &str = "names and labels are constants, which the tests of `metrics` try";

fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::with_opts(Opts::new(name, help).namespace(NAMESPACE)).expect(VALID)
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help).namespace(NAMESPACE), labels).expect(VALID)
}

fn gauge(name: &str, help: &str) -> Gauge {
    Gauge::with_opts(Opts::new(name, help).namespace(NAMESPACE)).expect(VALID)
}

fn histogram(name: &str, help: &str, bounds: &[f64]) -> Histogram {
    Histogram::with_opts(options(name, help, bounds)).expect(VALID)
}

fn histograms(name: &str, help: &str, labels: &[&str], bounds: &[f64]) -> HistogramVec {
    HistogramVec::new(options(name, help, bounds), labels).expect(VALID)
}

fn options(name: &str, help: &str, bounds: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help)
        .namespace(NAMESPACE)
        .buckets(bounds.to_vec())
}
