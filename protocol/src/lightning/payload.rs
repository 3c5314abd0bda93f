//! The payload of a push: whole, or with a state so long that it is escaped while it is written.

use bytes::Bytes;
use serde::Serialize;

use super::dataclip::{FinalState, OutputDataclip};

/// Bytes of a state that make one piece.
const PIECE: usize = 64 << 10;

/// The payload of a push, a JSON object.
#[derive(Debug)]
pub enum PushPayload {
    /// JSON in one piece.
    Whole(Bytes),
    /// It ends with a long state.
    Long(LongPayload),
}

impl PushPayload {
    /// How long the JSON is, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Whole(json) => json.len(),
            Self::Long(long) => long.bytes(),
        }
    }
}

impl From<Vec<u8>> for PushPayload {
    fn from(json: Vec<u8>) -> Self {
        Self::Whole(json.into())
    }
}

/// A JSON object whose last field is a state. A state may have megabytes, and every run has one, so no copy of it is made
/// as a whole.
#[derive(Debug, Clone)]
pub struct LongPayload {
    /// The JSON up to where the state begins.
    open: Vec<u8>,
    state: State,
}

/// How a report has its state.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// As a string that holds JSON.
    Escaped(OutputDataclip),
    /// As the JSON that it is.
    Raw(FinalState),
}

impl LongPayload {
    /// `others` with this state as a last field of this name.
    ///
    /// # Errors
    /// When the other fields cannot be written as JSON.
    pub(super) fn try_new<T: Serialize>(
        others: &T,
        field: &str,
        state: State,
    ) -> Result<Self, serde_json::Error> {
        let mut open = serde_json::to_vec(others)?;
        let brace = open.pop();
        debug_assert_eq!(brace, Some(b'}'), "a report is written as an object");
        open.extend_from_slice(format!(",\"{field}\":").as_bytes());
        Ok(Self { open, state })
    }

    /// Bytes of all pieces.
    pub fn bytes(&self) -> usize {
        let state = match &self.state {
            State::Escaped(state) => QUOTE.len() + escaped_len(state.as_str()) + QUOTE.len(),
            State::Raw(state) => state.as_bytes().len(),
        };
        self.open.len() + state + CLOSE.len()
    }

    /// The JSON, in order.
    ///
    /// # Errors
    /// None in practice: a text can always be written to memory.
    pub fn pieces(&self) -> impl Iterator<Item = Result<Bytes, serde_json::Error>> {
        let (quote, mut text, raw) = match &self.state {
            State::Escaped(state) => (QUOTE, state.as_str(), Bytes::new()),
            State::Raw(state) => (&[][..], "", state.as_bytes().clone()),
        };
        let escaped = std::iter::from_fn(move || {
            let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE));
            text = rest;
            (!piece.is_empty()).then(|| escaped(piece))
        });
        let raw = (0..raw.len())
            .step_by(PIECE)
            .map(move |at| Ok(raw.slice(at..raw.len().min(at + PIECE))));
        let quote = || std::iter::once(Ok(Bytes::from_static(quote)));
        std::iter::once(Ok(Bytes::copy_from_slice(&self.open)))
            .chain(quote())
            .chain(escaped)
            .chain(raw)
            .chain(quote())
            .chain(std::iter::once(Ok(Bytes::from_static(CLOSE))))
    }
}

const QUOTE: &[u8] = b"\"";
const CLOSE: &[u8] = b"}";

/// A text as JSON has it between the quotes.
fn escaped(text: &str) -> Result<Bytes, serde_json::Error> {
    let mut json = Vec::with_capacity(text.len() + text.len() / 4);
    serde_json::to_writer(&mut json, text)?;
    let json = Bytes::from(json);
    Ok(json.slice(1..json.len() - 1))
}

/// How many bytes a text takes inside a JSON string, which a frame's header must say before the first of them is written.
pub fn escaped_len(text: &str) -> usize {
    let more = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0..0x20 => 5,
        _ => 0,
    };
    text.len() + text.bytes().map(more).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_length_is_that_of_the_escaped_text(text in any::<String>()) {
            prop_assert_eq!(escaped_len(&text), escaped(&text).unwrap().len());
        }
    }

    #[test]
    fn control_characters_are_measured_as_they_are_escaped() {
        let all: String = (0..=0xff_u8).map(char::from).collect();
        assert_eq!(escaped_len(&all), escaped(&all).unwrap().len());
    }
}
