//! The status page, and the stream of events that keeps it fresh.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, ContentType};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use actors::supervisor::WorkerStatus;
use futures_util::stream;
use serde::Serialize;

use super::Controls;
use super::history::{History, Sample};
use super::peers::{Asking, Peer, Peers};
use crate::logging::{Log, Problem};

const PAGE: &str = include_str!("page.html");

/// All that the page needs is in it, and whatever it is made to show cannot load anything.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      img-src data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// How often an open page hears of the worker.
const EVERY: Duration = Duration::from_millis(500);

/// Pages that may be open at a time: each costs a look at every run in hand twice a second.
const MOST_LISTENERS: usize = 16;

/// What the page shows besides the status.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// The last warnings and errors, and what is logged.
    pub(crate) log: Log,
    /// The last fifteen minutes.
    pub(crate) history: History,
    peers: Peers,
    listeners: Arc<AtomicUsize>,
}

impl Sources {
    /// Sources with this log and no history yet.
    pub(crate) fn new(log: Log) -> Self {
        Self {
            log,
            ..Self::default()
        }
    }

    /// Asks other workers while a page is open.
    pub(super) fn ask(&self, asking: Asking) {
        self.peers.follow(asking, Arc::clone(&self.listeners));
    }
}

/// `GET /status`.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    #[serde(flatten)]
    worker: WorkerStatus,
    /// The last warnings and errors, newest first.
    problems: Vec<Problem>,
}

impl Status {
    pub(super) fn new(worker: WorkerStatus, sources: &Sources) -> Self {
        Self {
            worker,
            problems: sources.log.problems.last(),
        }
    }
}

/// One event of the stream.
#[derive(Debug, Serialize)]
struct Moment {
    #[serde(flatten)]
    status: Status,
    /// The last fifteen minutes, oldest first.
    history: Vec<Sample>,
    /// The other workers that this one was told of.
    peers: Vec<Peer>,
}

/// Whether the page is asked for, and not the reference's health check.
pub(super) fn is_wanted(request: &HttpRequest) -> bool {
    let accept = request.headers().get(ACCEPT);
    accept
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

/// The page. It holds nothing of the worker, so no token guards it.
pub(super) fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(PAGE)
}

/// One of the pages that listen; counted until it is dropped.
struct Listener(Arc<AtomicUsize>);

impl Listener {
    fn new(listeners: &Arc<AtomicUsize>) -> Option<Self> {
        listeners
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < MOST_LISTENERS).then_some(count + 1)
            })
            .ok()?;
        Some(Self(Arc::clone(listeners)))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Server-sent events with the state of the worker, until the worker ends or nobody listens.
pub(super) fn events<C: Controls>(controls: C, sources: Sources) -> HttpResponse {
    let Some(listener) = Listener::new(&sources.listeners) else {
        return HttpResponse::ServiceUnavailable().body("too many status pages are open");
    };
    let mut ticks = actix_rt::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let state = (controls, sources, ticks, listener);
    let moments = stream::unfold(
        state,
        |(controls, sources, mut ticks, listener)| async move {
            ticks.tick().await;
            let moment = Moment {
                status: Status::new(controls.status().await?, &sources),
                history: sources.history.samples(),
                peers: sources.peers.all(),
            };
            let event = serde_json::to_string(&moment)
                .map(|json| Bytes::from(format!("data: {json}\n\n")))
                .map_err(actix_web::Error::from);
            Some((event, (controls, sources, ticks, listener)))
        },
    );
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(Box::pin(moments))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use actors::supervisor::WorkerState;

    use super::*;
    use crate::http::testing::status;

    #[test]
    fn only_a_browser_gets_the_page() {
        let asks = |accept: Option<&str>| {
            let request = TestRequest::default();
            let request = match accept {
                Some(accept) => request.insert_header((ACCEPT, accept)),
                None => request,
            };
            is_wanted(&request.to_http_request())
        };
        assert!(asks(Some(
            "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"
        )));
        assert!(!asks(Some("*/*")));
        assert!(!asks(None));
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        for outside in ["http://", "https://", "url(", "@import", "src="] {
            assert!(!PAGE.contains(outside), "{outside}");
        }
    }

    /// All names of fields in a value.
    fn keys(value: &serde_json::Value) -> Vec<&str> {
        match value {
            serde_json::Value::Object(fields) => {
                let own = fields.keys().map(String::as_str);
                own.chain(fields.values().flat_map(keys)).collect()
            }
            serde_json::Value::Array(values) => values.iter().flat_map(keys).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn the_types_of_the_npm_package_have_all_that_an_event_tells() {
        let types = concat!(env!("CARGO_MANIFEST_DIR"), "/npm/index.d.ts");
        let types = std::fs::read_to_string(types).unwrap();
        let sources = Sources::default();
        let moment = Moment {
            status: Status::new(status(WorkerState::Running), &sources),
            history: sources.history.samples(),
            peers: sources.peers.all(),
        };
        let moment = serde_json::to_value(moment).unwrap();
        assert!(keys(&moment).len() > 40, "{moment}");
        for key in keys(&moment) {
            let line = format!("\n  {key}: ");
            assert!(types.contains(&line), "npm/index.d.ts does not have {key}");
        }
    }

    #[test]
    fn listeners_are_limited_and_counted_until_they_leave() {
        let count = Arc::new(AtomicUsize::new(0));
        let mut open: Vec<_> = (0..MOST_LISTENERS)
            .map(|_| Listener::new(&count).expect("there is room"))
            .collect();
        assert!(Listener::new(&count).is_none());
        open.pop();
        assert!(Listener::new(&count).is_some());
    }
}
