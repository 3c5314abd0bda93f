//! Plays Lightning: answers each frame of the worker as it was answered in the recording, and notes where the worker says
//! something else. No I/O, no clock.
//!
//! On each run's channel the order counts; between channels it does not, but that a socket ends only when everything is
//! said and heard that was on it. Answers that say ok are given at once; refusals, ends and pushes in their place. The
//! engine's events are told when the worker has said all that it had said before them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;
use protocol::engine::RunProgress;
use protocol::ids::{RunId, Topic};
use protocol::lightning::ClaimRequest;
use protocol::phoenix::{Frame, Payload};
use protocol::recording::{Direction, Redactor};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::channel::{Channel, Found, Refs};
use super::compare::{FieldDifference, shown};
use super::timeline::{QueueItem, QueueWhat, Timeline, json as json_of};

/// A connection of the worker to the player.
pub(super) type Connection = u64;

/// What has to be done.
#[derive(Debug)]
pub(super) enum Effect {
    Text(Connection, String),
    Binary(Connection, Bytes),
    /// End the connection: with a close code, or without a word.
    End(Connection, Option<u16>),
    /// The engine says this next.
    Tell(RunId, Box<RunProgress>),
}

/// Where the worker answers otherwise than it did.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) run: RunId,
    pub(super) event: String,
    pub(super) what: How,
}

#[derive(Debug)]
pub(super) enum How {
    /// It says this, with other values.
    Fields(Vec<FieldDifference>),
    /// It goes on without saying this.
    LeftOut(String),
    /// It says this, which is not in the recording.
    Unrecorded(String),
}

/// See the module's documentation.
pub(super) struct Player {
    runs: IndexMap<RunId, Channel>,
    queue: VecDeque<QueueItem>,
    /// The queues by which runs were claimed.
    groups: HashSet<Vec<String>>,
    /// The connection and ref of the join under which the queue is open.
    queue_open: Option<(Connection, String)>,
    losses: IndexMap<u64, Option<u16>>,
    /// The recorded socket that each connection stands for.
    sockets: HashMap<Connection, u64>,
    ended: HashSet<u64>,
    redactor: Redactor,
    pub(super) differences: Vec<Difference>,
    /// Frames of the worker, but for heartbeats and claims.
    pub(super) frames: usize,
}

impl Player {
    /// A player of this timeline; `data` says whether data is in the recording.
    pub(super) fn new(timeline: Timeline, data: bool) -> Self {
        let whole: HashSet<RunId> = timeline
            .runs
            .keys()
            .filter(|run| timeline.is_whole(run))
            .cloned()
            .collect();
        let groups = timeline.queue.iter().filter_map(|item| match &item.what {
            QueueWhat::Handed { queues, .. } => Some(queues.clone()),
            _ => None,
        });
        Self {
            groups: groups.collect(),
            runs: timeline
                .runs
                .into_iter()
                .map(|(run, items)| {
                    let is_whole = whole.contains(&run);
                    (run, Channel::new(items, is_whole))
                })
                .collect(),
            queue: timeline.queue.into(),
            queue_open: None,
            losses: timeline.losses,
            sockets: HashMap::new(),
            ended: HashSet::new(),
            redactor: Redactor::new(data),
            differences: Vec::new(),
            frames: 0,
        }
    }

    /// Runs in all.
    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Grows as long as the replay gets on.
    pub(super) fn moves(&self) -> usize {
        // A claim that gets a run makes the queue shorter.
        self.frames.wrapping_sub(self.queue.len())
    }

    /// Whether a refusal is held back.
    pub(super) fn holds(&self) -> bool {
        self.runs.values().any(Channel::holds)
    }

    /// Gives the refusals that are held back: the worker says nothing before it has them.
    pub(super) fn let_go(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for channel in self.runs.values_mut() {
            channel.let_go(&mut effects);
        }
        effects
    }

    /// Whether everything was said and heard.
    pub(super) fn is_over(&self) -> bool {
        self.queue.is_empty()
            && self.runs.values().all(Channel::is_over)
            && self.losses.keys().all(|socket| self.ended.contains(socket))
    }

    /// What is waited for, in words.
    pub(super) fn awaited(&self) -> Vec<String> {
        let runs = self.runs.iter().filter_map(|(run, channel)| {
            let event = channel.awaits()?;
            Some(format!("{event} of run {run}"))
        });
        let claims = self.queue.iter().filter_map(|item| match &item.what {
            QueueWhat::Handed { run, queues } => Some(format!(
                "a claim of {} for run {}",
                queues.join(">"),
                run.id
            )),
            _ => None,
        });
        runs.chain(claims).collect()
    }

    /// The longest that the worker took, in the recording, for what is waited for.
    pub(super) fn recorded_wait(&self) -> Duration {
        let waits = self.runs.values().map(Channel::recorded_wait);
        waits.max().unwrap_or_default()
    }

    /// A text frame of the worker.
    pub(super) fn said(&mut self, from: Connection, text: &str) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Ok(frame) = Frame::decode_text(text) else {
            log::warn!("the worker sent what is no frame");
            return effects;
        };
        if frame.topic == Topic::phoenix() {
            effects.push(reply(from, &frame, "ok", &json!({})));
            return effects;
        }
        self.frames += usize::from(frame.event != "claim");
        if frame.topic == Topic::queue() {
            self.assign(from, None);
            self.queue_said(from, &frame, &mut effects);
        } else if let Some(run) = frame.topic.run_id() {
            self.assign(from, Some(&run));
            self.run_said(from, &run, &frame, text, &mut effects);
            if let Some(channel) = self.runs.get_mut(&run) {
                channel.go_on(&run, &mut effects);
            }
        }
        self.go_on(&mut effects);
        effects
    }

    /// Which socket of the recording a new connection stands for shows when something is said on it.
    fn assign(&mut self, connection: Connection, run: Option<&RunId>) {
        if self.sockets.contains_key(&connection) {
            return;
        }
        let socket = match run {
            None => self.queue.front().map(|item| item.at.socket),
            Some(run) => self.runs.get(run).and_then(Channel::socket),
        };
        if let Some(socket) = socket {
            self.sockets.insert(connection, socket);
        }
    }

    fn queue_said(&mut self, from: Connection, frame: &Frame, effects: &mut Vec<Effect>) {
        let reference = frame.reference.clone().unwrap_or_default();
        match frame.event.as_str() {
            "phx_join" => {
                self.queue_open = Some((from, reference));
                let front = self.queue.front();
                if let Some(QueueWhat::Joined(answer)) = front.map(|item| &item.what) {
                    let refs = Refs::of(from, frame);
                    effects.push(refs.answer(answer, &Default::default()));
                    self.queue.pop_front();
                } else {
                    effects.push(reply(from, frame, "ok", &json!({})));
                }
            }
            "claim" => {
                if let Some(QueueWhat::Refused(answer)) = self.queue.front().map(|item| &item.what)
                {
                    effects.push(Refs::of(from, frame).answer(answer, &Default::default()));
                    self.queue.pop_front();
                    return;
                }
                let runs = self.handed(from, frame);
                effects.push(reply(from, frame, "ok", &json!({ "runs": runs })));
            }
            _ => effects.push(reply(from, frame, "ok", &json!({}))),
        }
    }

    /// The runs that a claim gets: those that were handed out on this socket to the same queues, in order.
    fn handed(&mut self, from: Connection, frame: &Frame) -> Vec<Value> {
        let Ok(claim) = serde_json::from_str::<ClaimRequest>(json_of(frame)) else {
            return Vec::new();
        };
        let socket = self.sockets.get(&from).copied();
        let any_group = !self.groups.contains(&claim.queues);
        let mut runs = Vec::new();
        let mut index = 0;
        while let Some(QueueItem {
            at,
            what: QueueWhat::Handed { queues, run },
        }) = self.queue.get(index)
        {
            let is_ready = Some(at.socket) == socket
                && (any_group || *queues == claim.queues)
                // A run that was handed out twice was given back in between.
                && self.runs.get(&run.id).is_none_or(|channel| channel.has_come_to(at.place));
            if runs.len() < claim.demand as usize && is_ready {
                runs.push(json!(run));
                self.queue.remove(index);
            } else {
                index += 1;
            }
        }
        runs
    }

    fn run_said(
        &mut self,
        from: Connection,
        run: &RunId,
        frame: &Frame,
        text: &str,
        effects: &mut Vec<Effect>,
    ) {
        let Some(channel) = self.runs.get_mut(run) else {
            effects.push(reply(
                from,
                frame,
                "error",
                &json!({ "reason": "not_found" }),
            ));
            return;
        };
        let kept = self.redactor.text(from, Direction::Out, text);
        let payload = Frame::decode_text(&kept).map_or(Value::Null, |frame| {
            serde_json::from_str(json_of(&frame)).unwrap_or(Value::Null)
        });
        let mut differs = |event: &str, what: How| {
            self.differences.push(Difference {
                run: run.clone(),
                event: event.to_owned(),
                what,
            });
        };
        match channel.said(&Refs::of(from, frame), &frame.event, &payload) {
            Found::Recorded {
                left_out,
                fields,
                answers,
            } => {
                for (event, payload) in left_out {
                    differs(&event, How::LeftOut(shown(&payload)));
                }
                if !fields.is_empty() {
                    differs(&frame.event, How::Fields(fields));
                }
                effects.extend(answers);
            }
            Found::InPart => effects.push(reply(from, frame, "ok", &json!({}))),
            Found::Unrecorded { answer } => {
                if !channel.is_over() || channel.is_whole() {
                    differs(&frame.event, How::Unrecorded(shown(&payload)));
                }
                let unknown = || {
                    let is_request = frame.event.starts_with("fetch:");
                    let status = if is_request { "error" } else { "ok" };
                    reply(from, frame, status, &json!({}))
                };
                effects.push(answer.map_or_else(unknown, |answer| *answer));
            }
        }
    }

    /// Does what is Lightning's turn on the queue's channel, and ends the sockets on which nothing is left.
    fn go_on(&mut self, effects: &mut Vec<Effect>) {
        while let Some(item) = self.queue.front() {
            let open = self
                .queue_open
                .as_ref()
                .filter(|(connection, _)| self.sockets.get(connection) == Some(&item.at.socket));
            match (&item.what, open) {
                // One of two joins of which the worker needs one.
                (QueueWhat::Joined(_), Some(_)) => {}
                (QueueWhat::Ended(frame), Some((connection, join))) => {
                    let refs = Refs::new(*connection, Some(join.clone()), Some(join.clone()));
                    effects.push(refs.answer(frame, &Default::default()));
                    self.queue_open = None;
                }
                _ => break,
            }
            self.queue.pop_front();
        }
        let ended: Vec<(Connection, u64)> = self
            .sockets
            .iter()
            .filter(|(_, socket)| {
                self.losses.contains_key(*socket) && !self.ended.contains(*socket)
            })
            .filter(|(_, socket)| !self.has_left(**socket))
            .map(|(connection, socket)| (*connection, *socket))
            .collect();
        for (connection, socket) in ended {
            self.ended.insert(socket);
            let code = self.losses.get(&socket).copied().flatten();
            effects.push(Effect::End(connection, code));
        }
    }

    /// Whether something is still to be said or heard on a socket of the recording. What a channel has next is on its
    /// oldest socket.
    fn has_left(&self, socket: u64) -> bool {
        let queue = self.queue.front().map(|item| item.at.socket);
        let mut runs = self.runs.values().map(Channel::socket);
        queue == Some(socket) || runs.any(|next| next == Some(socket))
    }
}

/// An answer to a push.
pub(super) fn reply(to: Connection, push: &Frame, status: &str, response: &Value) -> Effect {
    let payload = to_raw_value(&json!({ "status": status, "response": response }));
    let frame = Frame {
        event: "phx_reply".to_owned(),
        payload: payload.map_or_else(|_| Payload::null(), Payload::Json),
        ..push.clone()
    };
    Effect::Text(to, frame.encode_text())
}

/// Events by the index of the item before which they are told.
pub(super) type Script = BTreeMap<usize, Vec<RunProgress>>;
