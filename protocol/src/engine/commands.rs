//! What the parent tells a child.

use serde::Serialize;

use crate::ids::RunId;
use crate::plan::ExecutionPlan;

/// What the parent tells a child.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Command<'a> {
    /// Keep spare threads, with these adaptor folders loaded.
    Warm {
        /// How many.
        threads: usize,
        /// Folders of adaptors.
        adaptors: &'a [String],
    },
    /// Load a run; the body is its input as JSON, empty for `{}`.
    Execute {
        /// The run.
        run: &'a RunId,
        /// Its plan.
        plan: &'a ExecutionPlan,
        /// Its limits and switches.
        options: &'a ExecuteOptions,
    },
    /// Begin to execute the run that was loaded.
    Go {
        /// The run.
        run: &'a RunId,
    },
    /// End the thread of a run at once.
    Cancel {
        /// The run.
        run: &'a RunId,
    },
    /// End the process.
    Shutdown,
}

/// Limits and switches of one execution.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExecuteOptions {
    /// The adaptor repository.
    pub repo_dir: String,
    /// Keys deleted from the state after each step.
    pub state_props_to_remove: Vec<String>,
    /// Largest state of a step, MiB.
    pub state_limit_mb: f64,
    /// Largest dataclip, MiB.
    pub payload_limit_mb: f64,
    /// Largest log line, MiB.
    pub log_payload_limit_mb: f64,
    /// Heap of the thread, MiB.
    pub memory_limit_mb: f64,
    /// Threshold of JOB lines.
    pub job_log_level: String,
    /// Sanitising policy of log lines.
    pub sanitize: String,
    /// Measure peak memory.
    pub profile: bool,
    /// How often, in milliseconds.
    pub profile_poll_interval_ms: u64,
    /// Whether states are wanted at all.
    pub output_dataclips: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_tagged() {
        let run = RunId::new("r");
        let adaptors = ["/repo/node_modules/a".to_owned()];
        for (command, json) in [
            (
                Command::Warm {
                    threads: 1,
                    adaptors: &adaptors,
                },
                r#"{"type":"warm","threads":1,"adaptors":["/repo/node_modules/a"]}"#,
            ),
            (Command::Go { run: &run }, r#"{"type":"go","run":"r"}"#),
            (
                Command::Cancel { run: &run },
                r#"{"type":"cancel","run":"r"}"#,
            ),
            (Command::Shutdown, r#"{"type":"shutdown"}"#),
        ] {
            assert_eq!(serde_json::to_string(&command).unwrap(), json);
        }
    }
}
