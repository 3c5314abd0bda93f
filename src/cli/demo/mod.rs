//! `ws-worker demo`: the whole way of a run in one process. A mock Lightning on a free port, the worker with the real
//! engine against it, and a workflow whose run is told line by line.

mod run_printer;
mod sample_service;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use actors::lightning::TlsError;
use actors::supervisor::{Exit, Supervisor, SupervisorHandle};
use clap::Args;
use lightning_mock::{Direction, MockLightning, MockServer, RecordedEvent};
use serde_json::Value;

use self::run_printer::RunPrinter;
use self::sample_service::SampleService;
use super::{FileError, Flags, read};
use crate::logging;
use crate::settings::{BadSettings, Settings, table};

/// The bundled sample: a Lightning plan with its credential.
const WORKFLOW: &str = include_str!("workflow.json");
/// The bundled sample's dataclip.
const INPUT: &str = include_str!("input.json");
/// What stands in the sample for the address of the service that the demo starts.
const SERVICE_PLACEHOLDER: &str = "DEMO_SERVICE";
/// The log is about the worker; a demo is about the run. Installs are shown, since they take their time.
const QUIET: &str = "warn,lightning_mock=error,adaptors=info";
/// Both sides run in this process and nobody else can know it.
const SECRET: &str = "known to this process only";
/// Longer than any run: the run's own timeout ends it before.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);
/// How long the mock may take to store the end of a run after it was sent.
const STORING: Duration = Duration::from_secs(10);
/// How long the worker may take to end when nothing is left to do.
const ENDING: Duration = Duration::from_secs(10);
/// What a shell reports for SIGINT.
const INTERRUPTED: u8 = 128 + 2;

/// What `demo` is told. The settings of the worker are understood as well, but for those that name its Lightning.
#[derive(Debug, Args)]
#[command(mut_args(|arg| if is_own(&arg) { arg } else { arg.hide(true) }))]
#[command(
    after_help = "The settings of `ws-worker start` are understood as well, such as --repo-dir, --node or --log."
)]
pub struct DemoArgs {
    /// A Lightning plan in JSON, instead of the bundled sample
    #[arg(long, value_name = "FILE")]
    workflow: Option<PathBuf>,
    /// The run's input in JSON
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// How many runs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    #[command(flatten)]
    flags: Flags,
}

fn is_own(arg: &clap::Arg) -> bool {
    ["workflow", "input", "runs", "help"].contains(&arg.get_id().as_str())
}

/// Why the demo could not be run.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The workflow or the input cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The workflow or the input is no JSON.
    #[error("{0} is no JSON")]
    Json(&'static str, #[source] serde_json::Error),
    /// The settings of the worker.
    #[error(transparent)]
    Settings(#[from] BadSettings),
    /// The mock does not take the workflow.
    #[error("the workflow cannot be run")]
    Refused(#[from] lightning_mock::PlanError),
    /// The mock does not start.
    #[error("the mock Lightning cannot be started")]
    Mock(#[from] lightning_mock::StartError),
    /// The worker does not start.
    #[error("the worker cannot be started")]
    Unstarted(#[from] TlsError),
    /// The worker ended before the runs did.
    #[error("the worker ended early: {0}")]
    Worker(String),
    /// The mock did not take the end of a run.
    #[error("a run did not end as it should")]
    Unended(#[from] lightning_mock::WaitError),
    /// The operating system gives no socket or no standard output.
    #[error("the operating system refused a resource")]
    Resource(#[from] io::Error),
    /// The log cannot be set up.
    #[error(transparent)]
    Log(#[from] logging::LogError),
}

/// Runs the demo; returns the exit code: 0 when every run ended as `success`. To be called inside an actix System.
///
/// # Errors
///
/// The workflow cannot be read or run, the settings are wrong, or a part of the demo does not start.
pub async fn run(
    args: DemoArgs,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<u8, DemoError> {
    let service = SampleService::start()?;
    let plan = plan(
        args.workflow.as_deref(),
        args.input.as_deref(),
        &service.url,
    )?;
    let mock = MockLightning::builder()
        .secret(Some(SECRET))
        .spawn_thread()?;
    let settings = settings(args.flags, variables, &mock)?;
    logging::init(&settings.log)?;
    say(&format!(
        "mock Lightning on {}, sample service on {}; the first start installs the engine and the adaptors",
        mock.url(),
        service.url
    ))?;
    let worker = Supervisor::start(settings.worker)?;
    let outcome = tell(&mock, &worker, &plan, args.runs).await;
    end(&worker).await;
    service.stop().await;
    outcome
}

/// The plan with its input, as the mock takes it.
fn plan(workflow: Option<&Path>, input: Option<&Path>, service: &str) -> Result<Value, DemoError> {
    let text = match workflow {
        Some(path) => read(path)?,
        None => WORKFLOW.replace(SERVICE_PLACEHOLDER, service).into_bytes(),
    };
    let mut plan: Value =
        serde_json::from_slice(&text).map_err(|e| DemoError::Json("the workflow", e))?;
    let input = match (input, workflow) {
        (Some(path), _) => Some(read(path)?),
        (None, None) => Some(INPUT.as_bytes().to_vec()),
        (None, Some(_)) => None,
    };
    if let (Some(text), Value::Object(plan)) = (input, &mut plan) {
        let input = serde_json::from_slice(&text).map_err(|e| DemoError::Json("the input", e))?;
        plan.shift_remove("dataclip_id");
        plan.insert("dataclip".to_owned(), input);
    }
    Ok(plan)
}

/// The worker's settings: those given, but for what ties it to a Lightning.
fn settings(
    flags: Flags,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    mock: &MockServer,
) -> Result<Settings, BadSettings> {
    let mut decided = vec![
        (&table::LIGHTNING, mock.ws_url()),
        (&table::SECRET, SECRET.to_owned()),
        (&table::LIGHTNING_PUBLIC_KEY, mock.public_key()),
        (&table::BACKOFF, "0.1/1".to_owned()),
        (&table::LOOP, "true".to_owned()),
        (&table::MOCK, "false".to_owned()),
    ];
    if !flags.has(&table::LOG) {
        decided.push((&table::LOG, QUIET.to_owned()));
    }
    flags.with(decided).settings(variables)
}

/// Enqueues the runs and tells them until all have ended.
async fn tell(
    mock: &MockServer,
    worker: &SupervisorHandle,
    plan: &Value,
    runs: u16,
) -> Result<u8, DemoError> {
    let mut plan = plan.clone();
    if let Value::Object(plan) = &mut plan
        && runs > 1
    {
        // An id is for one run only; each gets a new one.
        plan.shift_remove("id");
    }
    let mut stories = Vec::new();
    for _ in 0..runs {
        stories.push(Story {
            run: mock.enqueue(plan.clone())?,
            printer: RunPrinter::new(&plan),
            ended: false,
        });
    }
    let mut next = 0;
    while stories.iter().any(|story| !story.ended) {
        let fresh =
            |event: &RecordedEvent| event.seq >= next && event.direction == Direction::FromWorker;
        tokio::select! {
            event = mock.event(FOR_EVER, fresh) => {
                let event = event?;
                next = event.seq + 1;
                tell_event(&mut stories, &event)?;
            }
            exit = worker.wait() => return Err(DemoError::Worker(reason(&exit))),
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                worker.stop_now();
                return Ok(INTERRUPTED);
            }
        }
    }
    let mut succeeded = 0;
    for story in &stories {
        let run = mock.ended(&story.run, STORING).await?;
        succeeded += u16::from(run.reason.as_deref() == Some("success"));
    }
    if runs > 1 {
        say(&format!("{succeeded} of {runs} runs succeeded"))?;
    }
    Ok(u8::from(succeeded < runs))
}

/// One run and what has been told of it.
struct Story {
    run: String,
    printer: RunPrinter,
    ended: bool,
}

fn tell_event(stories: &mut [Story], event: &RecordedEvent) -> io::Result<()> {
    let many = stories.len() > 1;
    let run = event.topic.strip_prefix("run:");
    let Some((number, story)) = stories
        .iter_mut()
        .enumerate()
        .find(|(_, story)| run == Some(&story.run))
    else {
        return Ok(());
    };
    story.ended |= event.event == "run:complete";
    for line in story.printer.lines(&event.event, &event.payload) {
        if many {
            say(&format!("[{}] {line}", number + 1))?;
        } else {
            say(&line)?;
        }
    }
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn reason(exit: &Exit) -> String {
    match exit {
        Exit::Drained => "it was told to".to_owned(),
        Exit::BadToken => "a run token failed verification".to_owned(),
        Exit::EngineUnavailable(why) => {
            format!("the engine cannot be started: {why}; `ws-worker check` looks for the cause")
        }
        Exit::GaveUp(why) => why.clone(),
    }
}

async fn end(worker: &SupervisorHandle) {
    worker.drain();
    if tokio::time::timeout(ENDING, worker.wait()).await.is_err() {
        log::warn!("the worker did not end within {} s", ENDING.as_secs());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_bundled_workflow_speaks_to_the_service_and_has_an_input() {
        let plan = plan(None, None, "http://127.0.0.1:9").unwrap();
        assert_eq!(
            plan["jobs"][0]["credential"]["baseUrl"],
            "http://127.0.0.1:9"
        );
        assert_eq!(plan["dataclip"], json!({"data": {"clinic": "north"}}));
    }

    #[test]
    fn a_workflow_of_ones_own_gets_the_input_that_is_given_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (workflow, input) = (dir.path().join("w.json"), dir.path().join("i.json"));
        std::fs::write(&workflow, r#"{"jobs":[{"id":"a"}],"dataclip_id":"d"}"#).unwrap();
        std::fs::write(&input, "{\"x\":1}").unwrap();
        assert_eq!(
            plan(Some(&workflow), None, "").unwrap(),
            json!({"jobs": [{"id": "a"}], "dataclip_id": "d"})
        );
        assert_eq!(
            plan(Some(&workflow), Some(&input), "").unwrap(),
            json!({"jobs": [{"id": "a"}], "dataclip": {"x": 1}})
        );
        std::fs::write(&input, "{").unwrap();
        assert!(
            plan(None, Some(&input), "")
                .unwrap_err()
                .to_string()
                .contains("the input is no JSON")
        );
        assert!(
            plan(Some(&dir.path().join("none")), None, "")
                .unwrap_err()
                .to_string()
                .contains("none")
        );
    }

    #[test]
    fn what_ties_the_worker_to_a_lightning_is_decided_by_the_demo() {
        let mock = MockLightning::builder()
            .secret(Some(SECRET))
            .spawn_thread()
            .unwrap();
        let variables = [
            ("WORKER_LIGHTNING_SERVICE_URL", "wss://real.example/worker"),
            ("WORKER_SECRET", "the real secret"),
        ];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let settings = settings(Flags::default(), variables, &mock).unwrap();
        assert_eq!(settings.worker.lightning.endpoint, mock.ws_url());
        assert_eq!(settings.worker.lightning.secret.expose(), SECRET);
        assert!(settings.worker.lightning.run_token_key.is_some());
    }
}
