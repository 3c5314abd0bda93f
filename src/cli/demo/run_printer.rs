//! Tells a run as a person wants to read it: from the events that Lightning receives to lines of text.

use std::collections::BTreeMap;

use serde_json::Value;

/// What is known of a run while its events pass by.
#[derive(Debug, Default)]
pub(super) struct RunPrinter {
    /// Names of jobs, by id.
    jobs: BTreeMap<String, String>,
    /// Jobs, by the id of their step.
    steps: BTreeMap<String, String>,
}

impl RunPrinter {
    /// Knows the names of the jobs of a Lightning plan.
    pub(super) fn new(plan: &Value) -> Self {
        let jobs = plan["jobs"].as_array().into_iter().flatten();
        let name = |job: &Value| {
            Some((
                text(&job["id"])?,
                text(&job["name"]).or_else(|| text(&job["id"]))?,
            ))
        };
        Self {
            jobs: jobs.filter_map(name).collect(),
            steps: BTreeMap::new(),
        }
    }

    /// The lines that an event of the run is worth; none for most of the machinery's.
    pub(super) fn lines(&mut self, event: &str, payload: &Value) -> Vec<String> {
        match event {
            "run:start" => vec!["● run started".to_owned()],
            "run:log" => log_line(payload),
            "run:batch_logs" => payload["logs"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(log_line)
                .collect(),
            "step:start" => vec![format!("▶ {}", self.step_started(payload))],
            "step:complete" => vec![self.step_ended(payload)],
            "run:complete" => ended(payload),
            _ => Vec::new(),
        }
    }

    fn step_started(&mut self, payload: &Value) -> String {
        let job = text(&payload["job_id"]).unwrap_or_default();
        let name = self.jobs.get(&job).cloned().unwrap_or(job);
        if let Some(step) = text(&payload["step_id"]) {
            self.steps.insert(step, name.clone());
        }
        name
    }

    fn step_ended(&self, payload: &Value) -> String {
        let step = text(&payload["step_id"]).unwrap_or_default();
        let name = self.steps.get(&step).unwrap_or(&step);
        let duration = payload["duration"]
            .as_f64()
            .map_or_else(String::new, |ms| format!(" after {ms:.0} ms"));
        match payload["reason"].as_str() {
            Some("success") => format!("✔ {name}{duration}"),
            reason => format!("✘ {name}: {}{duration}", why(reason, payload)),
        }
    }
}

fn ended(payload: &Value) -> Vec<String> {
    let first = match payload["reason"].as_str() {
        Some("success") => "● run ended: success".to_owned(),
        reason => format!("● run ended: {}", why(reason, payload)),
    };
    let mut lines = vec![first];
    if let Some(state) = payload.get("final_state").filter(|state| !state.is_null()) {
        lines.push("final state:".to_owned());
        lines.extend(format!("{state:#}").lines().map(|line| format!("  {line}")));
    }
    lines
}

/// The reason, and the error if there was one.
fn why(reason: Option<&str>, payload: &Value) -> String {
    let reason = reason.unwrap_or("no reason");
    match (
        payload["error_type"].as_str(),
        payload["error_message"].as_str(),
    ) {
        (Some(kind), Some(message)) => format!("{reason}, {kind}: {message}"),
        (Some(one), None) | (None, Some(one)) => format!("{reason}, {one}"),
        (None, None) => reason.to_owned(),
    }
}

/// What the job said, and what the runtime said but for its debug lines.
fn log_line(line: &Value) -> Vec<String> {
    let level = line["level"].as_str().unwrap_or("info");
    let source = line["source"].as_str().unwrap_or("");
    if level == "debug" && source != "JOB" {
        return Vec::new();
    }
    let glyph = match level {
        "error" => "✘",
        "warn" => "⚠",
        "success" => "✔",
        _ => " ",
    };
    let message: Vec<String> = match &line["message"] {
        Value::Array(parts) => parts.iter().map(plain).collect(),
        other => vec![plain(other)],
    };
    message
        .join(" ")
        .lines()
        .map(|text| format!("    {source:<3} {glyph} {}", printable(text)))
        .collect()
}

fn plain(value: &Value) -> String {
    text(value).unwrap_or_else(|| value.to_string())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A job's words without what would move the cursor of the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printer() -> RunPrinter {
        RunPrinter::new(&json!({"jobs": [{"id": "a", "name": "Fetch"}, {"id": "b"}]}))
    }

    #[test]
    fn a_step_is_told_by_the_name_of_its_job() {
        let mut told = printer();
        assert_eq!(
            told.lines("step:start", &json!({"job_id": "a", "step_id": "s"})),
            ["▶ Fetch"]
        );
        let ended = json!({"step_id": "s", "reason": "success", "duration": 12.6});
        assert_eq!(told.lines("step:complete", &ended), ["✔ Fetch after 13 ms"]);
        assert_eq!(
            told.lines("step:start", &json!({"job_id": "b", "step_id": "t"})),
            ["▶ b"]
        );
        let failed = json!({"step_id": "t", "reason": "fail", "error_type": "JobError", "error_message": "no"});
        assert_eq!(
            told.lines("step:complete", &failed),
            ["✘ b: fail, JobError: no"]
        );
    }

    #[test]
    fn log_lines_are_told_but_for_the_machinerys_debug() {
        let line = |source, level, message| {
            printer().lines(
                "run:log",
                &json!({"source": source, "level": level, "message": message}),
            )
        };
        assert_eq!(
            line("JOB", "info", json!(["hello", {"a": 1}])),
            ["    JOB   hello {\"a\":1}"]
        );
        assert_eq!(line("R/T", "debug", json!(["x"])), Vec::<String>::new());
        assert_eq!(line("JOB", "debug", json!(["x"])), ["    JOB   x"]);
        assert_eq!(
            line("VER", "info", json!(["Versions:\n  ▸ node"])),
            ["    VER   Versions:", "    VER     ▸ node"]
        );
        assert_eq!(
            line("JOB", "warn", json!(["\u{1b}[2Jx"])),
            ["    JOB ⚠ \u{fffd}[2Jx"]
        );
        let batch = json!({"logs": [{"source": "JOB", "message": ["1"]}, {"source": "JOB", "message": ["2"]}]});
        assert_eq!(printer().lines("run:batch_logs", &batch).len(), 2);
    }

    #[test]
    fn the_end_has_reason_and_final_state() {
        let ended = json!({"reason": "success", "final_state": {"n": 1}});
        assert_eq!(
            printer().lines("run:complete", &ended),
            [
                "● run ended: success",
                "final state:",
                "  {",
                "    \"n\": 1",
                "  }"
            ]
        );
        let ended =
            json!({"reason": "crash", "error_type": "CompileError", "error_message": "a: no"});
        assert_eq!(
            printer().lines("run:complete", &ended),
            ["● run ended: crash, CompileError: a: no"]
        );
    }

    #[test]
    fn an_event_of_an_unknown_shape_is_no_reason_to_stop() {
        for event in [
            "run:log",
            "step:start",
            "step:complete",
            "run:complete",
            "run:batch_logs",
            "other",
        ] {
            printer().lines(event, &json!(null));
            printer().lines(event, &json!([1, "x"]));
        }
    }
}
