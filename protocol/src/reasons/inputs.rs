//! Which dataclip each step starts from (protocol spec, section 4.14).

use std::collections::{HashMap, VecDeque};

use crate::ids::{DataclipId, JobId};
use crate::plan::{Edge, ExecutionPlan};

/// The input dataclip of each job, as far as it is known.
///
/// The reference keeps one id a job, so that a job reached by two paths names the wrong input the first time (protocol
/// spec, W19). The runtime works breadth first, so here they queue up in the order in which the paths reached the job.
#[derive(Debug, Default)]
pub struct InputDataclips {
    /// `None` is an input that Lightning does not have.
    waiting: HashMap<JobId, VecDeque<Option<DataclipId>>>,
    /// The run's input, for jobs behind a condition of the start trigger. Nobody tells whether it let the run pass, so this
    /// is only used by a job that nothing else has led to.
    possible: HashMap<JobId, DataclipId>,
}

impl InputDataclips {
    /// Before the run: the start step, or what a start trigger leads to, gets the run's input.
    pub fn new(plan: &ExecutionPlan, input: Option<DataclipId>) -> Self {
        let mut inputs = Self::default();
        let (Some(input), Some((start, step))) = (input, plan.start_step()) else {
            return inputs;
        };
        if step.expression.is_some() {
            inputs.push(start, Some(input));
            return inputs;
        }
        for (job, edge) in step.next.iter().flatten() {
            match edge {
                Edge::Always => inputs.push(job, Some(input.clone())),
                Edge::Null => {}
                Edge::Expression(_) | Edge::Conditional { .. } => {
                    inputs.possible.insert(job.clone(), input.clone());
                }
            }
        }
        inputs
    }

    fn push(&mut self, job: &JobId, dataclip: Option<DataclipId>) {
        self.waiting
            .entry(job.clone())
            .or_default()
            .push_back(dataclip);
    }

    /// The step of a job starts: its input, `None` if it is unknown or withheld.
    pub fn take(&mut self, job: &JobId) -> Option<DataclipId> {
        match self.waiting.get_mut(job).and_then(VecDeque::pop_front) {
            Some(dataclip) => dataclip,
            None => self.possible.remove(job),
        }
    }

    /// A step was completed and `next` start from its dataclip, unless that is withheld.
    pub fn completed(&mut self, next: &[JobId], dataclip: &DataclipId, withheld: bool) {
        for job in next {
            self.push(job, (!withheld).then(|| dataclip.clone()));
        }
    }

    /// Lightning has refused this dataclip after all: no step that is still to start may name it.
    pub fn withhold(&mut self, dataclip: &DataclipId) {
        for waiting in self.waiting.values_mut().flatten() {
            if waiting.as_ref() == Some(dataclip) {
                *waiting = None;
            }
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
    fn a_condition_of_the_start_trigger_may_or_may_not_have_let_the_run_pass() {
        let plan = r#"{"id":"w","triggers":[{"id":"t"}],"jobs":[{"id":"a","body":"x"},{"id":"b","body":"x"},{"id":"c","body":"x"}],
            "edges":[{"source_trigger_id":"t","target_job_id":"a"},{"source_trigger_id":"t","target_job_id":"b","condition":"state.x"},
                     {"source_trigger_id":"t","target_job_id":"c","condition":null},{"source_job_id":"a","target_job_id":"b"}]}"#;
        let (a, b, c) = (JobId::new("a"), JobId::new("b"), JobId::new("c"));
        let mut passed = inputs(plan);
        assert_eq!(passed.take(&a), Some(DataclipId::new("in")));
        assert_eq!(passed.take(&b), Some(DataclipId::new("in")));
        assert_eq!(passed.take(&c), None);
        let mut closed = inputs(plan);
        closed.completed(std::slice::from_ref(&b), &DataclipId::new("1"), false);
        assert_eq!(closed.take(&b), Some(DataclipId::new("1")));
    }

    #[test]
    fn a_dataclip_that_lightning_refuses_is_not_named_any_more() {
        let mut inputs = InputDataclips::default();
        let jobs = [JobId::new("x"), JobId::new("y")];
        inputs.completed(&jobs, &DataclipId::new("1"), false);
        assert_eq!(inputs.take(&jobs[0]), Some(DataclipId::new("1")));
        inputs.withhold(&DataclipId::new("1"));
        assert_eq!(inputs.take(&jobs[1]), None);
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
