//! A collector: takes what an exporter sends, and decodes it.

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use prost::Message as _;

use crate::support::DEADLINE;

/// Nobody panics while holding what has come.
const UNHURT: &str = "the collector lives";

/// The head and the body of a request.
type Request = (String, Vec<u8>);

/// See the module's documentation.
pub(super) struct Collector {
    port: u16,
    got: Arc<(Mutex<Vec<Request>>, Condvar)>,
}

impl Collector {
    /// Listens on a free port.
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let got = Arc::<(Mutex<Vec<Request>>, Condvar)>::default();
        let shared = Arc::clone(&got);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
                let Some(request) = read(&mut reader) else {
                    continue;
                };
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    .ok();
                shared.0.lock().expect(UNHURT).push(request);
                shared.1.notify_all();
            }
        });
        Self { port, got }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Requests that have come so far.
    pub(super) fn requests(&self) -> usize {
        self.got.0.lock().expect(UNHURT).len()
    }

    pub(super) fn first_request(&self) -> Request {
        self.until(|requests| requests.first().cloned())
    }

    /// The trace that has the run's id, when its root has come, which is the last.
    pub(super) fn trace_of(&self, run: &str) -> Tree {
        let trace = run.replace('-', "");
        self.until(|requests| {
            let spans: Vec<Seen> = spans(requests)
                .filter(|span| hex(&span.trace_id) == trace)
                .map(Seen)
                .collect();
            let whole = spans.iter().any(|span| span.0.parent_span_id.is_empty());
            whole.then(|| Tree::of(spans))
        })
    }

    /// An attribute of the first resource.
    pub(super) fn resource(&self, key: &str) -> String {
        self.until(|requests| {
            let first = exports(requests).next()?;
            let resource = first.resource_spans.first()?.resource.clone()?;
            text(&resource.attributes, key)
        })
    }

    /// Fails when one of these texts is in anything that was sent.
    pub(super) fn holds_none_of(&self, texts: &[&str]) {
        for (_, body) in self.got.0.lock().expect(UNHURT).iter() {
            let body = String::from_utf8_lossy(body);
            for text in texts {
                assert!(!body.contains(text), "{text} was sent");
            }
        }
    }

    fn until<T>(&self, look: impl Fn(&[Request]) -> Option<T>) -> T {
        let requests = self.got.0.lock().expect(UNHURT);
        let (requests, waited) = self
            .got
            .1
            .wait_timeout_while(requests, DEADLINE, |requests| look(requests).is_none())
            .expect(UNHURT);
        assert!(
            !waited.timed_out(),
            "it does not come; there are {} requests",
            requests.len()
        );
        look(&requests).expect("it was there just now")
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_ascii_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn exports(requests: &[Request]) -> impl Iterator<Item = ExportTraceServiceRequest> {
    requests.iter().map(|(_, body)| {
        ExportTraceServiceRequest::decode(&body[..]).expect("a request is one of OTLP")
    })
}

fn spans(requests: &[Request]) -> impl Iterator<Item = Span> {
    exports(requests)
        .flat_map(|export| export.resource_spans)
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.clone()?.value? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// A span that has come.
#[derive(Debug)]
pub(super) struct Seen(Span);

impl Seen {
    pub(super) fn id(&self) -> String {
        hex(&self.0.span_id)
    }

    pub(super) fn text(&self, key: &str) -> String {
        text(&self.0.attributes, key).unwrap_or_else(|| panic!("no {key}: {self:?}"))
    }

    pub(super) fn number(&self, key: &str) -> i64 {
        let found = self.0.attributes.iter().find(|it| it.key == key);
        match found.and_then(|it| it.value.clone()?.value) {
            Some(any_value::Value::IntValue(number)) => number,
            other => panic!("{key} is {other:?}"),
        }
    }

    /// When it began and ended, ns since the epoch.
    pub(super) fn time(&self) -> (u64, u64) {
        (self.0.start_time_unix_nano, self.0.end_time_unix_nano)
    }

    /// What its status says, where it is one of failure.
    pub(super) fn failure(&self) -> Option<String> {
        let status = self.0.status.clone()?;
        (status.code() == StatusCode::Error).then_some(status.message)
    }
}

/// The spans of a trace, in the order in which they began.
pub(super) struct Tree(Vec<Seen>);

impl Tree {
    fn of(mut spans: Vec<Seen>) -> Self {
        // Requests that are made together begin at the same time.
        spans.sort_by_key(|span| (span.time().0, span.0.name.clone()));
        Self(spans)
    }

    pub(super) fn spans(&self) -> impl Iterator<Item = &Seen> {
        self.0.iter()
    }

    /// All spans of this name.
    pub(super) fn all(&self, name: &str) -> Vec<&Seen> {
        self.spans().filter(|span| span.0.name == name).collect()
    }

    /// The only span of this name.
    pub(super) fn the(&self, name: &str) -> &Seen {
        match self.all(name)[..] {
            [only] => only,
            ref found => panic!(
                "{} spans are called {name}: {:#?}",
                found.len(),
                self.shape()
            ),
        }
    }

    /// A line a span: its name, behind two spaces for each span that it is within.
    pub(super) fn shape(&self) -> Vec<String> {
        let mut lines = Vec::new();
        self.add(&[], 0, &mut lines);
        lines
    }

    fn add(&self, parent: &[u8], depth: usize, lines: &mut Vec<String>) {
        for span in self.spans().filter(|span| span.0.parent_span_id == parent) {
            lines.push(format!("{}{}", "  ".repeat(depth), span.0.name));
            self.add(&span.0.span_id, depth + 1, lines);
        }
    }
}
