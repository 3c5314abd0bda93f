//! No secret of a run or of the worker leaves it: not in a log, a metric, a page or a report.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use lightning_mock::{MockLightning, MockServer};
use serde_json::json;

use crate::support::http::{ask, get, send};
use crate::support::{DEADLINE, SECRET, Worker, command, until};

const HTTP_TOKEN: &str = "bearer-of-the-operator";
const DSN_KEY: &str = "0123456789abcdef0123456789abcdef";
const PASSWORD: &str = "correct horse battery staple";
const DATACLIP: &str = "a patient's name";

/// Takes the place of Sentry: whole requests as they come, head and body.
fn sentry() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("a bound port").port();
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request).unwrap_or(0) > 0
            {
            }
            let length = request
                .to_ascii_lowercase()
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a whole body");
            request.push_str(&String::from_utf8_lossy(&body));
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .ok();
            sender.send(request).ok();
        }
    });
    (port, requests)
}

/// A run with a credential and an input, whose log is refused by Lightning: something to report.
fn enqueue(lightning: &MockServer) -> String {
    lightning
        .enqueue(json!({
            "queue": "manual",
            "dataclip_id": "d-1",
            "triggers": [{"id": "t"}],
            "jobs": [{"id": "j", "name": "Job", "credential_id": "c-1", "body": "fn(s => s)"}],
            "edges": [{"source_trigger_id": "t", "target_job_id": "j"}],
        }))
        .expect("the plan is one")
}

#[test]
fn no_secret_is_in_a_trace_level_log_a_metric_a_page_or_a_report() {
    let lightning = MockLightning::builder()
        .secret(Some(SECRET))
        .credential("c-1", json!({"user": "me", "password": PASSWORD}))
        .dataclip("d-1", json!({"name": DATACLIP}))
        .spawn_thread()
        .expect("the mock starts on a free port");
    let (port, reports) = sentry();
    let worker = Worker::start(
        command(&lightning)
            .args(["--mock", "--log", "trace", "--log-format", "json"])
            .env_clear()
            .env("WORKER_HTTP_TOKEN", HTTP_TOKEN)
            .env(
                "WORKER_SENTRY_DSN",
                format!("http://{DSN_KEY}@127.0.0.1:{port}/1"),
            ),
    );
    let id = enqueue(&lightning);
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    // Refused from now on: the worker says so as an error, which is reported.
    lightning.refuse_connections(std::time::Duration::from_secs(2));
    lightning.disconnect_all();
    let bearer = format!("Authorization: Bearer {HTTP_TOKEN}");
    let mut seen = Vec::new();
    loop {
        let report = reports
            .recv_timeout(DEADLINE)
            .expect("an error is reported");
        let body = report.split_once("\r\n\r\n").expect("a head and a body").1;
        seen.push(("report", body.to_owned()));
        if body.contains("not connected to Lightning") {
            assert!(body.contains("breadcrumbs"), "{body}");
            break;
        }
    }
    for path in ["/status", "/metrics"] {
        seen.push((path, ask(worker.url(), "GET", path, &[&bearer]).body));
    }
    let page = ask(worker.url(), "GET", "/", &["Accept: text/html"]).body;
    seen.push(("/", page));
    let mut events = BufReader::new(send(worker.url(), "GET", "/events", &[&bearer])).lines();
    let event = until("an event comes", || {
        events
            .next()?
            .ok()
            .filter(|line| line.starts_with("data: "))
    });
    seen.push(("/events", event));
    seen.push(("/readyz", get(worker.url(), "/readyz").body));
    let mut log = worker.first_lines().join("\n");
    log.push_str(&worker.log().join("\n"));
    assert!(log.contains("\"severity_text\":\"TRACE\""));
    seen.push(("log", log));

    let token = lightning.run_token(&id).expect("the run had a token");
    let signature = token.rsplit('.').next().unwrap();
    for (place, text) in &seen {
        for secret in [SECRET, HTTP_TOKEN, DSN_KEY, PASSWORD, DATACLIP, signature] {
            assert!(!text.contains(secret), "{secret} is in {place}:\n{text}");
        }
    }
    assert!(
        run.final_state
            .is_some_and(|state| state["name"] == DATACLIP)
    );
}

#[test]
fn every_line_of_a_run_names_it() {
    let lightning = crate::support::lightning();
    let worker = Worker::with_mock_engine(&lightning, &["--log", "trace", "--log-format", "json"]);
    let id = lightning
        .enqueue(crate::support::plan("fn(s => s)", "manual"))
        .unwrap();
    lightning.wait_for(&id, DEADLINE).unwrap();
    let mut lines = Vec::new();
    until("the run has ended", || {
        lines.extend(worker.log());
        lines
            .iter()
            .any(|line| line.contains("ended: success"))
            .then_some(())
    });
    let mut of_run = 0;
    for line in &lines {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        for field in ["timestamp", "severity_text", "scope", "body"] {
            assert!(line[field].is_string(), "{line}");
        }
        if line["scope"].as_str().unwrap().starts_with("actors::run") {
            assert_eq!(line["run_id"], id.as_str(), "{line}");
            of_run += 1;
        }
    }
    assert!(of_run > 3, "{lines:?}");
}
