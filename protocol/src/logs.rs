//! The lines that worker and engine add to a run's log (protocol spec, section 5.2).

use std::time::Duration;

use crate::js;
use crate::reasons::{ExitReason, Outcome};

/// Precedes the completion of a step whose dataclip is withheld.
pub const DATACLIP_TOO_LARGE: &str =
    "Dataclip exceeds payload limit: output will not be sent back to the app.";

/// Stands for the message of a line that is too large (protocol spec, section 5.3).
pub const LINE_TOO_LARGE: &str = "[REDACTED: Message length exceeds payload limit]";

/// Precedes the end of a run whose final state does not fit into a frame that Lightning takes.
pub fn final_state_over_frame(limit_mb: f64) -> String {
    format!(
        "Final state exceeds the limit of {}mb for a message to the app: it will not be sent back to the app.",
        js::number(limit_mb)
    )
}

/// Precedes the end of a run whose jobs do not compile.
pub const COMPILE_FAILED: &str = "Error occurred during compilation";

/// The lines before `run:start`: memory limit and timeout, each if there is one.
pub fn limit_lines(memory_mb: f64, timeout: Option<Duration>) -> Vec<String> {
    let mut lines = Vec::new();
    if memory_mb > 0.0 {
        lines.push(format!("Memory limit: {}mb", js::number(memory_mb)));
    }
    if let Some(timeout) = timeout {
        lines.push(format!("Timeout: {}s", js::number(timeout.as_secs_f64())));
    }
    lines
}

/// The first line after `run:start`.
pub fn payload_line(payload_mb: f64) -> String {
    format!("Payload limit: {}mb", js::number(payload_mb))
}

/// The lines before `run:complete`.
pub fn status_lines(outcome: &Outcome) -> Vec<String> {
    let mut lines = vec![format!("Run complete with status: {}", outcome.reason)];
    if outcome.reason != ExitReason::Success {
        let error_type = outcome.error_type.as_deref().unwrap_or("Error");
        let message = outcome
            .error_message
            .as_deref()
            .filter(|message| !message.is_empty())
            .unwrap_or("unknown");
        lines.push(format!("{error_type}: {message}"));
    }
    lines
}

/// Whether a line of this source is one that the worker adds by itself, with nothing of the run in it but figures.
pub fn is_own_line(source: &str, text: &str) -> bool {
    let is_figure = |start: &str, end: &str| {
        let figure = text
            .strip_prefix(start)
            .and_then(|text| text.strip_suffix(end));
        figure.is_some_and(|figure| {
            figure
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'+' | b'-'))
        })
    };
    match source {
        "RTE" => {
            text == COMPILE_FAILED
                || is_figure("Memory limit: ", "mb")
                || is_figure("Timeout: ", "s")
                || is_figure("Payload limit: ", "mb")
        }
        "R/T" => text == DATACLIP_TOO_LARGE || status_of(text).is_some(),
        _ => false,
    }
}

/// The reason that the first line before `run:complete` names; `None` for any other line.
pub fn status_of(text: &str) -> Option<ExitReason> {
    let reason = text.strip_prefix("Run complete with status: ")?;
    serde_json::from_value(reason.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named_when_there_are_any() {
        assert_eq!(
            limit_lines(500.0, Some(Duration::from_millis(1500))),
            ["Memory limit: 500mb", "Timeout: 1.5s"]
        );
        assert!(limit_lines(0.0, None).is_empty());
        assert_eq!(payload_line(0.001), "Payload limit: 0.001mb");
    }

    #[test]
    fn the_status_names_the_error_unless_there_is_none() {
        assert_eq!(
            status_lines(&Outcome::success()),
            ["Run complete with status: success"]
        );
        let failed = Outcome {
            reason: ExitReason::Fail,
            error_type: Some("JobError".to_owned()),
            error_message: Some(String::new()),
        };
        assert_eq!(
            status_lines(&failed),
            ["Run complete with status: fail", "JobError: unknown"]
        );
    }

    #[test]
    fn own_lines_are_told_from_those_of_a_job() {
        for reason in [ExitReason::Success, ExitReason::Kill] {
            let outcome = Outcome {
                reason,
                ..Outcome::success()
            };
            let text = &status_lines(&outcome)[0];
            assert!(is_own_line("R/T", text) && !is_own_line("JOB", text));
            assert_eq!(status_of(text), Some(reason));
        }
        for text in limit_lines(0.5, Some(Duration::from_secs(1))) {
            assert!(is_own_line("RTE", &text));
        }
        assert!(is_own_line("RTE", &payload_line(10.0)));
        assert!(!is_own_line("RTE", "Memory limit: Aminamb"));
        assert!(!is_own_line("R/T", "Run complete with status: Amina"));
    }
}
