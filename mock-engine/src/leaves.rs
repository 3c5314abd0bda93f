//! The final state of a run (engine spec, section 1.7; protocol spec, section 4.15).

use std::collections::HashMap;

use protocol::ids::JobId;

use crate::emit::{exceeds, redacted};

/// The states of the steps that nothing followed, by the keys of the final state.
#[derive(Default)]
pub(crate) struct Leaves<'a> {
    states: Vec<(String, String)>,
    executions: HashMap<&'a JobId, usize>,
}

impl<'a> Leaves<'a> {
    /// A step that was reached again is told from its first execution by a number.
    pub(crate) fn add(&mut self, id: &'a JobId, state: Option<String>) {
        let before = self.executions.entry(id).or_default();
        let key = if *before == 0 {
            id.to_string()
        } else {
            format!("{id}-{before}")
        };
        *before += 1;
        let is_falsy = |state: &str| matches!(state, "null" | "false" | "0" | "\"\"");
        let state = state.filter(|state| !is_falsy(state));
        self.states.extend(state.map(|state| (key, state)));
    }

    /// The result of the workflow; leaves without a state do not count (engine spec, section 1.7).
    pub(crate) fn final_state(&self) -> Option<String> {
        match self.states.as_slice() {
            [] => None,
            [(_, state)] => Some(state.clone()),
            states => Some(keyed(
                states.iter().map(|(key, state)| (key, state.clone())),
            )),
        }
    }

    /// The same without `data`, for a result over this limit (protocol spec, section 4.15): each leaf is treated alone, and
    /// where other keys keep it far too large nothing else is left.
    pub(crate) fn redacted(&self, limit_mb: f64) -> Option<String> {
        let with = |change: &dyn Fn(&str) -> String| match self.states.as_slice() {
            [] => None,
            [(_, state)] => Some(change(state)),
            states => Some(keyed(
                states.iter().map(|(key, state)| (key, change(state))),
            )),
        };
        with(&redacted).map(|text| {
            if exceeds(Some(text.len() as u64), limit_mb + 1.0) {
                with(&|_| redacted("{}")).unwrap_or(text)
            } else {
                text
            }
        })
    }
}

fn keyed<'a>(states: impl Iterator<Item = (&'a String, String)>) -> String {
    let entry = |(key, state)| format!("{}:{state}", serde_json::Value::from(String::as_str(key)));
    format!("{{{}}}", states.map(entry).collect::<Vec<_>>().join(","))
}
