//! From Lightning's plan to the execution plan (protocol spec, section 6).

use indexmap::IndexMap;
use serde_json::Value;
use serde_json::value::RawValue;

use super::execution::{Configuration, Edge, ExecutionPlan, Linked, Step};
use super::lightning::{LightningEdge, LightningJob, LightningPlan, PlanError};
use super::options::RunOptions;
use crate::ids::{CredentialId, DataclipId, JobId, ProjectId, RunId};

const COLLECTIONS: &str = "@openfn/language-collections";

/// What the worker adds to a plan.
#[derive(Debug, Clone, Copy, Default)]
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
    let targets = Targets::read(&plan.edges)?;
    let mut steps: IndexMap<JobId, Step> = IndexMap::new();
    for trigger in &plan.triggers {
        let id = JobId::new(trigger.id.as_deref().unwrap_or("trigger"));
        let next = targets.of_trigger(&id);
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
        let step = step(job, targets.of_job(&id));
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

fn step(job: LightningJob, next: Option<IndexMap<JobId, Edge>>) -> Step {
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
        expression: Some(job.body.unwrap_or_default()),
        configuration,
        adaptors: Some(job.adaptor.into_iter().collect()),
        state: job.state.filter(|state| is_truthy(state)),
        next,
        ..Step::default()
    }
}

fn is_truthy(json: &RawValue) -> bool {
    !matches!(json.get(), "null" | "false" | "0" | "\"\"")
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

struct Targets<'a> {
    edges: Vec<(&'a LightningEdge, JobId)>,
}

impl<'a> Targets<'a> {
    fn read(edges: &'a [LightningEdge]) -> Result<Self, PlanError> {
        let edges = edges
            .iter()
            .enumerate()
            .map(|(position, edge)| match &edge.target_job_id {
                Some(target) => Ok((edge, JobId::new(target.as_str()))),
                None => Err(PlanError::NoTarget {
                    edge: edge
                        .id
                        .clone()
                        .unwrap_or_else(|| format!("at position {position}")),
                }),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { edges })
    }

    fn of_trigger(&self, id: &JobId) -> Option<IndexMap<JobId, Edge>> {
        self.next(
            |edge| edge.source_trigger_id.as_deref() == Some(id.as_str()),
            |edge| {
                if is_off(edge) {
                    return None;
                }
                match edge.condition.as_deref() {
                    None | Some("always") => Some(Edge::Always),
                    Some(condition) => Some(Edge::Expression(condition.to_owned())),
                }
            },
        )
    }

    fn of_job(&self, id: &JobId) -> Option<IndexMap<JobId, Edge>> {
        self.next(
            |edge| edge.source_job_id.as_deref() == Some(id.as_str()),
            |edge| {
                let (condition, disabled) = (edge.condition.clone(), is_off(edge));
                Some(if condition.is_none() && !disabled {
                    Edge::Always
                } else {
                    Edge::Conditional {
                        condition,
                        disabled,
                    }
                })
            },
        )
    }

    /// The edges of one node, the later of two to the same target winning; `None` if the node has none at all.
    fn next(
        &self,
        is_source: impl Fn(&LightningEdge) -> bool,
        entry: impl Fn(&LightningEdge) -> Option<Edge>,
    ) -> Option<IndexMap<JobId, Edge>> {
        let mut any = false;
        let mut next = IndexMap::new();
        for (edge, target) in self.edges.iter().filter(|(edge, _)| is_source(edge)) {
            any = true;
            if let Some(entry) = entry(edge) {
                next.insert(target.clone(), entry);
            }
        }
        any.then_some(next)
    }
}

fn is_off(edge: &LightningEdge) -> bool {
    edge.enabled == Some(Value::Bool(false))
}

/// Section 6.5: jobs that mention collections get the adaptor, the run gets what the adaptor needs.
fn add_collections(
    steps: &mut IndexMap<JobId, Step>,
    options: &ConvertOptions<'_>,
    project_id: Option<&ProjectId>,
) -> Option<IndexMap<String, String>> {
    let (version, url) = options.collections_version.zip(options.collections_url)?;
    let mut any = false;
    for step in steps.values_mut() {
        if !step
            .expression
            .as_deref()
            .is_some_and(|source| source.contains("collections."))
        {
            continue;
        }
        any = true;
        let adaptors = step.adaptors.get_or_insert_default();
        if !adaptors
            .iter()
            .any(|adaptor| adaptor.starts_with(COLLECTIONS))
        {
            adaptors.push(format!("{COLLECTIONS}@{version}"));
        }
    }
    if !any {
        return None;
    }
    let mut credentials = IndexMap::new();
    credentials.insert("collections_token".to_owned(), options.run_token.to_owned());
    credentials.insert("collections_endpoint".to_owned(), url.to_owned());
    if let Some(project_id) = project_id {
        credentials.insert("project_id".to_owned(), project_id.to_string());
    }
    Some(credentials)
}

/// Section 6.6: `@local` adaptors come from the monorepo, where there is one.
fn link_local(steps: &mut IndexMap<JobId, Step>, monorepo_dir: Option<&str>) {
    let Some(monorepo) = monorepo_dir else { return };
    for step in steps.values_mut() {
        for adaptor in step.adaptors.iter().flatten() {
            let Some((name, "local")) = split_specifier(adaptor) else {
                continue;
            };
            let short = name.strip_prefix("@openfn/language-").unwrap_or(name);
            let linked = Linked {
                path: format!("{monorepo}/packages/{short}"),
                version: "local".to_owned(),
            };
            step.linker.insert(name.to_owned(), linked);
        }
    }
}

/// Name and version of a specifier, split at the last `@` that is not the first character.
fn split_specifier(specifier: &str) -> Option<(&str, &str)> {
    match specifier.rsplit_once('@') {
        Some((name, version)) if !name.is_empty() => Some((name, version)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn converted(plan: &Value, options: &ConvertOptions<'_>) -> Converted {
        let mut ids = 0;
        let plan = LightningPlan::from_json(&plan.to_string()).unwrap();
        convert(plan, options, &mut || {
            ids += 1;
            format!("new-{ids}")
        })
        .unwrap()
    }

    fn plan_of(plan: &Value) -> Value {
        serde_json::to_value(converted(plan, &ConvertOptions::default()).plan).unwrap()
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
    fn edges_are_converted_by_source_condition_and_switch() {
        let edge = |source: &str, target: &str, condition: Value, enabled: Value| json!({source: "n", "target_job_id": target, "condition": condition, "enabled": enabled});
        let plan = json!({"id": "w", "triggers": [{"id": "n"}], "edges": [
            edge("source_trigger_id", "a", json!("always"), json!(true)),
            edge("source_trigger_id", "b", json!("state.x"), Value::Null),
            edge("source_trigger_id", "c", Value::Null, json!(false)),
        ]});
        assert_eq!(
            plan_of(&plan)["workflow"]["steps"][0]["next"],
            json!({"a": true, "b": "state.x"})
        );
        let plan = json!({"id": "w", "jobs": [{"id": "n"}], "edges": [
            edge("source_job_id", "a", Value::Null, json!(true)),
            edge("source_job_id", "b", json!("always"), Value::Null),
            edge("source_job_id", "c", Value::Null, json!(false)),
            edge("source_job_id", "d", json!("on_job_failure"), json!(false)),
            edge("source_job_id", "e", json!(""), json!(true)),
            edge("source_job_id", "a", json!("later wins"), json!(true)),
        ]});
        assert_eq!(
            plan_of(&plan)["workflow"]["steps"][0]["next"],
            json!({"a": {"condition": "later wins"}, "b": {"condition": "always"}, "c": {"disabled": true},
                   "d": {"condition": "on_job_failure", "disabled": true}, "e": true})
        );
    }

    #[test]
    fn a_trigger_whose_edges_are_all_off_keeps_an_empty_next_and_one_without_edges_has_none() {
        let plan = json!({"id": "w", "triggers": [{"id": "t"}, {}],
            "edges": [{"source_trigger_id": "t", "target_job_id": "a", "enabled": false}]});
        assert_eq!(
            plan_of(&plan)["workflow"]["steps"],
            json!([{"id": "t", "next": {}}, {"id": "trigger"}])
        );
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
    fn jobs_that_mention_collections_get_the_adaptor_and_the_run_its_token() {
        let options = ConvertOptions {
            collections_version: Some("0.8.0"),
            collections_url: Some("http://c"),
            run_token: "tok",
            monorepo_dir: None,
        };
        let plan = json!({"id": "w", "project_id": "p", "jobs": [
            {"id": "a", "body": "collections.get('x')", "adaptor": "@openfn/language-common@1.0.0"},
            {"id": "b", "body": "// collections.", "adaptor": "@openfn/language-collections@0.1.0"},
            {"id": "c", "body": "fn(s => s)"},
        ]});
        let value = serde_json::to_value(converted(&plan, &options).plan).unwrap();
        let steps = &value["workflow"]["steps"];
        assert_eq!(
            steps[0]["adaptors"],
            json!([
                "@openfn/language-common@1.0.0",
                "@openfn/language-collections@0.8.0"
            ])
        );
        assert_eq!(
            steps[1]["adaptors"],
            json!(["@openfn/language-collections@0.1.0"])
        );
        assert_eq!(steps[2]["adaptors"], json!([]));
        assert_eq!(
            value["workflow"]["credentials"],
            json!({"collections_token": "tok", "collections_endpoint": "http://c", "project_id": "p"})
        );
        let off = ConvertOptions {
            collections_url: None,
            ..options
        };
        let value = serde_json::to_value(converted(&plan, &off).plan).unwrap();
        assert!(value["workflow"].get("credentials").is_none());
    }

    #[test]
    fn local_adaptors_are_linked_to_the_monorepo() {
        let plan = json!({"id": "w", "jobs": [
            {"id": "a", "adaptor": "@openfn/language-common@local"}, {"id": "b", "adaptor": "common@local"},
            {"id": "c", "adaptor": "@openfn/language-http@7.0.0"},
        ]});
        let options = ConvertOptions {
            monorepo_dir: Some("/m"),
            ..ConvertOptions::default()
        };
        let steps =
            serde_json::to_value(converted(&plan, &options).plan).unwrap()["workflow"]["steps"]
                .clone();
        assert_eq!(
            steps[0]["linker"],
            json!({"@openfn/language-common": {"path": "/m/packages/common", "version": "local"}})
        );
        assert_eq!(
            steps[1]["linker"],
            json!({"common": {"path": "/m/packages/common", "version": "local"}})
        );
        assert!(steps[2].get("linker").is_none());
    }

    #[test]
    fn an_edge_that_leads_nowhere_is_named() {
        let plan =
            LightningPlan::from_json(r#"{"id":"w","edges":[{"id":"e1","source_job_id":"a"}]}"#)
                .unwrap();
        let error = convert(plan, &ConvertOptions::default(), &mut String::new).unwrap_err();
        assert_eq!(error.to_string(), "the edge e1 has no target_job_id");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in ".*") {
            let _plan = LightningPlan::from_json(&text);
        }
    }
}
