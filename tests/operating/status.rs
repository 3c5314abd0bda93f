//! The status as JSON, as a page and as a stream of events.

use std::io::{BufRead as _, BufReader};

use serde_json::Value;

use crate::support::http::{ask, get, send};
use crate::support::{DEADLINE, Worker, lightning, plan, until};

#[test]
fn a_browser_gets_one_page_and_everybody_else_the_health_check() {
    let lightning = lightning();
    let worker = Worker::with_mock_engine(&lightning, &[]);
    let plain = get(worker.url(), "/");
    assert_eq!((plain.status, plain.body.as_str()), (200, "OK"));
    let page = ask(
        worker.url(),
        "GET",
        "/",
        &["Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"],
    );
    assert_eq!(page.status, 200);
    assert!(
        page.head.contains("content-type: text/html"),
        "{}",
        page.head
    );
    assert!(
        page.head
            .contains("content-security-policy: default-src 'none'"),
        "{}",
        page.head
    );
    for part in ["<main>", "id=\"slots\"", "id=\"runs\"", "id=\"problems\""] {
        assert!(page.body.contains(part), "{part}");
    }
}

#[test]
fn the_stream_tells_of_a_run_while_it_is_at_work() {
    let lightning = lightning();
    let id = lightning.enqueue(plan("wait(60000)", "manual")).unwrap();
    let worker = Worker::with_mock_engine(&lightning, &[]);
    let stream = send(worker.url(), "GET", "/events", &[]);
    let mut lines = BufReader::new(stream).lines();
    let run = until("the stream names the run", || {
        let line = lines.next()?.expect("the stream goes on");
        let data = line.strip_prefix("data: ")?;
        let moment: Value = serde_json::from_str(data).expect("an event is JSON");
        assert!(moment["history"].is_array() && moment["problems"].is_array());
        let runs = moment["runs"].as_array()?.clone();
        runs.into_iter()
            .find(|run| run["id"] == id.as_str() && run["phase"] == "executing")
    });
    assert_eq!(run["workloop"], "manual>*:5");
    let path = format!("/runs/{id}");
    assert_eq!(ask(worker.url(), "DELETE", &path, &[]).status, 202);
    lightning.wait_for(&id, DEADLINE).unwrap();
}

#[test]
fn the_status_names_the_last_problems() {
    let lightning = lightning();
    let worker = Worker::with_mock_engine(&lightning, &["--log", "always"]);
    until("the queue is joined", || {
        (get(worker.url(), "/readyz").status == 200).then_some(())
    });
    lightning.disconnect_all();
    let problem = until("the loss is listed", || {
        let status: Value = serde_json::from_str(&get(worker.url(), "/status").body).ok()?;
        let problems = status["problems"].as_array()?.clone();
        problems.into_iter().find(|problem| {
            let message = problem["message"].as_str().unwrap_or_default();
            message.contains("connection to Lightning was lost")
        })
    });
    assert_eq!(problem["level"], "warn");
}
