//! The mock Lightning as a process of its own, and what the driver asks of it.

use std::io::{self, Write as _};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use awc::Client;
use lightning_mock::MockLightning;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::LoadError;

/// Makes the program serve instead of drive.
pub(crate) const SUBCOMMAND: &str = "serve-lightning";

/// Makes it take offers of permessage-deflate.
pub(crate) const COMPRESSION: &str = "--compression";

/// Signs nothing that matters; the worker has to have one.
pub(crate) const SECRET: &str = "load-driver";

/// The largest answer: thousands of runs in short.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;

/// A run in short. Times are microseconds since the epoch, by the mock's clock.
#[derive(Debug, Deserialize)]
pub(crate) struct Run {
    pub(crate) state: String,
    pub(crate) logs: usize,
    pub(crate) inserted_at: u64,
    pub(crate) claimed_at: Option<u64>,
    pub(crate) start_heard_at: Option<u64>,
    pub(crate) complete_heard_at: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Statistics {
    pub(crate) finished: usize,
    pub(crate) first_claim_at: Option<u64>,
}

/// The running mock; it ends with this value.
pub(crate) struct Lightning {
    child: Child,
    port: u16,
    client: Client,
}

/// Serves until standard input closes, so that it never outlives the driver.
pub(crate) fn serve(compression: bool) -> ExitCode {
    let mock = MockLightning::builder()
        .secret(Some(SECRET))
        .cheap_tokens(true)
        .record(false)
        .compression(compression)
        .spawn_thread();
    match mock {
        Ok(mock) => {
            let told = writeln!(io::stdout(), "{}", mock.port());
            let ended = io::copy(&mut io::stdin(), &mut io::sink());
            ExitCode::from(u8::from(told.is_err() || ended.is_err()))
        }
        Err(error) => crate::complain(&error),
    }
}

impl Lightning {
    pub(crate) async fn start(compression: bool) -> Result<Self, LoadError> {
        let what = "start the mock Lightning";
        let program = std::env::current_exe().map_err(LoadError::system(what))?;
        let mut child = Command::new(program)
            .arg(SUBCOMMAND)
            .args(compression.then_some(COMPRESSION))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(LoadError::system(what))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            let mut reader = BufReader::new(output);
            let read = reader.read_line(&mut line).await;
            read.map_err(LoadError::system(what))?;
        }
        let port = line
            .trim()
            .parse()
            .map_err(|_| LoadError::Lightning("with its port".to_owned()))?;
        let client = Client::builder().timeout(Duration::from_secs(60)).finish();
        Ok(Self {
            child,
            port,
            client,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Enqueues a plan and gives the run's id. `wake` has the workers told at once.
    pub(crate) async fn enqueue(&self, plan: &Value, wake: bool) -> Result<String, LoadError> {
        #[derive(Deserialize)]
        struct Enqueued {
            id: String,
        }
        let query = if wake { "?wakeup" } else { "" };
        let request = self.client.post(self.url(&format!("run{query}")));
        let enqueued: Enqueued = read(request.send_json(plan), "POST /run").await?;
        Ok(enqueued.id)
    }

    pub(crate) async fn runs(&self) -> Result<Vec<Run>, LoadError> {
        #[derive(Deserialize)]
        struct Runs {
            runs: Vec<Run>,
        }
        let runs: Runs = self.get("runs").await?;
        Ok(runs.runs)
    }

    pub(crate) async fn statistics(&self) -> Result<Statistics, LoadError> {
        self.get("statistics").await
    }

    /// Waits until so many runs have ended.
    pub(crate) async fn finished(
        &self,
        count: usize,
        look_every: Duration,
        patience: Duration,
    ) -> Result<(), LoadError> {
        let deadline = Instant::now() + patience;
        while self.statistics().await?.finished < count {
            if Instant::now() > deadline {
                return Err(LoadError::TooSlow {
                    what: format!("{count} runs to end"),
                    waited: patience,
                });
            }
            tokio::time::sleep(look_every).await;
        }
        Ok(())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, LoadError> {
        read(self.client.get(self.url(path)).send(), path).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }
}

async fn read<T: DeserializeOwned>(
    answer: awc::SendClientRequest,
    what: &str,
) -> Result<T, LoadError> {
    let failed = |why: String| LoadError::Lightning(format!("{what}: {why}"));
    let mut answer = answer.await.map_err(|error| failed(error.to_string()))?;
    let body = answer.json().limit(ANSWER_LIMIT).await;
    body.map_err(|error| failed(error.to_string()))
}
