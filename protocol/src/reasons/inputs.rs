//! Which dataclip each step starts from (protocol spec, section 4.14).

use std::collections::HashMap;

use crate::ids::{DataclipId, JobId};
use crate::plan::ExecutionPlan;

/// The input dataclip of each job, as far as it is known.
///
/// The reference keeps one id a job, so that a job reached by two paths names the wrong input the first time (W19). The
/// runtime works breadth first, so here they queue up in the order in which the paths reached the job.
#[derive(Debug, Default)]
pub struct InputDataclips(HashMap<JobId, Vec<Option<DataclipId>>>);

impl InputDataclips {
    /// Before the run: the start step, or what a start trigger leads to, gets the run's input.
    pub fn new(plan: &ExecutionPlan, input: Option<DataclipId>) -> Self {
        let mut inputs = Self::default();
        if let Some(input) = input {
            for job in plan.start_targets() {
                inputs.0.entry(job).or_default().push(Some(input.clone()));
            }
        }
        inputs
    }

    /// The step of a job starts: its input, `None` if it is unknown or withheld.
    pub fn take(&mut self, job: &JobId) -> Option<DataclipId> {
        let waiting = self.0.get_mut(job)?;
        if waiting.is_empty() {
            None
        } else {
            waiting.remove(0)
        }
    }

    /// A step was completed and `next` start from its dataclip, unless that is withheld.
    pub fn completed(&mut self, next: &[JobId], dataclip: &DataclipId, withheld: bool) {
        for job in next {
            self.0
                .entry(job.clone())
                .or_default()
                .push((!withheld).then(|| dataclip.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{ConvertOptions, LightningPlan, convert};

    fn inputs(plan: &str) -> InputDataclips {
        let plan = LightningPlan::from_json(plan).unwrap();
        let plan = convert(plan, &ConvertOptions::default(), &mut String::new)
            .unwrap()
            .plan;
        InputDataclips::new(&plan, Some(DataclipId::new("in")))
    }

    #[test]
    fn a_start_trigger_hands_the_input_to_all_its_targets() {
        let mut inputs = inputs(
            r#"{"id":"w","triggers":[{"id":"t"}],"jobs":[{"id":"a","body":"x"},{"id":"b","body":"x"}],
               "edges":[{"source_trigger_id":"t","target_job_id":"a"},{"source_trigger_id":"t","target_job_id":"b"}]}"#,
        );
        assert_eq!(inputs.take(&JobId::new("a")), Some(DataclipId::new("in")));
        assert_eq!(inputs.take(&JobId::new("b")), Some(DataclipId::new("in")));
        assert_eq!(inputs.take(&JobId::new("a")), None);
    }

    #[test]
    fn a_start_job_gets_the_input_itself() {
        let mut inputs = inputs(
            r#"{"id":"w","starting_node_id":"b","jobs":[{"id":"a","body":"x"},{"id":"b","body":"x"}]}"#,
        );
        assert_eq!(inputs.take(&JobId::new("a")), None);
        assert_eq!(inputs.take(&JobId::new("b")), Some(DataclipId::new("in")));
    }

    #[test]
    fn a_job_reached_twice_starts_from_each_path_in_turn_and_withheld_ones_are_unknown() {
        let mut inputs = InputDataclips::default();
        let job = [JobId::new("x")];
        inputs.completed(&job, &DataclipId::new("1"), false);
        inputs.completed(&job, &DataclipId::new("2"), true);
        inputs.completed(&job, &DataclipId::new("3"), false);
        let taken: Vec<_> = (0..3)
            .map(|_| inputs.take(&job[0]).map(|id| id.to_string()))
            .collect();
        assert_eq!(taken, [Some("1".to_owned()), None, Some("3".to_owned())]);
    }
}
