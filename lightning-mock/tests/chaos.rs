//! Chaos rules: what they do to a connection.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::time::Duration;

use awc::ws::{Frame, Message};
use lightning_mock::{MockLightning, MockServer, Rule, RunState};
use serde_json::{Value, json};

use support::{PATIENCE, Worker, ok, plan};

async fn mock(rules: &[&str]) -> MockServer {
    let rules: Vec<Rule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    let mock = MockLightning::builder()
        .chaos(rules, 7)
        .start()
        .await
        .unwrap();
    mock.enqueue(plan()).unwrap();
    mock
}

#[actix_web::test]
async fn an_answer_comes_late_while_later_ones_pass_it() {
    let mock = mock(&["fetch:plan@1=delay:300"]).await;
    let mut worker = Worker::connect(&mock).await;
    let join = worker.claim_and_join().await;
    let late = worker
        .push(Some(&join), "run:r1", "fetch:plan", json!({}))
        .await;
    let early = worker
        .push(Some(&join), "run:r1", "run:start", json!({}))
        .await;
    assert_eq!(worker.frame().await[1], json!(early));
    assert_eq!(worker.frame().await[1], json!(late));
}

#[actix_web::test]
async fn an_answer_comes_twice_or_after_garbage() {
    let mock = mock(&["run:start@1=duplicate", "run:start@2=garbage"]).await;
    let mut worker = Worker::connect(&mock).await;
    let join = worker.claim_and_join().await;
    let first = worker
        .push(Some(&join), "run:r1", "run:start", json!({}))
        .await;
    assert_eq!(worker.frame().await[1], json!(first));
    assert_eq!(worker.frame().await[1], json!(first));
    let second = worker
        .push(Some(&join), "run:r1", "run:start", json!({}))
        .await;
    match worker.next().await {
        Some(Frame::Text(text)) => {
            assert!(serde_json::from_slice::<Value>(&text).is_err(), "{text:?}");
        }
        other => panic!("expected garbage, got {other:?}"),
    }
    assert_eq!(worker.frame().await[1], json!(second));
}

#[actix_web::test]
async fn a_closed_channel_must_be_joined_again() {
    let mock = mock(&["run:start@1=close"]).await;
    let mut worker = Worker::connect(&mock).await;
    let join = worker.claim_and_join().await;
    worker
        .push(Some(&join), "run:r1", "run:start", json!({}))
        .await;
    assert_eq!(
        worker.frame().await,
        json!([join, join, "run:r1", "phx_close", {}])
    );
    assert_eq!(mock.run("r1").unwrap().state, RunState::Claimed);
    let token = mock.run_token("r1").unwrap();
    let (join, _) = worker.join("run:r1", json!({ "token": token })).await;
    assert_eq!(
        worker.call(&join, "run:r1", "run:start", json!({})).await,
        ok(Value::Null)
    );
}

#[actix_web::test]
async fn while_the_server_is_away_everyone_is_cut_and_nobody_is_let_in() {
    let mock = mock(&["run:start@1=away:60000"]).await;
    let mut bystander = Worker::connect(&mock).await;
    let mut worker = Worker::connect(&mock).await;
    let join = worker.claim_and_join().await;
    worker
        .push(Some(&join), "run:r1", "run:start", json!({}))
        .await;
    assert!(worker.next().await.is_none());
    assert!(bystander.next().await.is_none());
    let url = format!("{}/websocket?token=any&vsn=2.0.0", mock.ws_url());
    assert!(awc::Client::new().ws(&url).connect().await.is_err());
    mock.event(PATIENCE, |event| {
        event.event == "refused" && event.payload["status"] == 503
    })
    .await
    .unwrap();
    mock.refuse_connections(Duration::ZERO);
    Worker::connect(&mock).await;
}

#[actix_web::test]
async fn rules_are_read_and_replaced_over_http() {
    let mock = mock(&["claim@5=crash"]).await;
    let url = format!("{}/chaos", mock.url());
    let shown: Value = awc::Client::new()
        .get(&url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(shown, json!({ "rules": ["claim@5=crash"], "struck": 0 }));
    let set = async |body: Value| {
        let mut response = awc::Client::new()
            .post(&url)
            .send_json(&body)
            .await
            .unwrap();
        (
            response.status().as_u16(),
            response.json::<Value>().await.unwrap(),
        )
    };
    let (status, body) = set(json!({ "rules": ["claim=explode"] })).await;
    assert_eq!(status, 400);
    assert!(
        body["error"]
            .as_str()
            .unwrap()
            .starts_with("\"explode\" is no fault"),
        "{body}"
    );
    assert_eq!(
        set(json!({ "rules": ["phx_join=error"], "seed": 3 }))
            .await
            .0,
        200
    );
    let mut worker = Worker::connect(&mock).await;
    let (_, reply) = worker.join("worker:queue", json!({})).await;
    assert_eq!(reply["status"], json!("error"));
}

#[actix_web::test]
async fn a_server_that_hangs_answers_pings_and_nothing_else() {
    let mock = mock(&["run:start@1=hang:60000"]).await;
    let mut worker = Worker::connect(&mock).await;
    let join = worker.claim_and_join().await;
    for event in ["run:start", "fetch:plan"] {
        worker.push(Some(&join), "run:r1", event, json!({})).await;
    }
    worker.push(None, "phoenix", "heartbeat", json!({})).await;
    worker.send_raw(Message::Ping("still there?".into())).await;
    assert!(matches!(worker.next().await, Some(Frame::Pong(_))));
    mock.hang(Duration::ZERO);
    let answer = worker.call(&join, "run:r1", "run:start", json!({})).await;
    assert_eq!(answer, ok(Value::Null));
}
