//! A worker's side of the wire, spelled out in JSON.
#![expect(unreachable_pub, reason = "shared between test files as a module")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "payloads are written in place"
)]
#![allow(dead_code, reason = "each test file uses its own part")]

use std::time::Duration;

use actix_web::web::Bytes;
use awc::BoxedSocket;
use awc::ws::{Codec, Frame, Message};
use futures_util::{SinkExt as _, StreamExt as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lightning_mock::MockServer;
use serde_json::{Value, json};

pub const PATIENCE: Duration = Duration::from_secs(20);
pub const STEP: &str = "6718b8f4-f3dd-4da7-8874-b3c38f79bf3d";
pub const CLIP: &str = "32bd6a1d-5187-4f6b-87a4-aaf2c681596f";
pub const TIME: &str = "1767225600123456";

pub fn plan() -> Value {
    json!({
        "id": "r1",
        "triggers": [{ "id": "t" }],
        "jobs": [{ "id": "a", "body": "fn(s => s)", "adaptor": "@openfn/language-common@3.3.4" }],
        "edges": [{ "id": "e", "source_trigger_id": "t", "target_job_id": "a", "condition": "always" }],
        "dataclip": { "data": { "a": 1 } },
    })
}

pub fn worker_token(secret: &str) -> String {
    let claims = json!({ "iss": "urn:openfn:worker", "iat": 1, "worker_id": "a-b-c" });
    jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(secret.as_bytes()),
    )
    .unwrap()
}

pub struct Worker {
    socket: actix_codec::Framed<BoxedSocket, Codec>,
    reference: u64,
}

impl Worker {
    pub async fn connect(mock: &MockServer) -> Self {
        let url = format!("{}/websocket?token=any&vsn=2.0.0", mock.ws_url());
        let (_, socket) = awc::Client::new().ws(url).connect().await.unwrap();
        Self {
            socket,
            reference: 0,
        }
    }

    pub async fn send(&mut self, text: String) {
        self.socket.send(Message::Text(text.into())).await.unwrap();
    }

    pub async fn send_raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Pushes and gives the ref.
    pub async fn push(
        &mut self,
        join_ref: Option<&str>,
        topic: &str,
        event: &str,
        payload: Value,
    ) -> String {
        self.reference += 1;
        let reference = self.reference.to_string();
        let join_ref = if event == "phx_join" {
            Some(reference.as_str())
        } else {
            join_ref
        };
        self.send(json!([join_ref, reference, topic, event, payload]).to_string())
            .await;
        reference
    }

    /// The next text frame, for which it waits.
    pub async fn frame(&mut self) -> Value {
        match self.next().await {
            Some(Frame::Text(text)) => serde_json::from_slice(&text).unwrap(),
            other => panic!("expected a text frame, got {other:?}"),
        }
    }

    pub async fn binary(&mut self) -> Bytes {
        match self.next().await {
            Some(Frame::Binary(data)) => data,
            other => panic!("expected a binary frame, got {other:?}"),
        }
    }

    /// The next frame; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<Frame> {
        let frame = actix_web::rt::time::timeout(PATIENCE, self.socket.next()).await;
        frame
            .expect("a frame within the deadline")
            .and_then(Result::ok)
    }

    /// Pushes and gives the payload of the reply, which must be the next frame.
    pub async fn call(
        &mut self,
        join_ref: &str,
        topic: &str,
        event: &str,
        payload: Value,
    ) -> Value {
        let reference = self.push(Some(join_ref), topic, event, payload).await;
        let frame = self.frame().await;
        assert_eq!(frame[1], json!(reference), "{frame}");
        assert_eq!(frame[3], json!("phx_reply"), "{frame}");
        frame[4].clone()
    }

    pub async fn join(&mut self, topic: &str, payload: Value) -> (String, Value) {
        let reference = self.push(None, topic, "phx_join", payload).await;
        let frame = self.frame().await;
        assert_eq!(frame[1], json!(reference), "{frame}");
        (reference, frame[4].clone())
    }

    /// Joins the queue, claims `r1` and joins its topic; gives the join ref.
    pub async fn claim_and_join(&mut self) -> String {
        let (queue, _) = self
            .join(
                "worker:queue",
                json!({ "capacity": 1, "queues": { "manual>*": 1 } }),
            )
            .await;
        let claim = json!({ "demand": 1, "worker_name": null, "queues": ["manual", "*"] });
        let reply = self.call(&queue, "worker:queue", "claim", claim).await;
        let token = reply["response"]["runs"][0]["token"].clone();
        assert!(token.is_string(), "{reply}");
        let (join_ref, reply) = self.join("run:r1", json!({ "token": token })).await;
        assert_eq!(reply, json!({ "status": "ok", "response": {} }));
        join_ref
    }
}

pub fn ok(response: Value) -> Value {
    json!({ "status": "ok", "response": response })
}

pub fn refused(field: &str, text: &str) -> Value {
    json!({ "status": "error", "response": { "errors": { field: [text] } } })
}
