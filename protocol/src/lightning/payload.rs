//! The payload of a push: whole, or with a state so long that it is escaped while it is written.

use bytes::Bytes;

use super::dataclip::OutputDataclip;

/// Bytes of a state that make one piece.
const PIECE: usize = 64 << 10;

/// The payload of a push, a JSON object.
#[derive(Debug)]
pub enum PushPayload {
    /// All of it.
    Whole(Bytes),
    /// It ends with a long state.
    Long(LongPayload),
}

impl From<Vec<u8>> for PushPayload {
    fn from(json: Vec<u8>) -> Self {
        Self::Whole(json.into())
    }
}

/// A JSON object whose last field is a state, as a string. A state may have megabytes and there is one for each run, so
/// no copy of it is made as a whole.
#[derive(Debug)]
pub struct LongPayload {
    open: Vec<u8>,
    state: OutputDataclip,
}

impl LongPayload {
    const CLOSE: &[u8] = br#""}"#;

    /// `open` is the object up to the quote that opens the string.
    pub(super) fn new(open: Vec<u8>, state: OutputDataclip) -> Self {
        Self { open, state }
    }

    /// Bytes of all pieces.
    pub fn bytes(&self) -> usize {
        self.open.len() + escaped_len(self.state.as_str()) + Self::CLOSE.len()
    }

    /// The JSON, in order.
    ///
    /// # Errors
    /// None in practice: a text can always be written to memory.
    pub fn pieces(&self) -> impl Iterator<Item = Result<Vec<u8>, serde_json::Error>> {
        let mut rest = self.state.as_str();
        let state = std::iter::from_fn(move || {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE));
            rest = after;
            (!piece.is_empty()).then(|| escaped(piece))
        });
        std::iter::once(Ok(self.open.clone()))
            .chain(state)
            .chain(std::iter::once(Ok(Self::CLOSE.to_vec())))
    }
}

/// A text as JSON has it between the quotes.
fn escaped(text: &str) -> Result<Vec<u8>, serde_json::Error> {
    let mut json = Vec::with_capacity(text.len() + text.len() / 4);
    serde_json::to_writer(&mut json, text)?;
    json.pop();
    json.remove(0);
    Ok(json)
}

/// How many bytes [`escaped`] makes, which a frame's header must say before the first of them is written.
fn escaped_len(text: &str) -> usize {
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
