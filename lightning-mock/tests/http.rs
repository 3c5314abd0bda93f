//! The HTTP API, and the program.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use lightning_mock::MockLightning;
use serde_json::{Value, json};

use support::{Worker, plan};

async fn get(url: String) -> (u16, Value) {
    let mut response = awc::Client::new().get(url).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn post(url: String, body: String) -> (u16, Value) {
    let mut response = awc::Client::new().post(url).send_body(body).await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[actix_web::test]
async fn a_posted_plan_wakes_the_workers_and_can_be_read_back() {
    let mock = MockLightning::builder().start().await.unwrap();
    let mut worker = Worker::connect(&mock).await;
    worker.join("worker:queue", json!({})).await;
    let (status, body) = post(format!("{}/run?wakeup", mock.url()), plan().to_string()).await;
    assert_eq!((status, body), (200, json!({ "id": "r1" })));
    assert_eq!(worker.frame().await[3], json!("work-available"));
    let (_, run) = get(format!("{}/run/r1", mock.url())).await;
    assert_eq!(
        (&run["state"], &run["queue"]),
        (&json!("available"), &json!("manual"))
    );
    let (_, runs) = get(format!("{}/runs", mock.url())).await;
    assert_eq!(runs["runs"][0]["id"], json!("r1"));
    assert_eq!(get(format!("{}/run/r2", mock.url())).await.0, 404);
}

#[actix_web::test]
async fn a_wrong_plan_is_refused_with_what_is_wrong() {
    let mock = MockLightning::builder().start().await.unwrap();
    let url = format!("{}/run", mock.url());
    let (status, body) = post(url.clone(), "{".to_owned()).await;
    assert_eq!(status, 400);
    assert!(
        body["error"].as_str().unwrap().contains("no JSON"),
        "{body}"
    );
    let (status, body) = post(url.clone(), json!({ "jobs": 3 }).to_string()).await;
    assert_eq!(
        (status, body),
        (
            400,
            json!({ "error": "`jobs` of the plan must be an array" })
        )
    );
    post(url.clone(), plan().to_string()).await;
    let (status, body) = post(url, plan().to_string()).await;
    assert_eq!(
        (status, body),
        (
            400,
            json!({ "error": "a run with the id \"r1\" exists already" })
        )
    );
}

#[actix_web::test]
async fn the_program_prints_its_address_and_ends_cleanly_on_sigterm() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lightning-mock"))
        .args(["--port", "0", "--log", "error"])
        .env_remove("WORKER_SECRET")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    let (status, body) = post(format!("{}/run", first.trim()), "{}".to_owned()).await;
    assert_eq!(status, 200, "{body}");
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_program_says_why_it_does_not_start() {
    let output = Command::new(env!("CARGO_BIN_EXE_lightning-mock"))
        .args(["--key", "/nowhere/key.pem"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("cannot read the key /nowhere/key.pem")
    );
}
