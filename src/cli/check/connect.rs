//! `check --connect`: Lightning and npm's registry, asked as the worker asks them.

use std::fmt;
use std::time::{Duration, SystemTime};

use actors::config::{Config, EngineConfig, NodeConfig};
use actors::engine_pool::ask_registry;
use actors::lightning::probe::{JoinError, Line, Probe};
use protocol::lightning::QueueJoin;
use protocol::workloop::queues_by_group;
use url::Url;

use super::layer::Layer;
use super::{Grade, Report};

/// With a larger difference the times in Lightning mislead, and run tokens may count as too old or too new.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(30);

/// npm alone takes seconds to start on a small machine.
const NPM_PATIENCE: Duration = Duration::from_secs(30);

/// The way to Lightning, from its beginning.
const WAY: [Layer; 5] = [
    Layer::Dns,
    Layer::Tcp,
    Layer::Tls,
    Layer::Upgrade,
    Layer::Queue,
];

/// A step that has failed, and is reported.
struct Failed(Layer);

/// Asks both. Nobody is asked where the settings are wrong.
pub(super) async fn check(config: Option<&Config>, report: &mut Report) {
    let Some(config) = config else {
        for layer in WAY {
            untried(layer, "configuration", report);
        }
        return untried(Layer::Registry, "configuration", report);
    };
    if let Err(Failed(failed)) = lightning(config, report).await {
        for layer in WAY.into_iter().filter(|layer| *layer > failed) {
            untried(layer, failed.subject(), report);
        }
    }
    match &config.engine {
        EngineConfig::Node(node) => registry(node, report).await,
        EngineConfig::Mock | EngineConfig::Recorded(_) => {
            let why = "not asked: this engine installs nothing";
            report.add_at(Layer::Registry, Grade::Fine, why);
        }
    }
}

fn untried(layer: Layer, failed: &str, report: &mut Report) {
    report.add_at(layer, Grade::Unknown, format!("not tried, see {failed}"));
}

/// Reports what fails at a layer.
fn failed(layer: Layer, why: impl fmt::Display, report: &mut Report) -> Failed {
    report.add_at(layer, Grade::Bad, why.to_string());
    Failed(layer)
}

/// Goes as far as it gets.
async fn lightning(config: &Config, report: &mut Report) -> Result<(), Failed> {
    let probe = match Probe::new(&config.lightning) {
        Ok(probe) => probe,
        Err(error) => {
            report.bad("lightning", error.to_string());
            for layer in WAY {
                untried(layer, "lightning", report);
            }
            return Ok(());
        }
    };
    let addresses = match probe.look_up().await {
        Ok(addresses) => addresses,
        Err(why) => return Err(failed(Layer::Dns, why, report)),
    };
    let found: Vec<_> = addresses.iter().map(|at| at.ip().to_string()).collect();
    let found = if probe.is_address() {
        format!("{} is an address", probe.host())
    } else {
        format!("{} is {}", probe.host(), found.join(", "))
    };
    report.add_at(Layer::Dns, Grade::Fine, found);

    let mut reached = false;
    let attempts = probe.reach(&addresses).await;
    let others = attempts.iter().any(|(_, outcome)| outcome.is_ok());
    for (address, outcome) in attempts {
        match outcome {
            Ok(()) => {
                reached = true;
                report.add_at(
                    Layer::Tcp,
                    Grade::Fine,
                    format!("{address} takes connections"),
                );
            }
            Err(error) if others => {
                let what =
                    format!("{address}: {error}; the worker uses another address, after a while");
                report.add_at(Layer::Tcp, Grade::Poor, what);
            }
            Err(error) => {
                let fix = "check the port in WORKER_LIGHTNING_SERVICE_URL, firewalls, and whether Lightning runs";
                report.add_at(Layer::Tcp, Grade::Bad, format!("{address}: {error}; {fix}"));
            }
        }
    }
    if !reached {
        return Err(Failed(Layer::Tcp));
    }

    if probe.is_encrypted() {
        match probe.handshake().await {
            Ok(secured) => {
                let what = format!("{}, the certificate is trusted", secured.version);
                report.add_at(Layer::Tls, Grade::Fine, what);
            }
            Err(why) => return Err(failed(Layer::Tls, why, report)),
        }
    } else {
        let what = "none: the endpoint is not wss://, and whoever is on the way reads everything";
        let grade = if addresses.iter().all(|at| at.ip().is_loopback()) {
            Grade::Fine
        } else {
            Grade::Poor
        };
        report.add_at(Layer::Tls, grade, what);
    }

    let opened = probe.upgrade(&config.identity).await;
    let date = opened.as_ref().ok().and_then(Line::date);
    // A server that refuses the token says nothing of the time, nor do all that take it.
    let date = match date {
        Some(date) => Some((date, SystemTime::now())),
        None => probe.date().await.map(|date| (date, SystemTime::now())),
    };
    let line = match opened {
        Ok(line) => line,
        Err(why) => {
            let failed = failed(Layer::Upgrade, why, report);
            clock(date, report);
            return Err(failed);
        }
    };
    let accepted = "opened: Lightning takes the worker token";
    report.add_at(Layer::Upgrade, Grade::Fine, accepted);
    clock(date, report);
    match join(line, config).await {
        Ok(()) => {
            let joined = "worker:queue joined and left, nothing was claimed";
            report.add_at(Layer::Queue, Grade::Fine, joined);
            Ok(())
        }
        Err(why) => Err(failed(Layer::Queue, why, report)),
    }
}

/// A worker without slots: whoever counts workers or shares out runs by what a join says leaves this one out.
async fn join(line: Line, config: &Config) -> Result<(), JoinError> {
    let mut queues = queues_by_group(&config.workloops);
    queues.values_mut().for_each(|slots| *slots = 0);
    line.join(&QueueJoin {
        capacity: 0,
        queues,
    })
    .await
}

fn clock(date: Option<(SystemTime, SystemTime)>, report: &mut Report) {
    let (grade, detail) = match date {
        Some((theirs, ours)) => difference(theirs, ours),
        None => (
            Grade::Unknown,
            "Lightning does not say what time it is".to_owned(),
        ),
    };
    report.add("clock", grade, detail);
}

/// What is to be thought of two clocks, of which one shows whole seconds.
fn difference(theirs: SystemTime, ours: SystemTime) -> (Grade, String) {
    let (apart, which) = match ours.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    if apart < CLOCK_TOLERANCE {
        return (
            Grade::Fine,
            "as Lightning's, give or take a second".to_owned(),
        );
    }
    let seconds = apart.as_secs();
    let detail = format!(
        "this machine's clock is {seconds} s {which} Lightning's: times will be wrong, and run tokens may be refused; \
         keep both clocks in step (NTP)"
    );
    (Grade::Poor, detail)
}

async fn registry(node: &NodeConfig, report: &mut Report) {
    match ask_registry(node, NPM_PATIENCE).await {
        Ok(offer) => {
            // Not the whole URL: nobody promises that it has no credentials in it.
            let url = Url::parse(&offer.archive).ok();
            let from = url.map(|url| format!(" at {}", url.origin().ascii_serialization()));
            let detail = format!(
                "has {} {}{}",
                offer.name,
                offer.version,
                from.unwrap_or_default()
            );
            report.add_at(Layer::Registry, Grade::Fine, detail);
        }
        Err(error) => {
            let fix = "`npm config get registry` says which registry is asked; it is set by NPM_CONFIG_REGISTRY or .npmrc, \
                       a proxy by HTTPS_PROXY, certificates by NODE_EXTRA_CA_CERTS. \
                       Adaptors that are in the repository already run without it";
            report.add_at(Layer::Registry, Grade::Bad, format!("{error}\n{fix}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_in_both_directions() {
        let ours = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(difference(at(999_971), ours).0, Grade::Fine);
        assert_eq!(difference(at(1_000_029), ours).0, Grade::Fine);
        let (grade, text) = difference(at(999_970), ours);
        assert_eq!(grade, Grade::Poor);
        assert!(text.contains("30 s ahead of"), "{text}");
        let (grade, text) = difference(at(1_003_600), ours);
        assert_eq!(grade, Grade::Poor);
        assert!(text.contains("3600 s behind"), "{text}");
    }
}
