//! How steps and runs end, and which dataclips they hand on (protocol spec, sections 4.11 to 4.14).

mod inputs;

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

pub use self::inputs::InputDataclips;
use crate::ids::JobId;
use crate::plan::ExecutionPlan;

/// How a step or run ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum ExitReason {
    /// All operations have run.
    Success,
    /// Job code failed; the run goes on along edges that allow it.
    Fail,
    /// Job code could not run, or died.
    Crash,
    /// Stopped for breaking a limit.
    Kill,
    /// Stopped because somebody asked for it.
    Cancel,
    /// A fault of the platform.
    Exception,
    /// Never heard of again; only Lightning says so.
    Lost,
}

impl ExitReason {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The reason that an error's severity stands for; anything unknown is a crash.
    pub fn from_severity(severity: &str) -> Self {
        match severity {
            "fail" => Self::Fail,
            "kill" => Self::Kill,
            "exception" => Self::Exception,
            "cancel" => Self::Cancel,
            _ => Self::Crash,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a step or run ended, as reported; the errors are null on success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The word that Lightning makes a state of.
    pub reason: ExitReason,
    /// What Lightning groups errors by, e.g. `RuntimeError`.
    pub error_type: Option<String>,
    /// What the author of the job reads.
    pub error_message: Option<String>,
}

impl Outcome {
    /// The outcome of a step or run without an error.
    pub fn success() -> Self {
        Self {
            reason: ExitReason::Success,
            error_type: None,
            error_message: None,
        }
    }
}

/// An error as the engine tells of it (engine spec, section 7.2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineError {
    /// Its text.
    pub message: Option<String>,
    /// The name of its class.
    pub name: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub error_type: Option<String>,
    /// A finer type.
    pub subtype: Option<String>,
    /// Where it comes from.
    pub source: Option<String>,
    /// `fail`, `crash`, `kill` or `exception`.
    pub severity: Option<String>,
}

/// What a state's `errors` say of a job. Any truthy value counts, so both may be missing (protocol spec, section 4.11).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StateError {
    /// The class.
    pub name: Option<String>,
    /// The text.
    pub message: Option<String>,
}

/// How a step ended, from its error and its entry in `state.errors` (protocol spec, section 4.11).
pub fn step_outcome(error: Option<&EngineError>, state_error: Option<&StateError>) -> Outcome {
    match (error, state_error) {
        (Some(error), Some(written)) if written.message == error.message => {
            written_outcome(written)
        }
        (Some(error), _) => error_outcome(error),
        (None, Some(written)) => written_outcome(written),
        (None, None) => Outcome::success(),
    }
}

/// How a run ends after this error.
pub fn error_outcome(error: &EngineError) -> Outcome {
    let error_type = [&error.subtype, &error.error_type, &error.name]
        .into_iter()
        .flatten()
        .find(|text| !text.is_empty())
        .cloned();
    Outcome {
        reason: ExitReason::from_severity(error.severity.as_deref().unwrap_or("crash")),
        error_type,
        error_message: error.message.clone(),
    }
}

fn written_outcome(written: &StateError) -> Outcome {
    Outcome {
        reason: ExitReason::Fail,
        error_type: written.name.clone(),
        error_message: written.message.clone(),
    }
}

/// The reasons of the steps so far, by job: a job that ran twice keeps its last one.
#[derive(Debug, Default)]
pub struct Reasons(HashMap<JobId, Outcome>);

impl Reasons {
    /// Notes how the step of a job ended.
    pub fn record(&mut self, job: JobId, outcome: Outcome) {
        self.0.insert(job, outcome);
    }

    /// How the run ends that was completed (protocol spec, section 4.12): the first fail among the leaves, in plan order.
    /// A leaf has no `next`, or none of its targets ever ran.
    pub fn of_run(&self, plan: &ExecutionPlan) -> Outcome {
        plan.steps
            .iter()
            .filter(|(_, step)| {
                !step
                    .next
                    .iter()
                    .flatten()
                    .any(|(target, _)| self.0.contains_key(target))
            })
            .filter_map(|(id, _)| self.0.get(id))
            .find(|outcome| outcome.reason == ExitReason::Fail)
            .cloned()
            .unwrap_or_else(Outcome::success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{ConvertOptions, LightningPlan, convert};

    fn failed(name: &str) -> Outcome {
        written_outcome(&StateError {
            name: Some(name.into()),
            message: Some("m".into()),
        })
    }

    fn plan() -> ExecutionPlan {
        let text = r#"{"id":"w","triggers":[{"id":"t"}],"jobs":[{"id":"a"},{"id":"b"},{"id":"c"}],"edges":[
            {"source_trigger_id":"t","target_job_id":"a"},{"source_job_id":"a","target_job_id":"b"},
            {"source_job_id":"a","target_job_id":"c","condition":"on_job_failure"}]}"#;
        let plan = LightningPlan::from_json(text).unwrap();
        convert(plan, &ConvertOptions::default(), &mut String::new)
            .unwrap()
            .plan
    }

    fn run(reasons: &[(&str, Outcome)]) -> Outcome {
        let mut all = Reasons::default();
        for (job, outcome) in reasons {
            all.record(JobId::new(*job), outcome.clone());
        }
        all.of_run(&plan())
    }

    #[test]
    fn only_leaves_decide_how_a_run_ends() {
        assert_eq!(run(&[]), Outcome::success());
        assert_eq!(
            run(&[("a", failed("A")), ("b", Outcome::success())]),
            Outcome::success()
        );
        assert_eq!(run(&[("a", failed("A"))]), failed("A"));
        assert_eq!(
            run(&[
                ("a", Outcome::success()),
                ("c", failed("C")),
                ("b", failed("B"))
            ]),
            failed("B")
        );
    }

    #[test]
    fn a_job_that_ran_twice_keeps_its_last_reason() {
        assert_eq!(
            run(&[("a", failed("A")), ("a", Outcome::success())]),
            Outcome::success()
        );
    }

    #[test]
    fn an_error_of_a_step_names_its_finest_type() {
        let mut error = EngineError {
            message: Some("TypeError: x".into()),
            name: Some("RuntimeError".into()),
            error_type: Some("RuntimeCrash".into()),
            subtype: Some("ReferenceError".into()),
            severity: Some("crash".into()),
            source: None,
        };
        let outcome = step_outcome(Some(&error), None);
        assert_eq!(
            (outcome.reason, outcome.error_type.as_deref()),
            (ExitReason::Crash, Some("ReferenceError"))
        );
        error.subtype = Some(String::new());
        assert_eq!(
            error_outcome(&error).error_type.as_deref(),
            Some("RuntimeCrash")
        );
        error.severity = None;
        assert_eq!(error_outcome(&error).reason, ExitReason::Crash);
    }

    #[test]
    fn an_error_that_was_written_to_the_state_is_a_fail() {
        let error = EngineError {
            message: Some("m".into()),
            subtype: Some("TypeError".into()),
            ..EngineError::default()
        };
        let written = StateError {
            name: Some("RuntimeError".into()),
            message: Some("m".into()),
        };
        assert_eq!(
            step_outcome(Some(&error), Some(&written)),
            failed("RuntimeError")
        );
        let other = StateError {
            message: Some("another".into()),
            ..written.clone()
        };
        assert_eq!(
            step_outcome(Some(&error), Some(&other)).reason,
            ExitReason::Crash
        );
        assert_eq!(step_outcome(None, Some(&written)), failed("RuntimeError"));
        let wordless = step_outcome(None, Some(&StateError::default()));
        assert_eq!(
            wordless,
            Outcome {
                reason: ExitReason::Fail,
                error_type: None,
                error_message: None
            }
        );
        assert_eq!(step_outcome(None, None), Outcome::success());
    }
}
