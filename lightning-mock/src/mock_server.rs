//! What a test does with a running server.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use indexmap::IndexMap;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::chaos::{Chaos, Rule};
use crate::fault::Fault;
use crate::messages::ToSocket;
use crate::posted_plan::PlanError;
use crate::recorder::RecordedEvent;
use crate::store::{RunView, Statistics};
use crate::world::{Inflated, Shared, World, now};

/// A wait that came to nothing.
#[derive(Debug, thiserror::Error)]
#[error("waited {waited:?} for {what}; {found}")]
pub struct WaitError {
    /// The time that was allowed.
    pub waited: Duration,
    /// What was waited for, in words.
    pub what: String,
    /// What was there instead.
    pub found: String,
}

/// A running server. Dropping it stops the server.
#[derive(Debug)]
pub struct MockServer {
    shared: Arc<Shared>,
    port: u16,
    server: ServerHandle,
    thread: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl MockServer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        port: u16,
        server: ServerHandle,
        thread: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    ) -> Self {
        Self {
            shared,
            port,
            server,
            thread,
        }
    }

    /// What this server knows, for another one to know it too.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:<port>`, of the HTTP API.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `ws://127.0.0.1:<port>/worker`, the endpoint that a worker is given.
    pub fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}/worker", self.port)
    }

    /// The public key of run tokens as base64 of its PEM, as the worker's setting takes it.
    pub fn public_key(&self) -> String {
        self.shared.read(|world| world.key.public_base64())
    }

    /// Stores a run at the end of its queue and gives its id. The plan is what `POST /run` takes.
    ///
    /// # Errors
    /// [`PlanError`], naming what is wrong with the plan.
    pub fn enqueue(&self, plan: Value) -> Result<String, PlanError> {
        let id = self.shared.with(|world| world.store.enqueue(plan, now()))?;
        self.shared.tell(&ToSocket::NewRun);
        Ok(id)
    }

    /// A run as it stands.
    pub fn run(&self, id: &str) -> Option<RunView> {
        self.shared.read(|world| world.store.runs.get(id).cloned())
    }

    /// All runs, in the order in which they were enqueued.
    pub fn runs(&self) -> Vec<RunView> {
        self.shared
            .read(|world| world.store.runs.values().cloned().collect())
    }

    /// Takes the runs out of the store that have ended at least this long ago: a long test need not keep them all.
    pub fn take_ended(&self, age: Duration) -> Vec<RunView> {
        let before = now().saturating_sub(u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
        self.shared.with(|world| {
            let ended = |run: &RunView| {
                run.state.is_final() && run.finished_at.is_some_and(|finished| finished <= before)
            };
            let runs = &mut world.store.runs;
            let (taken, kept) = std::mem::take(runs)
                .into_iter()
                .partition(|(_, run)| ended(run));
            *runs = kept;
            let taken: IndexMap<String, RunView> = taken;
            taken.into_values().collect()
        })
    }

    /// Blocks until the run has ended.
    ///
    /// # Errors
    /// [`WaitError`] if that takes longer than `patience`.
    pub fn wait_for(&self, id: &str, patience: Duration) -> Result<RunView, WaitError> {
        let until = Instant::now() + patience;
        let ended = self
            .shared
            .wait_blocking(until, |world| final_view(world, id));
        ended.ok_or_else(|| self.gave_up(id, patience))
    }

    /// Waits until the run has ended, without blocking the thread.
    ///
    /// # Errors
    /// [`WaitError`] if that takes longer than `patience`.
    pub async fn ended(&self, id: &str, patience: Duration) -> Result<RunView, WaitError> {
        let until = Instant::now() + patience;
        let ended = self.shared.wait(until, |world| final_view(world, id));
        ended.await.ok_or_else(|| self.gave_up(id, patience))
    }

    /// Blocks until `count` runs have ended.
    ///
    /// # Errors
    /// [`WaitError`] if that takes longer than `patience`.
    pub fn wait_for_finished(&self, count: usize, patience: Duration) -> Result<(), WaitError> {
        let enough = self
            .shared
            .wait_blocking(Instant::now() + patience, |world| {
                (world.store.statistics.finished >= count).then_some(())
            });
        enough.ok_or_else(|| WaitError {
            waited: patience,
            what: format!("{count} runs to end"),
            found: format!("{} have", self.statistics().finished),
        })
    }

    /// Everything recorded so far.
    pub fn events(&self) -> Vec<RecordedEvent> {
        self.shared.read(|world| world.recorder.events.clone())
    }

    /// The error replies and channel crashes that were sent so far: what the server found fault with.
    pub fn refusals(&self) -> Vec<RecordedEvent> {
        self.shared.read(|world| {
            world
                .recorder
                .events
                .iter()
                .filter(|event| event.is_refusal())
                .cloned()
                .collect()
        })
    }

    /// Blocks until a recorded event, past ones included, satisfies `wanted`, and gives the first that does.
    ///
    /// # Errors
    /// [`WaitError`] if none comes within `patience`.
    pub fn wait_event(
        &self,
        patience: Duration,
        mut wanted: impl FnMut(&RecordedEvent) -> bool,
    ) -> Result<RecordedEvent, WaitError> {
        let mut seen = 0;
        let found = self
            .shared
            .wait_blocking(Instant::now() + patience, |world| {
                first_new(world, &mut seen, &mut wanted)
            });
        found.ok_or_else(|| self.no_event(patience))
    }

    /// The same without blocking the thread.
    ///
    /// # Errors
    /// [`WaitError`] if none comes within `patience`.
    pub async fn event(
        &self,
        patience: Duration,
        mut wanted: impl FnMut(&RecordedEvent) -> bool,
    ) -> Result<RecordedEvent, WaitError> {
        let mut seen = 0;
        let found = self.shared.wait(Instant::now() + patience, |world| {
            first_new(world, &mut seen, &mut wanted)
        });
        found.await.ok_or_else(|| self.no_event(patience))
    }

    /// Counts: claims, and how many runs were active at once.
    pub fn statistics(&self) -> Statistics {
        self.shared.read(|world| world.store.statistics.clone())
    }

    /// What workers have sent compressed.
    pub fn inflated(&self) -> Inflated {
        self.shared.read(|world| world.inflated)
    }

    /// How many sockets are open now.
    pub fn connections(&self) -> usize {
        self.shared.read(|world| world.sockets.len())
    }

    /// Pushes `work-available` to every worker.
    pub fn work_available(&self) {
        self.shared.tell(&ToSocket::work_available());
    }

    /// Pushes an event to everyone on a topic.
    pub fn push(&self, topic: &str, event: &str, payload: Value) {
        self.shared.tell(&ToSocket::Push {
            topic: topic.to_owned(),
            event: event.to_owned(),
            payload,
        });
    }

    /// Cuts every connection without a close frame.
    pub fn disconnect_all(&self) {
        self.shared.tell(&ToSocket::Disconnect(None));
    }

    /// Closes every connection with this code, e.g. 1012 for a restart of the server.
    pub fn close_all(&self, code: u16) {
        self.shared.tell(&ToSocket::Disconnect(Some(code)));
    }

    /// Something goes wrong with the next push of `event`; several for one event are used up in order.
    pub fn fault(&self, event: &str, fault: Fault) {
        self.shared
            .with(|world| world.faults.push((event.to_owned(), fault)));
    }

    /// Replaces the chaos rules, from the next push on.
    pub fn chaos(&self, rules: Vec<Rule>, seed: u64) {
        self.shared
            .with(|world| world.chaos = Chaos::new(rules, seed));
    }

    /// Refuses new connections with 503 for this long; who is connected stays.
    pub fn refuse_connections(&self, time: Duration) {
        self.shared.with(|world| world.go_away(time));
    }

    /// Handles no frame for this long, though connections are taken and pings answered: an application that hangs behind
    /// a server that does not. A time of zero ends it.
    pub fn hang(&self, time: Duration) {
        self.shared.with(|world| world.hang(time));
    }

    /// Stores a dataclip, or replaces it.
    pub fn add_dataclip(&self, id: &str, body: Value) {
        self.shared
            .with(|world| world.store.dataclips.insert(id.to_owned(), Some(body)));
    }

    /// Stores a credential, or replaces it: what is fetched from now on is the new one.
    pub fn add_credential(&self, id: &str, body: Value) {
        self.shared
            .with(|world| world.store.credentials.insert(id.to_owned(), body));
    }

    /// Ends a claimed or started run as lost; false if it is neither.
    pub fn lose(&self, id: &str) -> bool {
        self.shared.with(|world| world.store.lose(id))
    }

    /// Ends every active run whose token has expired as lost, and names them.
    pub fn lose_expired(&self) -> Vec<String> {
        self.shared.with(|world| world.store.lose_expired(now()))
    }

    /// Puts a claimed run that was not started back into its queue; false if it is none.
    pub fn roll_back(&self, id: &str) -> bool {
        self.shared.with(|world| world.store.roll_back(id))
    }

    /// A token for a run, as a claim would give it, valid for an hour.
    ///
    /// # Errors
    /// [`crate::KeyError`] if the signing library fails.
    pub fn run_token(&self, id: &str) -> Result<String, crate::KeyError> {
        let seconds = now() / 1_000_000;
        self.shared
            .read(|world| world.key.sign_run(id, seconds, seconds + 3600))
    }

    /// Stops the server and waits until it has stopped. Connections are cut.
    pub async fn stop(self) {
        self.disconnect_all();
        self.server.stop(false).await;
    }

    fn gave_up(&self, id: &str, waited: Duration) -> WaitError {
        let found = self.run(id).map_or_else(
            || "there is no such run".to_owned(),
            |run| {
                format!(
                    "it is {} with {} steps and these log lines: {:#?}",
                    run.state,
                    run.steps.len(),
                    run.log_texts()
                )
            },
        );
        WaitError {
            waited,
            what: format!("run {id} to end"),
            found,
        }
    }

    fn no_event(&self, waited: Duration) -> WaitError {
        let last: Vec<String> = self.shared.read(|world| {
            let events = &world.recorder.events;
            let tail = events
                .get(events.len().saturating_sub(8)..)
                .unwrap_or_default();
            tail.iter()
                .map(|event| format!("{:?} {} {}", event.direction, event.topic, event.event))
                .collect()
        });
        WaitError {
            waited,
            what: "an event".to_owned(),
            found: format!("the last ones are {last:#?}"),
        }
    }
}

/// A run that has ended.
fn final_view(world: &World, id: &str) -> Option<RunView> {
    let run = world.store.runs.get(id)?;
    run.state.is_final().then(|| run.clone())
}

/// The first event from `seen` on that is wanted; looking at each event once keeps long recordings cheap to wait on.
fn first_new(
    world: &World,
    seen: &mut usize,
    wanted: &mut impl FnMut(&RecordedEvent) -> bool,
) -> Option<RecordedEvent> {
    let new = world.recorder.events.get(*seen..).unwrap_or_default();
    *seen += new.len();
    new.iter().find(|event| wanted(event)).cloned()
}

impl Drop for MockServer {
    fn drop(&mut self) {
        self.disconnect_all();
        // The command is sent at once; only the answer would have to be awaited.
        drop(self.server.stop(false));
        if let Some((finish, thread)) = self.thread.take() {
            // Refused only by a thread that has ended already.
            if finish.send(()).is_ok() && thread.join().is_err() {
                log::error!("the server's thread panicked");
            }
        }
    }
}
