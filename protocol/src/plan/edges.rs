//! From Lightning's edges to the `next` of each step (protocol spec, section 6.2).

use indexmap::IndexMap;
use serde_json::Value;

use super::execution::Edge;
use super::lightning::{Condition, LightningEdge, PlanError};
use crate::ids::JobId;

/// The edges of a plan.
pub(super) struct Edges<'a>(&'a [LightningEdge]);

/// What may follow a step.
pub(super) type Next = IndexMap<JobId, Edge>;

impl<'a> Edges<'a> {
    pub(super) fn new(edges: &'a [LightningEdge]) -> Self {
        Self(edges)
    }

    /// What follows a trigger; `None` without edges.
    ///
    /// # Errors
    /// [`PlanError::NoTarget`].
    pub(super) fn of_trigger(&self, id: &JobId) -> Result<Option<Next>, PlanError> {
        self.next(
            |edge| edge.source_trigger_id.as_deref() == Some(id.as_str()),
            |edge| {
                let entry = match &edge.condition {
                    Condition::Absent => Edge::Always,
                    Condition::Text(text) if text == "always" => Edge::Always,
                    Condition::Null => Edge::Null,
                    Condition::Text(condition) => Edge::Expression(condition.clone()),
                };
                (!is_off(edge)).then_some(entry)
            },
        )
    }

    /// What follows a job; `None` without edges.
    ///
    /// # Errors
    /// [`PlanError::NoTarget`].
    pub(super) fn of_job(&self, id: &JobId) -> Result<Option<Next>, PlanError> {
        self.next(
            |edge| edge.source_job_id.as_deref() == Some(id.as_str()),
            |edge| {
                let condition = match &edge.condition {
                    Condition::Text(text) if !text.is_empty() => Some(text.clone()),
                    Condition::Text(_) | Condition::Absent | Condition::Null => None,
                };
                let disabled = is_off(edge);
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

    /// The edges of one node, the later of two to the same target winning; `None` if the node has none at all. Edges whose
    /// source is no node are never looked at.
    fn next(
        &self,
        is_source: impl Fn(&LightningEdge) -> bool,
        entry: impl Fn(&LightningEdge) -> Option<Edge>,
    ) -> Result<Option<Next>, PlanError> {
        let mut any = false;
        let mut next = IndexMap::new();
        for (position, edge) in self.0.iter().enumerate() {
            if !is_source(edge) {
                continue;
            }
            any = true;
            let Some(entry) = entry(edge) else { continue };
            let Some(target) = &edge.target_job_id else {
                let edge = edge.id.clone();
                return Err(PlanError::NoTarget {
                    edge: edge.unwrap_or_else(|| format!("at position {position}")),
                });
            };
            next.insert(JobId::new(target.as_str()), entry);
        }
        Ok(any.then_some(next))
    }
}

fn is_off(edge: &LightningEdge) -> bool {
    edge.enabled == Some(Value::Bool(false))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::plan_of;
    use super::super::{ConvertOptions, LightningPlan, convert};
    use super::*;

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
    fn a_null_condition_closes_the_edge_of_a_trigger_but_not_of_a_job() {
        let edge = |source: &str| json!({source: "n", "target_job_id": "a", "condition": null});
        let plan =
            json!({"id": "w", "triggers": [{"id": "n"}], "edges": [edge("source_trigger_id")]});
        assert_eq!(
            plan_of(&plan)["workflow"]["steps"][0]["next"],
            json!({"a": null})
        );
        let plan = json!({"id": "w", "jobs": [{"id": "n"}], "edges": [edge("source_job_id")]});
        assert_eq!(
            plan_of(&plan)["workflow"]["steps"][0]["next"],
            json!({"a": true})
        );
    }

    #[test]
    fn an_edge_that_leads_nowhere_is_named_if_a_node_has_it() {
        let read = |plan: &str| {
            let plan = LightningPlan::from_json(plan).unwrap();
            convert(plan, &ConvertOptions::default(), &mut String::new)
        };
        let used = r#"{"id":"w","jobs":[{"id":"a"}],"edges":[{"id":"e1","source_job_id":"a"}]}"#;
        assert_eq!(
            read(used).unwrap_err().to_string(),
            "the edge e1 has no target_job_id"
        );
        let unused = r#"{"id":"w","jobs":[{"id":"a"}],"edges":[{"source_job_id":"b"}]}"#;
        assert!(read(unused).unwrap().plan.steps["a"].next.is_none());
    }
}
