//! The reporter, event by event.

use protocol::engine::{FinishedStep, Shape};
use protocol::ids::CredentialId;
use protocol::plan::{Configuration, ConvertOptions, LightningPlan, convert};
use protocol::reasons::{EngineError, Outcome, StateError};
use protocol::size::Mebibytes;
use serde_json::{Value, json};

use super::*;
use crate::run::report::TOO_LARGE;

const START: u64 = 1_900_000_000_000_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_micros(START + millis * 1_000)
}

/// A reporter whose run is executed, and the ids that it makes.
struct Told {
    reporter: Reporter,
    ids: u32,
}

impl Told {
    /// Of a run with jobs `a` and `b`, one after the other, and the input `in`.
    fn new() -> Self {
        Self::with(FrameLimit::new(Mebibytes::new(0.0)), true)
    }

    fn with(frames: FrameLimit, output_dataclips: bool) -> Self {
        let plan = json!({
            "id": "r",
            "starting_node_id": "a",
            "jobs": [{"id": "a", "body": "1"}, {"id": "b", "body": "2"}],
            "edges": [{"id": "e", "source_job_id": "a", "target_job_id": "b", "condition": "always"}],
            "triggers": [],
        });
        let plan = LightningPlan::from_json(&plan.to_string()).unwrap();
        let plan = convert(plan, &ConvertOptions::default(), &mut String::new).unwrap();
        let mut reporter = Reporter::new(RunId::new("r"), false, frames);
        reporter.begin(
            Arc::new(plan.plan),
            Some(DataclipId::new("in")),
            output_dataclips,
        );
        Self { reporter, ids: 0 }
    }

    fn tell(&mut self, event: RunProgress) -> Vec<Value> {
        let mut new_id = || {
            self.ids += 1;
            format!("id {}", self.ids)
        };
        let outgoing = self.reporter.on(event, &at(500), &mut new_id);
        outgoing.iter().map(written).collect()
    }

    fn starts(&mut self, job: &str) -> Vec<Value> {
        self.tell(RunProgress::JobStart {
            job: JobId::new(job),
            time: at(0),
        })
    }

    fn completes(&mut self, step: FinishedStep, state: &str) -> Vec<Value> {
        self.tell(RunProgress::JobComplete {
            step,
            mem: None,
            state: Some(Bytes::from(state.to_owned())),
        })
    }

    fn completes_workflow(&mut self) -> Vec<Value> {
        self.tell(RunProgress::WorkflowComplete {
            time: at(100),
            shape: Shape::Object,
            state: Some(Bytes::from_static(b"{\"x\":1}")),
        })
    }

    fn ends(&mut self, outcome: &Outcome) -> Vec<Value> {
        let mut new_id = || "id of the end".to_owned();
        let outgoing = self.reporter.end_with(outcome, &at(500), &mut new_id);
        outgoing.iter().map(written).collect()
    }
}

/// What is reported: its event and its payload without times.
fn written(outgoing: &Outgoing) -> Value {
    let (event, payload) = match outgoing {
        Outgoing::Line(lines) => ("line", Report::Logs(lines.clone()).payload()),
        Outgoing::Report(report) => (report.event(), report.payload()),
        Outgoing::Log(notice) => return json!({ "warning": notice.text }),
    };
    let protocol::lightning::PushPayload::Whole(json) = payload.unwrap() else {
        panic!("{event} is long")
    };
    let mut payload: Value = serde_json::from_slice(&json).unwrap();
    payload.as_object_mut().unwrap().remove("timestamp");
    json!([event, payload])
}

fn events(reports: &[Value]) -> Vec<&str> {
    reports
        .iter()
        .map(|report| report[0].as_str().unwrap())
        .collect()
}

fn step(job: &str, next: &[&str]) -> FinishedStep {
    FinishedStep {
        job: JobId::new(job),
        time: at(50),
        duration: 12.6,
        next: next.iter().map(|job| JobId::new(*job)).collect(),
        size: None,
        redacted: false,
        shape: Shape::Object,
        webhook_response: None,
        state_error: None,
    }
}

fn crash() -> Outcome {
    Outcome {
        reason: ExitReason::Crash,
        error_type: Some("EngineLost".to_owned()),
        error_message: Some("it was lost".to_owned()),
    }
}

#[test]
fn each_step_names_the_dataclip_that_it_begins_with_and_the_run_the_last_one() {
    let mut run = Told::new();
    run.tell(RunProgress::WorkflowStart {
        thread_id: 7,
        warm: true,
    });
    let first = run.starts("a");
    assert_eq!(
        first,
        [json!(["step:start", {"step_id": "id 1", "job_id": "a", "input_dataclip_id": "in"}])]
    );
    let ended = run.completes(step("a", &["b"]), "{\"x\":0}");
    assert_eq!(
        ended,
        [json!(["step:complete", {
            "step_id": "id 1", "job_id": "a", "duration": 13, "thread_id": 7,
            "output_dataclip_id": "id 2", "output_dataclip": "{\"x\":0}",
            "reason": "success", "error_type": null, "error_message": null
        }])]
    );
    let second = run.starts("b");
    assert_eq!(second[0][1]["input_dataclip_id"], "id 2");
    run.completes(step("b", &[]), "{\"x\":1}");
    let end = run.completes_workflow();
    assert_eq!(events(&end), ["run:log", "run:complete"]);
    assert_eq!(
        end[1][1],
        json!({"final_state": {"x": 1}, "final_dataclip_id": "id 4", "reason": "success", "error_type": null, "error_message": null})
    );
    assert_eq!(run.reporter.reason(), Some(ExitReason::Success));
}

#[test]
fn nothing_follows_the_end_of_a_run() {
    let mut run = Told::new();
    run.completes_workflow();
    assert!(run.starts("a").is_empty());
    assert!(run.completes_workflow().is_empty());
    assert!(run.ends(&crash()).is_empty());
}

#[test]
fn a_second_completion_of_a_step_is_dropped() {
    let mut run = Told::new();
    run.starts("a");
    assert_eq!(run.completes(step("a", &[]), "{}").len(), 1);
    let warning = "dropped a second completion of the step of job a";
    assert_eq!(
        run.completes(step("a", &[]), "{}"),
        [json!({ "warning": warning })]
    );
}

#[test]
fn an_end_by_an_error_closes_the_step_that_is_active() {
    let mut run = Told::new();
    run.starts("a");
    assert_eq!(run.reporter.active_job(), Some(&JobId::new("a")));
    let reports = run.ends(&crash());
    assert_eq!(
        events(&reports),
        ["step:complete", "run:log", "run:log", "run:complete"]
    );
    assert_eq!(reports[0][1]["output_dataclip"], "{}");
    for report in [&reports[0], &reports[3]] {
        assert_eq!(report[1]["reason"], "crash");
        assert_eq!(report[1]["error_type"], "EngineLost");
    }
    assert_eq!(run.reporter.active_job(), None);
}

#[test]
fn a_step_whose_end_lightning_refused_is_closed_without_a_dataclip() {
    let mut run = Told::new();
    run.starts("a");
    run.completes_workflow();
    assert!(run.reporter.ended());
    run.reporter
        .refused(Some((StepId::new("id 1"), JobId::new("a"))));
    assert!(!run.reporter.ended());
    let reports = run.ends(&crash());
    assert_eq!(reports[0][0], "step:complete");
    assert!(reports[0][1].get("output_dataclip_id").is_none());
}

#[test]
fn a_state_that_is_too_large_is_withheld_and_the_log_says_so_before_the_step_ends() {
    let mut run = Told::new();
    run.starts("a");
    let large = FinishedStep {
        redacted: true,
        ..step("a", &["b"])
    };
    let reports = run.completes(large, "{}");
    assert_eq!(events(&reports), ["run:log", "step:complete"]);
    assert_eq!(reports[0][1]["message"], json!([logs::DATACLIP_TOO_LARGE]));
    assert!(reports[0][1].get("step_id").is_none(), "the step is over");
    assert_eq!(reports[1][1]["output_dataclip_error"], TOO_LARGE);
    assert!(reports[1][1].get("output_dataclip_id").is_none());
    assert!(run.starts("b")[0][1].get("input_dataclip_id").is_none());
}

#[test]
fn a_state_that_makes_too_large_a_frame_is_withheld_as_well() {
    let mut run = Told::with(FrameLimit::new(Mebibytes::new(0.01)), true);
    run.starts("a");
    let state = format!("{{\"x\":\"{}\"}}", "x".repeat(20_000));
    let reports = run.completes(step("a", &[]), &state);
    let warning = reports[0]["warning"].as_str().unwrap();
    assert!(warning.contains("more than 0.01 MB, it is withheld"));
    assert_eq!(reports[2][1]["output_dataclip_error"], TOO_LARGE);
    let end = run.tell(RunProgress::WorkflowComplete {
        time: at(100),
        shape: Shape::Object,
        state: Some(Bytes::from(state)),
    });
    assert_eq!(events(&end), ["run:log", "run:log", "run:complete"]);
    assert!(end[2][1].get("final_state").is_none());
}

#[test]
fn without_persistence_a_step_names_its_dataclip_and_does_not_send_it() {
    let mut run = Told::with(FrameLimit::new(Mebibytes::new(0.0)), false);
    run.starts("a");
    let reports = run.completes(step("a", &["b"]), "{\"x\":0}");
    assert_eq!(reports[0][1]["output_dataclip_id"], "id 2");
    assert!(reports[0][1].get("output_dataclip").is_none());
}

#[test]
fn a_state_that_is_no_object_completes_its_step_without_it() {
    let mut run = Told::new();
    run.starts("a");
    let other = FinishedStep {
        shape: Shape::Other,
        ..step("a", &["b"])
    };
    let reports = run.completes(other, "1");
    assert!(reports[0][1].get("output_dataclip_id").is_none());
    assert!(reports[0][1].get("output_dataclip_error").is_none());
}

#[test]
fn a_failed_leaf_is_how_the_run_ends() {
    let mut run = Told::new();
    run.starts("a");
    let failed = FinishedStep {
        state_error: Some(StateError {
            name: Some("JobError".to_owned()),
            message: Some("no".to_owned()),
        }),
        ..step("a", &[])
    };
    let reports = run.completes(failed, "{}");
    assert_eq!(reports[0][1]["reason"], "fail");
    let end = run.completes_workflow();
    assert_eq!(end.last().unwrap()[1]["reason"], "fail");
    assert_eq!(end.last().unwrap()[1]["error_message"], "no");
}

#[test]
fn an_error_of_the_workflow_ends_the_run_with_its_severity() {
    let mut run = Told::new();
    let error = EngineError {
        message: Some("too slow".to_owned()),
        error_type: Some("TimeoutError".to_owned()),
        severity: Some("kill".to_owned()),
        ..EngineError::default()
    };
    let reports = run.tell(RunProgress::WorkflowError { error });
    assert_eq!(reports.last().unwrap()[1]["reason"], "kill");
    assert_eq!(run.reporter.reason(), Some(ExitReason::Kill));
}

#[test]
fn a_dataclip_that_lightning_refused_is_named_no_more() {
    let mut run = Told::new();
    run.starts("a");
    run.completes(step("a", &["b"]), "{}");
    run.reporter.withhold(&DataclipId::new("id 2"));
    assert!(run.starts("b")[0][1].get("input_dataclip_id").is_none());
    run.completes(step("b", &[]), "{}");
    run.reporter.withhold(&DataclipId::new("id 4"));
    let end = run.completes_workflow();
    assert!(end[1][1].get("final_dataclip_id").is_none());
}

#[test]
fn lines_belong_to_the_step_that_is_active_and_the_workers_own_to_none() {
    let mut run = Told::new();
    let line = || RunProgress::Log {
        level: Some("info".to_owned()),
        name: "JOB".to_owned(),
        time: at(10),
        message: Bytes::from_static(b"[\"hi\"]"),
    };
    assert!(run.tell(line())[0][1].get("step_id").is_none());
    run.starts("a");
    let reports = run.tell(line());
    assert_eq!(
        reports,
        [
            json!(["line", {"run_id": "r", "message": ["hi"], "source": "JOB", "level": "info", "step_id": "id 1"}])
        ]
    );
    let own = run.reporter.worker_line("VER", "info", "versions", at(20));
    assert_eq!(written(&own)[0], "run:log");
    assert!(written(&own)[1].get("step_id").is_none());
}

#[test]
fn a_line_that_is_no_json_array_is_dropped() {
    let mut run = Told::new();
    let reports = run.tell(RunProgress::Log {
        level: None,
        name: "JOB".to_owned(),
        time: at(10),
        message: Bytes::from_static(b"hi"),
    });
    let warning = reports[0]["warning"].as_str().unwrap();
    assert!(warning.starts_with("dropped a log line of the engine"));
    assert_eq!(reports.len(), 1);
}

#[test]
fn a_reporter_and_the_engine_share_the_plan_and_its_credentials_show_nowhere() {
    let secret = serde_json::value::RawValue::from_string("\"hunter2\"".to_owned()).unwrap();
    let mut plan = ExecutionPlan {
        id: RunId::new("r"),
        start: None,
        name: None,
        globals: None,
        credentials: None,
        steps: IndexMap::new(),
        project_id: None,
    };
    plan.steps.insert(
        JobId::new("a"),
        protocol::plan::Step {
            configuration: Configuration::Credential(CredentialId::new("c")),
            ..Default::default()
        },
    );
    plan.resolve_credentials(&IndexMap::from_iter([(CredentialId::new("c"), secret)]));
    let plan = Arc::new(plan);
    let mut reporter = Reporter::new(RunId::new("r"), false, FrameLimit::new(Mebibytes::new(0.0)));
    reporter.begin(Arc::clone(&plan), None, true);
    assert_eq!(Arc::strong_count(&plan), 2);
    assert!(!format!("{reporter:?}").contains("hunter2"));
}
