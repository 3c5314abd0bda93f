//! A plan as a person posts it, made into what the server stores: ids filled in, credentials and input taken out.

use serde_json::{Map, Value};
use uuid::Uuid;

/// What is wrong with a posted plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The body is no JSON object.
    #[error("the plan is no JSON object: post {{\"jobs\":[…],\"triggers\":[…],\"edges\":[…]}}")]
    NotAnObject,
    /// A key holds a value of the wrong type.
    #[error("`{key}` of the plan must be {expected}")]
    Type {
        /// Where it is, e.g. `jobs[0].body`.
        key: String,
        /// The type that it must have.
        expected: &'static str,
    },
    /// An edge or the start names a node that does not exist.
    #[error("`{key}` of the plan names {node:?}, which is no job or trigger of it")]
    UnknownNode {
        /// The key that names the node, e.g. `edges[0].target_job_id`.
        key: String,
        /// The id that no node has.
        node: String,
    },
    /// Two nodes share an id.
    #[error("two nodes of the plan have the id {0:?}")]
    DuplicateNode(String),
    /// The plan has the id of a run that exists.
    #[error("a run with the id {0:?} exists already")]
    DuplicateRun(String),
}

/// A run about to be stored.
#[derive(Debug)]
pub(crate) struct PostedPlan {
    pub(crate) id: String,
    pub(crate) queue: String,
    pub(crate) plan: Value,
    /// Id and body.
    pub(crate) credentials: Vec<(String, Value)>,
    /// Id and body.
    pub(crate) dataclips: Vec<(String, Value)>,
}

impl PostedPlan {
    /// Reads a plan.
    ///
    /// # Errors
    /// [`PlanError`], naming the key that is wrong.
    pub(crate) fn new(plan: Value) -> Result<Self, PlanError> {
        let Value::Object(mut plan) = plan else {
            return Err(PlanError::NotAnObject);
        };
        let id = text_or(&mut plan, "id", new_id)?;
        let queue = match plan.shift_remove("queue") {
            None | Some(Value::Null) => "manual".to_owned(),
            Some(Value::String(queue)) if !queue.is_empty() => queue,
            Some(_) => {
                return Err(PlanError::Type {
                    key: "queue".to_owned(),
                    expected: "a name",
                });
            }
        };
        for key in [
            "name",
            "project_id",
            "starting_node_id",
            "globals",
            "dataclip_id",
        ] {
            if !matches!(plan.get(key), None | Some(Value::Null | Value::String(_))) {
                return Err(PlanError::Type {
                    key: key.to_owned(),
                    expected: "a string",
                });
            }
        }
        if !matches!(
            plan.get("options"),
            None | Some(Value::Null | Value::Object(_))
        ) {
            return Err(PlanError::Type {
                key: "options".to_owned(),
                expected: "an object",
            });
        }
        let mut credentials = match plan.shift_remove("credentials") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(bodies)) => bodies.into_iter().collect(),
            Some(_) => {
                return Err(PlanError::Type {
                    key: "credentials".to_owned(),
                    expected: "an object of id to body",
                });
            }
        };
        let mut nodes = Vec::new();
        for key in ["triggers", "jobs", "edges"] {
            let list = plan.entry(key).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(items) = list else {
                return Err(PlanError::Type {
                    key: key.to_owned(),
                    expected: "an array",
                });
            };
            for (index, item) in items.iter_mut().enumerate() {
                let path = format!("{key}[{index}]");
                let Value::Object(item) = item else {
                    return Err(PlanError::Type {
                        key: path,
                        expected: "an object",
                    });
                };
                let id = text_or(item, "id", new_id).map_err(|error| within(error, &path))?;
                if key == "edges" {
                    continue;
                }
                if nodes.contains(&id) {
                    return Err(PlanError::DuplicateNode(id));
                }
                nodes.push(id);
                take_credential(item, &path, &mut credentials)?;
            }
        }
        check_nodes(&plan, &nodes)?;
        let dataclips = take_input(&mut plan);
        Ok(Self {
            id,
            queue,
            plan: Value::Object(plan),
            credentials,
            dataclips,
        })
    }
}

fn new_id() -> String {
    Uuid::new_v4().to_string()
}

fn within(error: PlanError, path: &str) -> PlanError {
    match error {
        PlanError::Type { key, expected } => PlanError::Type {
            key: format!("{path}.{key}"),
            expected,
        },
        other => other,
    }
}

fn text_or(
    object: &mut Map<String, Value>,
    key: &str,
    make: fn() -> String,
) -> Result<String, PlanError> {
    match object.get(key) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        None | Some(Value::Null) => {
            let text = make();
            object.insert(key.to_owned(), Value::String(text.clone()));
            Ok(text)
        }
        Some(_) => Err(PlanError::Type {
            key: key.to_owned(),
            expected: "a non-empty string",
        }),
    }
}

/// An inline credential becomes a stored one, and `credential_id`.
fn take_credential(
    node: &mut Map<String, Value>,
    path: &str,
    credentials: &mut Vec<(String, Value)>,
) -> Result<(), PlanError> {
    for key in ["body", "adaptor", "name"] {
        if !matches!(node.get(key), None | Some(Value::Null | Value::String(_))) {
            return Err(PlanError::Type {
                key: format!("{path}.{key}"),
                expected: "a string",
            });
        }
    }
    match node.get("credential") {
        None | Some(Value::Null | Value::String(_)) => Ok(()),
        Some(Value::Object(_)) => {
            let id = new_id();
            if let Some(body) = node.shift_remove("credential") {
                credentials.push((id.clone(), body));
            }
            node.insert("credential_id".to_owned(), Value::String(id));
            Ok(())
        }
        Some(_) => Err(PlanError::Type {
            key: format!("{path}.credential"),
            expected: "an id or an object",
        }),
    }
}

fn check_nodes(plan: &Map<String, Value>, nodes: &[String]) -> Result<(), PlanError> {
    let known = |key: String, value: Option<&Value>| match value {
        Some(Value::String(node)) if !nodes.contains(node) => Err(PlanError::UnknownNode {
            key,
            node: node.clone(),
        }),
        None | Some(Value::Null | Value::String(_)) => Ok(()),
        Some(_) => Err(PlanError::Type {
            key,
            expected: "an id",
        }),
    };
    let edges = plan
        .get("edges")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    for (index, edge) in edges.iter().enumerate() {
        for key in ["source_trigger_id", "source_job_id", "target_job_id"] {
            known(format!("edges[{index}].{key}"), edge.get(key))?;
        }
    }
    Ok(())
}

/// An inline input (`dataclip` or `input`) becomes a stored dataclip, and `dataclip_id`.
fn take_input(plan: &mut Map<String, Value>) -> Vec<(String, Value)> {
    let inline = ["dataclip", "input"]
        .into_iter()
        .filter_map(|key| plan.shift_remove(key))
        .next();
    // The other key would go to the worker, which does not know it.
    plan.shift_remove("input");
    let Some(body) = inline.filter(|body| !body.is_null()) else {
        return Vec::new();
    };
    let id = match plan.get("dataclip_id") {
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        _ => new_id(),
    };
    plan.insert("dataclip_id".to_owned(), Value::String(id.clone()));
    vec![(id, body)]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn inline_credentials_and_input_become_ids() {
        let intake = PostedPlan::new(json!({
            "jobs": [{ "id": "a", "body": "fn()", "credential": { "user": "x" } }, { "id": "b", "credential": "c1" }],
            "input": { "data": {} },
        }))
        .unwrap();
        let (id, body) = &intake.credentials[0];
        assert_eq!(body, &json!({ "user": "x" }));
        assert_eq!(
            intake.plan.pointer("/jobs/0/credential_id"),
            Some(&json!(id))
        );
        assert_eq!(intake.plan.pointer("/jobs/0/credential"), None);
        assert_eq!(
            intake.plan.pointer("/jobs/1/credential"),
            Some(&json!("c1"))
        );
        assert_eq!(
            intake.dataclips,
            [(
                intake.plan["dataclip_id"].as_str().unwrap().to_owned(),
                json!({ "data": {} })
            )]
        );
        assert!(crate::errors::is_uuid(&intake.id));
        assert_eq!(intake.plan["id"], json!(intake.id));
    }

    #[test]
    fn a_wrong_plan_names_its_fault() {
        let fault = |plan| PostedPlan::new(plan).unwrap_err().to_string();
        assert!(fault(json!([])).contains("no JSON object"));
        assert_eq!(
            fault(json!({ "jobs": {} })),
            "`jobs` of the plan must be an array"
        );
        assert_eq!(
            fault(json!({ "jobs": [{ "id": 1 }] })),
            "`jobs[0].id` of the plan must be a non-empty string"
        );
        assert_eq!(
            fault(json!({ "jobs": [{ "body": 1 }] })),
            "`jobs[0].body` of the plan must be a string"
        );
        assert_eq!(
            fault(json!({ "jobs": [{ "id": "a" }, { "id": "a" }] })),
            "two nodes of the plan have the id \"a\""
        );
        assert_eq!(
            fault(json!({ "jobs": [{ "id": "a" }], "edges": [{ "target_job_id": "b" }] })),
            "`edges[0].target_job_id` of the plan names \"b\", which is no job or trigger of it"
        );
        assert_eq!(
            fault(json!({ "queue": 3 })),
            "`queue` of the plan must be a name"
        );
    }
}
