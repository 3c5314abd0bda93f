//! What the runtime checks in a plan before the first step (engine spec, section 1.4).

use std::collections::HashSet;

use indexmap::IndexSet;
use protocol::engine::EngineFailure;
use protocol::ids::JobId;
use protocol::plan::ExecutionPlan;

/// Checks a plan and finds its first node.
///
/// # Errors
/// The error that ends the run.
pub(crate) fn start_of(plan: &ExecutionPlan) -> Result<&JobId, EngineFailure> {
    let invalid = EngineFailure::InvalidPlan;
    let thrown = |name: &str, message: &str| EngineFailure::Thrown {
        name: name.to_owned(),
        message: message.to_owned(),
    };
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
    for id in order_of(plan) {
        match circle_from(plan, id) {
            None => {}
            Some(Circle::Through(before)) => {
                return Err(invalid(format!("Circular dependency: {before} <-> {id}")));
            }
            Some(Circle::Elsewhere) => {
                return Err(thrown("RangeError", "Maximum call stack size exceeded"));
            }
        }
    }
    plan.start
        .as_ref()
        .or_else(|| plan.steps.keys().next())
        .ok_or_else(|| {
            thrown(
                "TypeError",
                "Cannot read properties of undefined (reading 'id')",
            )
        })
}

/// The runtime looks at steps in the order in which it hears of them.
fn order_of(plan: &ExecutionPlan) -> IndexSet<&JobId> {
    let mut order = IndexSet::new();
    for (id, step) in &plan.steps {
        order.insert(id);
        order.extend(step.next.iter().flat_map(|next| next.keys()));
    }
    order
}

enum Circle<'a> {
    /// From this step a way leads back to the one that was asked for.
    Through(&'a JobId),
    /// The runtime's search comes into a circle that does not hold the step, and never leaves it.
    Elsewhere,
}

/// Follows the edges of a step as the runtime does, depth first.
fn circle_from<'a>(plan: &'a ExecutionPlan, id: &'a JobId) -> Option<Circle<'a>> {
    let targets = |of: &JobId| {
        let next = plan.steps.get(of).and_then(|step| step.next.as_ref());
        next.into_iter().flat_map(|next| next.keys())
    };
    let mut left = HashSet::new();
    let mut path = vec![(id, targets(id))];
    while let Some((from, rest)) = path.last_mut() {
        let from = *from;
        match rest.next() {
            None => {
                left.insert(from);
                path.pop();
            }
            Some(target) if target == id => return Some(Circle::Through(from)),
            Some(target) if left.contains(target) => {}
            Some(target) if path.iter().any(|(step, _)| *step == target) => {
                return Some(Circle::Elsewhere);
            }
            Some(target) => path.push((target, targets(target))),
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
        start_of(plan).unwrap_err().to_string()
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
        // The runtime does not see a circle that it comes into from outside.
        assert_eq!(
            message(&plan(
                None,
                &["a", "b", "c"],
                &[("a", "b"), ("b", "c"), ("c", "b")]
            )),
            "Maximum call stack size exceeded"
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
