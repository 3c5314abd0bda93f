//! From Lightning's plan to the execution plan (protocol spec, section 6).

use std::fmt;

use indexmap::IndexMap;
use serde_json::Value;
use serde_json::value::RawValue;

use super::additions::{add_collections, link_local};
use super::edges::{Edges, Next};
use super::execution::{Configuration, ExecutionPlan, Step};
use super::lightning::{LightningJob, LightningPlan, PlanError};
use super::options::RunOptions;
use crate::ids::{CredentialId, DataclipId, JobId, ProjectId, RunId};

/// What the worker adds to a plan.
#[derive(Clone, Copy, Default)]
pub struct ConvertOptions<'a> {
    /// The version of the collections adaptor, where collections are on.
    pub collections_version: Option<&'a str>,
    /// The endpoint of collections.
    pub collections_url: Option<&'a str>,
    /// The run token, which opens the collections of the run's project.
    pub run_token: &'a str,
    /// Where `@local` adaptors are.
    pub monorepo_dir: Option<&'a str>,
}

impl fmt::Debug for ConvertOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConvertOptions")
            .field("collections_version", &self.collections_version)
            .field("collections_url", &self.collections_url)
            .field("run_token", &"***")
            .field("monorepo_dir", &self.monorepo_dir)
            .finish()
    }
}

/// The input of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// To be fetched.
    Dataclip(DataclipId),
    /// `{}`.
    Empty,
}

/// A converted plan.
#[derive(Debug, Clone)]
pub struct Converted {
    /// For the runtime.
    pub plan: ExecutionPlan,
    /// For the worker.
    pub options: RunOptions,
    /// The input.
    pub input: Input,
    /// What an operator should hear.
    pub warnings: Vec<String>,
}

/// Converts a plan; `new_id` makes UUIDs for jobs without an id.
///
/// # Errors
/// [`PlanError`] when an edge leads nowhere.
pub fn convert(
    plan: LightningPlan,
    options: &ConvertOptions<'_>,
    new_id: &mut dyn FnMut() -> String,
) -> Result<Converted, PlanError> {
    let mut warnings = Vec::new();
    let run_options = RunOptions::read(&plan.options, &mut warnings);
    let edges = Edges::new(&plan.edges);
    let mut steps: IndexMap<JobId, Step> = IndexMap::new();
    for trigger in &plan.triggers {
        let id = JobId::new(trigger.id.as_deref().unwrap_or("trigger"));
        let next = edges.of_trigger(&id)?;
        steps.insert(
            id,
            Step {
                next,
                ..Step::default()
            },
        );
    }
    for job in plan.jobs {
        let id = JobId::new(job.id.clone().unwrap_or_else(&mut *new_id));
        let step = step(job, edges.of_job(&id)?);
        steps.insert(id, step);
    }
    array_indexes_first(&mut steps);
    let project_id = plan.project_id.map(ProjectId::new);
    let credentials = add_collections(&mut steps, options, project_id.as_ref());
    link_local(&mut steps, options.monorepo_dir);
    let globals = match plan.globals {
        Some(Value::String(source)) if !source.is_empty() => Some(source),
        _ => None,
    };
    Ok(Converted {
        plan: ExecutionPlan {
            id: RunId::new(plan.id.unwrap_or_default()),
            start: plan.starting_node_id.map(JobId::new),
            name: plan.name,
            globals,
            credentials,
            steps,
            project_id,
        },
        options: run_options,
        input: plan
            .dataclip_id
            .map_or(Input::Empty, |id| Input::Dataclip(DataclipId::new(id))),
        warnings,
    })
}

fn step(job: LightningJob, next: Option<Next>) -> Step {
    let configuration = match job.credential {
        Some(inline) if is_truthy(&inline) => match serde_json::from_str::<String>(inline.get()) {
            Ok(id) => Configuration::Credential(CredentialId::new(id)),
            Err(_) => Configuration::Inline(inline),
        },
        _ => match job.credential_id {
            Some(Value::String(id)) if !id.is_empty() => {
                Configuration::Credential(CredentialId::new(id))
            }
            Some(Value::Number(id)) => Configuration::Credential(CredentialId::new(id.to_string())),
            _ => Configuration::None,
        },
    };
    Step {
        name: job.name,
        expression: job.body,
        configuration,
        adaptors: Some(job.adaptor.into_iter().collect()),
        state: job.state.filter(|state| is_truthy(state)),
        next,
        ..Step::default()
    }
}

fn is_truthy(json: &RawValue) -> bool {
    match json.get() {
        "null" | "false" | "\"\"" => false,
        // Zero can be written in many ways; nothing but a number can be read as one.
        text => text.parse::<f64>().ok() != Some(0.0),
    }
}

/// JavaScript objects put keys that look like array indexes first, in numeric order; the reference keeps its nodes in one.
fn array_indexes_first(steps: &mut IndexMap<JobId, Step>) {
    let index = |id: &JobId| {
        let number: u32 = id
            .as_str()
            .parse()
            .ok()
            .filter(|number| *number < u32::MAX)?;
        (number.to_string() == id.as_str()).then_some(number)
    };
    if steps.keys().any(|id| index(id).is_some()) {
        // A stable sort: the others keep their order.
        steps.sort_by(|one, _, two, _| match (index(one), index(two)) {
            (Some(one), Some(two)) => one.cmp(&two),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => std::cmp::Ordering::Equal,
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::testing::{converted, plan_of};
    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,10}".prop_map(Value::from),
            Just(json!([])),
            Just(json!({"a": 1})),
        ]
    }

    #[test]
    fn the_example_of_the_protocol_is_converted() {
        let plan = json!({
            "id": "w", "triggers": [{"id": "t"}],
            "jobs": [
                {"id": "a", "body": "x", "adaptor": "common", "credential_id": "y"},
                {"id": "b", "body": "z", "adaptor": "common"},
            ],
            "edges": [
                {"id": "1", "source_trigger_id": "t", "target_job_id": "a"},
                {"id": "2", "source_job_id": "a", "target_job_id": "b", "condition": "on_job_success"},
            ],
        });
        assert_eq!(
            plan_of(&plan),
            json!({"id": "w", "options": {}, "workflow": {"steps": [
                {"id": "t", "next": {"a": true}},
                {"id": "a", "configuration": "y", "expression": "x", "adaptors": ["common"],
                 "next": {"b": {"condition": "on_job_success"}}},
                {"id": "b", "expression": "z", "adaptors": ["common"]},
            ]}})
        );
    }

    #[test]
    fn a_plan_may_have_nothing_but_an_id_and_null_lists() {
        assert_eq!(
            plan_of(&json!({"id": "w"})),
            json!({"id": "w", "options": {}, "workflow": {"steps": []}})
        );
        let nulls = json!({"id": "w", "jobs": null, "triggers": null, "edges": null, "options": null, "globals": {}});
        assert_eq!(plan_of(&nulls), plan_of(&json!({"id": "w"})));
    }

    #[test]
    fn nodes_keep_their_order_except_for_replacements_and_array_indexes() {
        let plan = json!({"id": "w", "triggers": [{"id": "t"}],
            "jobs": [{"id": "x", "body": "1"}, {"id": "10"}, {"id": "2"}, {"id": "x", "body": "2"}, {"id": "01"}, {}]});
        let plan = converted(&plan, &ConvertOptions::default()).plan;
        let ids: Vec<_> = plan.steps.keys().map(JobId::as_str).collect();
        assert_eq!(ids, ["2", "10", "t", "x", "01", "new-1"]);
        assert_eq!(plan.steps["x"].expression.as_deref(), Some("2"));
    }

    #[test]
    fn credentials_are_ids_or_inline() {
        let plan = json!({"id": "w", "jobs": [
            {"id": "a", "credential": {"user": "u"}, "credential_id": "ignored"},
            {"id": "b", "credential": "c1"}, {"id": "c", "credential_id": "c1"}, {"id": "d", "credential": null},
        ]});
        let mut plan = converted(&plan, &ConvertOptions::default()).plan;
        assert_eq!(plan.credential_ids(), [CredentialId::new("c1")]);
        let body = RawValue::from_string(r#"{"k":"v"}"#.to_owned()).unwrap();
        plan.resolve_credentials(&[(CredentialId::new("c1"), body)].into_iter().collect());
        let steps = serde_json::to_value(&plan).unwrap()["workflow"]["steps"].clone();
        assert_eq!(steps[0]["configuration"], json!({"user": "u"}));
        assert_eq!(steps[1]["configuration"], json!({"k": "v"}));
        assert_eq!(steps[2]["configuration"], json!({"k": "v"}));
        assert!(steps[3].get("configuration").is_none());
    }

    #[test]
    fn options_are_copied_and_wrong_ones_are_named() {
        let read = |options: Value| {
            converted(
                &json!({"id": "w", "options": options}),
                &ConvertOptions::default(),
            )
        };
        let good = read(
            json!({"run_timeout_ms": 1500, "run_memory_limit_mb": 100, "payload_limit_mb": 0.001,
            "state_limit_mb": 5, "output_dataclips": false, "job_log_level": "none", "sanitize": "remove"}),
        );
        assert!(good.warnings.is_empty());
        assert_eq!(good.options.run_timeout_ms, Some(1500));
        assert_eq!(good.options.payload_limit_mb, Some(0.001));
        assert!(!good.options.output_dataclips);
        assert_eq!(good.options.sanitize, "remove");
        let bad = read(json!({"run_timeout_ms": "soon", "sanitize": 5, "output_dataclips": null}));
        assert_eq!(bad.options, RunOptions::default());
        assert_eq!(bad.warnings.len(), 2);
        assert!(bad.warnings[0].contains("run_timeout_ms"));
    }

    #[test]
    fn start_name_globals_and_input_are_taken_over() {
        let plan = json!({"id": "w", "name": "N", "starting_node_id": "b", "dataclip_id": "d", "globals": "export const x = 1;",
            "jobs": [{"id": "a", "body": "x"}, {"id": "b", "body": "x"}]});
        let converted = converted(&plan, &ConvertOptions::default());
        assert_eq!(converted.input, Input::Dataclip(DataclipId::new("d")));
        assert_eq!(converted.plan.start_targets(), [JobId::new("b")]);
        let value = serde_json::to_value(&converted.plan).unwrap();
        assert_eq!(value["options"], json!({"start": "b"}));
        assert_eq!(value["workflow"]["name"], "N");
        assert_eq!(value["workflow"]["globals"], "export const x = 1;");
    }

    #[test]
    fn a_job_without_a_body_hands_its_input_on() {
        let plan = json!({"id": "w", "starting_node_id": "a", "jobs": [{"id": "a"}, {"id": "b", "body": ""}, {"id": "c", "body": "x"}],
            "edges": [{"source_job_id": "a", "target_job_id": "c"}]});
        let plan = converted(&plan, &ConvertOptions::default()).plan;
        assert!(plan.steps["a"].expression.is_none());
        assert!(plan.steps["b"].expression.is_none());
        assert_eq!(plan.start_targets(), [JobId::new("c")]);
    }

    #[test]
    fn values_that_javascript_takes_for_false_are_left_out() {
        let plan = json!({"id": "w", "name": "", "starting_node_id": null, "dataclip_id": "", "globals": "",
            "jobs": [{"id": "a", "body": "x", "name": "", "state": 0, "credential": "", "credential_id": null}]});
        let converted = converted(&plan, &ConvertOptions::default());
        assert_eq!(converted.input, Input::Empty);
        assert_eq!(
            serde_json::to_value(&converted.plan).unwrap(),
            json!({"id": "w", "options": {}, "workflow": {"steps": [{"id": "a", "expression": "x", "adaptors": []}]}})
        );
    }

    #[test]
    fn no_secret_shows_in_debug_output() {
        let options = ConvertOptions {
            collections_version: Some("1.0.0"),
            collections_url: Some("http://c"),
            run_token: "hush-1",
            monorepo_dir: None,
        };
        let plan = json!({"id": "w", "jobs": [{"id": "a", "body": "collections.get()", "credential": {"password": "hush-2"}}]});
        let shown = format!("{options:?} {:?}", converted(&plan, &options));
        assert!(!shown.contains("hush"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in ".*") {
            let _plan = LightningPlan::from_json(&text);
        }

        #[test]
        fn any_values_in_place_of_the_expected_ones_are_converted_or_refused_without_a_panic(
            values in prop::collection::vec(any_value(), 12),
        ) {
            let mut values = values.into_iter();
            let mut value = || values.next().unwrap_or_default();
            let plan = json!({
                "id": value(), "name": value(), "dataclip_id": value(), "options": {"run_timeout_ms": value(), "sanitize": value()},
                "triggers": [{"id": "t"}],
                "jobs": [{"id": value(), "body": value(), "adaptor": value(), "credential": value(), "state": value()}],
                "edges": [{"source_trigger_id": "t", "target_job_id": value(), "condition": value()}],
            });
            if let Ok(plan) = LightningPlan::from_json(&plan.to_string())
                && let Ok(converted) = convert(plan, &ConvertOptions::default(), &mut String::new)
            {
                prop_assert!(serde_json::to_string(&converted.plan).is_ok());
            }
        }
    }
}
