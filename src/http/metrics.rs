//! `GET /metrics`: what the actors counted, and what is the case at this moment, in Prometheus' text format.

use actors::engine_pool::{ChildState, resident_bytes};
use actors::lightning::ConnectionState;
use actors::metrics::Metrics;
use actors::run::RunPhase;
use actors::supervisor::WorkerStatus;
use actors::workloop::HoldCause;
use prometheus::{GaugeVec, Opts, Registry, TextEncoder};
use protocol::words::Word;
use strum::VariantArray as _;

/// What every name begins with.
const NAMESPACE: &str = "openfn_worker";

/// Why making and filling a family cannot fail.
const VALID: &str = "names and labels are constants, which the tests of this module try";

/// Prints everything that is measured.
#[derive(Clone)]
pub(crate) struct Exporter {
    counted: Registry,
}

impl Exporter {
    /// An exporter of what is counted by `metrics`.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let counted = Registry::new();
        for family in metrics.collectors() {
            counted.register(family).expect(VALID);
        }
        Self { counted }
    }

    /// The text, without the present state when the worker is about to end.
    pub(crate) fn text(&self, status: Option<&WorkerStatus>) -> String {
        let mut families = self.counted.gather();
        if let Some(status) = status {
            families.extend(present(status).gather());
        }
        TextEncoder::new().encode_to_string(&families).expect(VALID)
    }
}

/// The gauges of this moment: made anew each time, so that nothing that is gone keeps its last value.
fn present(status: &WorkerStatus) -> Registry {
    let gauges = Gauges(Registry::new());
    let engine = status.engine.as_ref();
    let version = |version: Option<&String>| version.map_or("", String::as_str).to_owned();
    gauges
        .family(
            "build_info",
            "1; the versions are its labels",
            &["version", "node", "runtime"],
        )
        .with_label_values(&[
            status.version.clone(),
            version(engine.and_then(|engine| engine.node.as_ref())),
            version(engine.and_then(|engine| engine.runtime.as_ref())),
        ])
        .set(1.0);
    gauges.one_of("state", "What the worker is doing", status.state);
    gauges.workloops(status);
    let phases = RunPhase::VARIANTS.iter().copied();
    let phases: Vec<_> = phases
        .filter(|phase| phase.is_in_hand())
        .map(Word::word)
        .collect();
    gauges.counted(
        "runs_in_phase",
        "Runs in hand by their phase",
        "phase",
        &phases,
        status.runs.iter().map(|run| run.phase.word()),
    );
    gauges.one_of(
        "socket_state",
        "The state of the connection to Lightning that claims",
        status.connection.state,
    );
    gauges.counted(
        "sockets",
        "Connections to Lightning by their state, with the further ones of more than 99 runs",
        "state",
        &ConnectionState::words(),
        std::iter::once(&status.connection)
            .chain(&status.further_connections)
            .map(|connection| connection.state.word()),
    );
    gauges
        .family("queue_joined", "1 while runs can be claimed", &[])
        .with_label_values::<&str>(&[])
        .set(f64::from(u8::from(status.connection.queue_joined)));
    let children = engine
        .map(|engine| engine.children.as_slice())
        .unwrap_or_default();
    gauges.counted(
        "engine_children",
        "Engine children by their state",
        "state",
        &ChildState::words(),
        children.iter().map(|child| child.state.word()),
    );
    let memory = gauges.family(
        "memory_bytes",
        "Resident memory of the worker process and of all its engine children",
        &["process"],
    );
    let resident = |pid| resident_bytes(pid).map_or(0.0, number);
    memory
        .with_label_values(&["worker"])
        .set(resident(std::process::id()));
    // Not `sum`, which is -0 where there are none.
    let sum = children
        .iter()
        .filter_map(|child| child.pid)
        .map(resident)
        .fold(0.0, |sum, child| sum + child);
    memory.with_label_values(&["children"]).set(sum);
    gauges
        .family(
            "memory_ceiling_bytes",
            "What a cgroup or container leaves to the worker and its children; 0 where no ceiling is known",
            &[],
        )
        .with_label_values::<&str>(&[])
        .set(status.memory_ceiling_bytes.map_or(0.0, number));
    gauges.0
}

struct Gauges(Registry);

impl Gauges {
    fn family(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        let options = Opts::new(name, help).namespace(NAMESPACE);
        let family = GaugeVec::new(options, labels).expect(VALID);
        self.0.register(Box::new(family.clone())).expect(VALID);
        family
    }

    /// One series a state, of which the present one is 1.
    fn one_of<S: Word>(&self, name: &str, help: &str, present: S) {
        let present = std::iter::once(present.word());
        self.counted(name, help, "state", &S::words(), present);
    }

    /// One series a value, which counts how often it occurs.
    fn counted<'a>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&str],
        occurring: impl Iterator<Item = &'a str>,
    ) {
        let family = self.family(name, help, &[label]);
        for value in values {
            family.with_label_values(&[value]).set(0.0);
        }
        for value in occurring {
            family.with_label_values(&[value]).inc();
        }
    }

    fn workloops(&self, status: &WorkerStatus) {
        let slots = self.family(
            "slots",
            "Runs that a workloop may execute at a time",
            &["workloop"],
        );
        let active = self.family("active_runs", "Runs in hand", &["workloop"]);
        let pending = self.family("pending_claims", "Claims without an answer", &["workloop"]);
        let held = self.family(
            "claims_held",
            "1 while fewer runs are claimed than there are slots for, by the cause",
            &["workloop", "cause"],
        );
        for workloop in &status.workloops {
            let label = [workloop.id.as_str()];
            slots
                .with_label_values(&label)
                .set(f64::from(workloop.slots));
            active
                .with_label_values(&label)
                .set(number(workloop.active as u64));
            pending
                .with_label_values(&label)
                .set(number(workloop.pending as u64));
            for cause in HoldCause::VARIANTS {
                let holds = workloop.held_by.contains(cause);
                held.with_label_values(&[workloop.id.as_str(), cause.word()])
                    .set(f64::from(u8::from(holds)));
            }
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "memory sizes and counts are far below 2^52"
)]
fn number(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use actors::supervisor::WorkerState;

    use super::super::testing;
    use super::*;

    #[test]
    fn the_present_state_is_one_of_all_states() {
        let text =
            Exporter::new(&Metrics::default()).text(Some(&testing::status(WorkerState::Draining)));
        for line in [
            "openfn_worker_state{state=\"draining\"} 1",
            "openfn_worker_state{state=\"running\"} 0",
            "openfn_worker_slots{workloop=\"manual>*:5\"} 5",
            "openfn_worker_active_runs{workloop=\"manual>*:5\"} 1",
            "openfn_worker_runs_in_phase{phase=\"executing\"} 1",
            "openfn_worker_runs_in_phase{phase=\"loading\"} 0",
            "openfn_worker_engine_children{state=\"busy\"} 1",
            "openfn_worker_queue_joined 1",
            "openfn_worker_socket_state{state=\"connected\"} 1",
            "openfn_worker_sockets{state=\"connected\"} 1",
            "openfn_worker_sockets{state=\"waiting\"} 1",
            "openfn_worker_sockets{state=\"down\"} 0",
            "openfn_worker_claims_held{cause=\"memory\",workloop=\"manual>*:5\"} 1",
            "openfn_worker_claims_held{cause=\"latency\",workloop=\"manual>*:5\"} 0",
            "openfn_worker_memory_ceiling_bytes 1073741824",
            "openfn_worker_build_info{node=\"24.1.0\",runtime=\"1.9.5\",version=\"1.2.3\"} 1",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }

    /// The row of the table in docs/operate.md for this metric.
    fn documented(metric: &str) -> &'static str {
        let row = format!("| `openfn_worker_{metric}` ");
        include_str!("../../docs/operate.md")
            .lines()
            .find(|line| line.starts_with(&row))
            .unwrap_or_else(|| panic!("{metric} is not in docs/operate.md"))
    }

    #[test]
    fn the_readme_names_every_state() {
        for (metric, words) in [
            ("state", WorkerState::words()),
            ("socket_state", ConnectionState::words()),
            ("claims_held", HoldCause::words()),
            ("engine_children", ChildState::words()),
        ] {
            let row = documented(metric);
            for word in words {
                assert!(row.contains(&format!("`{word}`")), "{word}: {row}");
            }
        }
    }

    #[test]
    fn a_worker_that_ends_still_tells_what_it_counted() {
        let text = Exporter::new(&Metrics::default()).text(None);
        assert!(text.contains("openfn_worker_socket_connects_total 0"));
        assert!(!text.contains("openfn_worker_slots"));
    }
}
