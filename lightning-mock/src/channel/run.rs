//! `run:<id>`: the fetches, and the dispatch of all events. The reports are in `reports.rs`.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::Outcome;
use crate::errors::{BLANK, field_error, holds_nul};
use crate::store::{RunView, Store};

/// The credential id that is never answered, as with OpenFn's own mock.
const NEVER_ANSWERED: &str = "%TIMEOUT%";

/// One join of a run's topic, with what the server keeps per join and loses with it (protocol spec, section 4.1).
#[derive(Debug)]
pub(crate) struct RunChannel {
    pub(super) run_id: String,
    /// Values of the credentials fetched in this join, which later log lines must not show.
    pub(super) secrets: Vec<String>,
    /// The channel holds its own copy of the run: what was final at the join stays final, while a run that is lost
    /// meanwhile can still end truly (protocol spec, section 10.2).
    pub(super) final_at_join: bool,
    /// Seen in a `step:complete` of this join.
    pub(super) webhook_response: Option<Value>,
    /// Answer as OpenFn's npm mock does.
    pub(super) quirks: bool,
}

impl RunChannel {
    pub(crate) fn new(run: &RunView, quirks: bool) -> Self {
        Self {
            run_id: run.id.clone(),
            secrets: Vec::new(),
            final_at_join: run.state.is_final(),
            webhook_response: None,
            quirks,
        }
    }

    /// Answers one push. `now` is in microseconds.
    pub(crate) fn handle(
        &mut self,
        store: &mut Store,
        event: &str,
        payload: &Value,
        now: u64,
    ) -> Outcome {
        let Value::Object(payload) = payload else {
            return Outcome::Crash;
        };
        let Some(run) = store.runs.get(&self.run_id) else {
            return Outcome::Crash;
        };
        let mut errors = ["error_type", "error_message"]
            .into_iter()
            .filter_map(|field| payload.get(field));
        if !self.quirks && errors.any(holds_nul) {
            return Outcome::Crash;
        }
        match event {
            "fetch:plan" => Outcome::Ok(run.plan.clone()),
            "fetch:dataclip" => self.fetch_dataclip(store, payload),
            "fetch:credential" => self.fetch_credential(store, payload),
            "run:start" => self.run_start(store, payload, now).into(),
            "step:start" => self.step_start(store, payload, now),
            "step:complete" => self.step_complete(store, payload, now),
            "run:log" => self.run_log(store, payload).into(),
            "run:batch_logs" => self.run_batch_logs(store, payload),
            "run:complete" => self.run_complete(store, payload, now).into(),
            _ => Outcome::Crash,
        }
    }

    /// The id is ignored: the answer is always the run's own input. Zero persistence wipes it once it was answered.
    fn fetch_dataclip(&self, store: &mut Store, payload: &Map<String, Value>) -> Outcome {
        let Some(run) = store.runs.get(&self.run_id) else {
            return Outcome::Crash;
        };
        let asked = if self.quirks {
            payload.get("id")
        } else {
            run.plan.get("dataclip_id")
        };
        let Some(id) = asked.and_then(Value::as_str) else {
            return self.data(b"null");
        };
        let Some(body) = store.dataclips.get_mut(id) else {
            return Outcome::Refused(json!("not_found"));
        };
        let text = body
            .as_ref()
            .map_or_else(|| "null".to_owned(), Value::to_string);
        if !run.saves_dataclips() && !self.quirks {
            *body = None;
        }
        self.data(text.as_bytes())
    }

    fn data(&self, bytes: &[u8]) -> Outcome {
        if self.quirks {
            Outcome::Ok(json!(bytes))
        } else {
            Outcome::Data(Bytes::copy_from_slice(bytes))
        }
    }

    fn fetch_credential(&mut self, store: &Store, payload: &Map<String, Value>) -> Outcome {
        match payload.get("id").and_then(Value::as_str) {
            None | Some("") => Outcome::Refused(field_error("id", BLANK)),
            Some(NEVER_ANSWERED) => Outcome::Silence,
            Some(id) => match store.credentials.get(id) {
                Some(body) => {
                    collect_secrets(body, &mut self.secrets);
                    Outcome::Ok(body.clone())
                }
                None => Outcome::Refused(field_error("id", "Credential not found!")),
            },
        }
    }
}

fn collect_secrets(value: &Value, secrets: &mut Vec<String>) {
    match value {
        Value::String(text) if !text.is_empty() => secrets.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_secrets(item, secrets)),
        Value::Object(fields) => fields
            .values()
            .for_each(|field| collect_secrets(field, secrets)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
