//! `run:<id>`: what the worker reports, with the validations of the real server (protocol spec, sections 4.7 to 4.10
//! and 5.1). The checks read the raw payload on purpose: shared types would share the worker's mistakes.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Outcome, RunChannel};
use crate::errors::{
    BLANK, field_error, holds_nul, is_uuid, optional_text, optional_timestamp, required_text,
    required_uuid,
};
use crate::store::{LogView, RunState, RunView, StepView, Store};

const LEVELS: [&str; 6] = ["debug", "info", "success", "always", "warn", "error"];
const REDACTED: &str = "***";

impl RunChannel {
    pub(super) fn run_start(
        &self,
        store: &mut Store,
        payload: &Map<String, Value>,
        now: u64,
    ) -> Result<Value, Value> {
        let run = self.run(store)?;
        let timestamp = optional_timestamp(payload)?;
        match run.state {
            RunState::Available => {
                return Err(field_error(
                    "state",
                    "cannot mark run started that has not been claimed by a worker",
                ));
            }
            RunState::Claimed => run.state = RunState::Started,
            RunState::Started => {}
            ended => return Err(field_error("state", &format!("already in {ended} state"))),
        }
        run.started_at = Some(timestamp.unwrap_or(now));
        run.start_heard_at = Some(now);
        run.versions = payload.get("versions").cloned();
        Ok(Value::Null)
    }

    /// The same step twice violates the primary key, which kills the channel's process.
    pub(super) fn step_start(
        &self,
        store: &mut Store,
        payload: &Map<String, Value>,
        now: u64,
    ) -> Outcome {
        let step = match self.checked_step(store, payload, now) {
            Ok(step) => step,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        if !store.step_ids.insert(step.id.clone()) {
            return Outcome::Crash;
        }
        let Some(run) = store.runs.get_mut(&self.run_id) else {
            return Outcome::Crash;
        };
        let id = step.id.clone();
        run.steps.insert(id.clone(), step);
        Outcome::Ok(json!({ "step_id": id }))
    }

    fn checked_step(
        &self,
        store: &mut Store,
        payload: &Map<String, Value>,
        now: u64,
    ) -> Result<StepView, Value> {
        let job = match payload.get("job_id") {
            Some(Value::Null) => return Err(field_error("job_id", "Job not found!")),
            _ => required_text(payload, "job_id")?.to_owned(),
        };
        let id = required_uuid(payload, "step_id")?.to_owned();
        let timestamp = optional_timestamp(payload)?;
        let input = optional_text(payload, "input_dataclip_id")?.map(str::to_owned);
        if input
            .as_ref()
            .is_some_and(|id| !store.dataclips.contains_key(id))
        {
            return Err(field_error("input_dataclip_id", "does not exist"));
        }
        let run = self.run(store)?;
        let jobs = run
            .plan
            .get("jobs")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if !jobs
            .iter()
            .any(|known| known.get("id").and_then(Value::as_str) == Some(&job))
        {
            return Err(field_error("job_id", "does not exist"));
        }
        Ok(StepView {
            id,
            job_id: job,
            input_dataclip_id: input,
            output_dataclip_id: None,
            output_dataclip: None,
            output_dataclip_error: None,
            reason: None,
            error_type: None,
            error_message: None,
            started_at: Some(timestamp.unwrap_or(now)),
            finished_at: None,
            mem: None,
            duration: None,
        })
    }

    /// Crashes on a dataclip that is no JSON or cannot be stored, and on a dataclip id that is stored already.
    pub(super) fn step_complete(
        &mut self,
        store: &mut Store,
        payload: &Map<String, Value>,
        now: u64,
    ) -> Outcome {
        if let Some(response @ Value::Object(_)) = payload.get("webhook_response") {
            self.webhook_response = Some(response.clone());
        }
        let output = match self.checked_output(store, payload) {
            Ok(Output::Crash) => return Outcome::Crash,
            Ok(Output::None) => None,
            Ok(Output::Clip(id, body)) => Some((id, body)),
            Err(refusal) => return Outcome::Refused(refusal),
        };
        if output
            .as_ref()
            .is_some_and(|(id, _)| store.dataclips.contains_key(id))
        {
            return Outcome::Crash;
        }
        let Some(run) = store.runs.get_mut(&self.run_id) else {
            return Outcome::Crash;
        };
        let id = match update_step(run, payload, output.as_ref(), now) {
            Ok(id) => id,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        store.dataclips.extend(output);
        Outcome::Ok(json!({ "step_id": id }))
    }

    fn checked_output(
        &self,
        store: &mut Store,
        payload: &Map<String, Value>,
    ) -> Result<Output, Value> {
        let run = self.run(store)?;
        required_text(payload, "reason")?;
        let step = required_uuid(payload, "step_id")?;
        if !run.steps.contains_key(step) {
            return Err(field_error("step_id", "not found"));
        }
        let id = optional_text(payload, "output_dataclip_id")?;
        let text = optional_text(payload, "output_dataclip")?;
        if self.quirks {
            for (field, value) in [("output_dataclip", text), ("output_dataclip_id", id)] {
                if value.is_none_or(str::is_empty) {
                    return Err(json!(format!("no {field}")));
                }
            }
        }
        let keeps = run.saves_dataclips();
        match (id, text) {
            (None, None) => Ok(Output::None),
            (Some(id), _) if !is_uuid(id) => Err(field_error("output_dataclip_id", "is invalid")),
            (Some(id), _) if !keeps => Ok(Output::Clip(id.to_owned(), None)),
            (None, Some(_)) if !keeps => Ok(Output::None),
            (Some(id), Some(text)) => match serde_json::from_str(text) {
                Ok(body) if !self.quirks && holds_nul(&body) => Ok(Output::Crash),
                Ok(Value::Object(mut body)) => {
                    body.shift_remove("configuration");
                    Ok(Output::Clip(id.to_owned(), Some(Value::Object(body))))
                }
                Ok(_) => Err(field_error("body", "must be a map")),
                Err(_) => Ok(Output::Crash),
            },
            (Some(_), None) => Err(field_error("output_dataclip", BLANK)),
            (None, Some(_)) => Err(field_error("output_dataclip_id", BLANK)),
        }
    }

    pub(super) fn run_log(
        &self,
        store: &mut Store,
        payload: &Map<String, Value>,
    ) -> Result<Value, Value> {
        let run = self.run(store)?;
        let line = self.checked_line(run, payload)?;
        run.logs.push(line);
        Ok(json!({ "log_line_id": Uuid::new_v4().to_string() }))
    }

    /// All or nothing: the first line that is wrong is the reply. Without `logs` the channel crashes.
    pub(super) fn run_batch_logs(
        &self,
        store: &mut Store,
        payload: &Map<String, Value>,
    ) -> Outcome {
        let Some(Value::Array(logs)) = payload.get("logs") else {
            return Outcome::Crash;
        };
        let Some(run) = store.runs.get_mut(&self.run_id) else {
            return Outcome::Crash;
        };
        let mut lines = Vec::with_capacity(logs.len());
        for line in logs {
            let Value::Object(line) = line else {
                return Outcome::Crash;
            };
            match self.checked_line(run, line) {
                Ok(line) => lines.push(line),
                Err(refusal) => return Outcome::Refused(refusal),
            }
        }
        run.logs.extend(lines);
        Outcome::Ok(json!({}))
    }

    fn checked_line(&self, run: &RunView, line: &Map<String, Value>) -> Result<LogView, Value> {
        let message = line
            .get("message")
            .filter(|message| !message.is_null() && **message != json!([]));
        let message = message.ok_or_else(|| field_error("message", "can't be blank"))?;
        let timestamp = optional_timestamp(line)?.ok_or_else(|| field_error("timestamp", BLANK))?;
        let level = optional_text(line, "level")?.unwrap_or("info");
        if !LEVELS.contains(&level) {
            return Err(field_error("level", "is invalid"));
        }
        let source = optional_text(line, "source")?;
        if source.is_some_and(|source| source.chars().count() > 8) {
            return Err(field_error("source", "should be at most 8 character(s)"));
        }
        let step_id = optional_text(line, "step_id")?;
        if step_id.is_some_and(|step| !run.steps.contains_key(step)) {
            return Err(field_error("step_id", "must be associated with the run"));
        }
        Ok(LogView {
            message: message.clone(),
            text: self.text_of(message),
            source: source.map(str::to_owned),
            level: level.to_owned(),
            timestamp,
            step_id: step_id.map(str::to_owned),
        })
    }

    fn text_of(&self, message: &Value) -> String {
        let part = |value: &Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        let text = match message {
            Value::Array(parts) => parts.iter().map(part).collect::<Vec<_>>().join(" "),
            other => part(other),
        };
        let text = self
            .secrets
            .iter()
            .fold(text, |text, secret| text.replace(secret.as_str(), REDACTED));
        text.replace(|c: char| c.is_control() && !c.is_whitespace(), "\u{fffd}")
    }

    pub(super) fn run_complete(
        &self,
        store: &mut Store,
        payload: &Map<String, Value>,
        now: u64,
    ) -> Result<Value, Value> {
        let unknown_clip = optional_text(payload, "final_dataclip_id")?
            .is_some_and(|id| !store.dataclips.contains_key(id));
        let run = self.run(store)?;
        let already = run.state.is_final() && (self.final_at_join || run.state != RunState::Lost);
        if already {
            return Err(field_error("state", "already in completed state"));
        }
        if self.quirks {
            npm_checks(payload)?;
        }
        let reason = required_text(payload, "reason")?;
        let state =
            RunState::from_reason(reason).ok_or_else(|| field_error("state", "is invalid"))?;
        let error_type = optional_text(payload, "error_type")?.map(str::to_owned);
        let error_message = optional_text(payload, "error_message")?.map(str::to_owned);
        let timestamp = optional_timestamp(payload)?;
        if unknown_clip {
            return Err(field_error("final_dataclip_id", "does not exist"));
        }
        run.reason = Some(reason.to_owned());
        run.error_type = error_type;
        run.error_message = error_message;
        run.finished_at = Some(timestamp.unwrap_or(now));
        run.complete_heard_at = Some(now);
        run.final_state = payload.get("final_state").cloned();
        run.final_dataclip_id = optional_text(payload, "final_dataclip_id")?.map(str::to_owned);
        run.webhook_response.clone_from(&self.webhook_response);
        store.finish(&self.run_id, state);
        Ok(Value::Null)
    }

    fn run<'a>(&self, store: &'a mut Store) -> Result<&'a mut RunView, Value> {
        store
            .runs
            .get_mut(&self.run_id)
            .ok_or_else(|| json!({ "reason": "not_found" }))
    }
}

enum Output {
    None,
    Clip(String, Option<Value>),
    Crash,
}

fn update_step(
    run: &mut RunView,
    payload: &Map<String, Value>,
    output: Option<&(String, Option<Value>)>,
    now: u64,
) -> Result<String, Value> {
    let reason = required_text(payload, "reason")?.to_owned();
    let id = required_text(payload, "step_id")?.to_owned();
    let error_type = optional_text(payload, "error_type")?.map(str::to_owned);
    let error_message = optional_text(payload, "error_message")?.map(str::to_owned);
    let timestamp = optional_timestamp(payload)?;
    let Some(step) = run.steps.get_mut(&id) else {
        return Err(field_error("step_id", "not found"));
    };
    step.reason = Some(reason);
    step.error_type = error_type;
    step.error_message = error_message;
    step.finished_at = Some(timestamp.unwrap_or(now));
    step.output_dataclip_id = output.map(|(id, _)| id.clone());
    step.output_dataclip = output.and_then(|(_, body)| body.clone());
    step.output_dataclip_error = payload
        .get("output_dataclip_error")
        .and_then(Value::as_str)
        .map(str::to_owned);
    step.mem = payload.get("mem").cloned();
    step.duration = payload.get("duration").cloned();
    Ok(id)
}

/// What OpenFn's npm mock checks in `run:complete`.
fn npm_checks(payload: &Map<String, Value>) -> Result<(), Value> {
    const KNOWN: [&str; 6] = [
        "reason",
        "error_type",
        "error_message",
        "timestamp",
        "final_state",
        "final_dataclip_id",
    ];
    let unexpected: Vec<&str> = payload
        .keys()
        .map(String::as_str)
        .filter(|key| !KNOWN.contains(key))
        .collect();
    if !unexpected.is_empty() {
        return Err(json!(format!("Unexpected keys: {}", unexpected.join(","))));
    }
    match payload.get("reason").and_then(Value::as_str) {
        Some("success")
            if ["error_type", "error_message"]
                .iter()
                .any(|key| payload.get(*key).is_some_and(|v| !v.is_null())) =>
        {
            Err(json!(
                "Inconsistent reason (success and error type or message)"
            ))
        }
        Some("success" | "fail" | "crash" | "exception" | "kill") => Ok(()),
        Some(other) => Err(json!(format!("Unrecognised reason {other}"))),
        None => Err(json!("No exit reason")),
    }
}
