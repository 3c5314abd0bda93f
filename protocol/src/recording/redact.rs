//! Takes secrets and data out of frames, byte for byte. What is not known to be harmless is replaced.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::stand_in::{stand_in, string, string_of_json, void_token};
use crate::lightning::RunPush;
use crate::logs;
use crate::phoenix::{Frame, Payload};

/// Pushes that are remembered, so that it is known what an answer is about. An answer that comes later is replaced whole.
const REMEMBERED: usize = 8192;

/// Who sent a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Lightning sent it.
    In,
    /// The worker sent it.
    Out,
}

/// Replaces what must not be in a recording. Frames have to come in the order in which they were sent and received.
#[derive(Debug)]
pub struct Redactor {
    /// Dataclips and log texts stay.
    data: bool,
    /// The events of the last pushes, by socket and ref.
    events: HashMap<(u64, String), String>,
    order: VecDeque<(u64, String)>,
}

type Fields<'a> = IndexMap<Cow<'a, str>, &'a RawValue>;

#[derive(Deserialize)]
struct List<'a>(#[serde(borrow)] Vec<&'a RawValue>);

impl Redactor {
    /// A redactor that lets dataclips and log texts pass if `data` is set; credentials and tokens never pass.
    pub fn new(data: bool) -> Self {
        Self {
            data,
            events: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// A text frame as it may be kept: as many bytes as it had.
    pub fn text(&mut self, socket: u64, direction: Direction, text: &str) -> String {
        let Ok(List(parts)) = serde_json::from_str::<List<'_>>(text) else {
            return "x".repeat(text.len());
        };
        let [_, reference, _, event, payload, more @ ..] = &parts[..] else {
            return "x".repeat(text.len());
        };
        let (Some(reference), Some(event)) = (plain(reference), plain(event)) else {
            return "x".repeat(text.len());
        };
        let mut edits = Edits::new(text);
        for part in more {
            edits.hide(part);
        }
        let known = match direction {
            Direction::Out => {
                self.remember(socket, &reference, &event);
                self.pushed(&event, payload, &mut edits)
            }
            Direction::In if event == "phx_reply" || event.starts_with("chan_reply_") => {
                let about = self.events.get(&(socket, reference.into_owned()));
                self.answered(about.map(String::as_str), payload, &mut edits)
            }
            Direction::In => match &*event {
                "phx_close" | "phx_error" | "work-available" => Some(()),
                event if RunPush::from_name(event).is_some() => Some(()),
                _ => None,
            },
        };
        if known.is_none() {
            edits.hide(payload);
        }
        edits.finish()
    }

    /// A binary frame of Lightning as it may be kept: as many bytes as it had. Only dataclips are known to come so.
    pub fn binary(&self, socket: u64, bytes: &Bytes) -> Bytes {
        self.dataclip(socket, bytes)
            .unwrap_or_else(|| "x".repeat(bytes.len()).into())
    }

    fn dataclip(&self, socket: u64, bytes: &Bytes) -> Option<Bytes> {
        let mut frame = Frame::decode_binary_from_server(bytes).ok()?;
        let status = frame.event.strip_prefix("phx_reply:")?.to_owned();
        let about = self.events.get(&(socket, frame.reference.clone()?));
        if self.data && about.is_some_and(|event| event == "fetch:dataclip") {
            return Some(bytes.clone());
        }
        let Payload::Binary(data) = &frame.payload else {
            return None;
        };
        let text = std::str::from_utf8(data).ok()?;
        let raw: &RawValue = serde_json::from_str(text).ok()?;
        let start = text.find(raw.get())?;
        let mut out = text.to_owned();
        out.replace_range(start..start + raw.get().len(), &stand_in(raw.get()));
        frame.payload = Payload::Binary(out.into());
        frame.encode_binary_reply(&status).ok()
    }

    fn remember(&mut self, socket: u64, reference: &str, event: &str) {
        let key = (socket, reference.to_owned());
        if self.events.insert(key.clone(), event.to_owned()).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.events.remove(&oldest);
        }
    }

    /// A push of the worker; `None` when it is not understood, and must be replaced whole.
    fn pushed<'a>(&self, event: &str, payload: &'a RawValue, edits: &mut Edits<'a>) -> Option<()> {
        match event {
            "claim" | "heartbeat" | "phx_leave" | "fetch:plan" | "fetch:dataclip"
            | "fetch:credential" | "run:start" | "step:start" => {}
            "phx_join" => {
                if let Some(token) = fields(payload)?.get("token") {
                    edits.void(token);
                }
            }
            "run:log" => self.line(&fields(payload)?, edits),
            "run:batch_logs" => {
                let List(lines) = serde_json::from_str(fields(payload)?.get("logs")?.get()).ok()?;
                for line in lines {
                    self.line(&fields(line)?, edits);
                }
            }
            "step:complete" | "run:complete" if self.data => {}
            "step:complete" | "run:complete" => {
                let fields = fields(payload)?;
                if let Some(state) = fields.get("output_dataclip") {
                    edits.put(state, string_of_json(state.get()));
                }
                for name in ["webhook_response", "final_state", "error_message"] {
                    if let Some(value) = fields.get(name) {
                        edits.hide(value);
                    }
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// A line of a run's log.
    fn line<'a>(&self, line: &Fields<'a>, edits: &mut Edits<'a>) {
        let Some(message) = line.get("message") else {
            return;
        };
        if self.data {
            return;
        }
        let Ok(List(parts)) = serde_json::from_str::<List<'_>>(message.get()) else {
            edits.hide(message);
            return;
        };
        let source = line.get("source").and_then(|source| plain(source));
        if let ([only], Some(source)) = (&parts[..], source)
            && plain(only).is_some_and(|text| logs::is_own_line(&source, &text))
        {
            return;
        }
        for part in parts {
            edits.hide(part);
        }
    }

    /// An answer of Lightning to a push of this event.
    fn answered<'a>(
        &self,
        event: Option<&str>,
        payload: &'a RawValue,
        edits: &mut Edits<'a>,
    ) -> Option<()> {
        let fields = fields(payload)?;
        let status = plain(fields.get("status")?)?;
        let Some(response) = fields.get("response") else {
            return Some(());
        };
        // What is wrong is said in words of Lightning's, and decides what the worker does.
        if status != "ok" {
            return Some(());
        }
        match event {
            Some(
                "phx_join" | "phx_leave" | "heartbeat" | "run:start" | "run:log" | "run:batch_logs"
                | "step:start" | "step:complete" | "run:complete",
            ) => {}
            Some("claim") => claimed(response, edits).unwrap_or_else(|| edits.hide(response)),
            Some("fetch:plan") => {
                self.planned(response, edits)
                    .unwrap_or_else(|| edits.hide(response));
            }
            Some("fetch:dataclip") if self.data => {}
            Some("fetch:dataclip") => match response.get().as_bytes().first() {
                Some(b'"') => edits.put(response, string_of_json(response.get())),
                // Byte values, which only the npm mock sends.
                Some(b'[') => {
                    let blank = " ".repeat(response.get().len().saturating_sub(2));
                    edits.put(response, format!("{{{blank}}}"));
                }
                _ => edits.hide(response),
            },
            _ => edits.hide(response),
        }
        Some(())
    }

    /// A plan: job code stays, for nothing could be replayed without it.
    fn planned<'a>(&self, plan: &'a RawValue, edits: &mut Edits<'a>) -> Option<()> {
        let List(jobs) = serde_json::from_str(fields(plan)?.get("jobs")?.get()).ok()?;
        for job in jobs {
            let job = fields(job)?;
            if let Some(inline) = job.get("credential")
                && !inline.get().starts_with('"')
            {
                edits.hide(inline);
            }
            if let Some(state) = job.get("state")
                && !self.data
            {
                edits.hide(state);
            }
        }
        Some(())
    }
}

/// The runs of a claim: their ids stay, and their tokens become void.
fn claimed<'a>(response: &'a RawValue, edits: &mut Edits<'a>) -> Option<()> {
    if response.get() == "null" {
        return Some(());
    }
    for (key, value) in fields(response)? {
        if key != "runs" {
            edits.hide(value);
            continue;
        }
        let List(runs) = serde_json::from_str(value.get()).ok()?;
        for run in runs {
            match fields(run) {
                None => edits.hide(run),
                Some(run) => {
                    for (key, value) in run {
                        match &*key {
                            "id" => {}
                            "token" => edits.void(value),
                            _ => edits.hide(value),
                        }
                    }
                }
            }
        }
    }
    Some(())
}

fn fields(json: &RawValue) -> Option<Fields<'_>> {
    serde_json::from_str(json.get()).ok()
}

/// A JSON string; null is the empty one.
fn plain(json: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Option<Cow<'a, str>>);
    let Text(text) = serde_json::from_str(json.get()).ok()?;
    Some(text.unwrap_or_default())
}

/// A text of which parts are replaced by others of the same length.
struct Edits<'a> {
    before: &'a str,
    after: Vec<u8>,
}

impl<'a> Edits<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            before: text,
            after: text.as_bytes().to_vec(),
        }
    }

    fn hide(&mut self, part: &'a RawValue) {
        self.put(part, stand_in(part.get()));
    }

    fn void(&mut self, token: &'a RawValue) {
        let inner = token.get().strip_prefix('"');
        match inner.and_then(|inner| inner.strip_suffix('"')) {
            Some(inner) => self.put(token, format!("\"{}\"", void_token(inner))),
            None => self.hide(token),
        }
    }

    fn put(&mut self, part: &'a RawValue, other: String) {
        let part = part.get();
        // A part that was read from the text lies in it.
        let start = part
            .as_ptr()
            .addr()
            .wrapping_sub(self.before.as_ptr().addr());
        let other = if other.len() == part.len() {
            other
        } else {
            string(part.len())
        };
        if let Some(place) = self.after.get_mut(start..start.saturating_add(other.len())) {
            place.copy_from_slice(other.as_bytes());
        }
    }

    fn finish(self) -> String {
        let bytes = self.before.len();
        String::from_utf8(self.after).unwrap_or_else(|_| "x".repeat(bytes))
    }
}

#[cfg(test)]
mod tests;
