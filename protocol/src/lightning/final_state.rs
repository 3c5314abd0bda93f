//! The final state of a run (protocol spec, section 4.13).

use bytes::Bytes;
use indexmap::IndexMap;
use serde_json::value::RawValue;

use super::FinalState;
use crate::ids::DataclipId;

/// The dataclips of the steps that nothing followed.
#[derive(Debug, Default)]
pub struct Leaves(Vec<Leaf>);

#[derive(Debug)]
struct Leaf {
    dataclip: DataclipId,
    /// Lightning does not have it.
    withheld: bool,
}

impl Leaves {
    /// A step was completed that nothing follows; `withheld`: Lightning does not have its dataclip.
    pub fn add(&mut self, dataclip: DataclipId, withheld: bool) {
        self.0.push(Leaf { dataclip, withheld });
    }

    /// Lightning has refused this dataclip after all.
    pub fn withhold(&mut self, dataclip: &DataclipId) {
        for leaf in &mut self.0 {
            leaf.withheld |= leaf.dataclip == *dataclip;
        }
    }

    /// `final_state` and `final_dataclip_id` for the engine's result. A single stored leaf names its dataclip and keeps the
    /// result as it is; otherwise top-level keys with empty values are left out. JSON that cannot be read is left out whole.
    pub fn final_state(&self, result: Option<&Bytes>) -> (Option<FinalState>, Option<DataclipId>) {
        let state = result.cloned().and_then(FinalState::from_json);
        match &self.0[..] {
            [
                Leaf {
                    dataclip,
                    withheld: false,
                },
            ] => (state, Some(dataclip.clone())),
            _ => (state.map(pruned), None),
        }
    }
}

fn pruned(state: FinalState) -> FinalState {
    let Ok(keys) = serde_json::from_slice::<IndexMap<String, &RawValue>>(state.as_bytes()) else {
        return state;
    };
    if !keys.values().any(|value| is_empty(value)) {
        return state;
    }
    let kept: IndexMap<_, _> = keys
        .into_iter()
        .filter(|(_, value)| !is_empty(value))
        .collect();
    serde_json::to_vec(&kept)
        .ok()
        .and_then(|json| FinalState::from_json(json.into()))
        .unwrap_or(state)
}

/// Empty: `{}`, `[]`, and an object whose only key is `data` with nothing in it that has keys. Not empty: null, numbers,
/// booleans and strings.
fn is_empty(value: &RawValue) -> bool {
    match value.get().as_bytes().first() {
        Some(b'[') => has_no_elements(value),
        Some(b'{') => {
            let Ok(keys) = serde_json::from_str::<IndexMap<String, &RawValue>>(value.get()) else {
                return false;
            };
            match (keys.len(), keys.get("data")) {
                (0, _) => true,
                (1, Some(data)) => match data.get().as_bytes().first() {
                    Some(b'{') => serde_json::from_str::<IndexMap<String, &RawValue>>(data.get())
                        .is_ok_and(|keys| keys.is_empty()),
                    Some(b'[') => has_no_elements(data),
                    // Strings have a key a character in JavaScript, numbers and booleans have none; null has none to ask.
                    Some(b'"') => data.get() == "\"\"",
                    Some(b'n') => false,
                    _ => true,
                },
                _ => false,
            }
        }
        _ => false,
    }
}

fn has_no_elements(value: &RawValue) -> bool {
    serde_json::from_str::<Vec<&RawValue>>(value.get()).is_ok_and(|elements| elements.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_of(leaves: &[(&str, bool)], result: &'static str) -> (Option<String>, Option<String>) {
        let mut all = Leaves::default();
        for (id, withheld) in leaves {
            all.add(DataclipId::new(*id), *withheld);
        }
        let (state, id) = all.final_state(Some(&Bytes::from_static(result.as_bytes())));
        (
            state.map(|state| String::from_utf8(state.as_bytes().to_vec()).unwrap()),
            id.map(|id| id.to_string()),
        )
    }

    #[test]
    fn a_single_leaf_keeps_its_state_and_names_its_dataclip() {
        let (state, id) = state_of(&[("c", false)], r#"{"data":{},"references":[]}"#);
        assert_eq!(state.as_deref(), Some(r#"{"data":{},"references":[]}"#));
        assert_eq!(id.as_deref(), Some("c"));
    }

    #[test]
    fn empty_values_of_several_leaves_are_left_out() {
        let result = r#"{"a":{"data":{}},"b":{"data":{"x":1}},"c":{},"d":[],"e":null,"f":0,"g":"","h":{"data":null},
            "i":{"data":"x"},"j":{"data":""},"k":{"data":5},"l":{"data":{},"references":[]},"m":{"data":[]},"n":{"data":true}}"#;
        let (state, id) = state_of(&[("1", false), ("2", false)], result);
        assert_eq!(
            state.as_deref(),
            Some(
                r#"{"b":{"data":{"x":1}},"e":null,"f":0,"g":"","h":{"data":null},"i":{"data":"x"},"l":{"data":{},"references":[]}}"#
            )
        );
        assert_eq!(id, None);
    }

    #[test]
    fn a_withheld_single_leaf_has_no_dataclip_and_its_own_keys_are_pruned() {
        let (state, id) = state_of(&[("1", true)], r#"{"data":{"x":1},"references":[]}"#);
        assert_eq!((state.as_deref(), id), (Some(r#"{"data":{"x":1}}"#), None));
    }

    #[test]
    fn a_leaf_whose_dataclip_lightning_refused_is_withheld() {
        let mut leaves = Leaves::default();
        leaves.add(DataclipId::new("1"), false);
        leaves.withhold(&DataclipId::new("1"));
        assert_eq!(leaves.final_state(None).1, None);
    }

    #[test]
    fn nothing_but_empty_values_leaves_an_empty_object() {
        assert_eq!(state_of(&[], r#"{"a":{}}"#).0.as_deref(), Some("{}"));
        assert_eq!(state_of(&[], "not JSON"), (None, None));
    }

    #[test]
    fn kept_values_are_not_written_anew() {
        let result = r#"{"a":{"n":1.50e1,  "m":12345678901234567890123},"b":{}}"#;
        assert_eq!(
            state_of(&[("1", false), ("2", false)], result).0.as_deref(),
            Some(r#"{"a":{"n":1.50e1,  "m":12345678901234567890123}}"#)
        );
    }

    #[test]
    fn a_result_that_is_no_object_stays_as_it_is() {
        assert_eq!(state_of(&[], "[1]").0.as_deref(), Some("[1]"));
        assert_eq!(Leaves::default().final_state(None).0, None);
    }
}
