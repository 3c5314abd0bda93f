//! What the parent tells a child.

use std::time::Duration;

use serde::Serialize;

use crate::ids::RunId;
use crate::plan::ExecutionPlan;

/// What the parent tells a child.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Command<'a> {
    /// Load these before a run comes.
    Preload {
        /// Folders of adaptors.
        adaptors: &'a [String],
        /// What of them is otherwise loaded when it is used, as bits that the process has told of another run.
        later: u32,
    },
    /// Load a run; the body is its input as JSON, empty for `{}`.
    Execute {
        /// The run.
        run: &'a RunId,
        /// Its plan.
        plan: &'a ExecutionPlan,
        /// Its limits and switches.
        options: ChildOptions<'a>,
    },
    /// Begin to execute the run that was loaded.
    Go {
        /// The run.
        run: &'a RunId,
    },
    /// End the process.
    Shutdown,
}

/// What a child needs to know of an execution: the run's share and the worker's.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ChildOptions<'a> {
    /// As the run wants it.
    #[serde(flatten)]
    pub run: &'a ExecuteOptions,
    /// As the worker is configured.
    #[serde(flatten)]
    pub node: &'a NodeOptions,
}

/// Limits and switches of one execution, for any engine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExecuteOptions {
    /// How long the run may take once its steps may begin; the worker measures it.
    #[serde(skip)]
    pub timeout: Option<Duration>,
    /// Heap of the run, MiB.
    pub memory_limit_mb: f64,
    /// Largest state of a step, MiB.
    pub state_limit_mb: f64,
    /// Largest dataclip, MiB.
    pub payload_limit_mb: f64,
    /// Largest log line, MiB.
    pub log_payload_limit_mb: f64,
    /// Threshold of JOB lines.
    pub job_log_level: String,
    /// Sanitising policy of log lines.
    pub sanitize: String,
    /// Whether states are wanted at all.
    pub output_dataclips: bool,
}

/// What every execution of a Node engine has from the worker's configuration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeOptions {
    /// The adaptor repository.
    pub repo_dir: String,
    /// Keys deleted from the state after each step.
    pub state_props_to_remove: Vec<String>,
    /// Measure peak memory.
    pub profile: bool,
    /// How often it is measured, in milliseconds.
    pub profile_poll_interval_ms: u64,
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
                Command::Preload {
                    adaptors: &adaptors,
                    later: 2,
                },
                r#"{"type":"preload","adaptors":["/repo/node_modules/a"],"later":2}"#,
            ),
            (Command::Go { run: &run }, r#"{"type":"go","run":"r"}"#),
            (Command::Shutdown, r#"{"type":"shutdown"}"#),
        ] {
            assert_eq!(serde_json::to_string(&command).unwrap(), json);
        }
    }

    #[test]
    fn a_child_gets_the_options_of_its_run_and_of_the_worker_as_one_object() {
        let run = ExecuteOptions {
            timeout: Some(Duration::from_secs(1)),
            memory_limit_mb: 500.0,
            state_limit_mb: 1.5,
            payload_limit_mb: 10.0,
            log_payload_limit_mb: 1.0,
            job_log_level: "debug".to_owned(),
            sanitize: "none".to_owned(),
            output_dataclips: true,
        };
        let node = NodeOptions {
            repo_dir: "/repo".to_owned(),
            state_props_to_remove: vec!["configuration".to_owned()],
            profile: false,
            profile_poll_interval_ms: 10,
        };
        let options = ChildOptions {
            run: &run,
            node: &node,
        };
        assert_eq!(
            serde_json::to_value(options).unwrap(),
            serde_json::json!({
                "repo_dir": "/repo", "state_props_to_remove": ["configuration"], "state_limit_mb": 1.5,
                "payload_limit_mb": 10.0, "log_payload_limit_mb": 1.0, "memory_limit_mb": 500.0,
                "job_log_level": "debug", "sanitize": "none", "profile": false, "profile_poll_interval_ms": 10,
                "output_dataclips": true,
            })
        );
    }
}
