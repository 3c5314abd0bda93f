//! Lightning's plan, and the execution plan that the runtime takes (protocol spec, section 6; engine spec, section 1.4).

mod additions;
mod convert;
mod edges;
mod execution;
mod lightning;
mod options;
#[cfg(test)]
mod testing;

pub use self::convert::{ConvertOptions, Converted, Input, convert};
pub use self::execution::{Configuration, Edge, ExecutionPlan, Linked, Step};
pub use self::lightning::{
    Condition, LightningEdge, LightningJob, LightningPlan, LightningTrigger, PlanError,
};
pub use self::options::RunOptions;
