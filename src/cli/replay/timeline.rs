//! A recording, sorted: what was said and heard on each channel, in order. No I/O.
//!
//! Left out is what time decides, or what changes nothing: heartbeats, claims that got nothing, hints that there is work,
//! and runs whose claim is not in the recording.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;
use protocol::ids::{RunId, Topic};
use protocol::lightning::{ClaimReply, ClaimRequest, ClaimedRun, Timestamp};
use protocol::phoenix::{Frame, Payload, ReplyStatus, ServerMessage};
use protocol::recording::{Message, Record, Recording, What};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// The channel of the queue.
    pub(super) queue: Vec<QueueItem>,
    /// The runs' channels, in the order of their claims.
    pub(super) runs: IndexMap<RunId, Vec<Item>>,
    /// How sockets ended, by their number in the recording. Absent: not by Lightning, or not at all.
    pub(super) losses: IndexMap<u64, Option<u16>>,
    /// What cannot be replayed, in words.
    pub(super) notes: Vec<String>,
}

/// Where and when something was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    /// Its place in the recording.
    pub(super) place: usize,
    pub(super) socket: u64,
    pub(super) time: Timestamp,
}

/// What happened on a run's channel.
#[derive(Debug)]
pub(super) enum Item {
    Said(Said),
    Heard(Heard),
}

/// A push or join of the worker.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) at: At,
    pub(super) frame: Frame,
    /// The answers that say ok, and the places of them in the recording: they are given at once.
    pub(super) answers: Vec<(usize, Frame)>,
}

/// A frame of Lightning that has its place among the worker's: a refusal, an end, a push, an answer that came too late.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) at: At,
    pub(super) frame: Frame,
    /// The item that it answers.
    pub(super) about: Option<usize>,
}

/// What happened on the queue's channel.
#[derive(Debug)]
pub(super) struct QueueItem {
    pub(super) at: At,
    pub(super) what: QueueWhat,
}

#[derive(Debug)]
pub(super) enum QueueWhat {
    /// A join was answered.
    Joined(Frame),
    /// A run was handed out to the group with these queues.
    Handed {
        queues: Vec<String>,
        run: ClaimedRun,
    },
    /// A claim was refused.
    Refused(Frame),
    /// The channel ended.
    Ended(Frame),
}

impl Item {
    pub(super) fn at(&self) -> At {
        match self {
            Self::Said(said) => said.at,
            Self::Heard(heard) => heard.at,
        }
    }
}

/// The payload as JSON text; nothing for a binary one.
pub(super) fn json(frame: &Frame) -> &str {
    match &frame.payload {
        Payload::Json(json) => json.get(),
        Payload::Binary(_) => "null",
    }
}

/// Whose push a ref is.
enum Owner {
    Run(RunId, usize),
    QueueJoin,
    Claim(Vec<String>),
}

struct Sorter {
    timeline: Timeline,
    owners: HashMap<(u64, String), Owner>,
    /// The ref of the join under which a topic is open.
    open: HashMap<(u64, Topic), String>,
    claimed: HashSet<RunId>,
}

impl Timeline {
    /// Sorts a recording.
    pub(super) fn new(recording: &Recording) -> Self {
        let mut sorter = Sorter {
            timeline: Self::default(),
            owners: HashMap::new(),
            open: HashMap::new(),
            claimed: HashSet::new(),
        };
        for (place, record) in recording.records.iter().enumerate() {
            sorter.take(place, record);
        }
        let Sorter {
            mut timeline,
            claimed,
            ..
        } = sorter;
        let unknown = timeline.runs.len();
        timeline.runs.retain(|run, _| claimed.contains(run));
        let unknown = unknown - timeline.runs.len();
        // The end of a socket on which nothing came about changes nothing.
        let runs = timeline
            .runs
            .values()
            .flatten()
            .map(|item| item.at().socket);
        let used: HashSet<u64> = runs
            .chain(timeline.queue.iter().map(|item| item.at.socket))
            .collect();
        timeline.losses.retain(|socket, _| used.contains(socket));
        if unknown > 0 {
            timeline.notes.push(format!(
                "{unknown} runs are left out: they were claimed before the recording begins (an older part may be in FILE.1)"
            ));
        }
        timeline
    }

    /// Whether the run was recorded up to its end.
    pub(super) fn is_whole(&self, run: &RunId) -> bool {
        let items = self.runs.get(run).map(Vec::as_slice).unwrap_or_default();
        items
            .iter()
            .any(|item| matches!(item, Item::Said(said) if said.frame.event == "phx_leave"))
    }
}

impl Sorter {
    fn take(&mut self, place: usize, record: &Record) {
        let at = At {
            place,
            socket: record.socket,
            time: record.time,
        };
        match &record.what {
            What::Opened | What::NotOpened(_) => {}
            What::Lost(loss) => {
                // What the worker closes is a stop or a silence; for the runs, silence ends like a cut.
                if loss.why != protocol::recording::CLOSED_BY_WORKER {
                    self.timeline.losses.insert(record.socket, loss.code);
                }
            }
            What::Dropped(count) => self.timeline.notes.push(format!(
                "{count} records are missing in the recording: differences after that may come from it"
            )),
            What::Out(text) => {
                if let Ok(frame) = Frame::decode_text(text) {
                    self.said(at, frame);
                }
            }
            What::In(message) => {
                let frame = match message {
                    Message::Text(text) => Frame::decode_text(text),
                    Message::Binary(bytes) => Frame::decode_binary_from_server(bytes),
                };
                // What is no frame is passed over by the worker.
                if let Ok(frame) = frame {
                    self.heard(at, frame);
                }
            }
        }
    }

    fn said(&mut self, at: At, frame: Frame) {
        let Some(reference) = frame.reference.clone() else {
            return;
        };
        let key = (at.socket, reference.clone());
        match frame.event.as_str() {
            "phx_join" => {
                self.open
                    .insert((at.socket, frame.topic.clone()), reference);
            }
            "phx_leave" => {
                self.open.remove(&(at.socket, frame.topic.clone()));
            }
            _ => {}
        }
        if let Some(run) = frame.topic.run_id() {
            let items = self.timeline.runs.entry(run.clone()).or_default();
            self.owners.insert(key, Owner::Run(run, items.len()));
            items.push(Item::Said(Said {
                at,
                frame,
                answers: Vec::new(),
            }));
        } else if frame.topic == Topic::queue() {
            let owner = match frame.event.as_str() {
                "phx_join" => Owner::QueueJoin,
                "claim" => match serde_json::from_str::<ClaimRequest>(json(&frame)) {
                    Ok(claim) => Owner::Claim(claim.queues),
                    Err(_) => return,
                },
                _ => return,
            };
            self.owners.insert(key, owner);
        }
    }

    fn heard(&mut self, at: At, frame: Frame) {
        match ServerMessage::from(frame.clone()) {
            ServerMessage::Reply {
                reference,
                status,
                response,
                ..
            } => self.answered(at, frame, &reference, &status, &response),
            ServerMessage::ChannelClosed { topic, join_ref }
            | ServerMessage::ChannelCrashed { topic, join_ref } => {
                let open = (at.socket, topic.clone());
                // The end of a channel that was left or joined anew concerns nobody.
                if self.open.get(&open) != join_ref.as_ref() {
                    return;
                }
                self.open.remove(&open);
                let about = join_ref.and_then(|join| self.owners.get(&(at.socket, join)));
                match about {
                    Some(Owner::Run(run, join)) => {
                        let about = Some(*join);
                        let items = self.timeline.runs.entry(run.clone()).or_default();
                        items.push(Item::Heard(Heard { at, frame, about }));
                    }
                    Some(Owner::QueueJoin) => self.queue(at, QueueWhat::Ended(frame)),
                    Some(Owner::Claim(_)) | None => {}
                }
            }
            ServerMessage::Push { topic, .. } => {
                if let Some(items) = topic
                    .run_id()
                    .and_then(|run| self.timeline.runs.get_mut(&run))
                {
                    let about = None;
                    items.push(Item::Heard(Heard { at, frame, about }));
                }
            }
        }
    }

    fn answered(
        &mut self,
        at: At,
        frame: Frame,
        reference: &str,
        status: &ReplyStatus,
        response: &Payload,
    ) {
        let is_ok = *status == ReplyStatus::Ok;
        match self.owners.get(&(at.socket, reference.to_owned())) {
            Some(Owner::Run(run, index)) => {
                let Some(items) = self.timeline.runs.get_mut(run) else {
                    return;
                };
                let is_late = asked_again(items, *index);
                match items.get_mut(*index) {
                    Some(Item::Said(said)) if is_ok && !is_late => {
                        said.answers.push((at.place, frame));
                    }
                    Some(_) => {
                        let about = Some(*index);
                        items.push(Item::Heard(Heard { at, frame, about }));
                    }
                    None => {}
                }
            }
            Some(Owner::QueueJoin) => self.queue(at, QueueWhat::Joined(frame)),
            Some(Owner::Claim(_)) if !is_ok => self.queue(at, QueueWhat::Refused(frame)),
            Some(Owner::Claim(queues)) => {
                let queues = queues.clone();
                let reply = ClaimReply::from_payload(response);
                for run in reply.map(|reply| reply.runs).unwrap_or_default() {
                    self.claimed.insert(run.id.clone());
                    // A channel that was there before belongs to an execution whose claim was given back.
                    let queues = queues.clone();
                    self.queue(at, QueueWhat::Handed { queues, run });
                }
            }
            None => {}
        }
    }

    fn queue(&mut self, at: At, what: QueueWhat) {
        self.timeline.queue.push(QueueItem { at, what });
    }
}

/// Whether the worker did not wait for the answer to this: it joined again, or asked the same again.
fn asked_again(items: &[Item], index: usize) -> bool {
    let Some(Item::Said(said)) = items.get(index) else {
        return false;
    };
    items.iter().skip(index + 1).any(|item| match item {
        Item::Said(later) => {
            later.frame.event == "phx_join"
                || (later.frame.event == said.frame.event
                    && later.frame.event.starts_with("fetch:")
                    && later.frame.payload == said.frame.payload)
        }
        Item::Heard(_) => false,
    })
}
