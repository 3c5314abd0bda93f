//! A run's way through the channels, as the real server answers it.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use lightning_mock::{Direction, Fault, MockLightning, RunState};
use serde_json::json;

use support::{CLIP, PATIENCE, STEP, TIME, Worker, ok, plan, refused};

const RUN: &str = "run:r1";

#[actix_web::test]
async fn a_whole_run_is_stored() {
    let mock = MockLightning::builder().start().await.unwrap();
    mock.enqueue(plan()).unwrap();
    let mut worker = Worker::connect(&mock).await;
    let join = worker.claim_and_join().await;

    let plan = worker.call(&join, RUN, "fetch:plan", json!({})).await;
    assert_eq!(plan["response"]["id"], json!("r1"));
    let input = plan["response"]["dataclip_id"].clone();
    let reference = worker
        .push(Some(&join), RUN, "fetch:dataclip", json!({ "id": input }))
        .await;
    let mut expected = vec![
        1,
        u8::try_from(join.len()).unwrap(),
        u8::try_from(reference.len()).unwrap(),
        6,
        2,
    ];
    expected
        .extend_from_slice(format!("{join}{reference}run:r1ok{{\"data\":{{\"a\":1}}}}").as_bytes());
    assert_eq!(worker.binary().await, expected);

    let versions = json!({ "node": "20" });
    let started = worker
        .call(
            &join,
            RUN,
            "run:start",
            json!({ "versions": versions, "timestamp": TIME }),
        )
        .await;
    assert_eq!(started, ok(json!(null)));
    let step =
        json!({ "step_id": STEP, "job_id": "a", "input_dataclip_id": input, "timestamp": TIME });
    assert_eq!(
        worker.call(&join, RUN, "step:start", step).await,
        ok(json!({ "step_id": STEP }))
    );
    let line = json!({ "run_id": "r1", "message": ["hi", { "n": 1 }], "source": "JOB", "level": "info", "timestamp": TIME, "step_id": STEP });
    assert_eq!(
        worker.call(&join, RUN, "run:log", line.clone()).await["status"],
        json!("ok")
    );
    assert_eq!(
        worker
            .call(
                &join,
                RUN,
                "run:batch_logs",
                json!({ "run_id": "r1", "logs": [line] })
            )
            .await,
        ok(json!({}))
    );
    let complete = json!({
        "step_id": STEP, "job_id": "a", "reason": "success", "error_type": null, "error_message": null,
        "output_dataclip_id": CLIP, "output_dataclip": "{\"data\":{},\"configuration\":{\"secret\":1}}",
        "webhook_response": { "status": 201 }, "timestamp": TIME,
    });
    assert_eq!(
        worker.call(&join, RUN, "step:complete", complete).await,
        ok(json!({ "step_id": STEP }))
    );
    let complete = json!({ "reason": "success", "error_type": null, "error_message": null, "final_state": { "x": 1 }, "final_dataclip_id": CLIP, "timestamp": TIME });
    assert_eq!(
        worker
            .call(&join, RUN, "run:complete", complete.clone())
            .await,
        ok(json!(null))
    );
    assert_eq!(
        worker.call(&join, RUN, "run:complete", complete).await,
        refused("state", "already in completed state")
    );

    let run = mock.ended("r1", PATIENCE).await.unwrap();
    assert_eq!(run.state, RunState::Success);
    assert_eq!(run.final_state, Some(json!({ "x": 1 })));
    assert_eq!(run.webhook_response, Some(json!({ "status": 201 })));
    assert_eq!(run.log_texts(), ["hi {\"n\":1}", "hi {\"n\":1}"]);
    assert_eq!(
        run.step_of("a").unwrap().output_dataclip,
        Some(json!({ "data": {} }))
    );
    assert_eq!(run.started_at, Some(1_767_225_600_123_456));
    assert_eq!(mock.statistics().max_active_by_group["manual>*"], 1);
    assert_eq!(mock.refusals().len(), 1);
}

#[actix_web::test]
async fn faulty_reports_are_refused_by_field() {
    let mock = MockLightning::builder().start().await.unwrap();
    mock.enqueue(plan()).unwrap();
    let mut worker = Worker::connect(&mock).await;
    let join = worker.claim_and_join().await;
    let step = |step: &str, job: &str| json!({ "step_id": step, "job_id": job, "timestamp": TIME });
    let line = |key: &str, value: serde_json::Value| {
        let mut line =
            json!({ "message": ["x"], "source": "JOB", "level": "info", "timestamp": TIME });
        line[key] = value;
        line
    };
    let complete = |extra: serde_json::Value| {
        let mut payload =
            json!({ "step_id": STEP, "job_id": "a", "reason": "success", "timestamp": TIME });
        payload
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        payload
    };
    for (event, payload, field, text) in [
        (
            "run:start",
            json!({ "timestamp": "yesterday" }),
            "timestamp",
            "is invalid",
        ),
        ("step:start", step("s1", "a"), "step_id", "is invalid"),
        ("step:start", step(STEP, "b"), "job_id", "does not exist"),
        (
            "step:start",
            json!({ "step_id": STEP }),
            "job_id",
            "This field can't be blank.",
        ),
        ("step:complete", complete(json!({})), "step_id", "not found"),
        (
            "run:log",
            line("message", json!([])),
            "message",
            "can't be blank",
        ),
        (
            "run:log",
            line("timestamp", json!(null)),
            "timestamp",
            "This field can't be blank.",
        ),
        (
            "run:log",
            line("level", json!("loud")),
            "level",
            "is invalid",
        ),
        (
            "run:log",
            line("source", json!("NINECHARS")),
            "source",
            "should be at most 8 character(s)",
        ),
        (
            "run:log",
            line("step_id", json!(STEP)),
            "step_id",
            "must be associated with the run",
        ),
        (
            "run:complete",
            json!({ "reason": "maybe" }),
            "reason",
            "is invalid",
        ),
        (
            "run:complete",
            json!({ "reason": "fail", "error_type": {} }),
            "error_type",
            "is invalid",
        ),
        (
            "run:complete",
            json!({ "reason": "success", "final_dataclip_id": CLIP }),
            "final_dataclip_id",
            "does not exist",
        ),
    ] {
        let reply = worker.call(&join, RUN, event, payload.clone()).await;
        let field = if field == "reason" { "state" } else { field };
        assert_eq!(reply, refused(field, text), "{event} {payload}");
    }
    assert_eq!(
        worker.call(&join, RUN, "step:start", step(STEP, "a")).await,
        ok(json!({ "step_id": STEP }))
    );
    for (extra, field, text) in [
        (
            json!({ "output_dataclip_id": CLIP }),
            "output_dataclip",
            "This field can't be blank.",
        ),
        (
            json!({ "output_dataclip": "{}" }),
            "output_dataclip_id",
            "This field can't be blank.",
        ),
        (
            json!({ "output_dataclip_id": CLIP, "output_dataclip": "[]" }),
            "body",
            "must be a map",
        ),
        (json!({ "error_message": 3 }), "error_message", "is invalid"),
    ] {
        assert_eq!(
            worker
                .call(&join, RUN, "step:complete", complete(extra))
                .await,
            refused(field, text)
        );
    }
    assert!(mock.run("r1").unwrap().logs.is_empty());
}

#[actix_web::test]
async fn a_repeated_step_or_dataclip_id_crashes_the_channel() {
    let mock = MockLightning::builder().start().await.unwrap();
    mock.enqueue(plan()).unwrap();
    let mut worker = Worker::connect(&mock).await;
    let join = worker.claim_and_join().await;
    let step = json!({ "step_id": STEP, "job_id": "a" });
    worker.call(&join, RUN, "step:start", step.clone()).await;
    worker
        .push(Some(&join), RUN, "step:start", step.clone())
        .await;
    assert_eq!(
        worker.frame().await,
        json!([join, join, RUN, "phx_error", {}])
    );
    let reply = worker.call(&join, RUN, "step:start", step).await;
    assert_eq!(
        reply,
        json!({ "status": "error", "response": { "reason": "unmatched topic" } })
    );

    let (join, _) = worker
        .join(RUN, json!({ "token": mock.run_token("r1").unwrap() }))
        .await;
    let complete = json!({ "step_id": STEP, "reason": "success", "output_dataclip_id": CLIP, "output_dataclip": "{}" });
    worker
        .call(&join, RUN, "step:complete", complete.clone())
        .await;
    worker
        .push(Some(&join), RUN, "step:complete", complete)
        .await;
    assert_eq!(worker.frame().await[3], json!("phx_error"));
    assert_eq!(mock.run("r1").unwrap().steps.len(), 1);
}

#[actix_web::test]
async fn text_that_the_database_cannot_store_crashes_the_channel() {
    let mock = MockLightning::builder().start().await.unwrap();
    mock.enqueue(plan()).unwrap();
    let mut worker = Worker::connect(&mock).await;
    let mut join = worker.claim_and_join().await;
    let step = json!({ "step_id": STEP, "job_id": "a" });
    worker.call(&join, RUN, "step:start", step).await;
    for extra in [
        json!({ "output_dataclip_id": CLIP, "output_dataclip": "{\"data\":[\"\\u0000\"]}" }),
        json!({ "output_dataclip_id": CLIP, "output_dataclip": "{\"\\u0000\":1}" }),
        json!({ "error_message": "\0" }),
    ] {
        let mut complete = json!({ "step_id": STEP, "reason": "fail" });
        complete
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        worker
            .push(Some(&join), RUN, "step:complete", complete)
            .await;
        assert_eq!(worker.frame().await[3], json!("phx_error"), "{extra}");
        (join, _) = worker
            .join(RUN, json!({ "token": mock.run_token("r1").unwrap() }))
            .await;
    }
    let step = mock.run("r1").unwrap().steps[0].clone();
    assert_eq!((step.reason, step.output_dataclip_id), (None, None));
}

#[actix_web::test]
async fn zero_persistence_wipes_the_input_and_keeps_no_output() {
    let mock = MockLightning::builder().start().await.unwrap();
    let mut plan = plan();
    plan["options"] = json!({ "output_dataclips": false });
    mock.enqueue(plan).unwrap();
    let mut worker = Worker::connect(&mock).await;
    let join = worker.claim_and_join().await;
    worker
        .push(Some(&join), RUN, "fetch:dataclip", json!({}))
        .await;
    assert!(worker.binary().await.ends_with(b"{\"data\":{\"a\":1}}"));
    worker
        .push(Some(&join), RUN, "fetch:dataclip", json!({}))
        .await;
    assert!(worker.binary().await.ends_with(b"oknull"));
    worker
        .call(
            &join,
            RUN,
            "step:start",
            json!({ "step_id": STEP, "job_id": "a" }),
        )
        .await;
    let complete = json!({ "step_id": STEP, "reason": "success", "output_dataclip_id": CLIP });
    assert_eq!(
        worker.call(&join, RUN, "step:complete", complete).await["status"],
        json!("ok")
    );
    let run = mock.run("r1").unwrap();
    assert_eq!(run.steps[STEP].output_dataclip_id.as_deref(), Some(CLIP));
    assert_eq!(run.steps[STEP].output_dataclip, None);
}

#[actix_web::test]
async fn credentials_are_answered_and_kept_out_of_later_lines_of_the_join() {
    let mock = MockLightning::builder()
        .credential("c1", json!({ "password": "hunter2" }))
        .start()
        .await
        .unwrap();
    mock.enqueue(plan()).unwrap();
    let mut worker = Worker::connect(&mock).await;
    let join = worker.claim_and_join().await;
    let reply = worker
        .call(&join, RUN, "fetch:credential", json!({ "id": "c2" }))
        .await;
    assert_eq!(reply, refused("id", "Credential not found!"));
    let reply = worker
        .call(&join, RUN, "fetch:credential", json!({ "id": "c1" }))
        .await;
    assert_eq!(reply, ok(json!({ "password": "hunter2" })));
    let line = json!({ "message": ["I am hunter2"], "timestamp": TIME });
    worker.call(&join, RUN, "run:log", line).await;
    assert_eq!(mock.run("r1").unwrap().log_texts(), ["I am ***"]);
}

#[actix_web::test]
async fn planned_faults_lose_replies_and_cut_connections() {
    let mock = MockLightning::builder().start().await.unwrap();
    mock.enqueue(plan()).unwrap();
    let mut worker = Worker::connect(&mock).await;
    let join = worker.claim_and_join().await;
    mock.fault("run:start", Fault::LoseReply);
    mock.fault("run:log", Fault::Refuse(json!("busy")));
    mock.fault("run:complete", Fault::CutAfter);
    worker.push(Some(&join), RUN, "run:start", json!({})).await;
    let reply = worker
        .call(
            &join,
            RUN,
            "run:log",
            json!({ "message": ["x"], "timestamp": TIME }),
        )
        .await;
    assert_eq!(reply, json!({ "status": "error", "response": "busy" }));
    assert_eq!(mock.run("r1").unwrap().state, RunState::Started);
    worker
        .push(
            Some(&join),
            RUN,
            "run:complete",
            json!({ "reason": "success" }),
        )
        .await;
    assert!(worker.next().await.is_none());
    assert_eq!(mock.run("r1").unwrap().state, RunState::Success);
    mock.event(PATIENCE, |event| {
        event.direction == Direction::Socket && event.event == "disconnected"
    })
    .await
    .unwrap();
    assert_eq!(mock.connections(), 0);
}
