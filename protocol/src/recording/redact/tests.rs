//! What a redacted line keeps, and what it does not.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::recording::stand_in::tests::json as any_json;

const SECRET: &str = "hush";

fn push(event: &str, payload: &Value) -> String {
    json!(["1", "2", "run:r", event, payload]).to_string()
}

fn reply(status: &str, response: &Value) -> String {
    let payload = json!({"status": status, "response": response});
    json!(["1", "2", "run:r", "phx_reply", payload]).to_string()
}

/// What is kept of an answer to such a push.
fn kept(data: bool, event: &str, response: &Value) -> String {
    let mut redactor = Redactor::new(data);
    redactor.text(1, Direction::Out, &push(event, &json!({})));
    let text = reply("ok", response);
    let kept = redactor.text(1, Direction::In, &text);
    assert_eq!(kept.len(), text.len());
    kept
}

fn pushed(data: bool, event: &str, payload: &Value) -> String {
    let text = push(event, payload);
    let kept = Redactor::new(data).text(1, Direction::Out, &text);
    assert_eq!(kept.len(), text.len());
    assert_eq!(Redactor::new(data).text(1, Direction::Out, &kept), kept);
    kept
}

#[test]
fn secrets_are_in_no_recording_with_data_or_without() {
    for data in [false, true] {
        for kept in [
            pushed(data, "phx_join", &json!({"token": SECRET})),
            kept(
                data,
                "claim",
                &json!({"runs": [{"id": "r", "token": SECRET, "x": SECRET}], "y": SECRET}),
            ),
            kept(data, "fetch:credential", &json!({"password": SECRET})),
            kept(data, "fetch:credential", &json!(SECRET)),
            kept(
                data,
                "fetch:plan",
                &json!({"jobs": [{"id": "a", "credential": {"password": SECRET}}]}),
            ),
            kept(data, "something:new", &json!({"a": SECRET})),
            pushed(data, "something:new", &json!({"a": SECRET})),
            Redactor::new(data).text(1, Direction::In, &reply("ok", &json!({"late": SECRET}))),
            Redactor::new(data).text(1, Direction::In, "[\"hush\""),
            Redactor::new(data).text(
                1,
                Direction::In,
                r#"[null,null,"t","news",{"a":"hush"},"hush"]"#,
            ),
        ] {
            assert!(!kept.contains(SECRET), "{kept}");
        }
    }
}

#[test]
fn data_stays_only_when_it_is_asked_for() {
    let line = json!({"message": [SECRET, {"a": SECRET}], "source": "JOB", "level": "info"});
    let step = json!({"step_id": "s", "output_dataclip": json!({"a": SECRET}).to_string(),
        "webhook_response": {"a": SECRET}, "reason": "fail", "error_message": SECRET});
    let run = json!({"final_state": {"a": SECRET}, "error_message": SECRET, "reason": "fail"});
    for (event, payload) in [
        ("run:log", &line),
        ("run:batch_logs", &json!({"logs": [line]})),
        ("step:complete", &step),
        ("run:complete", &run),
    ] {
        assert!(!pushed(false, event, payload).contains(SECRET), "{event}");
        assert_eq!(pushed(true, event, payload), push(event, payload));
    }
    for response in [
        json!({"a": SECRET}),
        json!(json!({"a": SECRET}).to_string()),
        json!(SECRET),
    ] {
        assert!(!kept(false, "fetch:dataclip", &response).contains(SECRET));
        assert!(kept(true, "fetch:dataclip", &response).contains(SECRET));
    }
    let plan = json!({"jobs": [{"id": "a", "body": "fn()", "state": {"a": SECRET}}]});
    let without = kept(false, "fetch:plan", &plan);
    assert!(!without.contains(SECRET) && without.contains("fn()"));
}

#[test]
fn what_decides_the_workers_ways_stays() {
    let mut redactor = Redactor::new(false);
    redactor.text(1, Direction::Out, &push("step:complete", &json!({})));
    let refusal = reply("error", &json!({"errors": {"id": ["taken"]}}));
    assert_eq!(redactor.text(1, Direction::In, &refusal), refusal);
    let start = push("step:start", &json!({"step_id": "s", "job_id": "j"}));
    assert_eq!(redactor.text(1, Direction::Out, &start), start);
    let status = json!({"message": ["Run complete with status: fail"], "source": "R/T"});
    assert_eq!(pushed(false, "run:log", &status), push("run:log", &status));
    let forged = json!({"message": ["Run complete with status: Amina"], "source": "R/T"});
    assert!(!pushed(false, "run:log", &forged).contains("Amina"));
}

#[test]
fn a_dataclip_in_a_binary_reply_is_replaced_and_stays_one() {
    let frame = Frame {
        join_ref: Some("1".to_owned()),
        reference: Some("2".to_owned()),
        topic: crate::ids::Topic::new("run:r"),
        event: "phx_reply:ok".to_owned(),
        payload: Payload::Binary(Bytes::from_static(br#"{"data":"hush"}"#)),
    };
    let bytes = frame.encode_binary_reply("ok").unwrap();
    let binary = |data: bool, event: &str| {
        let mut redactor = Redactor::new(data);
        redactor.text(1, Direction::Out, &push(event, &json!({})));
        redactor.binary(1, &bytes)
    };
    assert_eq!(binary(true, "fetch:dataclip"), bytes);
    let kept = binary(false, "fetch:dataclip");
    assert_eq!(binary(true, "fetch:credential"), kept);
    assert_eq!(kept.len(), bytes.len());
    let Payload::Binary(data) = Frame::decode_binary_from_server(&kept).unwrap().payload else {
        panic!("it is binary")
    };
    assert_eq!(&data[..], br#"{"":"xxxxxxxx"}"#);
}

proptest! {
    #[test]
    fn any_text_keeps_its_length(text in ".{0,80}", event in "[a-z:_]{0,14}", payload in any_json()) {
        let mut redactor = Redactor::new(false);
        prop_assert_eq!(redactor.text(1, Direction::In, &text).len(), text.len());
        for event in [event.as_str(), "run:batch_logs", "step:complete", "phx_join", "claim", "fetch:plan"] {
            let text = push(event, &payload);
            prop_assert_eq!(redactor.text(1, Direction::Out, &text).len(), text.len());
            let text = reply("ok", &payload);
            prop_assert_eq!(redactor.text(1, Direction::In, &text).len(), text.len());
        }
    }
}
