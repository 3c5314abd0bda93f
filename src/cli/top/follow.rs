//! Listens to the events of one worker, again and again when it goes away.

use std::time::Duration;

use actors::causes::with_causes;
use actors::config::Secret;
use awc::Client;
use awc::error::{PayloadError, SendRequestError};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::remote::{Moment, WorkerUrl};

/// Until a worker that does not answer is asked again.
pub(super) const AGAIN: Duration = Duration::from_secs(2);

/// How long a worker may be silent, which speaks twice a second.
const SILENCE: Duration = Duration::from_secs(10);

/// Largest event that is waited for: a worker with a thousand runs in hand has 200 kB.
const LARGEST: usize = 16 << 20;

/// What there is to know about a worker, by its place in the list.
#[derive(Debug)]
pub(super) struct News {
    pub(super) worker: usize,
    pub(super) what: Result<Box<Moment>, Trouble>,
}

/// Why a worker tells nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("it does not answer")]
    Unreachable(#[source] SendRequestError),
    #[error("it wants its token: --token or WORKER_HTTP_TOKEN")]
    Token,
    #[error("it has enough listeners (HTTP 503): close a status page")]
    Crowded,
    #[error("it answers with HTTP {0}: is this the address of a worker?")]
    Status(u16),
    #[error("it broke off")]
    Broken(#[source] PayloadError),
    #[error("it has been silent for {} s", SILENCE.as_secs())]
    Silent,
    #[error("it has ended")]
    Ended,
    #[error("what it says is not understood")]
    Unintelligible(#[source] serde_json::Error),
    #[error("what it says has no end")]
    Endless,
}

impl Trouble {
    /// With what caused it.
    pub(super) fn text(&self) -> String {
        with_causes(self)
    }
}

/// Tells the news of one worker until nobody wants them. One that does not answer is asked anew after `again`.
pub(super) async fn follow(
    worker: usize,
    url: WorkerUrl,
    client: Client,
    token: Option<Secret>,
    news: mpsc::Sender<News>,
    again: Duration,
) {
    loop {
        let trouble = listen(worker, &url, &client, token.as_ref(), &news).await;
        let Some(trouble) = trouble else { return };
        let what = Err(trouble);
        if news.send(News { worker, what }).await.is_err() {
            return;
        }
        sleep(again).await;
    }
}

/// Listens until something is wrong; `None` when nobody wants to hear more.
async fn listen(
    worker: usize,
    url: &WorkerUrl,
    client: &Client,
    token: Option<&Secret>,
    news: &mpsc::Sender<News>,
) -> Option<Trouble> {
    let mut response = match url.get(client, "events", token).send().await {
        Ok(response) => response,
        Err(error) => return Some(Trouble::Unreachable(error)),
    };
    match response.status().as_u16() {
        200 => {}
        401 => return Some(Trouble::Token),
        503 => return Some(Trouble::Crowded),
        status => return Some(Trouble::Status(status)),
    }
    let mut events = Events::default();
    loop {
        match timeout(SILENCE, response.next()).await {
            Err(_) => return Some(Trouble::Silent),
            Ok(None) => return Some(Trouble::Ended),
            Ok(Some(Err(error))) => return Some(Trouble::Broken(error)),
            Ok(Some(Ok(chunk))) => {
                if let Err(trouble) = events.take(&chunk) {
                    return Some(trouble);
                }
            }
        }
        match events.last() {
            Ok(None) => {}
            Ok(Some(moment)) => {
                let what = Ok(Box::new(moment));
                if news.send(News { worker, what }).await.is_err() {
                    return None;
                }
            }
            Err(error) => return Some(Trouble::Unintelligible(error)),
        }
    }
}

/// The bytes of a stream of events that have not been read yet.
#[derive(Debug, Default)]
struct Events(Vec<u8>);

impl Events {
    fn take(&mut self, chunk: &[u8]) -> Result<(), Trouble> {
        if self.0.len() + chunk.len() > LARGEST {
            return Err(Trouble::Endless);
        }
        self.0.extend_from_slice(chunk);
        Ok(())
    }

    /// The newest complete event, where one has come: those before it are out of date.
    fn last(&mut self) -> serde_json::Result<Option<Moment>> {
        let Some(end) = self.0.windows(2).rposition(|pair| pair == b"\n\n") else {
            return Ok(None);
        };
        let begin = self.0[..end]
            .windows(2)
            .rposition(|pair| pair == b"\n\n")
            .map_or(0, |end| end + 2);
        let event = &self.0[begin..end];
        let moment = event.strip_prefix(b"data: ").map(serde_json::from_slice);
        let moment = moment.transpose();
        self.0.drain(..end + 2);
        moment
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// A server that gives one answer a connection, and closes it.
    fn answering(answers: Vec<&'static str>) -> WorkerUrl {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = listener.local_addr().unwrap().to_string().parse().unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                assert!(stream.read(&mut request).unwrap() > 0);
                write!(stream, "HTTP/1.1 {answer}").unwrap();
            }
        });
        url
    }

    #[actix_rt::test]
    async fn a_worker_that_goes_away_and_comes_back_is_heard_again() {
        let event = "200 OK\r\nconnection: close\r\ncontent-length: 23\r\n\r\ndata: {\"version\":\"1\"}\n\n";
        let busy = "503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let locked = "401 Unauthorized\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let url = answering(vec![event, busy, locked, event]);
        let (sender, mut news) = mpsc::channel(1);
        let again = Duration::from_millis(1);
        actix_rt::spawn(follow(7, url, Client::default(), None, sender, again));
        let mut heard = Vec::new();
        while heard.len() < 7 {
            let news = news.recv().await.unwrap();
            assert_eq!(news.worker, 7);
            heard.push(match news.what {
                Ok(moment) => moment.version,
                Err(trouble) => trouble.to_string(),
            });
        }
        let [crowded, token] = [Trouble::Crowded, Trouble::Token].map(|it| it.to_string());
        assert_eq!(
            heard[..6],
            ["1", "it has ended", &crowded, &token, "1", "it has ended"]
        );
        assert_eq!(heard[6], "it does not answer");
    }

    #[test]
    fn an_event_may_come_in_pieces_and_the_newest_of_several_counts() {
        let mut events = Events::default();
        events.take(b"data: {\"version\":\"1").unwrap();
        assert!(events.last().unwrap().is_none());
        events
            .take(b"\"}\n\ndata: {\"version\":\"2\"}\n\ndata: {")
            .unwrap();
        assert_eq!(events.last().unwrap().unwrap().version, "2");
        assert!(events.last().unwrap().is_none());
        events.take(b"\"version\":\"3\"}\n\n").unwrap();
        assert_eq!(events.last().unwrap().unwrap().version, "3");
    }

    #[test]
    fn what_is_no_event_is_passed_over_and_what_is_no_json_is_not() {
        let mut events = Events::default();
        events.take(b": a comment\n\n").unwrap();
        assert!(events.last().unwrap().is_none());
        events.take(b"data: <html>\n\n").unwrap();
        assert!(events.last().is_err());
    }

    #[test]
    fn an_event_without_an_end_is_given_up() {
        let mut events = Events::default();
        let chunk = vec![b'x'; LARGEST / 2 + 1];
        events.take(&chunk).unwrap();
        assert!(matches!(events.take(&chunk), Err(Trouble::Endless)));
    }
}
