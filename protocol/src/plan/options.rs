//! A run's own options (protocol spec, section 6.4).

use serde_json::{Map, Value};

/// The options of a run; `None` is the worker's own default.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOptions {
    /// `run_timeout_ms`; zero is no timeout.
    pub run_timeout_ms: Option<u64>,
    /// `run_memory_limit_mb`.
    pub memory_limit_mb: Option<f64>,
    /// `payload_limit_mb`.
    pub payload_limit_mb: Option<f64>,
    /// `log_payload_limit_mb`.
    pub log_payload_limit_mb: Option<f64>,
    /// `state_limit_mb`.
    pub state_limit_mb: Option<f64>,
    /// `sanitize`: `none`, `obfuscate`, `summarize` or `remove`.
    pub sanitize: String,
    /// `job_log_level`.
    pub job_log_level: String,
    /// `output_dataclips`: false only when it is exactly false.
    pub output_dataclips: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            run_timeout_ms: None,
            memory_limit_mb: None,
            payload_limit_mb: None,
            log_payload_limit_mb: None,
            state_limit_mb: None,
            sanitize: "none".to_owned(),
            job_log_level: "debug".to_owned(),
            output_dataclips: true,
        }
    }
}

impl RunOptions {
    /// Reads the options of a plan. An option of a wrong type is left at its default, with a warning that names it: a run
    /// is worth more than an option of it.
    pub(super) fn read(options: &Map<String, Value>, warnings: &mut Vec<String>) -> Self {
        let mut read = Self::default();
        let mut number = |key: &str| match options.get(key) {
            None | Some(Value::Null) => None,
            Some(value) => {
                let number = value
                    .as_f64()
                    .filter(|number| number.is_finite() && *number >= 0.0);
                if number.is_none() {
                    warnings.push(format!(
                        "option {key} is {value}, not a positive number: using the default"
                    ));
                }
                number
            }
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be finite and not negative; a cast saturates"
        )]
        let milliseconds = number("run_timeout_ms").map(|number| number as u64);
        read.run_timeout_ms = milliseconds;
        read.memory_limit_mb = number("run_memory_limit_mb").filter(|limit| *limit > 0.0);
        read.payload_limit_mb = number("payload_limit_mb");
        read.log_payload_limit_mb = number("log_payload_limit_mb");
        read.state_limit_mb = number("state_limit_mb");
        for (key, slot) in [
            ("sanitize", &mut read.sanitize),
            ("job_log_level", &mut read.job_log_level),
        ] {
            match options.get(key) {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) => slot.clone_from(text),
                Some(other) => {
                    warnings.push(format!("option {key} is {other}, not a text: using {slot}"));
                }
            }
        }
        read.output_dataclips = options.get("output_dataclips") != Some(&Value::Bool(false));
        read
    }
}
