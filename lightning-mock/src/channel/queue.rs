//! `worker:queue`: the claim's payload (protocol spec, section 3.2).

use serde_json::{Map, Value};

/// A claim that the server understands.
#[derive(Debug, PartialEq)]
pub(crate) struct ClaimRequest {
    pub(crate) demand: usize,
    pub(crate) worker_name: Option<String>,
    pub(crate) queues: Vec<String>,
}

/// Reads a claim; `None` for one that crashes the channel, because no clause of the server's handler matches it.
pub(crate) fn claim_request(payload: &Map<String, Value>) -> Option<ClaimRequest> {
    let demand = usize::try_from(payload.get("demand")?.as_u64()?).ok()?;
    let worker_name = match payload.get("worker_name")? {
        Value::Null => None,
        Value::String(name) => Some(name.clone()),
        _ => return None,
    };
    Some(ClaimRequest {
        demand,
        worker_name,
        queues: queues(payload.get("queues")),
    })
}

/// Anything but a list of strings counts as "manual first, then any".
fn queues(value: Option<&Value>) -> Vec<String> {
    let names: Option<Vec<String>> = value
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty())
        .and_then(|list| {
            list.iter()
                .map(|name| name.as_str().map(str::to_owned))
                .collect()
        });
    names.unwrap_or_else(|| vec!["manual".to_owned(), "*".to_owned()])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(payload: Value) -> Option<ClaimRequest> {
        let Value::Object(payload) = payload else {
            panic!("an object was written")
        };
        claim_request(&payload)
    }

    #[test]
    fn demand_and_worker_name_must_be_there_even_when_null() {
        assert!(read(json!({ "demand": 1, "worker_name": null })).is_some());
        assert!(read(json!({ "demand": 1 })).is_none());
        assert!(read(json!({ "worker_name": "w" })).is_none());
    }

    #[test]
    fn queues_that_are_no_list_of_names_mean_manual_then_any() {
        let queues = |queues: Value| {
            read(json!({ "demand": 1, "worker_name": null, "queues": queues }))
                .unwrap()
                .queues
        };
        for wrong in [
            json!(null),
            json!([]),
            json!("manual"),
            json!(["manual", 1]),
        ] {
            assert_eq!(queues(wrong), ["manual", "*"]);
        }
        assert_eq!(queues(json!(["fast_lane"])), ["fast_lane"]);
    }
}
