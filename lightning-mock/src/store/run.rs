//! What the server knows of one run.

use std::fmt;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

/// Where a run stands (protocol spec, section 4.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// In the queue.
    Available,
    /// Taken by a worker, which has not reported `run:start`.
    Claimed,
    /// `run:start` was accepted.
    Started,
    /// Ended with `success`.
    Success,
    /// Ended with `fail`.
    Failed,
    /// Ended with `crash`.
    Crashed,
    /// Ended with `kill`.
    Killed,
    /// Ended with `cancel`.
    Cancelled,
    /// Ended with `exception`.
    Exception,
    /// The server gave it up.
    Lost,
}

impl RunState {
    /// The final state of a `reason` in `run:complete`; `None` for a reason that the server does not know.
    pub fn from_reason(reason: &str) -> Option<Self> {
        match reason {
            "success" | "ok" => Some(Self::Success),
            "fail" => Some(Self::Failed),
            "crash" => Some(Self::Crashed),
            "kill" => Some(Self::Killed),
            "cancel" => Some(Self::Cancelled),
            "exception" => Some(Self::Exception),
            _ => None,
        }
    }

    /// True once nothing more is expected of the run.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Available | Self::Claimed | Self::Started)
    }

    /// True while the run occupies a worker's slot.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Claimed | Self::Started)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Available => "available",
            Self::Claimed => "claimed",
            Self::Started => "started",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Crashed => "crashed",
            Self::Killed => "killed",
            Self::Cancelled => "cancelled",
            Self::Exception => "exception",
            Self::Lost => "lost",
        };
        formatter.write_str(text)
    }
}

/// A run, as `GET /run/:id` shows it. Times are microseconds since the epoch.
#[derive(Debug, Clone, Serialize)]
pub struct RunView {
    /// The id, a UUID unless the posted plan named another.
    pub id: String,
    /// The queue that it waits in.
    pub queue: String,
    /// How far the run has come.
    pub state: RunState,
    /// `reason` of `run:complete`.
    pub reason: Option<String>,
    /// `error_type` of `run:complete`.
    pub error_type: Option<String>,
    /// `error_message` of `run:complete`. The real server does not keep it.
    pub error_message: Option<String>,
    /// Its steps by id, in the order of `step:start`.
    pub steps: IndexMap<String, StepView>,
    /// Its log lines, in the order of arrival.
    pub logs: Vec<LogView>,
    /// `final_state` of `run:complete`.
    pub final_state: Option<Value>,
    /// `final_dataclip_id` of `run:complete`.
    pub final_dataclip_id: Option<String>,
    /// The last `webhook_response` that was an object.
    pub webhook_response: Option<Value>,
    /// `versions` of `run:start`.
    pub versions: Option<Value>,
    /// `worker_name` of the claim.
    pub worker_name: Option<String>,
    /// `queues` of the claim.
    pub claimed_for: Option<Vec<String>>,
    /// How often it was claimed.
    pub claims: u32,
    /// When it was enqueued, in microseconds since the epoch, as all times here are.
    pub inserted_at: u64,
    /// When it was claimed.
    pub claimed_at: Option<u64>,
    /// The worker's time of `run:start`.
    pub started_at: Option<u64>,
    /// The worker's time of `run:complete`.
    pub finished_at: Option<u64>,
    /// When `run:start` was accepted.
    pub start_heard_at: Option<u64>,
    /// When `run:complete` was accepted.
    pub complete_heard_at: Option<u64>,
    /// When its token ends, seconds since the epoch.
    pub expires_at: Option<u64>,
    /// The plan that `fetch:plan` answers.
    pub plan: Value,
}

impl RunView {
    /// The step of `job`, the last one if it ran more than once.
    pub fn step_of(&self, job: &str) -> Option<&StepView> {
        self.steps.values().rfind(|step| step.job_id == job)
    }

    /// The texts of all log lines, in the order of arrival.
    pub fn log_texts(&self) -> Vec<&str> {
        self.logs.iter().map(|line| line.text.as_str()).collect()
    }

    /// False if the run's dataclips are not kept (`options.output_dataclips` is false).
    pub(crate) fn saves_dataclips(&self) -> bool {
        self.plan.pointer("/options/output_dataclips") != Some(&Value::Bool(false))
    }
}

/// One execution of a job.
#[derive(Debug, Clone, Serialize)]
pub struct StepView {
    /// The id that the worker gave it.
    pub id: String,
    /// The job that the step executes.
    pub job_id: String,
    /// `input_dataclip_id` of `step:start`.
    pub input_dataclip_id: Option<String>,
    /// `output_dataclip_id` of `step:complete`.
    pub output_dataclip_id: Option<String>,
    /// The output as it is stored, without `configuration`.
    pub output_dataclip: Option<Value>,
    /// `output_dataclip_error` of `step:complete`.
    pub output_dataclip_error: Option<String>,
    /// `reason` of `step:complete`; `None` while it runs.
    pub reason: Option<String>,
    /// `error_type` of `step:complete`.
    pub error_type: Option<String>,
    /// `error_message` of `step:complete`.
    pub error_message: Option<String>,
    /// The worker's time of `step:start`.
    pub started_at: Option<u64>,
    /// The worker's time of `step:complete`.
    pub finished_at: Option<u64>,
    /// `mem` of `step:complete`.
    pub mem: Option<Value>,
    /// `duration` of `step:complete`, milliseconds.
    pub duration: Option<Value>,
}

/// A log line as it was stored.
#[derive(Debug, Clone, Serialize)]
pub struct LogView {
    /// The parts, as sent.
    pub message: Value,
    /// The parts joined with spaces, values of a fetched credential replaced by `***`.
    pub text: String,
    /// `source`, at most 8 characters.
    pub source: Option<String>,
    /// One of the six levels of the protocol spec, section 5.1.
    pub level: String,
    /// The worker's time, in microseconds since the epoch.
    pub timestamp: u64,
    /// The step that it belongs to.
    pub step_id: Option<String>,
}
