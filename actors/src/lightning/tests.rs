//! The connection against a server on the same thread, so that the clock can be a paused one.

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use actix_codec::Framed;
use actix_http::ws::{CloseCode, Codec, Frame, Message, hash_key};
use flate2::{Compress, Compression, FlushCompress};
use futures_util::{SinkExt as _, StreamExt as _};
use protocol::lightning::QueueJoin;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::deflate::OFFER;
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

/// Takes an upgrade; `more` are further header lines.
async fn upgrade(mut stream: TcpStream, more: &str) -> Framed<TcpStream, Codec> {
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
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    Framed::new(stream, Codec::new())
}

async fn serve(stream: TcpStream, number: u32, answers: Answers) {
    let mut socket = upgrade(stream, "").await;
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
        compression: true,
        message_timeout: Duration::from_secs(30),
        claim_timeout: Duration::from_secs(30),
        recorder: None,
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

/// What the worker says at the end to a server that has agreed on compression and then sends these bytes.
fn farewell_to(bytes: &[u8]) -> Option<CloseCode> {
    actix_rt::System::new().block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let connection = connection(listener.local_addr().unwrap().port());
        let (stream, _) = listener.accept().await.unwrap();
        let agreed = format!("Sec-WebSocket-Extensions: {OFFER}\r\n");
        let mut socket = upgrade(stream, &agreed).await;
        socket.io_mut().write_all(bytes).await.unwrap();
        let code = loop {
            match socket.next().await {
                Some(Ok(Frame::Close(reason))) => break reason.map(|reason| reason.code),
                Some(Ok(_)) => {}
                end => panic!("no close frame, but {end:?}"),
            }
        };
        connection.send(Disconnect).await.unwrap();
        code
    })
}

/// The head of a frame that begins with this byte and has a payload of so many bytes.
fn head(first: u8, payload: usize) -> Vec<u8> {
    let mut head = vec![first, 127];
    head.extend_from_slice(&(payload as u64).to_be_bytes());
    head
}

#[test]
fn a_message_that_is_too_large_when_inflated_is_answered_with_1009() {
    let spaces = vec![b' '; super::socket::MAX_MESSAGE_BYTES + 1];
    let mut compress = Compress::new(Compression::fast(), false);
    let mut bomb = Vec::with_capacity(8 << 20);
    compress
        .compress_vec(&spaces, &mut bomb, FlushCompress::Sync)
        .unwrap();
    bomb.truncate(bomb.len() - 4);
    let frame = [head(0xc1, bomb.len()), bomb].concat();
    assert_eq!(farewell_to(&frame), Some(CloseCode::Size));
}

#[test]
fn what_cannot_be_inflated_is_answered_with_1007_and_other_reserved_bits_with_1002() {
    let garbage = [head(0xc1, 4), vec![0xff; 4]].concat();
    assert_eq!(farewell_to(&garbage), Some(CloseCode::Invalid));
    let reserved = [head(0xa1, 2), b"[]".to_vec()].concat();
    assert_eq!(farewell_to(&reserved), Some(CloseCode::Protocol));
}
