//! The scenarios: what is enqueued when, and what is measured.

use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::LoadError;
use crate::lightning::{Lightning, Run};
use crate::measure::{
    claim_to_start, enqueue_to_complete, percentiles, round, start_to_complete, whole,
};
use crate::process::{own_cpu_s, peak_mb, rss_mb, usage};
use crate::worker::Worker;

/// How long a scenario may take. The first run may have to install the adaptor.
const PATIENCE: Duration = Duration::from_secs(300);

/// After the last run: what a worker does to be ready for the next ones belongs to the price of these.
const SETTLE: Duration = Duration::from_secs(1);

/// How often the mock is asked: more often for single runs, since the next one waits for the answer.
const LOOK_SERIAL: Duration = Duration::from_millis(5);
const LOOK_BURST: Duration = Duration::from_millis(20);

const STATE_BYTES: usize = 8 * 1024 * 1024;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// One run after the other
    Serial,
    /// All runs at once
    Burst,
    /// Serial, with a delay on the way to Lightning
    Rtt,
    /// All at once, each waiting a second
    Waits,
    /// One run that logs, an event a line
    Logs,
    /// One run that logs, in batches
    LogsBatched,
    /// An 8 MB dataclip through three steps
    Bigstate,
    /// All runs at once, with the mock engine
    Mockburst,
    /// No runs
    Idle,
}

impl Scenario {
    /// Runs, lines or seconds.
    pub(crate) fn number(self) -> usize {
        match self {
            Self::Serial | Self::Waits => 30,
            Self::Burst => 40,
            Self::Rtt => 20,
            Self::Logs | Self::LogsBatched => 20_000,
            Self::Bigstate => 5,
            Self::Mockburst => 500,
            Self::Idle => 15,
        }
    }

    pub(crate) fn warm_ups(self) -> usize {
        match self {
            Self::Serial | Self::Rtt => 3,
            Self::Burst => 5,
            Self::Waits | Self::Mockburst => 10,
            Self::Logs | Self::LogsBatched | Self::Bigstate => 1,
            Self::Idle => 0,
        }
    }

    pub(crate) fn capacity(self) -> usize {
        if self == Self::Waits { 10 } else { 5 }
    }

    pub(crate) fn delay_ms(self) -> u64 {
        if self == Self::Rtt { 20 } else { 0 }
    }

    pub(crate) fn worker_flags(self) -> &'static [&'static str] {
        match self {
            Self::LogsBatched => &["--batch-logs"],
            Self::Mockburst => &["--mock"],
            _ => &[],
        }
    }

    fn is_serial(self) -> bool {
        !matches!(self, Self::Burst | Self::Waits | Self::Mockburst)
    }
}

/// What can be set for each scenario.
pub(crate) struct Setting {
    pub(crate) number: usize,
    pub(crate) warm_ups: usize,
    pub(crate) pause: Duration,
    pub(crate) adaptor: String,
    pub(crate) clip: Clip,
}

/// Runs a scenario and gives its result.
pub(crate) async fn run(
    scenario: Scenario,
    setting: &Setting,
    lightning: &Lightning,
    worker: &mut Worker,
) -> Result<Value, LoadError> {
    let start_to_first_claim_ms = first_claim(lightning, worker).await?;
    let (count, plan) = match scenario {
        Scenario::Idle => {
            return Ok(idle(setting, worker, start_to_first_claim_ms).await);
        }
        Scenario::Logs | Scenario::LogsBatched => (1, log_plan(setting)),
        Scenario::Bigstate => (setting.number, state_plan(setting)),
        Scenario::Waits => (setting.number, plan(setting, WAIT)),
        Scenario::Mockburst => (setting.number, plan(setting, "")),
        Scenario::Serial | Scenario::Burst | Scenario::Rtt => (setting.number, plan(setting, STEP)),
    };
    // One alone, in case the adaptor is to be installed.
    let first = setting.warm_ups.min(1);
    serial(first, setting, &plan, lightning).await?;
    if scenario.is_serial() {
        serial(setting.warm_ups - first, setting, &plan, lightning).await?;
    } else {
        burst(setting.warm_ups - first, &plan, lightning).await?;
    }
    tokio::time::sleep(SETTLE).await;
    let (before, own_before) = (usage(worker.pid()), own_cpu_s(worker.pid()));
    let lightning_before = own_cpu_s(lightning.pid());
    if scenario.is_serial() {
        serial(count, setting, &plan, lightning).await?;
    } else {
        burst(count, &plan, lightning).await?;
    }
    let lightning_cpu_s = own_cpu_s(lightning.pid()) - lightning_before;
    tokio::time::sleep(SETTLE).await;
    worker.check()?;
    let (after, own_after) = (usage(worker.pid()), own_cpu_s(worker.pid()));
    let runs = lightning.runs().await?.split_off(setting.warm_ups);
    let per_run = |seconds: f64| round(seconds / count_f64(count), 4);
    let mut result = json!({
        "scenario": name(scenario),
        "n": setting.number,
        "failed": runs.iter().filter(|run| run.state != "success").count(),
        "runs_per_s": round(count_f64(count) * 1000.0 / whole(&runs), 2),
        "enqueue_to_complete_ms": percentiles(runs.iter().filter_map(enqueue_to_complete).collect()),
        "claim_to_start_ms": percentiles(runs.iter().filter_map(claim_to_start).collect()),
        "whole_ms": round(whole(&runs), 1),
        "cpu_s_per_run": per_run(after.cpu_s - before.cpu_s),
        "worker_cpu_s_per_run": per_run(own_after - own_before),
        "lightning_cpu_s_per_run": per_run(lightning_cpu_s),
        "worker_rss_mb": round(rss_mb(worker.pid()), 1),
        "worker_peak_mb": round(peak_mb(worker.pid()), 1),
        "all_rss_mb": round(after.rss_mb, 1),
        "all_pss_mb": round(after.pss_mb, 1),
        "start_to_first_claim_ms": start_to_first_claim_ms,
    });
    if matches!(scenario, Scenario::Logs | Scenario::LogsBatched) {
        add_lines(&mut result, &runs, setting.number);
    }
    Ok(result)
}

const STEP: &str = "fn(state => state);";
const WAIT: &str =
    "fn(async state => { await new Promise(done => setTimeout(done, 1000)); return state; });";

fn plan(setting: &Setting, body: &str) -> Value {
    json!({
        "triggers": [{ "id": "trigger" }],
        "jobs": [{ "id": "a", "name": "A", "body": body, "adaptor": setting.adaptor }],
        "edges": [{ "id": "t-a", "source_trigger_id": "trigger", "target_job_id": "a" }],
        "starting_node_id": "trigger",
        "dataclip": { "data": { "patients": 3 } },
    })
}

fn log_plan(setting: &Setting) -> Value {
    let lines = setting.number;
    plan(
        setting,
        &format!(
            "fn(state => {{ for (let i = 0; i < {lines}; i++) console.log('line', i); return state; }});"
        ),
    )
}

/// What a large dataclip is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clip {
    /// One letter
    Fill,
    /// Records of a health project
    Records,
    /// Random letters, as of an encrypted file
    Noise,
}

impl Clip {
    fn items(self) -> Vec<Value> {
        let mut random = Xorshift(88_172_645_463_325_252);
        match self {
            Self::Fill => vec![json!("x".repeat(1000)); STATE_BYTES / 1003],
            Self::Records => {
                let mut items = Vec::new();
                let mut bytes = 0;
                while bytes < STATE_BYTES {
                    let item = record(&mut random);
                    bytes += item.to_string().len() + 1;
                    items.push(item);
                }
                items
            }
            Self::Noise => (0..STATE_BYTES / 1003)
                .map(|_| json!((0..1000).map(|_| random.letter()).collect::<String>()))
                .collect(),
        }
    }
}

/// Marsaglia's generator: small, and the same each time.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn letter(&mut self) -> char {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        char::from(letters[usize::try_from(self.below(64)).unwrap_or_default()])
    }
}

fn record(random: &mut Xorshift) -> Value {
    const NAMES: [&str; 6] = [
        "Amina Diallo",
        "John Otieno",
        "Grace Wanjiru",
        "Pedro Alvarez",
        "Mei Chen",
        "Fatou Sow",
    ];
    json!({
        "id": format!("{:013x}-{:013x}", random.next(), random.next()),
        "name": NAMES[usize::try_from(random.below(6)).unwrap_or_default()],
        "age": random.below(90),
        "registered": format!("2026-{:02}-{:02}T{:02}:{:02}:00.000Z", random.below(12) + 1, random.below(28) + 1, random.below(24), random.below(60)),
        "village": format!("village {}", random.below(400)),
        "visits": [
            { "kind": "anc", "weight": random.below(90), "notes": null },
            { "kind": "followup", "weight": random.below(90), "notes": "stable" },
        ],
        "active": random.below(2) == 0,
    })
}

fn state_plan(setting: &Setting) -> Value {
    let items = setting.clip.items();
    let mut plan = plan(setting, STEP);
    let job = |id: &str| json!({ "id": id, "name": id, "body": STEP, "adaptor": setting.adaptor });
    plan["jobs"] = json!([job("a"), job("b"), job("c")]);
    plan["edges"] = json!([
        { "id": "t-a", "source_trigger_id": "trigger", "target_job_id": "a" },
        { "id": "a-b", "source_job_id": "a", "target_job_id": "b", "condition": "on_job_success" },
        { "id": "b-c", "source_job_id": "b", "target_job_id": "c", "condition": "on_job_success" },
    ]);
    plan["dataclip"] = json!({ "data": items });
    plan
}

async fn serial(
    count: usize,
    setting: &Setting,
    plan: &Value,
    lightning: &Lightning,
) -> Result<(), LoadError> {
    for _ in 0..count {
        let done = lightning.statistics().await?.finished;
        lightning.enqueue(plan, true).await?;
        lightning.finished(done + 1, LOOK_SERIAL, PATIENCE).await?;
        tokio::time::sleep(setting.pause).await;
    }
    Ok(())
}

async fn burst(count: usize, plan: &Value, lightning: &Lightning) -> Result<(), LoadError> {
    let done = lightning.statistics().await?.finished;
    for number in 0..count {
        // The first, so that work begins, and the last, in case the worker was faster than this loop.
        let wake = number == 0 || number + 1 == count;
        lightning.enqueue(plan, wake).await?;
    }
    lightning.finished(done + count, LOOK_BURST, PATIENCE).await
}

async fn first_claim(lightning: &Lightning, worker: &mut Worker) -> Result<u64, LoadError> {
    for _ in 0..PATIENCE.as_millis() / LOOK_BURST.as_millis() {
        if let Some(at) = lightning.statistics().await?.first_claim_at {
            return Ok(at.saturating_sub(worker.started_at) / 1000);
        }
        worker.check()?;
        tokio::time::sleep(LOOK_BURST).await;
    }
    Err(LoadError::TooSlow {
        what: "the first claim".to_owned(),
        waited: PATIENCE,
    })
}

async fn idle(setting: &Setting, worker: &Worker, start_to_first_claim_ms: u64) -> Value {
    // Warming its engine is not idling.
    tokio::time::sleep(SETTLE * 4).await;
    let (before, own_before) = (usage(worker.pid()), own_cpu_s(worker.pid()));
    let seconds = u64::try_from(setting.number).unwrap_or(u64::MAX);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (after, own_after) = (usage(worker.pid()), own_cpu_s(worker.pid()));
    json!({
        "scenario": name(Scenario::Idle),
        "n": setting.number,
        "cpu_ms": round((after.cpu_s - before.cpu_s) * 1000.0, 0),
        "worker_cpu_ms": round((own_after - own_before) * 1000.0, 0),
        "worker_rss_mb": round(rss_mb(worker.pid()), 1),
        "all_rss_mb": round(after.rss_mb, 1),
        "all_pss_mb": round(after.pss_mb, 1),
        "start_to_first_claim_ms": start_to_first_claim_ms,
    })
}

/// `run:start` comes before the first line and `run:complete` after the last, so that the rate is a lower bound.
fn add_lines(result: &mut Value, runs: &[Run], lines: usize) {
    let Some(run) = runs.first() else { return };
    let took = start_to_complete(run).unwrap_or(f64::INFINITY);
    result["lines"] = run.logs.into();
    result["lines_per_s"] = round(count_f64(lines) * 1000.0 / took, 0).into();
}

fn name(scenario: Scenario) -> String {
    let value = scenario.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^52 runs")]
fn count_f64(count: usize) -> f64 {
    count as f64
}
