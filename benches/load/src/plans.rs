//! The plans that are enqueued, one after the other: whose they are, and which adaptors their jobs use.

use serde_json::{Value, json};

use crate::clip::Clip;

/// A step that costs nothing itself.
pub(crate) const STEP: &str = "fn(state => state)";

/// One that keeps its slot and no core.
pub(crate) const WAIT: &str =
    "fn(async state => { await new Promise(done => setTimeout(done, 1000)); return state; })";

/// One that writes twenty lines a second for ten seconds.
pub(crate) const TALK: &str = "fn(async state => { for (let i = 0; i < 200; i++) {
    console.log('line', i); await new Promise(done => setTimeout(done, 50)); } return state; })";

/// Adaptors that differ in what they load, each with an `fn`.
pub(crate) const MIXED: [&str; 5] = [
    "@openfn/language-common@3.3.4",
    "@openfn/language-http@7.2.10",
    "@openfn/language-fhir@5.0.15",
    "@openfn/language-http@6.4.3",
    "@openfn/language-common@2.1.1",
];

/// Whose the runs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// All are one project's.
    One,
    /// Each is another project's.
    Each,
}

/// See the module's documentation.
pub(crate) struct Plans {
    plan: Value,
    adaptors: Vec<String>,
    owner: Owner,
    given: usize,
}

impl Plans {
    /// Plans of one step with this body.
    pub(crate) fn of_step(body: &str, adaptors: Vec<String>, owner: Owner) -> Self {
        let plan = json!({
            "triggers": [{ "id": "trigger" }],
            "jobs": [job("a", body)],
            "edges": [{ "id": "t-a", "source_trigger_id": "trigger", "target_job_id": "a" }],
            "starting_node_id": "trigger",
            "dataclip": { "data": { "patients": 3 } },
        });
        Self {
            plan,
            adaptors,
            owner,
            given: 0,
        }
    }

    /// The step writes so many lines to its log.
    pub(crate) fn of_lines(lines: usize, adaptors: Vec<String>) -> Self {
        let body = format!(
            "fn(state => {{ for (let i = 0; i < {lines}; i++) console.log('line', i); return state; }});"
        );
        Self::of_step(&body, adaptors, Owner::One)
    }

    /// Three steps pass on a large dataclip.
    pub(crate) fn of_large_state(clip: Clip, adaptors: Vec<String>) -> Self {
        let mut plans = Self::of_step(STEP, adaptors, Owner::One);
        plans.plan["jobs"] = json!([job("a", STEP), job("b", STEP), job("c", STEP)]);
        plans.plan["edges"] = json!([
            { "id": "t-a", "source_trigger_id": "trigger", "target_job_id": "a" },
            { "id": "a-b", "source_job_id": "a", "target_job_id": "b", "condition": "on_job_success" },
            { "id": "b-c", "source_job_id": "b", "target_job_id": "c", "condition": "on_job_success" },
        ]);
        plans.plan["dataclip"] = json!({ "data": clip.items() });
        plans
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> &Value {
        let adaptor = &self.adaptors[self.given % self.adaptors.len()];
        for job in self.plan["jobs"].as_array_mut().into_iter().flatten() {
            job["adaptor"] = adaptor.as_str().into();
        }
        if self.owner == Owner::Each {
            self.plan["project_id"] = format!("project-{}", self.given).into();
        }
        self.given += 1;
        &self.plan
    }
}

fn job(id: &str, body: &str) -> Value {
    json!({ "id": id, "name": id, "body": body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adaptors_take_turns_and_every_run_is_of_another_project_where_that_is_wanted() {
        let adaptors = || vec!["one".to_owned(), "two".to_owned()];
        let told = |owner| {
            let mut plans = Plans::of_step(STEP, adaptors(), owner);
            [(); 3].map(|()| {
                let plan = plans.next();
                (
                    plan["jobs"][0]["adaptor"].clone(),
                    plan["project_id"].clone(),
                )
            })
        };
        assert_eq!(
            told(Owner::Each),
            [
                (json!("one"), json!("project-0")),
                (json!("two"), json!("project-1")),
                (json!("one"), json!("project-2")),
            ]
        );
        assert_eq!(told(Owner::One)[1], (json!("two"), Value::Null));
    }
}
