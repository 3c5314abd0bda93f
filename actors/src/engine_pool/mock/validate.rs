//! What the runtime checks in a plan before the first step (engine spec, section 1.4).

use std::collections::HashSet;

use protocol::ids::JobId;
use protocol::plan::ExecutionPlan;
use protocol::reasons::EngineError;

use super::crash;

/// Checks a plan and finds its first node.
///
/// # Errors
/// The error that ends the run.
pub(super) fn start_of(plan: &ExecutionPlan) -> Result<&JobId, Box<EngineError>> {
    let invalid = |message| crash("ValidationError", message);
    if let Some(start) = &plan.start
        && !plan.steps.contains_key(start)
    {
        return Err(invalid(format!("Could not find start job: {start}")));
    }
    for target in plan
        .steps
        .values()
        .flat_map(|step| step.next.iter().flat_map(|next| next.keys()))
    {
        if !plan.steps.contains_key(target) {
            return Err(invalid(format!("Cannot find job: {target}")));
        }
    }
    for id in plan.steps.keys() {
        if let Some(before) = cycle_through(plan, id) {
            return Err(invalid(format!("Circular dependency: {before} <-> {id}")));
        }
    }
    plan.start
        .as_ref()
        .or_else(|| plan.steps.keys().next())
        .ok_or_else(|| {
            crash(
                "TypeError",
                "Cannot read properties of undefined (reading 'id')".to_owned(),
            )
        })
}

/// The step from which a way leads back to this one.
fn cycle_through<'a>(plan: &'a ExecutionPlan, id: &'a JobId) -> Option<&'a JobId> {
    let mut seen = HashSet::new();
    let mut open = vec![id];
    while let Some(from) = open.pop() {
        for target in plan
            .steps
            .get(from)?
            .next
            .iter()
            .flat_map(|next| next.keys())
        {
            if target == id {
                return Some(from);
            }
            if seen.insert(target) {
                open.push(target);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use protocol::plan::{ConvertOptions, LightningPlan, convert};
    use serde_json::json;

    use super::*;

    fn plan(start: Option<&str>, jobs: &[&str], edges: &[(&str, &str)]) -> ExecutionPlan {
        let jobs: Vec<_> = jobs
            .iter()
            .map(|id| json!({"id": id, "body": "x"}))
            .collect();
        let edges: Vec<_> = edges
            .iter()
            .map(|(from, to)| json!({"source_job_id": from, "target_job_id": to}))
            .collect();
        let plan = json!({"id": "w", "starting_node_id": start, "jobs": jobs, "edges": edges});
        let plan = LightningPlan::from_json(&plan.to_string()).unwrap();
        convert(plan, &ConvertOptions::default(), &mut String::new)
            .unwrap()
            .plan
    }

    fn message(plan: &ExecutionPlan) -> String {
        start_of(plan).unwrap_err().message.unwrap()
    }

    #[test]
    fn a_sound_plan_starts_where_it_says_or_with_its_first_step() {
        assert_eq!(
            start_of(&plan(Some("b"), &["a", "b"], &[]))
                .unwrap()
                .as_str(),
            "b"
        );
        assert_eq!(
            start_of(&plan(None, &["a", "b"], &[("a", "b")]))
                .unwrap()
                .as_str(),
            "a"
        );
    }

    #[test]
    fn unknown_steps_and_circles_are_refused() {
        assert_eq!(
            message(&plan(Some("z"), &["a"], &[])),
            "Could not find start job: z"
        );
        assert_eq!(
            message(&plan(None, &["a"], &[("a", "z")])),
            "Cannot find job: z"
        );
        assert_eq!(
            message(&plan(None, &["a", "b"], &[("a", "b"), ("b", "a")])),
            "Circular dependency: b <-> a"
        );
        assert_eq!(
            message(&plan(None, &[], &[])),
            "Cannot read properties of undefined (reading 'id')"
        );
    }

    #[test]
    fn two_ways_to_one_step_are_no_circle() {
        let diamond = plan(
            None,
            &["a", "b", "c", "d"],
            &[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")],
        );
        assert!(start_of(&diamond).is_ok());
    }
}
