//! The scenarios: what is enqueued when, and what is measured.

use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::LoadError;
use crate::clip::Clip;
use crate::lightning::{Lightning, Run};
use crate::measure::{
    claim_to_start, enqueue_to_complete, percentiles, round, start_to_complete, whole,
};
use crate::plans::{MIXED, Owner, Plans, STEP, TALK, WAIT};
use crate::process::{own_cpu_s, peak_mb, rss_mb, usage};
use crate::service;
use crate::worker::Worker;

/// How long a scenario may take. The first run may have to install the adaptor.
const PATIENCE: Duration = Duration::from_secs(300);

/// After the last run: what a worker does to be ready for the next ones belongs to the price of these.
const SETTLE: Duration = Duration::from_secs(1);

/// How often the mock is asked: more often for single runs, since the next one waits for the answer.
const LOOK_SERIAL: Duration = Duration::from_millis(5);
const LOOK_BURST: Duration = Duration::from_millis(20);

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
    /// All at once, each writing twenty lines a second for ten seconds
    Talks,
    /// One run that logs, an event a line
    Logs,
    /// One run that logs, in batches
    LogsBatched,
    /// An 8 MB dataclip through three steps
    Bigstate,
    /// One run after the other, each of another project
    Tenants,
    /// One run after the other with language-http, each with one GET to a service of the driver
    Http,
    /// Five adaptors in turn, each run of another project
    Mixed,
    /// All runs at once, each of another project
    Tenantburst,
    /// All runs at once, with the mock engine
    Mockburst,
    /// No runs
    Idle,
}

impl Scenario {
    /// Runs, lines or seconds.
    pub(crate) fn number(self) -> usize {
        match self {
            Self::Serial | Self::Waits | Self::Tenants | Self::Http => 30,
            Self::Burst | Self::Tenantburst => 40,
            Self::Talks => 50,
            Self::Rtt | Self::Mixed => 20,
            Self::Logs | Self::LogsBatched => 20_000,
            Self::Bigstate => 5,
            Self::Mockburst => 500,
            Self::Idle => 15,
        }
    }

    pub(crate) fn warm_ups(self) -> usize {
        match self {
            Self::Serial | Self::Rtt | Self::Tenants | Self::Http => 3,
            Self::Burst | Self::Tenantburst => 5,
            Self::Waits | Self::Mockburst | Self::Mixed => 10,
            Self::Logs | Self::LogsBatched | Self::Bigstate | Self::Talks => 1,
            Self::Idle => 0,
        }
    }

    pub(crate) fn capacity(self) -> usize {
        match self {
            Self::Waits => 10,
            Self::Talks => 50,
            _ => 5,
        }
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
        !matches!(
            self,
            Self::Burst | Self::Tenantburst | Self::Waits | Self::Talks | Self::Mockburst
        )
    }

    fn owner(self) -> Owner {
        match self {
            Self::Tenants | Self::Mixed | Self::Tenantburst => Owner::Each,
            _ => Owner::One,
        }
    }

    /// The adaptors of the jobs, unless others are asked for.
    fn adaptors(self) -> &'static [&'static str] {
        match self {
            Self::Http => &MIXED[1..2],
            Self::Mixed => &MIXED,
            _ => &MIXED[..1],
        }
    }
}

/// What can be set for each scenario.
pub(crate) struct Setting {
    pub(crate) number: usize,
    pub(crate) warm_ups: usize,
    pub(crate) pause: Duration,
    /// That of every job, in place of the scenario's.
    pub(crate) adaptor: Option<String>,
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
    if scenario == Scenario::Idle {
        return Ok(idle(setting, worker, start_to_first_claim_ms).await);
    }
    let mut plans = plans(scenario, setting).await?;
    let count = match scenario {
        Scenario::Logs | Scenario::LogsBatched => 1,
        _ => setting.number,
    };
    // One alone, in case the adaptor is to be installed.
    let first = setting.warm_ups.min(1);
    serial(first, setting, &mut plans, lightning).await?;
    if scenario.is_serial() {
        serial(setting.warm_ups - first, setting, &mut plans, lightning).await?;
    } else {
        burst(setting.warm_ups - first, &mut plans, lightning).await?;
    }
    tokio::time::sleep(SETTLE).await;
    let (before, own_before) = (usage(worker.pid()), own_cpu_s(worker.pid()));
    let lightning_before = own_cpu_s(lightning.pid());
    if scenario.is_serial() {
        serial(count, setting, &mut plans, lightning).await?;
    } else {
        burst(count, &mut plans, lightning).await?;
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
    if scenario == Scenario::Talks {
        let lines: usize = runs.iter().map(|run| run.logs).sum();
        result["lines"] = lines.into();
        result["lines_per_s"] = round(count_f64(lines) * 1000.0 / whole(&runs), 0).into();
    }
    if matches!(scenario, Scenario::Logs | Scenario::LogsBatched) {
        add_lines(&mut result, &runs, setting.number);
    }
    Ok(result)
}

async fn plans(scenario: Scenario, setting: &Setting) -> Result<Plans, LoadError> {
    let adaptors = match &setting.adaptor {
        Some(adaptor) => vec![adaptor.clone()],
        None => scenario
            .adaptors()
            .iter()
            .map(|&adaptor| adaptor.to_owned())
            .collect(),
    };
    let owner = scenario.owner();
    Ok(match scenario {
        Scenario::Logs | Scenario::LogsBatched => Plans::of_lines(setting.number, adaptors),
        Scenario::Bigstate => Plans::of_large_state(setting.clip, adaptors),
        Scenario::Waits => Plans::of_step(WAIT, adaptors, owner),
        Scenario::Talks => Plans::of_step(TALK, adaptors, owner),
        Scenario::Http => {
            let get = format!("get('http://127.0.0.1:{}/');", service::start().await?);
            Plans::of_step(&get, adaptors, owner)
        }
        Scenario::Serial
        | Scenario::Burst
        | Scenario::Rtt
        | Scenario::Tenants
        | Scenario::Mixed
        | Scenario::Tenantburst
        | Scenario::Mockburst
        | Scenario::Idle => Plans::of_step(STEP, adaptors, owner),
    })
}

async fn serial(
    count: usize,
    setting: &Setting,
    plans: &mut Plans,
    lightning: &Lightning,
) -> Result<(), LoadError> {
    for _ in 0..count {
        let done = lightning.statistics().await?.finished;
        lightning.enqueue(plans.next(), true).await?;
        lightning.finished(done + 1, LOOK_SERIAL, PATIENCE).await?;
        tokio::time::sleep(setting.pause).await;
    }
    Ok(())
}

async fn burst(count: usize, plans: &mut Plans, lightning: &Lightning) -> Result<(), LoadError> {
    let done = lightning.statistics().await?.finished;
    for number in 0..count {
        // The first, so that work begins, and the last, in case the worker was faster than this loop.
        let wake = number == 0 || number + 1 == count;
        lightning.enqueue(plans.next(), wake).await?;
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
