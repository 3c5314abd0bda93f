//! The same plan gives the same reports as the reference worker sent in a recorded run: same events, same order, same
//! fields. `tests/transcripts/README.md` says what a recording holds and how the two are made comparable.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use lightning_mock::{Direction, MockServer, RecordedEvent};
use pretty_assertions::assert_str_eq;
use regex_lite::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use support::{DEADLINE, Worker, lightning};

/// One recorded run, its reports already comparable.
#[derive(Debug, Deserialize)]
struct Recording {
    arguments: Vec<String>,
    plan: Value,
    dataclip: Value,
    credentials: Map<String, Value>,
    /// Event and payload.
    sent: Vec<(String, Value)>,
    differences: Vec<Difference>,
}

/// Where our worker sends something else on purpose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    /// The specification that asks for it.
    why: String,
    /// Matches a report of the recording (event, then what its payload holds).
    at: (String, Value),
    /// What is sent ahead of the report that matches.
    #[serde(default)]
    ahead: Vec<(String, Value)>,
    /// The fields that the payload of that report has besides.
    #[serde(default)]
    fields: Map<String, Value>,
}

#[test]
fn every_recorded_run_is_reported_as_the_reference_reported_it() {
    check(|arguments| arguments.is_empty());
}

#[test]
fn a_recorded_run_with_batched_logs_is_reported_as_the_reference_reported_it() {
    check(|arguments| !arguments.is_empty());
}

fn check(wanted: impl Fn(&[String]) -> bool) {
    let lightning = lightning();
    let recordings: Vec<_> = recordings()
        .into_iter()
        .filter(|(_, recording)| wanted(&recording.arguments))
        .collect();
    let arguments: Vec<&str> = recordings[0]
        .1
        .arguments
        .iter()
        .map(String::as_str)
        .collect();
    let _worker = Worker::with_engine(&lightning, &arguments);
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    for (file, recording) in &recordings {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        found.push(name.clone());
        found.extend(sent(&lightning, recording));
        expected.push(name);
        expected.extend(recording.expected());
    }
    assert_str_eq!(found.join("\n"), expected.join("\n"));
}

fn recordings() -> Vec<(PathBuf, Recording)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let text = std::fs::read_to_string(&file).unwrap();
            let recording = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            (file, recording)
        })
        .collect()
}

impl Recording {
    /// The recorded reports with the differences applied, as lines that a failed comparison shows well.
    fn expected(&self) -> Vec<String> {
        let mut reports = self.sent.clone();
        for difference in &self.differences {
            let mut used = false;
            reports = reports
                .into_iter()
                .flat_map(|report| {
                    if !difference.matches(&report) {
                        return vec![report];
                    }
                    used = true;
                    difference.applied(report)
                })
                .collect();
            assert!(used, "no recorded report differs so: {}", difference.why);
        }
        reports.iter().map(line).collect()
    }
}

impl Difference {
    fn matches(&self, (event, payload): &(String, Value)) -> bool {
        let Value::Object(wanted) = &self.at.1 else {
            panic!("`at` of a difference takes an object");
        };
        *event == self.at.0
            && wanted
                .iter()
                .all(|(key, value)| payload.get(key) == Some(value))
    }

    fn applied(&self, (event, mut payload): (String, Value)) -> Vec<(String, Value)> {
        let fields = payload.as_object_mut().expect("a payload is an object");
        fields.extend(self.fields.clone());
        let mut reports = self.ahead.clone();
        reports.push((event, payload));
        reports
    }
}

/// Everything that the worker sends on the run's channel for this plan.
fn sent(lightning: &MockServer, recording: &Recording) -> Vec<String> {
    let plan = &recording.plan;
    lightning.add_dataclip(
        plan["dataclip_id"].as_str().unwrap(),
        recording.dataclip.clone(),
    );
    for (id, body) in &recording.credentials {
        lightning.add_credential(id, body.clone());
    }
    let run = lightning.enqueue(plan.clone()).unwrap();
    lightning
        .wait_event(DEADLINE, |event| event.is_from(&run, "phx_leave"))
        .unwrap();
    let topic = format!("run:{run}");
    let mut comparable = Comparable::new(&run, plan);
    let reports: Vec<_> = lightning
        .events()
        .iter()
        .filter(|event| event.direction == Direction::FromWorker && event.topic == topic)
        .flat_map(log_lines)
        .collect();
    start_is_in_order_of_time(&reports);
    reports
        .into_iter()
        // A warning that the reference does not have; where it falls is a matter of time.
        .filter(|(_, payload)| !payload["message"].to_string().contains("% of its "))
        .map(|(event, payload)| line(&(event, comparable.value("", payload, false))))
        .collect()
}

/// Lightning shows log lines by their time: those from before the first step have to stay in the order they were sent in.
/// Not so the later ones, of which the worker dates the last back.
fn start_is_in_order_of_time(reports: &[(String, Value)]) {
    let start: Vec<_> = reports
        .iter()
        .filter(|(event, _)| !event.starts_with("phx_") && !event.starts_with("fetch:"))
        .take_while(|(event, _)| event != "step:start" && event != "run:complete")
        .filter(|(event, _)| event != "run:start")
        .map(|(_, line)| (line["timestamp"].as_str(), line["message"].to_string()))
        .take_while(|(_, message)| !message.contains("Run complete with status"))
        .collect();
    let sorted = start.windows(2).all(|pair| pair[0].0 <= pair[1].0);
    assert!(sorted, "{start:#?}");
}

/// A batch counts as its lines: where one batch ends and the next begins is a matter of time.
fn log_lines(event: &RecordedEvent) -> Vec<(String, Value)> {
    match event.payload.get("logs").and_then(Value::as_array) {
        Some(lines) if event.event == "run:batch_logs" => lines
            .iter()
            .map(|line| ("run:batch_logs line".to_owned(), line.clone()))
            .collect(),
        _ => vec![(event.event.clone(), event.payload.clone())],
    }
}

/// One report as a line; the order of the fields does not matter.
fn line((event, payload): &(String, Value)) -> String {
    let mut payload = payload.clone();
    payload.sort_all_objects();
    format!("{event} {payload}")
}

/// Takes away what differs from run to run: ids, times, sizes, versions.
struct Comparable {
    run: String,
    names: HashMap<(&'static str, String), String>,
    time: Regex,
    size: Regex,
    folder: Regex,
    version: Regex,
}

impl Comparable {
    fn new(run: &str, plan: &Value) -> Self {
        let mut comparable = Self {
            run: run.to_owned(),
            names: HashMap::new(),
            time: Regex::new(r"\b\d+(\.\d+)?(ms|s)\b").unwrap(),
            size: Regex::new(r"\b\d+mb\b").unwrap(),
            folder: Regex::new(r"from \S+/node_modules/").unwrap(),
            version: Regex::new(r"▸ (node\.js|worker)\s+\S+").unwrap(),
        };
        comparable.name("dataclip", plan["dataclip_id"].as_str().unwrap());
        comparable
    }

    /// `key` is the field that holds the value; `runtime` says that a line of the runtime's log holds it.
    fn value(&mut self, key: &str, value: Value, runtime: bool) -> Value {
        match value {
            Value::Object(fields) => {
                let runtime = runtime || fields.get("source") == Some(&json!("R/T"));
                fields
                    .into_iter()
                    .map(|(key, value)| {
                        let value = self.value(&key, value, runtime);
                        (key, value)
                    })
                    .collect()
            }
            Value::Array(items) => items
                .into_iter()
                .map(|item| self.value(key, item, runtime))
                .collect(),
            Value::String(text) => Value::String(self.text(key, &text, runtime)),
            Value::Number(_) if matches!(key, "job" | "system") => json!("<bytes>"),
            Value::Number(_) if key == "duration" => json!("<duration>"),
            Value::Number(_) if key == "thread_id" => json!("<thread>"),
            other => other,
        }
    }

    fn text(&mut self, key: &str, text: &str, runtime: bool) -> String {
        match key {
            "timestamp" | "token" => format!("<{key}>"),
            "run_id" => "<run>".to_owned(),
            "dataclip_size_mb" => "<size>".to_owned(),
            "worker" | "node" | "engine" | "compiler" | "runtime" => "<version>".to_owned(),
            "step_id" => self.name("step", text),
            _ if key.ends_with("dataclip_id") => self.name("dataclip", text),
            _ => self.message(text, runtime),
        }
    }

    fn message(&self, text: &str, runtime: bool) -> String {
        let mut text = text.replace(&self.run, "<run>");
        // The time in a timeout's message is its limit and must agree.
        if runtime && !text.contains("TimeoutError") {
            text = self.time.replace_all(&text, "<time>").into_owned();
            text = self.size.replace_all(&text, "<size>").into_owned();
        }
        if text.starts_with("Versions:") {
            text = self
                .version
                .replace_all(&text, "▸ $1 <version>")
                .into_owned();
        }
        self.folder
            .replace_all(&text, "from <repo>/node_modules/")
            .into_owned()
    }

    /// The same name for the same id, counted up in the order of first appearance.
    fn name(&mut self, kind: &'static str, id: &str) -> String {
        let next = self.names.keys().filter(|(of, _)| *of == kind).count() + 1;
        self.names
            .entry((kind, id.to_owned()))
            .or_insert_with(|| format!("<{kind} {next}>"))
            .clone()
    }
}
