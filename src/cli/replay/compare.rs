//! Whether two frames say the same: ids that the worker makes up are put in relation, its times do not count. No I/O.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

/// Fields that hold such ids. Those that Lightning has given are the same on both sides.
const IDS: [&str; 4] = [
    "step_id",
    "input_dataclip_id",
    "output_dataclip_id",
    "final_dataclip_id",
];

/// What is not compared: times, tokens, and what names versions.
const IGNORED: [&str; 3] = ["timestamp", "token", "versions"];

/// The longest value that is shown.
const SHOWN: usize = 160;

/// Which id of now stands for which one of the recording.
#[derive(Debug, Clone, Default)]
pub(super) struct Ids {
    now: HashMap<String, String>,
    taken: HashSet<String>,
}

impl Ids {
    /// Whether two ids stand for the same; ids that are met for the first time do from here on.
    fn are_one(&mut self, recorded: &str, now: &str) -> bool {
        match self.now.get(recorded) {
            Some(known) => known == now,
            None if self.taken.contains(now) => false,
            None => {
                self.now.insert(recorded.to_owned(), now.to_owned());
                self.taken.insert(now.to_owned());
                true
            }
        }
    }

    /// A text of Lightning's with the ids of now in the place of those of the recording.
    pub(super) fn translated(&self, text: &str) -> String {
        let changed = self.now.iter().filter(|(recorded, now)| recorded != now);
        changed.fold(text.to_owned(), |text, (recorded, now)| {
            if text.contains(recorded.as_str()) {
                text.replace(recorded.as_str(), now)
            } else {
                text
            }
        })
    }
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldDifference {
    pub(super) path: String,
    pub(super) recorded: Option<String>,
    pub(super) now: Option<String>,
}

/// The fields in which two payloads differ.
pub(super) fn differences(recorded: &Value, now: &Value, ids: &mut Ids) -> Vec<FieldDifference> {
    let mut found = Vec::new();
    compare("", Some(recorded), Some(now), ids, &mut found);
    found
}

fn compare(
    path: &str,
    recorded: Option<&Value>,
    now: Option<&Value>,
    ids: &mut Ids,
    found: &mut Vec<FieldDifference>,
) {
    let field = path.rsplit('.').next().unwrap_or_default();
    match (recorded, now) {
        (Some(Value::Object(recorded)), Some(Value::Object(now))) => {
            let is_versions = |line: &Map<String, Value>| line.get("source") == Some(&"VER".into());
            let versions = is_versions(recorded) && is_versions(now);
            let mut keys: Vec<&String> = recorded.keys().collect();
            keys.extend(now.keys().filter(|key| !recorded.contains_key(*key)));
            for key in keys {
                if IGNORED.contains(&key.as_str()) || (versions && key == "message") {
                    continue;
                }
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                compare(&path, recorded.get(key), now.get(key), ids, found);
            }
        }
        (Some(Value::Array(recorded)), Some(Value::Array(now))) => {
            for index in 0..recorded.len().max(now.len()) {
                let path = format!("{path}[{index}]");
                compare(&path, recorded.get(index), now.get(index), ids, found);
            }
        }
        (Some(Value::String(recorded)), Some(Value::String(now)))
            if IDS.contains(&field) && ids.are_one(recorded, now) => {}
        (recorded, now) if recorded == now => {}
        (recorded, now) => found.push(FieldDifference {
            path: path.to_owned(),
            recorded: recorded.map(shown),
            now: now.map(shown),
        }),
    }
}

/// A value as text, shortened where it is long.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= SHOWN {
        return text;
    }
    let start = &text[..text.floor_char_boundary(SHOWN)];
    format!("{start}… ({} bytes)", text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_of_the_worker_are_put_in_relation_and_times_do_not_count() {
        let mut ids = Ids::default();
        let recorded = json!({"step_id": "a", "input_dataclip_id": "in", "timestamp": "1"});
        let now = json!({"step_id": "b", "input_dataclip_id": "in", "timestamp": "2"});
        assert_eq!(differences(&recorded, &now, &mut ids), []);
        let line = |step: &str| json!({"logs": [{"step_id": step, "message": [1]}]});
        assert_eq!(differences(&line("a"), &line("b"), &mut ids), []);
        assert_eq!(differences(&line("a"), &line("c"), &mut ids).len(), 1);
        assert_eq!(differences(&line("c"), &line("b"), &mut ids).len(), 1);
        assert_eq!(ids.translated("step a"), "step b");
    }

    #[test]
    fn what_differs_is_named_with_both_values() {
        let recorded = json!({"reason": "success", "mem": {"job": 1}, "x": 1});
        let now = json!({"reason": "fail", "mem": {"job": 1}, "y": 2});
        let found = differences(&recorded, &now, &mut Ids::default());
        let paths: Vec<&str> = found.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(paths, ["reason", "x", "y"]);
        assert_eq!(found[0].now.as_deref(), Some("\"fail\""));
        assert_eq!(
            (found[1].now.clone(), found[2].recorded.clone()),
            (None, None)
        );
    }

    proptest! {
        #[test]
        fn a_payload_under_other_ids_is_the_same_and_a_mixture_is_not(
            ids in prop::collection::vec(0_u8..6, 2..20),
        ) {
            let payload = |shift: u8| Value::from_iter(ids.iter().map(|id| json!({"step_id": format!("s{}", id + shift)})));
            prop_assert_eq!(differences(&payload(0), &payload(50), &mut Ids::default()), []);
            let mut mixed = payload(50);
            let first = ids[0];
            if let Some(other) = ids.iter().position(|id| *id != first) {
                mixed[other]["step_id"] = mixed[0]["step_id"].clone();
                prop_assert!(!differences(&payload(0), &mixed, &mut Ids::default()).is_empty());
            }
        }
    }
}
