//! Ten minutes of runs with the real engine while connections fail, Lightning misbehaves and engine children are killed; two
//! workers, one of which batches its log.
//!
//! `cargo test --test soak -- --ignored --nocapture`; `SOAK_MINUTES` and `SOAK_SEED` change its length and its faults, and
//! `SOAK_RUNS` spreads so many runs over its length, where a machine has other work; without it the workers are kept full.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lightning_mock::{Fault, MockLightning, MockServer, RunState, RunView};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use support::random::Random;
use support::{DEADLINE, SECRET, Worker, plan};

/// Lines of each run.
const LINES: usize = 20;
/// Runs that have ended stay in the mock's store for so long, for what is said of them late.
const KEPT: Duration = Duration::from_secs(120);
const TICK: Duration = Duration::from_millis(250);
/// Between two faults at most; half of it on average.
const LONGEST_PEACE_MS: u64 = 4000;
/// A run that was claimed for so long and is not started was lost with the answer to its claim.
const UNSTARTED: Duration = Duration::from_secs(20);
const EVENTS: [&str; 10] = [
    "phx_join",
    "claim",
    "fetch:plan",
    "fetch:dataclip",
    "run:start",
    "run:log",
    "run:batch_logs",
    "step:start",
    "step:complete",
    "run:complete",
];

/// Lets something go wrong, and says what.
fn strike(lightning: &MockServer, workers: &[Worker], random: &mut Random) -> &'static str {
    let while_away = Duration::from_millis(500 + random.below(2500));
    match random.below(10) {
        0 => {
            lightning.refuse_connections(while_away);
            lightning.disconnect_all();
            "away"
        }
        1 => {
            lightning.close_all(*random.of(&[1000, 1001, 1011, 1012]));
            "closed"
        }
        2 => {
            lightning.disconnect_all();
            "cut"
        }
        3 => {
            let children = random.of(workers).children();
            if !children.is_empty() {
                let pid = i32::try_from(*random.of(&children)).expect("a process id fits");
                // It may have ended by itself.
                kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
            }
            "child killed"
        }
        _ => {
            let (name, fault) = match random.below(11) {
                0 => ("cut before", Fault::CutBefore),
                1 => ("cut after", Fault::CutAfter),
                2 => ("reply lost", Fault::LoseReply),
                3 => ("crash", Fault::Crash),
                4 => ("close", Fault::Close),
                5 => ("late", Fault::Delay(while_away)),
                6 => ("ignored", Fault::Ignore),
                7 => ("answered twice", Fault::Duplicate),
                8 => ("database away", Fault::DatabaseAway(while_away)),
                9 => ("refused once", Fault::Refuse(json!({ "reason": "busy" }))),
                _ => ("garbage", Fault::Garbage),
            };
            let event: &str = random.of::<&str>(&EVENTS);
            lightning.fault(event, fault);
            name
        }
    }
}

fn resident_kb(worker: &Worker) -> u64 {
    let path = format!("/proc/{}/status", worker.pid());
    let status = std::fs::read_to_string(path).expect("the worker is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.trim().strip_suffix(" kB"));
    size.and_then(|size| size.parse().ok())
        .expect("the kernel tells the size in kB")
}

/// What becomes of a claim whose answer was lost: back into the queue, as the server does it.
fn roll_back(lightning: &MockServer, runs: &[RunView], claimed: &mut BTreeMap<String, Instant>) {
    for run in runs {
        if run.state != RunState::Claimed {
            claimed.remove(&run.id);
            continue;
        }
        let since = *claimed.entry(run.id.clone()).or_insert_with(Instant::now);
        if since.elapsed() > UNSTARTED {
            lightning.roll_back(&run.id);
            claimed.remove(&run.id);
        }
    }
}

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// What became of the runs that have ended.
#[derive(Debug, Default)]
struct Tally {
    runs: usize,
    ends: BTreeMap<String, usize>,
    /// Runs whose step was stored twice.
    twice: usize,
    /// Successful runs that lack a line.
    incomplete: usize,
    /// Lines that were stored again.
    doubled: usize,
}

impl Tally {
    fn add(&mut self, run: &RunView) {
        self.runs += 1;
        let error = run.error_type.clone().unwrap_or_default();
        let end = format!("{} {error}", run.state);
        *self.ends.entry(end).or_default() += 1;
        self.twice += usize::from(run.steps.len() > 1);
        let mut lines = run.log_texts();
        lines.retain(|text| text.starts_with("line "));
        let stored = lines.len();
        lines.sort_unstable();
        lines.dedup();
        self.doubled += stored - lines.len();
        self.incomplete += usize::from(run.state == RunState::Success && lines.len() < LINES);
    }
}

/// Resident size in kB, and open descriptors, of all workers.
fn footprint(workers: &[Worker]) -> (u64, usize) {
    let resident = workers.iter().map(resident_kb).sum();
    (resident, workers.iter().map(Worker::descriptors).sum())
}

#[test]
#[ignore = "takes ten minutes and the real engine"]
#[expect(
    clippy::disallowed_methods,
    reason = "what goes wrong here goes wrong by time, not by event"
)]
fn ten_minutes_of_faults_lose_no_run_and_no_memory() {
    let length = Duration::from_secs(60 * number_from("SOAK_MINUTES", 10));
    let mut random = Random(number_from("SOAK_SEED", 2026).max(1));
    let paced = Some(number_from("SOAK_RUNS", 0)).filter(|runs| *runs > 0);
    let lightning = MockLightning::builder()
        .secret(Some(SECRET))
        .record(false)
        .spawn_thread()
        .expect("the mock starts on a free port");
    let quick = ["--capacity", "3", "--message-timeout", "2", "--log", "info"];
    let workers = [
        Worker::with_engine(&lightning, &quick),
        Worker::with_engine(&lightning, &[&quick[..], &["--batch-logs"]].concat()),
    ];
    let body = format!(
        "export default [async s => {{ for (let i = 0; i < {LINES}; i++) {{ console.log('line', i); \
        await new Promise(done => setTimeout(done, 40)); }} return {{ ...s, x: 1 }}; }}]"
    );
    let (mut tally, mut faults, mut claimed) = (Tally::default(), BTreeMap::new(), BTreeMap::new());
    let (start, mut early, mut number) = (Instant::now(), None, 0_u64);
    let mut next_fault = start;
    while start.elapsed() < length {
        for run in lightning.take_ended(KEPT) {
            tally.add(&run);
        }
        let runs = lightning.runs();
        let waiting = runs
            .iter()
            .filter(|run| run.state == RunState::Available)
            .count();
        let elapsed = start.elapsed().as_secs().min(length.as_secs());
        let due = paced.map_or(u64::MAX, |runs| runs * elapsed / length.as_secs());
        for _ in waiting..10 {
            if number >= due {
                break;
            }
            number += 1;
            let mut plan = plan(&body, "manual");
            plan["dataclip"] = json!({"data": {"n": number}});
            lightning.enqueue(plan).expect("the plan is right");
        }
        roll_back(&lightning, &runs, &mut claimed);
        while next_fault <= Instant::now() {
            next_fault += Duration::from_millis(random.below(LONGEST_PEACE_MS));
            *faults
                .entry(strike(&lightning, &workers, &mut random))
                .or_insert(0) += 1;
        }
        if early.is_none() && start.elapsed() > length / 5 {
            early = Some(footprint(&workers));
        }
        for worker in &workers {
            worker.log();
        }
        std::thread::sleep(TICK);
    }
    let late = footprint(&workers);
    let end = Instant::now() + DEADLINE * 3;
    while Instant::now() < end && lightning.runs().iter().any(|run| !run.state.is_final()) {
        roll_back(&lightning, &lightning.runs(), &mut claimed);
        std::thread::sleep(TICK);
    }

    let left = lightning.runs();
    let stuck = left.iter().filter(|run| !run.state.is_final()).count();
    for run in &left {
        tally.add(run);
    }
    let early = early.expect("a fifth of the time has passed");
    println!("{tally:?}; faults {faults:?}; resident kB and descriptors {early:?}, then {late:?}");
    assert_eq!(
        (stuck, tally.twice, tally.incomplete),
        (0, 0, 0),
        "stuck, twice, with lines missing"
    );
    let foreseen = ["success ", "crashed ExitError", "crashed EngineLost"];
    assert!(
        tally
            .ends
            .keys()
            .all(|end| foreseen.contains(&end.as_str())),
        "{tally:?}"
    );
    let (resident, descriptors) = (early.0, early.1);
    assert!(late.0 < resident + resident / 4, "{early:?}, then {late:?}");
    assert!(late.1 < descriptors + 20, "{early:?}, then {late:?}");
}
