//! Another worker, asked over its HTTP server: where it is, and what it tells of itself.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use actors::config::Secret;
use awc::http::header::AUTHORIZATION;
use awc::{Client, ClientRequest};
use serde::Deserialize;
use url::Url;

/// The address of a worker's HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerUrl(Url);

/// A text that is no address of a worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no address of a worker; give one such as http://worker-1:2222")]
pub struct BadWorkerUrl;

impl FromStr for WorkerUrl {
    type Err = BadWorkerUrl;

    /// `http://` may be left out. A path is kept: the worker may be behind a proxy.
    fn from_str(text: &str) -> Result<Self, BadWorkerUrl> {
        let text = text.trim();
        let full = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let mut url = Url::parse(&full).map_err(|_| BadWorkerUrl)?;
        if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
            return Err(BadWorkerUrl);
        }
        // What is not part of an address: a password would be shown with it.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadWorkerUrl);
        }
        url.set_query(None);
        url.set_fragment(None);
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for WorkerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl WorkerUrl {
    /// A request for `path`, which begins without a slash, with the worker's bearer token.
    pub(crate) fn get(&self, client: &Client, path: &str, token: Option<&Secret>) -> ClientRequest {
        let request = client.get(format!("{}{path}", self.0));
        match token {
            Some(token) => {
                request.insert_header((AUTHORIZATION, format!("Bearer {}", token.expose())))
            }
            None => request,
        }
    }
}

/// What a worker tells of itself, as far as others show it. A worker of another version may leave things out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Moment {
    pub(crate) state: String,
    pub(crate) worker_id: String,
    pub(crate) worker_name: Option<String>,
    pub(crate) version: String,
    pub(crate) uptime_seconds: u64,
    pub(crate) connection: Connection,
    pub(crate) workloops: Vec<Workloop>,
    pub(crate) runs: Vec<Run>,
    pub(crate) engine: Option<Engine>,
    pub(crate) ended: BTreeMap<String, u64>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) history: Vec<Sample>,
}

/// Its connection to Lightning.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Connection {
    pub(crate) state: String,
    pub(crate) queue_joined: bool,
    pub(crate) seconds: u64,
    pub(crate) last_error: Option<String>,
}

/// A group of queues and its slots.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Workloop {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) slots: usize,
    pub(crate) active: usize,
    pub(crate) pending: usize,
    pub(crate) held_by: Vec<String>,
}

/// A run in hand.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) workloop: String,
    pub(crate) phase: String,
    pub(crate) phase_seconds: u64,
    pub(crate) age_seconds: u64,
    pub(crate) job: Option<String>,
}

/// Its engine.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Engine {
    pub(crate) state: String,
    pub(crate) node: Option<String>,
    pub(crate) runtime: Option<String>,
    pub(crate) children: Vec<EngineChild>,
}

/// A process that executes runs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EngineChild {
    pub(crate) state: String,
}

/// A warning or an error of its log.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// Milliseconds since the epoch.
    pub(crate) at_ms: u64,
    pub(crate) level: String,
    pub(crate) message: String,
}

/// Five seconds of its history.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Sample {
    /// Milliseconds since the epoch.
    pub(crate) at_ms: u64,
    /// Runs that ended.
    pub(crate) runs: u64,
    pub(crate) start_ms: Option<f64>,
    pub(crate) round_trip_ms: Option<f64>,
}

impl Moment {
    /// What the worker is called: its name, else its id.
    pub(crate) fn name(&self) -> &str {
        self.worker_name.as_deref().unwrap_or(&self.worker_id)
    }

    /// Slots in use, and all of them.
    pub(crate) fn slots(&self) -> (usize, usize) {
        let active = self.workloops.iter().map(|workloop| workloop.active);
        let slots = self.workloops.iter().map(|workloop| workloop.slots);
        (active.sum(), slots.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_the_scheme_and_have_a_path() {
        for (given, shown, asked) in [
            (
                "worker-1:2222",
                "http://worker-1:2222",
                "http://worker-1:2222/events",
            ),
            (
                "localhost:2222",
                "http://localhost:2222",
                "http://localhost:2222/events",
            ),
            (
                "https://ops.example.org/first",
                "https://ops.example.org/first",
                "https://ops.example.org/first/events",
            ),
            (
                "http://[::1]:2222/?x#y",
                "http://[::1]:2222",
                "http://[::1]:2222/events",
            ),
        ] {
            let url: WorkerUrl = given.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            let request = url.get(&Client::default(), "events", None);
            assert_eq!(request.get_uri().to_string(), asked);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "ws://worker:2222",
            "http://",
            "a b",
            "http://user:secret@worker:2222",
        ] {
            assert!(bad.parse::<WorkerUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_worker_of_another_version_is_understood() {
        let moment: Moment = serde_json::from_str(
            r#"{"worker_id":"a-b-c","state":"running","new":1,"workloops":[{"id":"*","slots":3,"active":1}]}"#,
        )
        .unwrap();
        assert_eq!((moment.name(), moment.slots()), ("a-b-c", (1, 3)));
    }
}
