//! What Lightning stores of a run does not depend on the engine: each plan is run by the mock engine and by the real one, and
//! all that Lightning was told is compared. Where the mock engine is made to differ (engine spec, section 9), the row says why.

#[path = "../support/mod.rs"]
mod support;

mod edges;
mod errors;
mod lines;
mod options;
mod states;
mod told;

use std::collections::BTreeMap;

use lightning_mock::MockServer;
use serde_json::{Value, json};

use support::rows::{ended, enqueue, one};
use support::{MONOREPO, Worker, lightning};

/// One plan, and where its two stories may differ.
struct Case {
    what: String,
    plan: Value,
    /// A prefix of the JSON pointers that differ, and the reason.
    differences: Vec<(&'static str, &'static str)>,
    /// The words of an error are those of QuickJS or of Node.
    in_own_words: bool,
}

impl Case {
    /// A plan of which both engines must tell the same.
    fn new(what: &str, plan: Value) -> Self {
        Self {
            what: what.to_owned(),
            plan,
            differences: Vec::new(),
            in_own_words: false,
        }
    }

    /// A plan of one job `a`.
    fn job(what: &str, body: &str) -> Self {
        Self::new(what, one(body))
    }

    /// The same plan with this input dataclip.
    fn input(mut self, input: Value) -> Self {
        self.plan["input"] = input;
        self
    }

    /// The same plan with these options.
    fn options(mut self, options: Value) -> Self {
        self.plan["options"] = options;
        self
    }

    /// The error's text is the JavaScript engine's, so its words may differ.
    fn in_own_words(mut self) -> Self {
        self.in_own_words = true;
        self
    }

    /// The stories differ from this pointer on, because of this.
    fn differs(mut self, pointer: &'static str, why: &'static str) -> Self {
        self.differences.push((pointer, why));
        self
    }
}

/// Runs every plan with both engines. Reports every difference, not only the first; one that is no difference any more is
/// reported too.
fn compare(cases: impl IntoIterator<Item = Case>) {
    let cases: Vec<Case> = cases.into_iter().collect();
    let mocked = lightning();
    let real = lightning();
    let arguments = ["--monorepo-dir", MONOREPO, "--capacity", "3"];
    let _workers = (
        Worker::with_mock_engine(&mocked, &arguments),
        Worker::with_engine(&real, &arguments),
    );
    let ids: Vec<_> = cases
        .iter()
        .map(|case| (enqueue(&mocked, &case.plan), enqueue(&real, &case.plan)))
        .collect();
    let mut found = Vec::new();
    for (case, (mock_id, real_id)) in cases.iter().zip(&ids) {
        let stories = (story(&mocked, mock_id), story(&real, real_id));
        found.extend(differences(case, &stories.0, &stories.1));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

fn story(lightning: &MockServer, id: &str) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    flatten(
        String::new(),
        &told::story(lightning, &ended(lightning, id)),
        &mut flat,
    );
    flat
}

fn differences(
    case: &Case,
    mocked: &BTreeMap<String, Value>,
    real: &BTreeMap<String, Value>,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut met = vec![false; case.differences.len()];
    let pointers: std::collections::BTreeSet<_> = mocked.keys().chain(real.keys()).collect();
    for pointer in pointers {
        let (mocked, real) = (mocked.get(pointer), real.get(pointer));
        if mocked == real || (case.in_own_words && is_text_of_error(pointer)) {
            continue;
        }
        let allowed = case
            .differences
            .iter()
            .position(|(prefix, _)| pointer.starts_with(prefix));
        match allowed {
            Some(index) => met[index] = true,
            None => {
                let told = |value: Option<&Value>| {
                    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
                };
                let (mocked, real) = (told(mocked), told(real));
                found.push(format!(
                    "{}: {pointer}: mock {mocked}, real {real}",
                    case.what
                ));
            }
        }
    }
    for ((pointer, why), met) in case.differences.iter().zip(met) {
        if !met {
            found.push(format!("{}: no difference at {pointer} ({why})", case.what));
        }
    }
    found
}

/// Whether this holds an error's text: in an event, in the state, in the last line of the run.
fn is_text_of_error(pointer: &str) -> bool {
    pointer.ends_with("message") || pointer.ends_with("/message/0")
}

/// The scalars of a value by their JSON pointers; lists and objects show as empty ones, so that a missing one is seen.
fn flatten(pointer: String, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(keys) => {
            for (key, value) in keys {
                flatten(format!("{pointer}/{key}"), value, into);
            }
            into.insert(pointer, json!({}));
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                flatten(format!("{pointer}/{index}"), value, into);
            }
            into.insert(pointer, json!([]));
        }
        other => {
            into.insert(pointer, other.clone());
        }
    }
}
