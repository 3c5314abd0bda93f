//! What the actors count and time. Names and labels are listed in the README; `src/` registers them and serves them.
//!
//! A fact is counted by the actor that decides it, so that no restart counts it twice. What *is* the case at the moment
//! (slots, children, the socket) is no business of this module: it is read from [`crate::supervisor::WorkerStatus`] when
//! somebody asks. Labels are small sets; ids never are one.

mod families;
mod sums;

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use protocol::ids::WorkloopId;
use protocol::lightning::RunEvent;
use protocol::reasons::ExitReason;
use protocol::words::Word;
use strum::{IntoStaticStr, VariantArray};

use self::families::Families;
pub use self::sums::{Timed, Totals};

/// The ways in which a run or a step can end. That one is lost only Lightning says.
fn reasons() -> impl Iterator<Item = ExitReason> {
    let all = ExitReason::VARIANTS.iter().copied();
    all.filter(|reason| *reason != ExitReason::Lost)
}

/// The `reason` of a run whose end could not be reported.
pub(crate) const UNREPORTED: &str = "unreported";

/// How a claim ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum ClaimResult {
    /// It brought at least one run.
    Runs,
    /// There was no work.
    Empty,
    /// Lightning refused it, or the connection was lost.
    Failed,
    /// Its patience was over before an answer came.
    Late,
}

/// The actors that are replaced when they die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum WatchedActor {
    Connection,
    #[strum(serialize = "engine pool")]
    EnginePool,
    Run,
    Workloop,
}

/// Whether the run's adaptors were loaded before it came.
#[derive(Debug, Clone, Copy, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
enum LoadStart {
    Warm,
    Cold,
}

/// What came of an adaptor install.
#[derive(Debug, Clone, Copy, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
enum InstallOutcome {
    Installed,
    Failed,
}

/// The handle through which actors count; cheap to clone, all clones count into the same place.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Families>);

impl Default for Metrics {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Metrics {
    /// All families, with a zero for each combination of labels that is known now: a counter that appears only with its
    /// first event hides that event from `rate()`.
    pub fn new(workloops: &[WorkloopId]) -> Self {
        let this = Self(Arc::new(Families::new()));
        let families = &*this.0;
        for workloop in workloops {
            for reason in reasons().map(Word::word).chain([UNREPORTED]) {
                families
                    .runs
                    .with_label_values(&[reason, workloop.as_str()]);
            }
            for result in ClaimResult::words() {
                families
                    .claims
                    .with_label_values(&[workloop.as_str(), result]);
            }
        }
        for reason in reasons() {
            families.steps.with_label_values(&[reason.word()]);
        }
        families.round_trip.with_label_values(&["phx_join"]);
        for event in RunEvent::ALL {
            families.round_trip.with_label_values(&[event.name()]);
            families.resends.with_label_values(&[event.name()]);
            families.refusals.with_label_values(&[event.name()]);
        }
        for actor in WatchedActor::words() {
            families.restarts.with_label_values(&[actor]);
        }
        for start in LoadStart::words() {
            families.loads.with_label_values(&[start]);
        }
        for outcome in InstallOutcome::words() {
            families.installs.with_label_values(&[outcome]);
        }
        this
    }

    /// The families, for a registry.
    pub fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let all = &*self.0;
        vec![
            Box::new(all.runs.clone()),
            Box::new(all.run_duration.clone()),
            Box::new(all.claim_to_start.clone()),
            Box::new(all.steps.clone()),
            Box::new(all.step_duration.clone()),
            Box::new(all.claims.clone()),
            Box::new(all.claim_latency.clone()),
            Box::new(all.round_trip.clone()),
            Box::new(all.smoothed_round_trip.clone()),
            Box::new(all.resends.clone()),
            Box::new(all.refusals.clone()),
            Box::new(all.log_lines_dropped.clone()),
            Box::new(all.connects.clone()),
            Box::new(all.connection_losses.clone()),
            Box::new(all.restarts.clone()),
            Box::new(all.loads.clone()),
            Box::new(all.spawn.clone()),
            Box::new(all.load.clone()),
            Box::new(all.child_exits.clone()),
            Box::new(all.installs.clone()),
            Box::new(all.install_duration.clone()),
        ]
    }

    /// A run has left the worker, `lasted` after its claim was answered.
    pub(crate) fn run_ended(&self, workloop: &WorkloopId, reason: &str, lasted: Duration) {
        self.0
            .runs
            .with_label_values(&[reason, workloop.as_str()])
            .inc();
        self.0.run_duration.observe(lasted.as_secs_f64());
    }

    /// A run is loaded and its `run:start` goes out.
    pub(crate) fn run_started(&self, since_claim: Duration) {
        self.0.claim_to_start.observe(since_claim.as_secs_f64());
    }

    /// A step has ended.
    pub(crate) fn step_ended(&self, reason: &str, lasted: Duration) {
        self.0.steps.with_label_values(&[reason]).inc();
        self.0.step_duration.observe(lasted.as_secs_f64());
    }

    /// A claim was answered, or its patience is over.
    pub(crate) fn claimed(&self, workloop: &WorkloopId, result: ClaimResult, took: Duration) {
        self.0
            .claims
            .with_label_values(&[workloop.as_str(), result.word()])
            .inc();
        if matches!(result, ClaimResult::Runs | ClaimResult::Empty) {
            self.0.claim_latency.observe(took.as_secs_f64());
        }
    }

    /// Lightning answered an event of a run.
    pub(crate) fn answered(&self, event: &str, took: Duration) {
        self.0
            .round_trip
            .with_label_values(&[event])
            .observe(took.as_secs_f64());
    }

    /// The smoothed round trip has a new value.
    pub(crate) fn smoothed_round_trip(&self, round_trip: Duration) {
        self.0.smoothed_round_trip.set(round_trip.as_secs_f64());
    }

    /// A report is sent once more.
    pub(crate) fn resent(&self, event: &str) {
        self.0.resends.with_label_values(&[event]).inc();
    }

    /// Lightning refused a report.
    pub(crate) fn refused(&self, event: &str) {
        self.0.refusals.with_label_values(&[event]).inc();
    }

    /// Log lines are given up because Lightning refuses them.
    pub(crate) fn log_lines_dropped(&self, lines: usize) {
        self.0
            .log_lines_dropped
            .inc_by(u64::try_from(lines).unwrap_or(u64::MAX));
    }

    /// A socket to Lightning was opened.
    pub(crate) fn connected(&self) {
        self.0.connects.inc();
    }

    /// An open socket was lost.
    pub(crate) fn connection_lost(&self) {
        self.0.connection_losses.inc();
    }

    /// An actor died.
    pub(crate) fn restarted(&self, actor: WatchedActor) {
        self.0.restarts.with_label_values(&[actor.word()]).inc();
    }

    /// An engine child answered its handshake.
    pub(crate) fn child_spawned(&self, took: Duration) {
        self.0.spawn.observe(took.as_secs_f64());
    }

    /// An engine child is gone, however it ended.
    pub(crate) fn child_exited(&self) {
        self.0.child_exits.inc();
    }

    /// A run is loaded; `warm` when its adaptors were before it came.
    pub(crate) fn run_loaded(&self, warm: bool, took: Duration) {
        let start = if warm {
            LoadStart::Warm
        } else {
            LoadStart::Cold
        };
        self.0.loads.with_label_values(&[start.word()]).inc();
        self.0.load.observe(took.as_secs_f64());
    }

    /// npm was asked to install an adaptor.
    pub(crate) fn installed(&self, worked: bool, took: Duration) {
        let outcome = if worked {
            InstallOutcome::Installed
        } else {
            InstallOutcome::Failed
        };
        self.0.installs.with_label_values(&[outcome.word()]).inc();
        self.0.install_duration.observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prometheus::{Encoder as _, Registry, TextEncoder};

    use super::*;

    /// What the README promises, written out a second time so that a family cannot vanish unseen.
    const NAMES: [&str; 21] = [
        "actor_restarts_total",
        "adaptor_install_seconds",
        "adaptor_installs_total",
        "claim_latency_seconds",
        "claim_to_start_seconds",
        "claims_total",
        "engine_child_exits_total",
        "engine_load_seconds",
        "engine_loads_total",
        "engine_spawn_seconds",
        "event_refusals_total",
        "event_resends_total",
        "event_round_trip_seconds",
        "log_lines_dropped_total",
        "run_duration_seconds",
        "runs_total",
        "smoothed_round_trip_seconds",
        "socket_connects_total",
        "socket_losses_total",
        "step_duration_seconds",
        "steps_total",
    ];

    fn printed(metrics: &Metrics) -> String {
        let registry = Registry::new();
        for family in metrics.collectors() {
            registry.register(family).unwrap();
        }
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&registry.gather(), &mut text)
            .unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn every_family_is_there_before_anything_has_happened() {
        let text = printed(&Metrics::new(&[WorkloopId::new("manual>*:5")]));
        assert!(
            text.contains(
                "openfn_worker_runs_total{reason=\"success\",workloop=\"manual>*:5\"} 0\n"
            )
        );
        let described: BTreeSet<_> = text
            .lines()
            .filter_map(|line| {
                line.strip_prefix("# TYPE openfn_worker_")?
                    .split(' ')
                    .next()
            })
            .collect();
        assert_eq!(described, BTreeSet::from(NAMES));
    }

    #[test]
    fn clones_count_into_the_same_place() {
        let metrics = Metrics::default();
        metrics.clone().connected();
        assert!(printed(&metrics).contains("openfn_worker_socket_connects_total 1\n"));
    }
}
