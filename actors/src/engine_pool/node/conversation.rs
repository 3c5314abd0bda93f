//! What an engine child may say about a run, and when. Everything that comes from a child is untrusted: job code can write to
//! its descriptors. No actor, no I/O.

use std::collections::HashSet;

use protocol::engine::RunProgress;
use protocol::ids::{JobId, RunId};
use protocol::plan::ExecutionPlan;

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Loading,
    Running,
    InStep(JobId),
    /// It has said how the run ended: only `exit` may follow.
    Over,
}

/// The order of one run's events.
#[derive(Debug)]
pub(super) struct Conversation {
    run: RunId,
    jobs: HashSet<JobId>,
    stage: Stage,
    proceeded: bool,
}

/// What a child said against the rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the engine child broke the protocol: {0}")]
pub(super) struct Violation(pub(super) String);

impl Conversation {
    pub(super) fn new(run: RunId, plan: &ExecutionPlan) -> Self {
        Self {
            run,
            jobs: plan.steps.keys().cloned().collect(),
            stage: Stage::Loading,
            proceeded: false,
        }
    }

    /// Whether nothing of the run was told yet: its job, which begins after that, cannot have done anything.
    pub(super) fn is_untouched(&self) -> bool {
        self.stage == Stage::Loading
    }

    /// The run was told to begin.
    pub(super) fn proceed(&mut self) {
        self.proceeded = true;
    }

    /// Whether the run was told to begin.
    pub(super) fn may_begin(&self) -> bool {
        self.proceeded
    }

    /// Whether the child has said how the run ended.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Checks that the child speaks of the run that it executes.
    ///
    /// # Errors
    /// [`Violation`]: the child cannot be trusted any more.
    pub(super) fn is_about(&self, run: &RunId) -> Result<(), Violation> {
        if *run == self.run {
            return Ok(());
        }
        Err(Violation(format!(
            "it speaks of run {run} while it executes {}",
            self.run
        )))
    }

    /// Checks one event against what came before.
    ///
    /// # Errors
    /// [`Violation`]: the child cannot be trusted any more.
    pub(super) fn hear(&mut self, run: &RunId, event: &RunProgress) -> Result<(), Violation> {
        let broken = |what: String| Err(Violation(what));
        self.is_about(run)?;
        match (&self.stage, event) {
            (Stage::Loading | Stage::Running | Stage::InStep(_), RunProgress::Log { .. }) => {}
            (Stage::Loading, RunProgress::WorkflowStart { .. }) => self.stage = Stage::Running,
            (Stage::Loading, RunProgress::WorkflowError { .. }) => self.stage = Stage::Over,
            (Stage::Running, RunProgress::JobStart { job, .. }) if self.proceeded => {
                if !self.jobs.contains(job) {
                    return broken(format!(
                        "it starts the job {job}, which the plan does not have"
                    ));
                }
                self.stage = Stage::InStep(job.clone());
            }
            (
                Stage::InStep(active),
                RunProgress::JobComplete { step, .. } | RunProgress::JobError { step, .. },
            ) => {
                if step.job != *active {
                    return broken(format!(
                        "it completes the job {} while {active} is active",
                        step.job
                    ));
                }
                if let Some(job) = step.next.iter().find(|job| !self.jobs.contains(*job)) {
                    return broken(format!(
                        "it goes on to the job {job}, which the plan does not have"
                    ));
                }
                self.stage = Stage::Running;
            }
            (Stage::Running, RunProgress::WorkflowComplete { .. }) if self.proceeded => {
                self.stage = Stage::Over;
            }
            (Stage::Running | Stage::InStep(_), RunProgress::WorkflowError { .. }) => {
                self.stage = Stage::Over;
            }
            (stage, event) => return broken(format!("{} in {stage:?}", name(event))),
        }
        Ok(())
    }
}

fn name(event: &RunProgress) -> &'static str {
    match event {
        RunProgress::WorkflowStart { .. } => "workflow-start",
        RunProgress::Log { .. } => "log",
        RunProgress::JobStart { .. } => "job-start",
        RunProgress::JobComplete { .. } => "job-complete",
        RunProgress::JobError { .. } => "job-error",
        RunProgress::WorkflowComplete { .. } => "workflow-complete",
        RunProgress::WorkflowError { .. } => "workflow-error",
        RunProgress::Ended => "ended",
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protocol::engine::{ChildEvent, Frame};
    use protocol::plan::{ConvertOptions, LightningPlan, convert};

    use super::*;

    fn conversation() -> Conversation {
        let plan = LightningPlan::from_json(
            r#"{"id":"r","jobs":[{"id":"a","body":"x"},{"id":"b","body":"x"}]}"#,
        )
        .unwrap();
        let plan = convert(plan, &ConvertOptions::default(), &mut String::new)
            .unwrap()
            .plan;
        Conversation::new(RunId::new("r"), &plan)
    }

    fn event(json: &str) -> RunProgress {
        let header = json.replacen('{', r#"{"run":"r","#, 1);
        let frame = Frame {
            header: header.into(),
            body: Bytes::new(),
        };
        let Ok(ChildEvent::Run { event, .. }) = ChildEvent::from_frame(&frame) else {
            panic!("{json} is no progress of a run")
        };
        event
    }

    const START: &str = r#"{"type":"workflow-start","thread_id":1,"time":"1767225600123456"}"#;
    const JOB: &str = r#"{"type":"job-start","job":"a","time":"1767225600123456"}"#;
    const DONE: &str = r#"{"type":"job-complete","job":"a","time":"1767225600123456","duration":1,"next":["b"],"shape":"none"}"#;
    const LOG: &str = r#"{"type":"log","name":"JOB","time":"1767225600123456"}"#;
    const OVER: &str = r#"{"type":"workflow-complete","time":"1767225600123456","shape":"none"}"#;

    fn hear(conversation: &mut Conversation, json: &str) -> Result<(), Violation> {
        conversation.hear(&RunId::new("r"), &event(json))
    }

    #[test]
    fn a_run_in_order_is_believed() {
        let mut conversation = conversation();
        hear(&mut conversation, LOG).unwrap();
        hear(&mut conversation, START).unwrap();
        conversation.proceed();
        for json in [JOB, LOG, DONE, OVER] {
            hear(&mut conversation, json).unwrap();
        }
        assert!(conversation.is_over());
        conversation.is_about(&RunId::new("r")).unwrap();
    }

    #[test]
    fn what_is_out_of_order_is_a_violation() {
        for order in [
            &[DONE][..],
            &[JOB],
            &[START, DONE],
            &[START, START],
            &[START, JOB, JOB],
            &[START, OVER, OVER],
            &[START, OVER, LOG],
        ] {
            let mut conversation = conversation();
            conversation.proceed();
            let (last, first) = order.split_last().unwrap();
            for json in first {
                hear(&mut conversation, json).unwrap();
            }
            assert!(hear(&mut conversation, last).is_err(), "{order:?}");
        }
    }

    #[test]
    fn no_step_starts_before_the_run_was_told_to_begin() {
        let mut conversation = conversation();
        hear(&mut conversation, START).unwrap();
        assert!(hear(&mut conversation, JOB).is_err());
    }

    #[test]
    fn other_runs_and_unknown_jobs_are_violations() {
        let mut conversation = conversation();
        conversation.proceed();
        assert!(
            conversation
                .hear(&RunId::new("other"), &event(START))
                .is_err()
        );
        hear(&mut conversation, START).unwrap();
        assert!(hear(&mut conversation, &JOB.replace("\"a\"", "\"z\"")).is_err());
        hear(&mut conversation, JOB).unwrap();
        assert!(hear(&mut conversation, &DONE.replace("[\"b\"]", "[\"z\"]")).is_err());
    }
}
