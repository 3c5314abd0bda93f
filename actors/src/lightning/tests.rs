//! The connection against a server on the same thread, so that the clock can be a paused one.

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use actix_codec::Framed;
use actix_http::ws::{Codec, Frame, Message, hash_key};
use futures_util::{SinkExt as _, StreamExt as _};
use protocol::lightning::QueueJoin;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{AnswersHeartbeats, Disconnect, LightningConnection};
use crate::config::{Identity, LightningConfig, Secret};
use crate::metrics::Metrics;

/// Whether the nth heartbeat of the socket with this number, both from 1, is answered.
type Answers = Rc<dyn Fn(u32, u32) -> bool>;

/// A server that answers pings and joins always, and heartbeats as it likes. Each socket that it accepts is told of.
async fn server(
    answers: impl Fn(u32, u32) -> bool + 'static,
) -> (u16, mpsc::UnboundedReceiver<u32>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (accepted, sockets) = mpsc::unbounded_channel();
    let answers: Answers = Rc::new(answers);
    actix_rt::spawn(async move {
        let mut number = 0;
        while let Ok((stream, _)) = listener.accept().await {
            number += 1;
            accepted.send(number).unwrap();
            actix_rt::spawn(serve(stream, number, Rc::clone(&answers)));
        }
    });
    (port, sockets)
}

async fn serve(mut stream: TcpStream, number: u32, answers: Answers) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let key = lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let accept = hash_key(key.expect("an upgrade has a key").1.as_bytes());
    let accept = String::from_utf8(accept.to_vec()).unwrap();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    let mut socket = Framed::new(stream, Codec::new());
    let mut beats = 0;
    while let Some(Ok(frame)) = socket.next().await {
        let answer = match frame {
            Frame::Ping(data) => Message::Pong(data),
            Frame::Text(text) => {
                let frame: Value = serde_json::from_slice(&text).unwrap();
                let is_heartbeat = frame[3] == "heartbeat";
                beats += u32::from(is_heartbeat);
                if is_heartbeat && !answers(number, beats) {
                    continue;
                }
                let ok = json!({"status": "ok", "response": {}});
                Message::Text(
                    json!([frame[0], frame[1], frame[2], "phx_reply", ok])
                        .to_string()
                        .into(),
                )
            }
            _ => return,
        };
        if socket.send(answer).await.is_err() {
            return;
        }
    }
}

fn connection(port: u16) -> Addr<LightningConnection> {
    let config = LightningConfig {
        endpoint: format!("ws://127.0.0.1:{port}/worker"),
        secret: Secret::new("s"),
        run_token_key: None,
        extra_ca_file: None,
        message_timeout: Duration::from_secs(30),
        claim_timeout: Duration::from_secs(30),
    };
    let identity = Identity {
        id: "w".to_owned(),
        name: None,
        version: "0.0.0".to_owned(),
    };
    let join = QueueJoin {
        capacity: 1,
        queues: std::iter::once(("*".to_owned(), 1)).collect(),
    };
    let metrics = Metrics::default();
    let heartbeats = AnswersHeartbeats::default();
    LightningConnection::new(config, identity, Some(join), metrics, heartbeats)
        .unwrap()
        .start()
}

/// What a test says, on one thread and with a clock that leaps whenever everybody waits.
fn with_paused_clock(test: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(async {
        tokio::time::pause();
        test.await;
    });
}

#[test]
fn a_server_that_hangs_behind_a_living_socket_is_left_after_thirty_seconds_without_a_heartbeat() {
    with_paused_clock(async {
        let (port, mut sockets) = server(|socket, beat| socket > 1 || beat == 1).await;
        let connection = connection(port);
        assert_eq!(sockets.recv().await, Some(1));
        let opened = Instant::now();
        assert_eq!(sockets.recv().await, Some(2));
        // The heartbeat of 30 s is answered, the one of 60 s is not.
        let seconds = opened.elapsed().as_secs();
        assert!((90..93).contains(&seconds), "after {seconds} s");
        connection.send(Disconnect).await.unwrap();
    });
}

#[test]
fn a_server_whose_first_sockets_answered_heartbeats_is_left_when_a_later_one_never_does() {
    with_paused_clock(async {
        let (port, mut sockets) = server(|socket, beat| socket == 1 && beat == 1).await;
        let connection = connection(port);
        assert_eq!(sockets.recv().await, Some(1));
        assert_eq!(sockets.recv().await, Some(2));
        let opened = Instant::now();
        assert_eq!(sockets.recv().await, Some(3));
        let seconds = opened.elapsed().as_secs();
        assert!((60..63).contains(&seconds), "after {seconds} s");
        connection.send(Disconnect).await.unwrap();
    });
}

#[test]
fn a_server_that_never_answers_heartbeats_keeps_its_socket() {
    with_paused_clock(async {
        let (port, mut sockets) = server(|_, _| false).await;
        let connection = connection(port);
        assert_eq!(sockets.recv().await, Some(1));
        let another = tokio::time::timeout(Duration::from_secs(1800), sockets.recv()).await;
        assert!(another.is_err(), "it opened socket {another:?}");
        connection.send(Disconnect).await.unwrap();
    });
}
