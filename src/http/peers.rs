//! Other workers that the status page shows beside this one. This worker asks them, so that a browser needs neither their
//! addresses nor their token.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actors::causes::with_causes;
use actors::config::Secret;
use awc::Client;
use awc::error::{JsonPayloadError, SendRequestError};
use futures_util::future::join_all;
use log_events::{event, table};
use serde::Serialize;
use tokio::time::timeout;

use crate::remote::{Moment, WorkerUrl};

/// How often they are asked, while a page is open.
const EVERY: Duration = Duration::from_secs(2);

/// How long one may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Largest answer that is read: a worker with a thousand runs in hand has 200 kB.
const LARGEST: usize = 4 << 20;

/// What the page shows of one.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Peer {
    url: String,
    /// `None` until it has answered.
    #[serde(flatten)]
    told: Option<Told>,
    /// Why it has not answered last time.
    trouble: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Told {
    worker_id: String,
    name: String,
    version: String,
    state: String,
    uptime_seconds: u64,
    queue_joined: bool,
    active: usize,
    slots: usize,
    /// Runs that have ended.
    ended: u64,
}

impl From<Moment> for Told {
    fn from(moment: Moment) -> Self {
        let (active, slots) = moment.slots();
        Self {
            name: moment.name().to_owned(),
            active,
            slots,
            ended: moment.ended.values().sum(),
            worker_id: moment.worker_id,
            version: moment.version,
            state: moment.state,
            uptime_seconds: moment.uptime_seconds,
            queue_joined: moment.connection.queue_joined,
        }
    }
}

/// Why one has told nothing.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("it does not answer")]
    Unreachable(#[source] SendRequestError),
    #[error("it does not answer within {} s", PATIENCE.as_secs())]
    Late,
    #[error("it has another WORKER_HTTP_TOKEN than this worker")]
    Token,
    #[error("it answers with HTTP {0}")]
    Status(u16),
    #[error("its answer is not understood")]
    Unintelligible(#[source] JsonPayloadError),
}

/// What is known of them, in the order of the setting; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Peers(Arc<Mutex<Vec<Peer>>>);

/// How the others are asked.
pub(super) struct Asking {
    pub(super) urls: Vec<WorkerUrl>,
    pub(super) token: Option<Secret>,
    pub(super) extra_ca_file: Option<PathBuf>,
}

impl Peers {
    /// Asks again and again while `pages` are open, for as long as the present arbiter lives.
    pub(super) fn follow(&self, asking: Asking, pages: Arc<AtomicUsize>) {
        if asking.urls.is_empty() {
            return;
        }
        let peers = self.clone();
        actix_rt::spawn(async move {
            let client = match actors::lightning::http_client(asking.extra_ca_file.as_deref()) {
                Ok(client) => client,
                Err(error) => {
                    let error = with_causes(&error);
                    event!(table::HTTP_NO_PEERS, error = error; "the status page shows no other workers: {error}");
                    return;
                }
            };
            peers.set(asking.urls.iter().map(unasked).collect());
            let mut ticks = actix_rt::time::interval(EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let answers = if pages.load(Ordering::Relaxed) > 0 {
                    let token = asking.token.as_ref();
                    join_all(asking.urls.iter().map(|url| ask(&client, url, token))).await
                } else {
                    // What they told the last page is old news to the next one.
                    asking.urls.iter().map(unasked).collect()
                };
                peers.set(answers);
            }
        });
    }

    fn set(&self, peers: Vec<Peer>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = peers;
    }

    /// What is known now.
    pub(super) fn all(&self) -> Vec<Peer> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn unasked(url: &WorkerUrl) -> Peer {
    Peer {
        url: url.to_string(),
        told: None,
        trouble: None,
    }
}

async fn ask(client: &Client, url: &WorkerUrl, token: Option<&Secret>) -> Peer {
    let answer = timeout(PATIENCE, status(client, url, token)).await;
    let answer = answer.unwrap_or(Err(Trouble::Late));
    let (told, trouble) = match answer {
        Ok(moment) => (Some(moment.into()), None),
        Err(trouble) => (None, Some(with_causes(&trouble))),
    };
    Peer {
        url: url.to_string(),
        told,
        trouble,
    }
}

async fn status(
    client: &Client,
    url: &WorkerUrl,
    token: Option<&Secret>,
) -> Result<Moment, Trouble> {
    let request = url.get(client, "status", token);
    let mut response = request.send().await.map_err(Trouble::Unreachable)?;
    match response.status().as_u16() {
        200 => {}
        401 => return Err(Trouble::Token),
        status => return Err(Trouble::Status(status)),
    }
    let answer = response.json::<Moment>().limit(LARGEST).await;
    answer.map_err(Trouble::Unintelligible)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(peer: &Peer) -> Value {
        serde_json::to_value(peer).unwrap()
    }

    #[test]
    fn a_peer_is_a_few_facts_beside_its_address() {
        let url: WorkerUrl = "worker-2:2222".parse().unwrap();
        assert_eq!(
            shown(&unasked(&url)),
            json!({"url": "http://worker-2:2222", "trouble": null})
        );
        let moment = serde_json::from_value::<Moment>(json!({
            "worker_id": "a-b-c", "state": "running", "ended": {"success": 2, "crash": 1},
            "workloops": [{"slots": 2, "active": 1}, {"slots": 3, "active": 0}],
            "problems": [{"message": "private"}],
        }));
        let peer = Peer {
            told: Some(moment.unwrap().into()),
            ..unasked(&url)
        };
        let shown = shown(&peer);
        assert_eq!(
            (
                &shown["name"],
                &shown["active"],
                &shown["slots"],
                &shown["ended"]
            ),
            (&json!("a-b-c"), &json!(1), &json!(5), &json!(3))
        );
        assert!(!shown.to_string().contains("private"));
    }

    #[actix_rt::test]
    async fn one_that_is_not_there_is_told_as_such() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = listener.local_addr().unwrap().to_string().parse().unwrap();
        drop(listener);
        let peer = ask(&Client::default(), &url, None).await;
        assert!(
            peer.trouble
                .is_some_and(|why| why.starts_with("it does not answer"))
        );
    }
}
