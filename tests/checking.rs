//! `ws-worker check --connect`: each layer between the worker and Lightning, as it fails and as it works.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;

use lightning_mock::{Direction, Fault, MockServer};
use serde_json::json;

use support::registry::Registry;
use support::tls::TlsProxy;
use support::{SECRET, Worker, lightning, plan};

/// What a check says, and its exit code.
struct Check {
    text: String,
    code: Option<i32>,
}

impl Check {
    fn of(endpoint: &str, secret: &str) -> Self {
        Self::by(check(endpoint, secret).arg("--mock"))
    }

    fn by(command: &mut Command) -> Self {
        // It has a limit for each of its steps.
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains(SECRET), "{text}");
        Self {
            text,
            code: output.status.code(),
        }
    }

    /// Lines of a layer.
    fn lines(&self, layer: &str) -> Vec<&str> {
        let is_about = |line: &&str| line[line.len().min(4)..].trim_start().starts_with(layer);
        let is_finding = |line: &&str| line.starts_with(['✔', '⚠', '✘', '–']);
        let lines = self.text.lines();
        lines.filter(is_finding).filter(is_about).collect()
    }

    /// Asserts that this layer's line says this, and that those after it were not tried.
    fn ends_at(&self, code: i32, layer: &str, words: &[&str]) {
        const WAY: [&str; 5] = ["dns", "tcp", "tls", "socket", "queue"];
        let lines = self.lines(layer).join("\n");
        assert_eq!(self.code, Some(code), "{}", self.text);
        assert!(lines.starts_with('✘'), "{}", self.text);
        for word in words {
            assert!(lines.contains(word), "{word:?} is not in\n{}", self.text);
        }
        let later = WAY.iter().skip_while(|other| **other != layer).skip(1);
        for later in later {
            assert!(self.lines(later)[0].contains("not tried"), "{}", self.text);
        }
    }
}

fn check(endpoint: &str, secret: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ws-worker"));
    command
        .args(["check", "--connect", "--port", "0", "--host", "127.0.0.1"])
        .args(["--lightning", endpoint])
        .env("WORKER_SECRET", secret);
    command
}

/// A server that answers every request with this head, and closes.
fn answering(head: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // The first connection asks nothing: it only sees whether there is anyone.
            if stream.read(&mut [0; 4096]).unwrap_or(0) > 0 {
                stream.write_all(head.as_bytes()).ok();
            }
        }
    });
    format!("ws://127.0.0.1:{port}/worker")
}

fn said_to(lightning: &MockServer) -> Vec<(String, String)> {
    let events = lightning.events().into_iter();
    let ours = events.filter(|event| event.direction == Direction::FromWorker);
    ours.map(|event| (event.topic, event.event)).collect()
}

#[test]
fn the_queue_is_joined_without_slots_and_left_and_nothing_is_claimed() {
    let lightning = lightning();
    let waiting = lightning.enqueue(plan("fn(s => s)", "manual")).unwrap();
    let check = Check::of(&lightning.ws_url(), SECRET);
    assert_eq!(check.code, Some(0), "{}", check.text);
    for layer in ["dns", "tcp", "tls", "socket", "clock", "queue"] {
        assert!(check.lines(layer)[0].starts_with('✔'), "{}", check.text);
    }
    let queue = "worker:queue".to_owned();
    let expected = ["phx_join", "phx_leave"].map(|event| (queue.clone(), event.to_owned()));
    assert_eq!(said_to(&lightning), expected);
    let events = lightning.events();
    let join = events
        .iter()
        .find(|event| event.event == "phx_join")
        .unwrap();
    assert_eq!(
        join.payload,
        json!({"capacity": 0, "queues": {"manual>*": 0}})
    );
    let run = lightning.run(&waiting).unwrap();
    assert_eq!(run.state, lightning_mock::RunState::Available);
}

#[test]
fn a_wrong_secret_is_13_and_is_not_shown() {
    let lightning = lightning();
    let check = Check::of(&lightning.ws_url(), "another-secret");
    check.ends_at(13, "socket", &["WORKER_SECRET"]);
    assert!(!check.text.contains("another-secret"), "{}", check.text);
    assert_eq!(said_to(&lightning), []);
}

#[test]
fn something_else_behind_the_url_is_13_and_its_clock_is_looked_at_all_the_same() {
    let endpoint = answering(
        "HTTP/1.1 404 Not Found\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    let check = Check::of(&endpoint, SECRET);
    check.ends_at(13, "socket", &["404", "WORKER_LIGHTNING_SERVICE_URL"]);
    let clock = check.lines("clock")[0];
    assert!(
        clock.starts_with('⚠') && clock.contains("ahead of"),
        "{}",
        check.text
    );
}

#[test]
fn a_port_where_nobody_listens_is_11() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let endpoint = format!("ws://127.0.0.1:{port}/worker");
    Check::of(&endpoint, SECRET).ends_at(11, "tcp", &["refused", "firewalls"]);
}

#[test]
fn a_name_that_does_not_resolve_is_10() {
    let check = Check::of("wss://lightning.invalid/worker", SECRET);
    check.ends_at(
        10,
        "dns",
        &["lightning.invalid", "WORKER_LIGHTNING_SERVICE_URL"],
    );
}

#[test]
fn each_problem_of_a_certificate_is_12_and_has_its_own_words() {
    let lightning = lightning();
    let stranger = TlsProxy::to(lightning.port());
    Check::of(&stranger.url(), SECRET).ends_at(12, "tls", &["unknown", "NODE_EXTRA_CA_CERTS"]);

    let old = TlsProxy::with(lightning.port(), |parameters| {
        parameters.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let trusting = |proxy: &TlsProxy, endpoint: &str| {
        let mut command = check(endpoint, SECRET);
        let certificate = proxy.certificate();
        Check::by(
            command
                .arg("--mock")
                .arg("--extra-ca-file")
                .arg(certificate),
        )
    };
    trusting(&old, &old.url()).ends_at(12, "tls", &["has expired"]);

    let by_address = stranger.url().replace("localhost", "127.0.0.1");
    trusting(&stranger, &by_address).ends_at(12, "tls", &["is not for 127.0.0.1"]);
    assert!(lightning.events().is_empty());

    let fine = trusting(&stranger, &stranger.url());
    assert_eq!(fine.code, Some(0), "{}", fine.text);
    assert!(fine.lines("tls")[0].contains("TLS"), "{}", fine.text);
}

#[test]
fn the_registry_is_the_one_that_npm_is_configured_with() {
    let lightning = lightning();
    let registry = Registry::start(None);
    let ask = |registry: &str| {
        let folder = tempfile::tempdir().unwrap();
        Check::by(
            check(&lightning.ws_url(), SECRET)
                .args(["--sandbox", "auto"])
                .arg("--repo-dir")
                .arg(folder.path())
                .env("NPM_CONFIG_REGISTRY", registry)
                .env("NPM_CONFIG_CACHE", folder.path().join("cache")),
        )
    };
    let without = ask(registry.url());
    assert_eq!(without.code, Some(15), "{}", without.text);
    assert!(without.text.contains("E404"), "{}", without.text);

    registry.offer("@openfn/language-common", &json!({}), &[]);
    let with = ask(registry.url());
    assert_eq!(with.code, Some(0), "{}", with.text);
    let line = with.lines("npm registry")[0];
    assert!(line.contains("@openfn/language-common 1.0.0"), "{line}");
    assert!(
        line.contains(registry.url().trim_end_matches('/')),
        "{line}"
    );
}

#[test]
fn a_join_that_fails_is_14_and_says_how() {
    let lightning = lightning();
    let refusal = Fault::Refuse(json!({"reason": "unauthorized"}));
    for (fault, words) in [
        (refusal, &["unauthorized", "WORKER_SECRET"][..]),
        (
            Fault::Refuse(json!({"reason": "join crashed"})),
            &["join crashed"],
        ),
        (Fault::CutBefore, &["connection", "Lightning's log"]),
    ] {
        lightning.fault("phx_join", fault);
        Check::of(&lightning.ws_url(), SECRET).ends_at(14, "queue", words);
    }
}

#[test]
fn a_port_that_a_running_worker_has_is_named_as_such() {
    let lightning = lightning();
    let taken = |url: &str| {
        let port = url.rsplit(':').next().unwrap().to_owned();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ws-worker"));
        command
            .args(["check", "--mock", "--host", "127.0.0.1", "--port", &port])
            .env("WORKER_SECRET", SECRET);
        let check = Check::by(&mut command);
        assert_eq!(check.code, Some(1), "{}", check.text);
        check.lines("http")[0].to_owned()
    };
    let open = Worker::with_mock_engine(&lightning, &["--name", "the-first"]);
    let line = taken(open.url());
    assert!(
        line.contains("a running worker, the-first (ws-worker "),
        "{line}"
    );
    assert!(line.contains("another --port"), "{line}");

    let guarded = Worker::with_mock_engine(&lightning, &["--http-token", "a-token"]);
    let line = taken(guarded.url());
    assert!(
        line.contains("a running worker, which tells its name only"),
        "{line}"
    );

    let stranger = answering("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    let line = taken(stranger.trim_end_matches("/worker"));
    assert!(!line.contains("worker"), "{line}");
    assert!(line.contains("in use"), "{line}");
}

#[test]
fn nobody_is_asked_where_the_configuration_is_wrong() {
    let lightning = lightning();
    let check = Check::by(check(&lightning.ws_url(), SECRET).args(["--mock", "--backoff", "9/1"]));
    assert_eq!(check.code, Some(1), "{}", check.text);
    assert!(
        check.lines("dns")[0].contains("not tried"),
        "{}",
        check.text
    );
    assert_eq!(lightning.connections(), 0);
}
