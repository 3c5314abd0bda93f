//! Starts the real program against the mock Lightning.

#![allow(dead_code, reason = "each scenario file uses a part of it")]

pub(crate) mod http;
pub(crate) mod kernel;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod registry;
pub(crate) mod rows;
pub(crate) mod stage;
pub(crate) mod tls;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lightning_mock::{MockLightning, MockServer};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a scenario waits for an event before it fails; npm may need long for a first install on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// The secret that the mock Lightning and the worker share.
pub(crate) const SECRET: &str = "scenario-secret";

pub(crate) const ENGINE_CACHE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/engine-cache");
/// Where the real engine installs the adaptors of all scenarios.
pub(crate) const REPO: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/repo");

/// Adaptors of the scenarios' own, for `--monorepo-dir`: `@openfn/language-test@local`.
pub(crate) const MONOREPO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/monorepo");

/// A mock Lightning that checks the worker's token.
pub(crate) fn lightning() -> MockServer {
    MockLightning::builder()
        .secret(Some(SECRET))
        .spawn_thread()
        .expect("the mock starts on a free port")
}

/// A running worker; killed when it is dropped.
pub(crate) struct Worker {
    child: Child,
    url: String,
    /// What it logged until it listened.
    first_lines: Vec<String>,
    lines: mpsc::Receiver<String>,
    /// Its temporary folder, unless the scenario has given it one; a killed worker leaves its files there.
    temporary: Option<TempDir>,
}

impl Worker {
    /// Starts the worker with the mock engine and these further arguments, and waits until it listens.
    pub(crate) fn with_mock_engine(lightning: &MockServer, arguments: &[&str]) -> Self {
        Self::start(
            command(lightning)
                .arg("--mock")
                .args(arguments)
                .env_clear()
                // A flag of the scenario wins.
                .env("WORKER_LOG_LEVEL", "debug"),
        )
    }

    /// The same with the real engine. The engine's packages and the adaptors are installed once for all scenarios.
    pub(crate) fn with_engine(lightning: &MockServer, arguments: &[&str]) -> Self {
        Self::start(command_with_engine(lightning).args(arguments))
    }

    /// Starts what a scenario has put together, and waits until it listens.
    pub(crate) fn start(command: &mut Command) -> Self {
        let given = command
            .get_envs()
            .any(|(name, value)| name == "TMPDIR" && value.is_some());
        let temporary =
            (!given).then(|| tempfile::tempdir().expect("a temporary folder can be made"));
        if let Some(folder) = &temporary {
            command.env("TMPDIR", folder.path());
        }
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the worker starts");
        if temporary.is_some() {
            // The same command may start another worker.
            command.env_remove("TMPDIR");
        }
        let output = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // The receiver goes with the worker's handle; the output is read to the end all the same.
                sender.send(line).ok();
            }
        });
        // From here on it is killed when something goes wrong.
        let mut worker = Self {
            child,
            url: String::new(),
            first_lines: Vec::new(),
            lines,
            temporary,
        };
        while worker.url.is_empty() {
            let line = worker
                .lines
                .recv_timeout(DEADLINE)
                .expect("the worker says where it listens");
            if let Some((_, url)) = line.split_once("listening on ") {
                // A JSON line goes on after it.
                worker.url = url.split('"').next().unwrap_or(url).trim().to_owned();
            }
            worker.first_lines.push(line);
        }
        worker
    }

    /// The address of its HTTP server.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its temporary folder, where the scenario has not given it one.
    pub(crate) fn temporary(&self) -> &Path {
        let folder = self.temporary.as_ref();
        folder.expect("the scenario has given it one").path()
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.pid()));
        open.expect("the worker is there").count()
    }

    /// The processes that it has started and that are alive.
    pub(crate) fn children(&self) -> Vec<u32> {
        let mut children = self.children_and_zombies();
        children.retain(|pid| is_alive(*pid));
        children
    }

    /// The same with those that have ended and that it has not waited for.
    pub(crate) fn children_and_zombies(&self) -> Vec<u32> {
        let processes = std::fs::read_dir("/proc").expect("there is /proc");
        processes
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| stat_of(*pid).is_some_and(|(_, parent)| parent == self.pid()))
            .collect()
    }

    /// The largest resident size that its process has had, kB.
    pub(crate) fn peak_resident_kb(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the worker is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let size = line.and_then(|line| line.trim().strip_suffix(" kB"));
        size.and_then(|size| size.parse().ok())
            .expect("the kernel tells the peak in kB")
    }

    /// What it logged until it listened.
    pub(crate) fn first_lines(&self) -> &[String] {
        &self.first_lines
    }

    /// What it has logged since this was last asked for.
    pub(crate) fn log(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// What it logs from now until it has ended.
    pub(crate) fn until_ended(&self) -> Vec<String> {
        std::iter::from_fn(|| self.lines.recv_timeout(DEADLINE).ok()).collect()
    }

    /// Waits until it logs a line with this text.
    pub(crate) fn waits_for_line(&self, text: &str) {
        self.until_line(text);
    }

    /// What it logs from now until a line with this text, which is the last one.
    pub(crate) fn until_line(&self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.lines.recv_timeout(DEADLINE);
            let line =
                line.unwrap_or_else(|_| panic!("the worker does not say {text}: {lines:#?}"));
            lines.push(line);
            if lines.last().is_some_and(|line| line.contains(text)) {
                return lines;
            }
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process id fits");
        kill(Pid::from_raw(pid), signal).expect("the worker is there");
    }

    /// Waits for the exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().expect("the worker ends").code()
    }

    /// Sends a signal and waits for the exit code.
    pub(crate) fn ends_after(mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        self.exit_code()
    }
}

/// The state and the parent of a process.
fn stat_of(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

/// Whether a process is alive.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat_of(pid).is_some_and(|(state, _)| state != 'Z')
}

/// Waits until `done` holds.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    until(what, || done().then_some(()));
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Fails when the worker has ended, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The worker's command line for this Lightning, with a free port and claims at short intervals.
pub(crate) fn command(lightning: &MockServer) -> Command {
    command_at(&lightning.ws_url())
}

/// The same for the Lightning at this endpoint.
pub(crate) fn command_at(endpoint: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ws-worker"));
    command
        .args(["start", "--port", "0", "--host", "127.0.0.1"])
        .args(["--backoff", "0.05/0.2"])
        .args(["--lightning", endpoint, "--secret", SECRET])
        // A flag of the test wins.
        .env("WORKER_LOG_LEVEL", "debug");
    command
}

/// The same with the real engine.
pub(crate) fn command_with_engine(lightning: &MockServer) -> Command {
    let mut command = command(lightning);
    command.args(["--engine-cache-dir", ENGINE_CACHE, "--repo-dir", REPO]);
    command
}

/// Runs a command to its end; 124 is the code of one that went on for too long.
pub(crate) fn output_of(command: &Command) -> Output {
    Command::new("timeout")
        .arg(DEADLINE.as_secs().to_string())
        .arg(command.get_program())
        .args(command.get_args())
        .output()
        .expect("the command can be run")
}

/// All that it printed.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A plan with one job.
pub(crate) fn plan(body: &str, queue: &str) -> Value {
    let job = uuid::Uuid::new_v4().to_string();
    json!({
        "queue": queue,
        "triggers": [{"id": "t"}],
        "jobs": [{"id": job, "name": "Job", "body": body}],
        "edges": [{"source_trigger_id": "t", "target_job_id": job}],
    })
}

/// Looks again and again until there is something; for what the worker tells only when it is asked.
#[expect(
    clippy::disallowed_methods,
    reason = "a scenario has a thread of its own, and processes tell nobody when they end"
)]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "it does not happen that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
