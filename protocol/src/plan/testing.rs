//! Plans for the tests of this folder.

use serde_json::Value;

use super::{ConvertOptions, Converted, LightningPlan, convert};

/// Converts a plan; jobs without an id become `new-1`, `new-2`, ….
pub(super) fn converted(plan: &Value, options: &ConvertOptions<'_>) -> Converted {
    let mut ids = 0;
    let plan = LightningPlan::from_json(&plan.to_string()).unwrap();
    convert(plan, options, &mut || {
        ids += 1;
        format!("new-{ids}")
    })
    .unwrap()
}

/// The converted plan as the runtime gets it.
pub(super) fn plan_of(plan: &Value) -> Value {
    serde_json::to_value(converted(plan, &ConvertOptions::default()).plan).unwrap()
}
