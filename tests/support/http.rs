//! A small HTTP client for the worker's own server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::DEADLINE;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Asks once; `url` is `http://host:port`, `headers` are whole lines.
pub(crate) fn ask(url: &str, method: &str, path: &str, headers: &[&str]) -> Answer {
    let mut stream = send(url, method, path, headers);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer");
    let text = String::from_utf8(bytes).expect("an answer in UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Answer {
        status: status.expect("a status"),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

/// Asks for a path.
pub(crate) fn get(url: &str, path: &str) -> Answer {
    ask(url, "GET", path, &[])
}

/// Puts a text to a path.
pub(crate) fn put(url: &str, path: &str, text: &str) -> Answer {
    let length = format!("Content-Length: {}", text.len());
    // The text follows the empty line that ends the headers.
    ask(url, "PUT", path, &[&length, "", text])
}

/// Sends a request; the answer is read from the stream.
pub(crate) fn send(url: &str, method: &str, path: &str, headers: &[&str]) -> TcpStream {
    let host = url.strip_prefix("http://").expect("an http URL");
    let mut stream = TcpStream::connect(host).expect("the worker listens");
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("a read timeout can be set");
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
    )
    .expect("the request is taken");
    stream
}
