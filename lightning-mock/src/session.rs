//! One connection's channels: a frame of the worker in, frames of the server out. No I/O.
//!
//! Follows the Phoenix server (protocol spec, section 2.1): a second join of a topic replaces the first, pushes with an
//! old `join_ref` are ignored, a crashed channel answers nothing but `phx_error`, and a join that crashes an error reply.

mod frames;

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use protocol::phoenix::{Frame, Payload};
use serde_json::{Value, json};

use self::frames::Head;
use crate::channel::{Outcome, RunChannel};
use crate::claims::claim;
use crate::fault::Fault;
use crate::recorder::Direction;
use crate::world::{World, now};

const QUEUE: &str = "worker:queue";
/// The close code for a frame over the limit.
const TOO_LARGE: u16 = 1009;
/// No frame: the array is not closed.
const GARBAGE: &str = "[null,\"chaos\",{";

/// What the connection has to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Out {
    Text(String),
    Binary(Bytes),
    /// End the connection without a close frame.
    Cut,
    /// Close the socket with this code of RFC 6455.
    Close(u16),
    /// Send these after a while.
    Later(Duration, Vec<Out>),
    /// Cut every connection, this one too.
    CutAll,
    /// The reply that holds these runs has been sent.
    Claimed(Vec<String>),
}

#[derive(Debug)]
enum Channel {
    Queue,
    Run(Box<RunChannel>),
}

#[derive(Debug)]
struct Joined {
    join_ref: String,
    channel: Channel,
}

/// The channels of one connection.
#[derive(Debug)]
pub(crate) struct Session {
    socket: u64,
    channels: HashMap<String, Joined>,
    /// Runs that were claimed here, and whose reply is not sent yet.
    undelivered: Vec<String>,
}

impl Session {
    pub(crate) fn new(socket: u64) -> Self {
        Self {
            socket,
            channels: HashMap::new(),
            undelivered: Vec::new(),
        }
    }

    /// A reply to a claim was sent.
    pub(crate) fn claimed(&mut self, runs: &[String]) {
        self.undelivered.retain(|run| !runs.contains(run));
    }

    /// The connection has ended.
    pub(crate) fn ended_with(&mut self, world: &mut World) {
        world.undelivered(&std::mem::take(&mut self.undelivered));
    }

    /// True if the worker may be told of new work here.
    pub(crate) fn hears(&self, topic: &str) -> bool {
        self.channels.contains_key(topic)
    }

    /// Handles one text message. A frame of the wrong shape crashes the whole connection.
    pub(crate) fn receive(&mut self, world: &mut World, text: &str) -> Vec<Out> {
        let mut out = Vec::new();
        if text.len() > world.rules.max_frame_bytes {
            out.push(Out::Close(TOO_LARGE));
            return out;
        }
        let frame = Frame::decode_text(text).ok().and_then(|frame| {
            let Payload::Json(json) = &frame.payload else {
                return None;
            };
            let payload: Value = serde_json::from_str(json.get()).ok()?;
            Some((
                Head {
                    join_ref: frame.join_ref,
                    reference: frame.reference,
                    topic: frame.topic.as_str().to_owned(),
                    event: frame.event,
                },
                payload,
            ))
        });
        match frame {
            Some((push, payload)) => self.dispatch(world, &push, &payload, &mut out),
            None => out.push(Out::Close(1011)),
        }
        out
    }

    /// A push of the server to everyone on the topic.
    pub(crate) fn broadcast(
        &self,
        world: &mut World,
        topic: &str,
        event: &str,
        payload: &Value,
    ) -> Option<Out> {
        if !self.hears(topic) {
            return None;
        }
        // The npm mock writes `work-available` with a string and an empty ref (protocol spec, section 2.3).
        let (reference, payload) = if world.rules.quirks {
            (Some(String::new()), json!(payload.to_string()))
        } else {
            (None, payload.clone())
        };
        let head = Head {
            join_ref: None,
            reference,
            topic: topic.to_owned(),
            event: event.to_owned(),
        };
        Some(self.frame(world, &head, &payload))
    }

    fn dispatch(&mut self, world: &mut World, push: &Head, payload: &Value, out: &mut Vec<Out>) {
        self.record(world, Direction::FromWorker, push, payload);
        world.roll_back_overdue();
        if world.hung_until > now() {
            return;
        }
        let fault = world.take_fault(&push.event, payload);
        let needs_database = push.topic.starts_with("run:") && push.event != "phx_leave";
        if needs_database && now() < world.database_away_until {
            return self.crash(world, push, out);
        }
        match &fault {
            Some(Fault::CutBefore) => return out.push(Out::Cut),
            Some(Fault::Ignore) => return,
            Some(Fault::Refuse(response)) => {
                return out.push(self.reply(world, push, "error", response));
            }
            Some(Fault::Answer(response)) => {
                return out.push(self.reply(world, push, "ok", response));
            }
            Some(Fault::Crash) => return self.crash(world, push, out),
            Some(Fault::Close) => return self.end_channel(world, push, "phx_close", out),
            Some(Fault::Away(time)) => {
                world.go_away(*time);
                return out.push(Out::CutAll);
            }
            Some(Fault::DatabaseAway(time)) => {
                world.lose_database(*time);
                return self.crash(world, push, out);
            }
            Some(Fault::Hang(time)) => return world.hang(*time),
            Some(
                Fault::LoseReply
                | Fault::CutAfter
                | Fault::Delay(_)
                | Fault::Duplicate
                | Fault::Garbage,
            )
            | None => {}
        }
        let before = out.len();
        self.handle(world, push, payload, out);
        match fault {
            // Lost on the way: the server has sent it.
            Some(Fault::LoseReply) => {
                let sent = out.split_off(before).into_iter();
                out.extend(sent.filter(|out| matches!(out, Out::Claimed(_))));
            }
            Some(Fault::CutAfter) => {
                out.truncate(before);
                out.push(Out::Cut);
            }
            Some(Fault::Delay(time)) => {
                let late = out.split_off(before);
                out.push(Out::Later(time, late));
            }
            Some(Fault::Duplicate) => out.extend_from_within(before..),
            Some(Fault::Garbage) => out.insert(before, Out::Text(GARBAGE.to_owned())),
            _ => {}
        }
    }

    fn handle(&mut self, world: &mut World, push: &Head, payload: &Value, out: &mut Vec<Out>) {
        match (push.topic.as_str(), push.event.as_str()) {
            ("phoenix", "heartbeat") => {
                if !world.rules.quirks {
                    out.push(self.reply(world, push, "ok", &json!({})));
                }
            }
            (_, "phx_join") => self.join(world, push, payload, out),
            (_, "phx_leave") => self.leave(world, push, out),
            _ => self.push(world, push, payload, out),
        }
    }

    /// The process of the topic's channel dies. That of a join is a new one, which takes the place of the old one before.
    fn crash(&mut self, world: &mut World, push: &Head, out: &mut Vec<Out>) {
        if push.event != "phx_join" {
            return self.end_channel(world, push, "phx_error", out);
        }
        let reason = json!({ "reason": "join crashed" });
        out.push(self.reply(world, push, "error", &reason));
        self.end_channel(world, push, "phx_close", out);
    }

    fn join(&mut self, world: &mut World, push: &Head, payload: &Value, out: &mut Vec<Out>) {
        let replaced = self.channels.remove(&push.topic);
        let channel = if self.channels.len() >= world.rules.channel_limit {
            Err(json!({ "reason": "too many channels joined" }))
        } else {
            open(world, &push.topic, payload)
        };
        match (channel, push.join_ref.as_ref().or(push.reference.as_ref())) {
            (Ok(channel), Some(join_ref)) => {
                if let Some(run) = push.topic.strip_prefix("run:") {
                    world.joined(run);
                }
                self.channels.insert(
                    push.topic.clone(),
                    Joined {
                        join_ref: join_ref.clone(),
                        channel,
                    },
                );
                let response = if world.rules.quirks {
                    json!("ok")
                } else {
                    json!({})
                };
                out.push(self.reply(world, push, "ok", &response));
            }
            (Ok(_), None) => return out.push(Out::Close(1011)),
            (Err(refusal), _) => out.push(self.reply(world, push, "error", &refusal)),
        }
        if let Some(old) = replaced {
            out.push(self.ended(world, "phx_close", &push.topic, &old.join_ref));
        }
    }

    fn leave(&mut self, world: &mut World, push: &Head, out: &mut Vec<Out>) {
        let left = self.channels.remove(&push.topic);
        if world.rules.quirks {
            return;
        }
        out.push(self.reply(world, push, "ok", &json!({})));
        if let Some(left) = left {
            out.push(self.ended(world, "phx_close", &push.topic, &left.join_ref));
        }
    }

    fn push(&mut self, world: &mut World, push: &Head, payload: &Value, out: &mut Vec<Out>) {
        let Some(joined) = self.channels.get_mut(&push.topic) else {
            let refusal = if world.rules.quirks {
                json!(format!("There are no listeners on channel {}", push.topic))
            } else {
                json!({ "reason": "unmatched topic" })
            };
            let unjoined = Head {
                join_ref: None,
                ..push.clone()
            };
            return out.push(self.reply(world, &unjoined, "error", &refusal));
        };
        if push
            .join_ref
            .as_ref()
            .is_some_and(|join_ref| *join_ref != joined.join_ref)
        {
            return;
        }
        let mut claimed = Vec::new();
        let outcome = match &mut joined.channel {
            Channel::Queue if push.event == "claim" => {
                let (outcome, runs) = claim(world, payload);
                self.undelivered.extend_from_slice(&runs);
                claimed = runs;
                outcome
            }
            Channel::Queue => Outcome::Crash,
            Channel::Run(channel) => channel.handle(&mut world.store, &push.event, payload, now()),
        };
        if world.rules.quirks && push.event == "run:complete" && matches!(outcome, Outcome::Ok(_)) {
            self.channels.remove(&push.topic);
        }
        match outcome {
            Outcome::Ok(response) => out.push(self.reply(world, push, "ok", &response)),
            Outcome::Refused(response) => out.push(self.reply(world, push, "error", &response)),
            Outcome::Data(data) => out.push(self.binary_reply(world, push, data)),
            Outcome::Crash => self.end_channel(world, push, "phx_error", out),
            Outcome::Silence => {}
        }
        if !claimed.is_empty() {
            out.push(Out::Claimed(claimed));
        }
    }

    /// The topic's channel is gone, and the worker is told by `event`.
    fn end_channel(&mut self, world: &mut World, push: &Head, event: &str, out: &mut Vec<Out>) {
        if let Some(gone) = self.channels.remove(&push.topic) {
            out.push(self.ended(world, event, &push.topic, &gone.join_ref));
        }
    }
}

fn open(world: &World, topic: &str, payload: &Value) -> Result<Channel, Value> {
    if topic == QUEUE {
        return Ok(Channel::Queue);
    }
    let Some(id) = topic.strip_prefix("run:") else {
        return Err(json!({ "reason": "unmatched topic" }));
    };
    let quirks = world.rules.quirks;
    let refusal = |server: &str, npm: &str| {
        if quirks {
            json!(npm)
        } else {
            json!({ "reason": server })
        }
    };
    let token = payload.get("token").and_then(Value::as_str);
    if token.is_none_or(|token| world.key.verify_run(token, id, now() / 1_000_000).is_err()) {
        return Err(refusal("unauthorized", "invalid_token"));
    }
    let run = world
        .store
        .runs
        .get(id)
        .ok_or_else(|| refusal("not_found", "invalid_run_id"))?;
    Ok(Channel::Run(Box::new(RunChannel::new(run, quirks))))
}
