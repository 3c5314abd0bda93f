//! Tables of runs: each row is a plan and what Lightning must be told of how it ended.

use std::collections::HashMap;

use lightning_mock::{MockServer, RecordedEvent, RunView};
use serde_json::{Value, json};

use super::DEADLINE;

/// How a step or a run ends: reason, `error_type`, `error_message`. In the last two `*` stands for any text.
pub(crate) type Ending = (&'static str, Option<&'static str>, Option<&'static str>);

/// Nothing went wrong.
pub(crate) const SUCCESS: Ending = ("success", None, None);

/// An ending with an error.
pub(crate) const fn error(
    reason: &'static str,
    error_type: &'static str,
    message: &'static str,
) -> Ending {
    (reason, Some(error_type), Some(message))
}

/// One run and what must be heard of it.
#[derive(Clone)]
pub(crate) struct Row {
    what: &'static str,
    plan: Value,
    steps: Vec<(&'static str, Ending)>,
    run: Ending,
    outputs: Vec<(&'static str, Value)>,
    lines: Vec<(&'static str, &'static str, &'static str)>,
    absent: Vec<&'static str>,
    starts: bool,
}

impl Row {
    /// A run of this plan, which succeeds without a step unless told otherwise.
    pub(crate) fn new(what: &'static str, plan: Value) -> Self {
        Self {
            what,
            plan,
            steps: Vec::new(),
            run: SUCCESS,
            outputs: Vec::new(),
            lines: Vec::new(),
            absent: Vec::new(),
            starts: true,
        }
    }

    /// The step of this job ends so.
    pub(crate) fn step(mut self, job: &'static str, ending: Ending) -> Self {
        self.steps.push((job, ending));
        self
    }

    /// The run ends so.
    pub(crate) fn run(mut self, ending: Ending) -> Self {
        self.run = ending;
        self
    }

    /// The step of this job and the run end the same way.
    pub(crate) fn both(self, job: &'static str, ending: Ending) -> Self {
        self.step(job, ending).run(ending)
    }

    /// The output of this job's step has these keys, among others; a null stands for none.
    pub(crate) fn output(mut self, job: &'static str, output: Value) -> Self {
        self.outputs.push((job, output));
        self
    }

    /// The output of this job's step has this at `errors.<job>`, further keys allowed.
    pub(crate) fn state_errors(self, job: &'static str, entry: &Value) -> Self {
        self.output(job, json!({"errors": {job: entry}}))
    }

    /// The run's log has this line, after those named before it: source, level, text (`*` stands for any text).
    pub(crate) fn line(
        mut self,
        source: &'static str,
        level: &'static str,
        text: &'static str,
    ) -> Self {
        self.lines.push((source, level, text));
        self
    }

    /// The run's log has no line with this text.
    pub(crate) fn no_line(mut self, text: &'static str) -> Self {
        self.absent.push(text);
        self
    }

    /// What to enqueue, where more than the row is looked at.
    pub(crate) fn into_plan(self) -> Value {
        self.plan
    }

    /// Lightning is not told that the run has started.
    pub(crate) fn unstarted(mut self) -> Self {
        self.starts = false;
        self
    }
}

/// Enqueues all rows at once and checks each when it has ended. Reports every difference, not only the first.
pub(crate) fn check(lightning: &MockServer, rows: Vec<Row>) {
    let rows: Vec<(String, Row)> = rows
        .into_iter()
        .map(|row| (enqueue(lightning, &row.plan), row))
        .collect();
    let runs: Vec<RunView> = rows.iter().map(|(id, _)| ended(lightning, id)).collect();
    let mut sent: HashMap<String, Vec<RecordedEvent>> = HashMap::new();
    for event in lightning.events() {
        if let Some(id) = event.topic.strip_prefix("run:") {
            sent.entry(id.to_owned()).or_default().push(event);
        }
    }
    let mut differences = Vec::new();
    for ((id, row), run) in rows.iter().zip(&runs) {
        let sent = sent.get(id).map(Vec::as_slice).unwrap_or_default();
        differences.extend(compare(row, run, sent));
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

fn compare(row: &Row, run: &RunView, sent: &[RecordedEvent]) -> Vec<String> {
    let mut differences = Vec::new();
    let mut differs = |what: String| differences.push(format!("{}: {what}", row.what));
    let of = |name: &str| -> Vec<&Value> {
        let sent = sent.iter().filter(|event| event.is_from(&run.id, name));
        sent.map(|event| &event.payload).collect()
    };
    let completed = of("step:complete");
    if completed.len() != row.steps.len() || of("step:start").len() != row.steps.len() {
        differs(format!(
            "{} steps, not {}",
            completed.len(),
            row.steps.len()
        ));
    }
    for (payload, (job, ending)) in completed.iter().zip(&row.steps) {
        if payload["job_id"] != *job || !ends(payload, ending) {
            differs(format!("a step of {job} ended {ending:?}, not {payload}"));
        }
    }
    match of("run:complete")[..] {
        [payload] if ends(payload, &row.run) => {}
        ref other => differs(format!("the run ended {:?}, not {other:?}", row.run)),
    }
    if of("run:start").len() != usize::from(row.starts) {
        differs(format!("{} run:start", of("run:start").len()));
    }
    for (job, wanted) in &row.outputs {
        let output = run
            .step_of(job)
            .and_then(|step| step.output_dataclip.as_ref());
        if !output.is_some_and(|output| has(output, wanted)) {
            differs(format!("the output of {job} is {output:?}, not {wanted}"));
        }
    }
    let mut log = run.logs.iter();
    for (source, level, text) in &row.lines {
        let found = log.any(|line| {
            line.source.as_deref() == Some(source) && line.level == *level && fits(&line.text, text)
        });
        if !found {
            differs(format!("no line {source} {level} {text:?} in its place"));
        }
    }
    for text in &row.absent {
        if run.logs.iter().any(|line| fits(&line.text, text)) {
            differs(format!("there is a line {text:?}"));
        }
    }
    if !differences.is_empty() {
        let line = |line: &lightning_mock::LogView| {
            format!("    {:?} {} {}", line.source, line.level, line.text)
        };
        differences.extend(run.logs.iter().map(line));
    }
    differences
}

/// Whether `found` has what `wanted` has; objects may have more.
fn has(found: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::Object(wanted) => wanted.iter().all(|(key, value)| has(&found[key], value)),
        wanted => found == wanted,
    }
}

fn ends(payload: &Value, (reason, error_type, message): &Ending) -> bool {
    payload["reason"] == *reason
        && is(&payload["error_type"], *error_type)
        && is(&payload["error_message"], *message)
}

fn is(found: &Value, wanted: Option<&str>) -> bool {
    match (found.as_str(), wanted) {
        (Some(found), Some(wanted)) => fits(found, wanted),
        (None, None) => true,
        _ => false,
    }
}

/// Whether `text` is `pattern`, where `*` stands for any text.
pub(crate) fn fits(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// A plan of one job `a`.
pub(crate) fn one(body: &str) -> Value {
    chain(&[("a", body)], &[])
}

/// A plan of these jobs; the trigger leads to the first, the edges are source, target and condition.
pub(crate) fn chain(jobs: &[(&str, &str)], edges: &[(&str, &str, &str)]) -> Value {
    let mut all = vec![json!({"source_trigger_id": "t", "target_job_id": jobs[0].0})];
    all.extend(edges.iter().map(|(from, to, condition)| {
        json!({"source_job_id": from, "target_job_id": to, "condition": condition})
    }));
    let jobs: Vec<Value> = jobs
        .iter()
        .map(|(id, body)| {
            json!({"id": id, "name": format!("Job {id}"), "body": body, "adaptor": "@openfn/language-test@local"})
        })
        .collect();
    json!({"triggers": [{"id": "t"}], "jobs": jobs, "edges": all})
}

/// The same plan with these options.
pub(crate) fn with_options(mut plan: Value, options: Value) -> Value {
    plan["options"] = options;
    plan
}

/// Stores a run of this plan.
pub(crate) fn enqueue(lightning: &MockServer, plan: &Value) -> String {
    lightning
        .enqueue(plan.clone())
        .expect("the mock takes the plan")
}

/// A run, once it has ended.
pub(crate) fn ended(lightning: &MockServer, id: &str) -> RunView {
    lightning
        .wait_for(id, DEADLINE)
        .unwrap_or_else(|error| panic!("{error}"))
}
