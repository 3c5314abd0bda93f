//! `ws-worker replay`: plays Lightning's side of a recording to this worker, and tells where the worker answers otherwise.
//!
//! The engine is played too: what it says is worked out from what the worker told Lightning then. So neither Node nor the
//! data of the jobs is needed, and what is tried is what Lightning and the worker say to each other. The rules are in
//! `docs/recording.md`.

mod channel;
mod compare;
mod lines;
mod player;
mod script;
mod server;
#[cfg(test)]
mod tests;
mod timeline;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actors::config::EngineConfig;
use actors::engine_pool::RecordedEngine;
use actors::lightning::TlsError;
use actors::supervisor::Supervisor;
use clap::Args;
use protocol::recording::{Recording, RecordingError, read as read_recording};

use self::player::{Difference, How, Player};
use self::server::Stage;
use self::timeline::Timeline;
use super::{FileError, Flags, read};
use crate::logging;
use crate::settings::setting::Setting;
use crate::settings::{BadSettings, Settings, known, table};

/// Nobody else can know it, and nobody asks for it.
const SECRET: &str = "known to this process only";
/// The longest message timeout of a replay, seconds: silence is waited for in real time.
const MESSAGE_TIMEOUT: f64 = 2.0;
/// The longest wait between two attempts, ms.
const RETRY_DELAY: f64 = 50.0;
/// How long a batch stays open, ms. Longer than the lines of one need to come in.
const BATCH_INTERVAL: &str = "100";
const BACKOFF: &str = "0.02/0.1";
/// How long a refusal is held back for something that may have crossed it.
const CROSSING: Duration = Duration::from_millis(300);
/// Differences that are shown.
const SHOWN: usize = 50;

/// What `replay` is told. Settings of the worker count before those of the recording.
#[derive(Debug, Args)]
#[command(mut_args(|arg| if is_own(&arg) { arg } else { arg.hide(true) }))]
#[command(
    after_help = "The settings of `ws-worker start` are understood as well, such as --event-window or --log, and count before those of the recording. Exit code: 0 no difference, 1 differences, 2 nothing could be replayed."
)]
pub struct ReplayArgs {
    /// A recording; several files of one recording in order, the oldest first
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Seconds that the worker may say nothing for longer than in the recording
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    patience: u64,
    #[command(flatten)]
    flags: Flags,
}

fn is_own(arg: &clap::Arg) -> bool {
    ["files", "patience", "help"].contains(&arg.get_id().as_str())
}

/// Why nothing could be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no recording.
    #[error("the recording cannot be used")]
    Recording(#[from] RecordingError),
    /// No run in it can be replayed.
    #[error("the recording has no run that was claimed in it, so there is nothing to replay")]
    Empty,
    /// The settings of the worker.
    #[error(transparent)]
    Settings(#[from] BadSettings),
    /// The worker does not start.
    #[error("the worker cannot be started")]
    Unstarted(#[from] TlsError),
    /// The operating system gives no socket or no standard output.
    #[error("the operating system refused a resource")]
    Resource(#[from] io::Error),
    /// The log cannot be set up.
    #[error(transparent)]
    Log(#[from] logging::LogError),
}

/// Replays a recording; returns the exit code: 0 without a difference, else 1. To be called inside an actix System.
///
/// # Errors
///
/// The recording cannot be read, the settings are wrong, or the worker does not start.
pub async fn run(args: ReplayArgs) -> Result<u8, ReplayError> {
    let mut text = Vec::new();
    for file in &args.files {
        text.append(&mut read(file)?);
    }
    let recording = read_recording(&String::from_utf8_lossy(&text))?;
    let timeline = Timeline::new(&recording);
    for note in &timeline.notes {
        say(&format!("note: {note}"))?;
    }
    if timeline.runs.is_empty() {
        return Err(ReplayError::Empty);
    }
    let engine = RecordedEngine::default();
    let player = Player::new(timeline, recording.header.data);
    let stage = Arc::new(Stage::new(player, engine.clone()));
    let (address, server) = server::serve(&stage)?;
    let mut settings = settings(args.flags, &recording, &format!("ws://{address}/worker"))?;
    logging::init(&settings.log)?;
    settings.worker.engine = EngineConfig::Recorded(engine);
    let worker = Supervisor::start(settings.worker)?;
    let patience = Duration::from_secs(args.patience);
    let outcome = loop {
        let (wait, holds) = {
            let player = stage.player();
            if player.is_over() {
                break None;
            }
            let holds = player.holds();
            let wait = patience + player.recorded_wait();
            (if holds { CROSSING } else { wait }, holds)
        };
        tokio::select! {
            moved = tokio::time::timeout(wait, stage.moved.notified()) => {
                if moved.is_err() && holds {
                    stage.let_go();
                } else if moved.is_err() {
                    break Some(format!("nothing was said for {} s", wait.as_secs()));
                }
            }
            _ = worker.wait() => break Some("the worker has ended".to_owned()),
        }
    };
    server.stop(false).await;
    tell(&stage.player(), outcome)
}

/// The worker's settings: those given, else those of the recording, with waits cut short.
fn settings(flags: Flags, recording: &Recording, url: &str) -> Result<Settings, BadSettings> {
    let shorter = |text: &str, most: f64| match text.parse::<f64>() {
        Ok(time) if time <= most => text.to_owned(),
        Ok(_) | Err(_) => most.to_string(),
    };
    let mut decided: Vec<(&'static Setting, String)> = Vec::new();
    for (key, text) in &recording.header.settings {
        let Ok(setting) = known(key) else {
            continue;
        };
        let text = match setting.key {
            key if key == table::MESSAGE_TIMEOUT.key => shorter(text, MESSAGE_TIMEOUT),
            key if key == table::TIMEOUT_RETRY_DELAY.key => shorter(text, RETRY_DELAY),
            key if key == table::BATCH_INTERVAL.key => BATCH_INTERVAL.to_owned(),
            key if key == table::BACKOFF.key => BACKOFF.to_owned(),
            key if key == table::LOOP.key || key == table::MOCK.key => "true".to_owned(),
            _ => text.clone(),
        };
        decided.push((setting, text));
    }
    decided.push((&table::LOG, "none".to_owned()));
    decided.retain(|(setting, _)| !flags.has(setting));
    if flags.has(&table::CAPACITY) {
        decided.retain(|(setting, _)| setting.key != table::WORKLOOPS.key);
    }
    decided.push((&table::LIGHTNING, url.to_owned()));
    decided.push((&table::SECRET, SECRET.to_owned()));
    flags.with(decided).settings([])
}

fn tell(player: &Player, interrupted: Option<String>) -> Result<u8, ReplayError> {
    for difference in player.differences.iter().take(SHOWN) {
        say(&shown(difference))?;
    }
    let more = player.differences.len().saturating_sub(SHOWN);
    if more > 0 {
        say(&format!("… and {more} more"))?;
    }
    let differs = !player.differences.is_empty() || interrupted.is_some();
    if let Some(why) = interrupted {
        say(&format!("{why}; awaited were:"))?;
        for awaited in player.awaited() {
            say(&format!("    {awaited}"))?;
        }
    }
    let (runs, frames, found) = (player.runs(), player.frames, player.differences.len());
    say(&format!(
        "{runs} runs and {frames} frames of the worker replayed, {found} differences"
    ))?;
    Ok(u8::from(differs))
}

fn shown(difference: &Difference) -> String {
    let Difference { run, event, what } = difference;
    let nothing = || "nothing".to_owned();
    match what {
        How::LeftOut(payload) => format!("run {run}: {event} is left out: {payload}"),
        How::Unrecorded(payload) => {
            format!("run {run}: {event} is not in the recording: {payload}")
        }
        How::Fields(fields) => {
            let mut text = format!("run {run}: {event} differs");
            for field in fields {
                let recorded = field.recorded.clone().unwrap_or_else(nothing);
                let now = field.now.clone().unwrap_or_else(nothing);
                text.push_str(&format!(
                    "\n    {}\n      recorded  {recorded}\n      now       {now}",
                    field.path
                ));
            }
            text
        }
    }
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
