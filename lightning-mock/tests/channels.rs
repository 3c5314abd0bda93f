//! Sockets, topics and claims, as Phoenix and the real server handle them.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use actix_http::ws::Item;
use awc::ws::{CloseCode, Frame, Message};
use lightning_mock::{Announce, Fault, MockLightning};
use serde_json::{Value, json};

use support::{TIME, Worker, ok, plan, worker_token};

async fn upgrade(url: String) -> Result<(), u16> {
    match awc::Client::new().ws(url).connect().await {
        Ok(_) => Ok(()),
        Err(awc::error::WsClientError::InvalidResponseStatus(status)) => Err(status.as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[actix_web::test]
async fn a_socket_needs_a_valid_token_and_version_2() {
    let mock = MockLightning::builder()
        .secret(Some("s"))
        .start()
        .await
        .unwrap();
    let url = |query: &str| format!("{}/websocket?{query}", mock.ws_url());
    let token = worker_token("s");
    assert_eq!(
        upgrade(url(&format!("token={token}&vsn=2.0.0"))).await,
        Ok(())
    );
    assert_eq!(
        upgrade(url(&format!("token={}&vsn=2.0.0", worker_token("other")))).await,
        Err(401)
    );
    assert_eq!(upgrade(url("vsn=2.0.0")).await, Err(401));
    assert_eq!(
        upgrade(url(&format!("token={token}&vsn=3.0.0"))).await,
        Err(403)
    );
    assert_eq!(upgrade(url(&format!("token={token}"))).await, Err(403));
    assert_eq!(
        upgrade(format!("{}/else?token={token}&vsn=2.0.0", mock.ws_url())).await,
        Err(404)
    );
}

#[actix_web::test]
async fn heartbeats_are_answered() {
    let mock = MockLightning::builder().start().await.unwrap();
    let mut worker = Worker::connect(&mock).await;
    worker.push(None, "phoenix", "heartbeat", json!({})).await;
    assert_eq!(
        worker.frame().await,
        json!([null, "1", "phoenix", "phx_reply", { "status": "ok", "response": {} }])
    );
}

#[actix_web::test]
async fn a_second_join_replaces_the_first_and_old_refs_are_ignored() {
    let mock = MockLightning::builder().start().await.unwrap();
    let mut worker = Worker::connect(&mock).await;
    let (old, _) = worker.join("worker:queue", json!({})).await;
    let (new, _) = worker.join("worker:queue", json!({})).await;
    assert_eq!(
        worker.frame().await,
        json!([old, old, "worker:queue", "phx_close", {}])
    );
    let claim = json!({ "demand": 1, "worker_name": null, "queues": ["*"] });
    worker
        .push(Some(&old), "worker:queue", "claim", claim.clone())
        .await;
    assert_eq!(
        worker.call(&new, "worker:queue", "claim", claim).await,
        ok(json!({ "runs": [] }))
    );
}

#[actix_web::test]
async fn a_leave_is_answered_and_closes_and_is_fine_twice() {
    let mock = MockLightning::builder().start().await.unwrap();
    let mut worker = Worker::connect(&mock).await;
    let (join, _) = worker.join("worker:queue", json!({})).await;
    assert_eq!(
        worker
            .call(&join, "worker:queue", "phx_leave", json!({}))
            .await,
        ok(json!({}))
    );
    assert_eq!(worker.frame().await[3], json!("phx_close"));
    assert_eq!(
        worker
            .call(&join, "worker:queue", "phx_leave", json!({}))
            .await,
        ok(json!({}))
    );
}

#[actix_web::test]
async fn joins_are_refused_with_their_reason() {
    let mock = MockLightning::builder()
        .channel_limit(2)
        .start()
        .await
        .unwrap();
    mock.enqueue(plan()).unwrap();
    let mut worker = Worker::connect(&mock).await;
    let refusal = |reason: &str| json!({ "status": "error", "response": { "reason": reason } });
    assert_eq!(
        worker.join("else", json!({})).await.1,
        refusal("unmatched topic")
    );
    assert_eq!(
        worker.join("run:r1", json!({ "token": "x.y.z" })).await.1,
        refusal("unauthorized")
    );
    assert_eq!(
        worker
            .join("run:r1", json!({ "token": mock.run_token("r2").unwrap() }))
            .await
            .1,
        refusal("unauthorized")
    );
    assert_eq!(
        worker
            .join("run:r2", json!({ "token": mock.run_token("r2").unwrap() }))
            .await
            .1,
        refusal("not_found")
    );
    assert_eq!(
        worker
            .join("run:r1", json!({ "token": mock.run_token("r1").unwrap() }))
            .await
            .1,
        ok(json!({}))
    );
    assert_eq!(
        worker.join("worker:queue", json!({})).await.1,
        ok(json!({}))
    );
    assert_eq!(
        worker.join("run:r2", json!({ "token": "" })).await.1,
        refusal("too many channels joined")
    );
}

#[actix_web::test]
async fn a_claim_without_worker_name_crashes_the_channel() {
    let mock = MockLightning::builder().start().await.unwrap();
    let mut worker = Worker::connect(&mock).await;
    let (join, _) = worker.join("worker:queue", json!({})).await;
    worker
        .push(Some(&join), "worker:queue", "claim", json!({ "demand": 1 }))
        .await;
    assert_eq!(worker.frame().await[3], json!("phx_error"));
}

#[actix_web::test]
async fn a_join_that_crashes_is_refused_and_takes_the_older_channel_with_it() {
    let mock = MockLightning::builder().start().await.unwrap();
    let mut worker = Worker::connect(&mock).await;
    let (older, _) = worker.join("worker:queue", json!({})).await;
    mock.fault("phx_join", Fault::Crash);
    let (_, answer) = worker.join("worker:queue", json!({})).await;
    assert_eq!(
        answer,
        json!({ "status": "error", "response": { "reason": "join crashed" } })
    );
    assert_eq!(
        worker.frame().await,
        json!([older, older, "worker:queue", "phx_close", {}])
    );
    let (_, answer) = worker.join("worker:queue", json!({})).await;
    assert_eq!(answer, ok(json!({})));
}

#[actix_web::test]
async fn a_claim_takes_up_to_its_demand() {
    let mock = MockLightning::builder().start().await.unwrap();
    for id in ["r1", "r2", "r3"] {
        mock.enqueue(json!({ "id": id })).unwrap();
    }
    let mut worker = Worker::connect(&mock).await;
    let (join, _) = worker.join("worker:queue", json!({})).await;
    let claim = json!({ "demand": 2, "worker_name": "w", "queues": ["*"] });
    let mut ids = Vec::new();
    for _ in 0..3 {
        let reply = worker
            .call(&join, "worker:queue", "claim", claim.clone())
            .await;
        ids.push(
            reply["response"]["runs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|run| run["id"].clone())
                .collect::<Vec<Value>>(),
        );
    }
    assert_eq!(json!(ids), json!([["r1", "r2"], ["r3"], []]));
    assert_eq!(mock.run("r1").unwrap().worker_name.as_deref(), Some("w"));
    assert_eq!(
        (mock.statistics().claims, mock.statistics().fruitful_claims),
        (3, 2)
    );
}

#[actix_web::test]
async fn a_frame_of_the_wrong_shape_ends_the_connection() {
    let mock = MockLightning::builder().start().await.unwrap();
    for text in ["nonsense", "{}", "[1,2]"] {
        let mut worker = Worker::connect(&mock).await;
        worker.send(text.to_owned()).await;
        match worker.next().await {
            Some(Frame::Close(Some(reason))) => assert_eq!(reason.code, CloseCode::Error, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[actix_web::test]
async fn a_message_in_parts_is_one_message() {
    let mock = MockLightning::builder().start().await.unwrap();
    let mut worker = Worker::connect(&mock).await;
    for part in [
        Item::FirstText("[null,\"1\",\"phoe".into()),
        Item::Continue("nix\",\"heart".into()),
        Item::Last("beat\",{}]".into()),
    ] {
        worker.send_raw(Message::Continuation(part)).await;
    }
    assert_eq!(worker.frame().await[3], json!("phx_reply"));
}

#[actix_web::test]
async fn workers_are_told_of_new_runs_if_announced() {
    let mock = MockLightning::builder()
        .announce(Announce::Immediately)
        .start()
        .await
        .unwrap();
    let mut worker = Worker::connect(&mock).await;
    worker.join("worker:queue", json!({})).await;
    mock.enqueue(plan()).unwrap();
    assert_eq!(
        worker.frame().await,
        json!([null, null, "worker:queue", "work-available", {}])
    );
    mock.push("worker:queue", "hello", json!({ "a": 1 }));
    assert_eq!(
        worker.frame().await,
        json!([null, null, "worker:queue", "hello", { "a": 1 }])
    );
}

#[actix_web::test]
async fn a_socket_on_which_nothing_arrives_is_closed() {
    let idle = std::time::Duration::from_millis(200);
    let mock = MockLightning::builder().idle(idle).start().await.unwrap();
    let mut worker = Worker::connect(&mock).await;
    assert!(
        matches!(worker.next().await, Some(Frame::Close(Some(reason))) if reason.code == CloseCode::Normal)
    );
}

#[actix_web::test]
async fn connections_are_cut_or_closed_on_demand() {
    let mock = MockLightning::builder().start().await.unwrap();
    let mut worker = Worker::connect(&mock).await;
    worker.join("worker:queue", json!({})).await;
    mock.close_all(1012);
    assert!(
        matches!(worker.next().await, Some(Frame::Close(Some(reason))) if reason.code == CloseCode::Restart)
    );
    let mut worker = Worker::connect(&mock).await;
    worker.join("worker:queue", json!({})).await;
    mock.disconnect_all();
    assert!(worker.next().await.is_none());
}

#[actix_web::test]
async fn a_run_lost_meanwhile_still_ends_on_its_old_channel_but_not_after_a_rejoin() {
    let mock = MockLightning::builder().start().await.unwrap();
    mock.enqueue(plan()).unwrap();
    let mut worker = Worker::connect(&mock).await;
    let join = worker.claim_and_join().await;
    assert!(mock.lose("r1"));
    let (rejoin, _) = worker
        .join("run:r1", json!({ "token": mock.run_token("r1").unwrap() }))
        .await;
    worker.frame().await;
    let complete = json!({ "reason": "success", "timestamp": TIME });
    let reply = worker
        .call(&rejoin, "run:r1", "run:complete", complete)
        .await;
    assert_eq!(
        reply["response"]["errors"]["state"],
        json!(["already in completed state"])
    );
    assert_ne!(join, rejoin);
}

#[actix_web::test]
async fn quirks_answer_as_the_npm_mock_does() {
    let mock = MockLightning::builder().quirks(true).start().await.unwrap();
    mock.enqueue(plan()).unwrap();
    let mut worker = Worker::connect(&mock).await;
    // Not answered, so the next frame is the join's reply.
    worker.push(None, "phoenix", "heartbeat", json!({})).await;
    let join = worker
        .push(None, "worker:queue", "phx_join", json!({}))
        .await;
    let expected = json!([join, join, "worker:queue", format!("chan_reply_{join}"), { "status": "ok", "response": "ok" }]);
    assert_eq!(worker.frame().await, expected);
    worker
        .push(
            Some(&join),
            "worker:queue",
            "claim",
            json!({ "demand": 3, "worker_name": null }),
        )
        .await;
    let token = worker.frame().await[4]["response"]["runs"][0]["token"].clone();
    let run = worker
        .push(None, "run:r1", "phx_join", json!({ "token": token }))
        .await;
    worker.frame().await;
    worker
        .push(Some(&run), "run:r1", "fetch:plan", json!({}))
        .await;
    let input = worker.frame().await[4]["response"]["dataclip_id"].clone();
    worker
        .push(
            Some(&run),
            "run:r1",
            "fetch:dataclip",
            json!({ "id": input }),
        )
        .await;
    let expected: Vec<u8> = b"{\"data\":{\"a\":1}}".to_vec();
    assert_eq!(worker.frame().await[4]["response"], json!(expected));
    mock.work_available();
    assert_eq!(
        worker.frame().await,
        json!([null, "", "worker:queue", "work-available", "{}"])
    );
}

#[test]
fn a_mock_on_its_own_thread_stops_when_it_is_dropped() {
    let mock = MockLightning::spawn_thread().unwrap();
    let port = mock.port();
    mock.enqueue(plan()).unwrap();
    let error = mock.wait_for("r1", std::time::Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("it is available"), "{error}");
    drop(mock);
    let _again = MockLightning::builder().port(port).spawn_thread().unwrap();
    let second = MockLightning::builder()
        .port(port)
        .spawn_thread()
        .unwrap_err();
    assert!(second.to_string().contains("cannot listen"), "{second}");
}
