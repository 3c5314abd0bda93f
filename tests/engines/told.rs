//! What Lightning was told of a run, without what differs from run to run: ids, times, sizes of memory.

use std::collections::HashMap;

use lightning_mock::{LogView, MockServer, RunView};
use serde_json::{Value, json};

/// The worker's own line before a completion without its dataclip.
const TOO_LARGE: &str = "Dataclip exceeds payload limit";
/// The worker's own lines before the end of a run.
const STATUS: &str = "Run complete with status";

/// The run as one value.
pub(crate) fn story(lightning: &MockServer, run: &RunView) -> Value {
    let sent: Vec<_> = lightning
        .events()
        .into_iter()
        .filter(|event| event.topic.strip_prefix("run:") == Some(&run.id))
        .collect();
    let of = |name: &str| -> Vec<&Value> {
        let sent = sent.iter().filter(|event| event.is_from(&run.id, name));
        sent.map(|event| &event.payload).collect()
    };
    let jobs: HashMap<&str, &str> = run
        .steps
        .iter()
        .map(|(id, step)| (id.as_str(), step.job_id.as_str()))
        .collect();
    let mut clips: HashMap<&str, String> = HashMap::new();
    if let Some(id) = run.plan["dataclip_id"].as_str() {
        clips.insert(id, "the input".to_owned());
    }
    for step in run.steps.values() {
        if let Some(id) = &step.output_dataclip_id {
            clips.insert(id, format!("the output of {}", step.job_id));
        }
    }
    let clip = |id: &Value| {
        id.as_str().map(|id| {
            clips
                .get(id)
                .cloned()
                .unwrap_or_else(|| "unknown".to_owned())
        })
    };
    let starts: Vec<Value> = of("step:start")
        .into_iter()
        .map(|start| json!({"job": start["job_id"], "input": clip(&start["input_dataclip_id"])}))
        .collect();
    let steps: Vec<Value> = of("step:complete")
        .into_iter()
        .map(|step| {
            json!({
                "job": step["job_id"],
                "reason": step["reason"],
                "error_type": step["error_type"],
                "error_message": step["error_message"],
                "output": step["output_dataclip"].as_str().map(parsed).map(without_positions),
                "output_is_named": step["output_dataclip_id"].is_string(),
                "output_error": step["output_dataclip_error"],
                "webhook_response": step["webhook_response"],
                "size": if has_errors(step) { Value::Null } else { step["dataclip_size_mb"].clone() },
                "mem": step["mem"].is_object(),
            })
        })
        .collect();
    let ends: Vec<Value> = of("run:complete")
        .into_iter()
        .map(|end| {
            json!({
                "reason": end["reason"],
                "error_type": end["error_type"],
                "error_message": end["error_message"],
                "final_state": end.get("final_state").map(|state| json!([without_positions(state.clone())])),
                "final_dataclip": clip(&end["final_dataclip_id"]),
                "timestamp": end["timestamp"].is_string(),
            })
        })
        .collect();
    json!({
        "started": of("run:start").len(),
        "starts": starts,
        "steps": steps,
        "end": ends,
        "lines": lines(run, &jobs),
        "refused": sent.iter().filter(|event| event.is_refusal()).map(|event| &event.payload).collect::<Vec<_>>(),
    })
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).expect("a dataclip is JSON")
}

fn has_errors(step: &Value) -> bool {
    let output = step["output_dataclip"].as_str();
    output.is_some_and(|json| json.contains("\"errors\":"))
}

/// The real engine knows where in the source an error arose, and so its entry in the state is larger.
fn without_positions(mut state: Value) -> Value {
    match &mut state {
        Value::Object(keys) => {
            if keys.get("source").is_some_and(|source| source == "runtime") {
                keys.shift_remove("pos");
                keys.shift_remove("step");
            }
            for value in keys.values_mut() {
                *value = without_positions(value.take());
            }
        }
        Value::Array(items) => {
            for value in items {
                *value = without_positions(value.take());
            }
        }
        _ => {}
    }
    state
}

/// The lines of the job, of the worker and of the engine. The real engine's alone are those of the runtime (`R/T`), of adaptors
/// and edges (`ADA`), the list of versions, and the warnings before a limit: the mock engine watches no processes.
fn lines(run: &RunView, jobs: &HashMap<&str, &str>) -> Vec<Value> {
    let mut status = false;
    let mut kept = Vec::new();
    for line in &run.logs {
        let is_told = match line.source.as_deref() {
            Some("R/T") => {
                status |= line.text.starts_with(STATUS);
                status || line.text.starts_with(TOO_LARGE)
            }
            Some("VER" | "ADA") => false,
            Some("RTE") => line.level != "warn",
            _ => true,
        };
        if is_told {
            kept.push(told(line, jobs));
        }
    }
    kept
}

fn told(line: &LogView, jobs: &HashMap<&str, &str>) -> Value {
    let step = line.step_id.as_deref().and_then(|id| jobs.get(id));
    json!({"source": line.source, "level": line.level, "message": line.message, "job": step})
}
