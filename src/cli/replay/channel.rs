//! One run's channel: how far the worker and Lightning have come in it. No I/O.

use std::collections::HashSet;
use std::time::Duration;

use protocol::ids::RunId;
use protocol::phoenix::{Frame, Payload};
use serde_json::Value;
use serde_json::value::RawValue;

use super::compare::{FieldDifference, Ids, differences};
use super::player::{Connection, Effect, Script};
use super::script::script;
use super::timeline::{Item, Said, json};

/// How many of the next pushes are looked at when the worker says something else than the next one.
const LOOK_AHEAD: usize = 12;

/// The refs under which something is said now.
#[derive(Debug, Clone)]
pub(super) struct Refs {
    connection: Connection,
    join_ref: Option<String>,
    reference: Option<String>,
}

impl Refs {
    pub(super) fn new(
        connection: Connection,
        join_ref: Option<String>,
        reference: Option<String>,
    ) -> Self {
        Self {
            connection,
            join_ref,
            reference,
        }
    }

    pub(super) fn of(connection: Connection, frame: &Frame) -> Self {
        Self::new(connection, frame.join_ref.clone(), frame.reference.clone())
    }

    /// A recorded frame of Lightning under these refs, with the ids of now.
    pub(super) fn answer(&self, recorded: &Frame, ids: &Ids) -> Effect {
        let mut frame = Frame {
            join_ref: self.join_ref.clone(),
            reference: self.reference.clone(),
            ..recorded.clone()
        };
        match &recorded.payload {
            Payload::Binary(_) => {
                let status = recorded.event.strip_prefix("phx_reply:").unwrap_or("ok");
                match frame.encode_binary_reply(status) {
                    Ok(bytes) => Effect::Binary(self.connection, bytes),
                    Err(_) => Effect::Text(self.connection, frame.encode_text()),
                }
            }
            Payload::Json(json) => {
                if frame.event.starts_with("chan_reply_") {
                    "phx_reply".clone_into(&mut frame.event);
                }
                if let Ok(json) = RawValue::from_string(ids.translated(json.get())) {
                    frame.payload = Payload::Json(json);
                }
                Effect::Text(self.connection, frame.encode_text())
            }
        }
    }
}

/// What was found in the recording for something that the worker says.
pub(super) enum Found {
    Recorded {
        /// Event and payload of what was to be said before it.
        left_out: Vec<(String, Value)>,
        fields: Vec<FieldDifference>,
        answers: Vec<Effect>,
    },
    /// The first lines of a batch, whose interval was over too soon.
    InPart,
    Unrecorded {
        /// The answer to the same push at another time, if there was one.
        answer: Option<Box<Effect>>,
    },
}

/// See the module's documentation.
pub(super) struct Channel {
    items: Vec<Item>,
    script: Script,
    /// The next item.
    next: usize,
    /// Under which refs each item was said.
    refs: Vec<Option<Refs>>,
    /// The last join.
    join: Option<Refs>,
    ids: Ids,
    /// Lines of the next item, a batch, that were said already.
    lines: usize,
    /// Items that come of an event of the engine.
    fresh: HashSet<usize>,
    /// Refusals and cancellations that are held back until the worker has said what follows them in the recording and
    /// comes of the engine: it had been on its way already.
    held: Vec<usize>,
    whole: bool,
}

impl Channel {
    pub(super) fn new(items: Vec<Item>, whole: bool) -> Self {
        let script = script(&items);
        Self {
            fresh: script.keys().copied().filter(|index| *index > 0).collect(),
            script,
            refs: vec![None; items.len()],
            items,
            next: 0,
            join: None,
            ids: Ids::default(),
            lines: 0,
            held: Vec::new(),
            whole,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.next == self.items.len() && self.held.is_empty()
    }

    /// Whether the run's end was recorded.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// The socket of the next item.
    pub(super) fn socket(&self) -> Option<u64> {
        self.items.get(self.next).map(|item| item.at().socket)
    }

    /// Whether everything that was recorded before this place is over.
    pub(super) fn has_come_to(&self, place: usize) -> bool {
        self.items
            .get(self.next)
            .is_none_or(|item| item.at().place > place)
    }

    /// The event that is waited for.
    pub(super) fn awaits(&self) -> Option<&str> {
        match self.items.get(self.next)? {
            Item::Said(said) => Some(&said.frame.event),
            Item::Heard(heard) => Some(&heard.frame.event),
        }
    }

    pub(super) fn recorded_wait(&self) -> Duration {
        let time = |index: usize| self.items.get(index).map(|item| item.at().time.as_micros());
        match (self.next.checked_sub(1).and_then(time), time(self.next)) {
            (Some(before), Some(then)) => Duration::from_micros(then.saturating_sub(before)),
            _ => Duration::ZERO,
        }
    }

    /// The worker says this.
    pub(super) fn said(&mut self, refs: &Refs, event: &str, payload: &Value) -> Found {
        if event == "phx_join" {
            self.join = Some(refs.clone());
        }
        let Some((index, fields, ids)) = self.find(event, payload) else {
            return Found::Unrecorded {
                answer: self.answered_before(refs, event, payload).map(Box::new),
            };
        };
        if index == self.next
            && let Some(lines) = self.part_of_batch(event, payload)
        {
            self.lines += lines;
            return Found::InPart;
        }
        let left_out = self.items[self.next..index]
            .iter()
            .filter_map(|item| match item {
                Item::Said(said) => Some((said.frame.event.clone(), value(said))),
                Item::Heard(_) => None,
            });
        let left_out = left_out.collect();
        self.ids = ids;
        self.lines = 0;
        self.next = index + 1;
        self.refs[index] = Some(refs.clone());
        let answers = match &self.items[index] {
            Item::Said(said) => said
                .answers
                .iter()
                .map(|(_, answer)| refs.answer(answer, &self.ids))
                .collect(),
            Item::Heard(_) => Vec::new(),
        };
        Found::Recorded {
            left_out,
            fields,
            answers,
        }
    }

    /// The item that is said, the fields that differ, and the ids after it.
    fn find(&self, event: &str, payload: &Value) -> Option<(usize, Vec<FieldDifference>, Ids)> {
        let socket = self.socket()?;
        let next = self.items.iter().enumerate().skip(self.next);
        let mut candidates = next
            .filter_map(|(index, item)| match item {
                Item::Said(said) => Some((index, said)),
                Item::Heard(_) => None,
            })
            .take_while(|(_, said)| said.at.socket == socket)
            .take(LOOK_AHEAD);
        let (first, said) = candidates.next()?;
        let against = |index: usize, said: &Said| {
            let mut recorded = value(said);
            if index == self.next
                && self.lines > 0
                && let Some(Value::Array(lines)) = recorded.get_mut("logs")
            {
                lines.drain(..self.lines.min(lines.len()));
            }
            let mut ids = self.ids.clone();
            let fields = differences(&recorded, payload, &mut ids);
            (fields, ids)
        };
        let mut same = None;
        if said.frame.event == event {
            let (fields, ids) = against(first, said);
            if fields.is_empty() || self.part_of_batch(event, payload).is_some() {
                return Some((first, Vec::new(), ids));
            }
            same = Some((first, fields, ids));
        }
        let later = candidates
            .filter(|(_, said)| said.frame.event == event)
            .find_map(|(index, said)| {
                let (fields, ids) = against(index, said);
                fields.is_empty().then_some((index, fields, ids))
            });
        later.or(same)
    }

    /// Whether these are the next lines of the batch that is waited for, and not all of them: how many they are.
    fn part_of_batch(&self, event: &str, payload: &Value) -> Option<usize> {
        let Some(Item::Said(said)) = self.items.get(self.next) else {
            return None;
        };
        if event != "run:batch_logs" || said.frame.event != event {
            return None;
        }
        let mut recorded = value(said);
        let lines = recorded.get_mut("logs")?.as_array_mut()?;
        let now = payload.get("logs")?.as_array()?.len();
        if now == 0 || self.lines + now >= lines.len() {
            return None;
        }
        lines.truncate(self.lines + now);
        lines.drain(..self.lines);
        let same = differences(&recorded, payload, &mut self.ids.clone()).is_empty();
        same.then_some(now)
    }

    fn answered_before(&self, refs: &Refs, event: &str, payload: &Value) -> Option<Effect> {
        let mut before = self.items[..self.next].iter().rev();
        before.find_map(|item| match item {
            Item::Said(said) if said.frame.event == event && value(said) == *payload => {
                let (_, answer) = said.answers.first()?;
                Some(refs.answer(answer, &self.ids))
            }
            Item::Said(_) | Item::Heard(_) => None,
        })
    }

    /// Lightning's and the engine's turn, up to the next thing that the worker has to say.
    pub(super) fn go_on(&mut self, run: &RunId, effects: &mut Vec<Effect>) {
        loop {
            match self.items.get(self.next) {
                None => {
                    self.let_go(effects);
                    return;
                }
                Some(Item::Heard(_)) => {
                    self.held.push(self.next);
                    if !self.may_cross(self.next) {
                        self.let_go(effects);
                    }
                    self.next += 1;
                }
                Some(Item::Said(_)) => {
                    if !self.fresh.contains(&self.next) {
                        self.let_go(effects);
                    }
                    self.tell(self.next, run, effects);
                    // What closes a batch comes with it, so that it need not wait for its interval.
                    if self.closes_batch(self.next + 1) {
                        self.tell(self.next + 1, run, effects);
                    }
                    return;
                }
            }
        }
    }

    /// What the engine said before this item, and was not told yet.
    fn tell(&mut self, index: usize, run: &RunId, effects: &mut Vec<Effect>) {
        let later = self.script.split_off(&(index + 1));
        let told = std::mem::replace(&mut self.script, later);
        let told = told.into_values().flatten();
        effects.extend(told.map(|told| Effect::Tell(run.clone(), Box::new(told))));
    }

    fn closes_batch(&self, index: usize) -> bool {
        let event = |index: usize| match self.items.get(index) {
            Some(Item::Said(said)) => Some((said.at.socket, said.frame.event.as_str())),
            Some(Item::Heard(_)) | None => None,
        };
        match (event(self.next), event(index)) {
            (Some((before, "run:batch_logs")), Some((socket, event))) => {
                before == socket && event != "run:batch_logs"
            }
            _ => false,
        }
    }

    /// Whether the worker may have said what follows before it had read this.
    fn may_cross(&self, index: usize) -> bool {
        let mut following = self.items.iter().enumerate().skip(index);
        let said = following.find(|(_, item)| !is_refusal(item));
        said.is_some_and(|(next, item)| matches!(item, Item::Said(_)) && self.fresh.contains(&next))
    }

    /// Whether something is held back.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Gives what is held back.
    pub(super) fn let_go(&mut self, effects: &mut Vec<Effect>) {
        for index in std::mem::take(&mut self.held) {
            self.hear(index, effects);
        }
    }

    fn hear(&self, index: usize, effects: &mut Vec<Effect>) {
        let Some(Item::Heard(heard)) = self.items.get(index) else {
            return;
        };
        let refs = match heard.about {
            Some(about) => self.refs.get(about).cloned().flatten(),
            None => self.join.clone().map(|join| {
                let reference = heard.frame.reference.clone();
                let join_ref = heard.frame.join_ref.as_ref().and(join.join_ref);
                Refs::new(join.connection, join_ref, reference)
            }),
        };
        // What the worker did not say cannot be answered.
        if let Some(refs) = refs {
            effects.push(refs.answer(&heard.frame, &self.ids));
        }
    }
}

/// Whether this leaves the channel as it is, and may change what the worker says next.
fn is_refusal(item: &Item) -> bool {
    matches!(item, Item::Heard(heard) if !matches!(heard.frame.event.as_str(), "phx_error" | "phx_close"))
}

fn value(said: &Said) -> Value {
    serde_json::from_str(json(&said.frame)).unwrap_or(Value::Null)
}
