//! Dataclips on the wire: as they come, and as they go.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::phoenix::Payload;

/// A reply to `fetch:dataclip` that is no dataclip.
#[derive(Debug, thiserror::Error)]
pub enum DataclipError {
    /// A JSON array with something else than byte values in it.
    #[error("the dataclip is an array that holds something else than byte values")]
    NotBytes,
    /// Bytes that are not JSON.
    #[error("the dataclip is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
}

/// The JSON text of a fetched dataclip: the server replies with bytes, the npm mock with an array of byte values, and a
/// plain JSON value is taken as it is (protocol spec, section 4.3).
///
/// # Errors
/// [`DataclipError`] when there is no JSON text in it.
pub fn dataclip_bytes(payload: &Payload) -> Result<Bytes, DataclipError> {
    let bytes = match payload {
        Payload::Binary(data) => data.clone(),
        Payload::Json(json) if json.get().trim_start().starts_with('[') => Bytes::from(
            serde_json::from_str::<Vec<u8>>(json.get()).map_err(|_| DataclipError::NotBytes)?,
        ),
        Payload::Json(json) => return Ok(Bytes::copy_from_slice(json.get().as_bytes())),
    };
    if bytes.is_empty() {
        return Ok(bytes);
    }
    serde_json::from_slice::<&RawValue>(&bytes).map_err(DataclipError::NotJson)?;
    Ok(bytes)
}

/// A step's state as `output_dataclip`: JSON text, on the wire a string that holds it (protocol spec, section 4.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputDataclip(Bytes);

impl OutputDataclip {
    /// The dataclip of a step that left no state.
    pub fn empty() -> Self {
        Self(Bytes::from_static(b"{}"))
    }

    /// A state, without the null characters that Lightning's database cannot store (W27). `None` if it is no JSON object,
    /// which Lightning refuses.
    pub fn from_json(state: Bytes) -> Option<Self> {
        let raw: &RawValue = serde_json::from_slice(&state).ok()?;
        if !raw.get().starts_with('{') {
            return None;
        }
        let cleaned = match without_nul(raw.get()) {
            Cow::Borrowed(text) if text.len() == state.len() => None,
            text => Some(Bytes::from(text.into_owned())),
        };
        Some(Self(cleaned.unwrap_or(state)))
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        // `from_json` has read it as JSON, which is UTF-8.
        std::str::from_utf8(&self.0).unwrap_or("{}")
    }
}

impl Serialize for OutputDataclip {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// JSON text without the escapes of U+0000, which PostgreSQL cannot store in `jsonb`. An escaped backslash before
/// `u0000` is text, not an escape, and stays.
pub fn without_nul(json: &str) -> Cow<'_, str> {
    const ESCAPE: &str = "\\u0000";
    if !json.contains(ESCAPE) {
        return Cow::Borrowed(json);
    }
    let mut clean = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        clean.push_str(before);
        if let Some(after) = escape.strip_prefix(ESCAPE) {
            rest = after;
        } else {
            // The backslash and the character that it escapes, which may be a backslash.
            let end = escape
                .char_indices()
                .nth(2)
                .map_or(escape.len(), |(end, _)| end);
            clean.push_str(&escape[..end]);
            rest = &escape[end..];
        }
    }
    clean.push_str(rest);
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> Payload {
        Payload::Json(RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn all_forms_of_a_dataclip_are_read() {
        let bytes = Bytes::from_static(br#"{"a":1}"#);
        assert_eq!(
            dataclip_bytes(&Payload::Binary(bytes.clone())).unwrap(),
            bytes
        );
        assert_eq!(
            dataclip_bytes(&json("[123,34,97,34,58,49,125]")).unwrap(),
            bytes
        );
        assert_eq!(dataclip_bytes(&json(r#"{"a":1}"#)).unwrap(), bytes);
        assert_eq!(dataclip_bytes(&json("null")).unwrap(), "null");
        assert!(matches!(
            dataclip_bytes(&json("[300]")),
            Err(DataclipError::NotBytes)
        ));
        let garbage = Payload::Binary(Bytes::from_static(b"{"));
        assert!(matches!(
            dataclip_bytes(&garbage),
            Err(DataclipError::NotJson(_))
        ));
    }

    #[test]
    fn a_state_goes_out_as_a_string_that_holds_it() {
        let clip =
            OutputDataclip::from_json(Bytes::from_static(br#"{"data":{"q":"\"\\"}}"#)).unwrap();
        let text = serde_json::to_string(&clip).unwrap();
        assert_eq!(
            serde_json::from_str::<String>(&text).unwrap(),
            r#"{"data":{"q":"\"\\"}}"#
        );
        assert_eq!(OutputDataclip::from_json(Bytes::from_static(b"[1]")), None);
        assert_eq!(OutputDataclip::from_json(Bytes::from_static(b"{")), None);
    }

    #[test]
    fn null_characters_are_taken_out_and_their_likeness_stays() {
        assert_eq!(without_nul(r#"{"a":"x\u0000y"}"#), r#"{"a":"xy"}"#);
        assert_eq!(without_nul(r#"{"a":"x\\u0000y"}"#), r#"{"a":"x\\u0000y"}"#);
        assert_eq!(without_nul(r#"{"a":"x\\\u0000y"}"#), r#"{"a":"x\\y"}"#);
    }

    proptest! {
        #[test]
        fn cleaning_only_takes_null_characters_out(text in "[\\x00a\\\\u0é\"]{0,40}") {
            let written = serde_json::to_string(&text).unwrap();
            let read: String = serde_json::from_str(&without_nul(&written)).unwrap();
            prop_assert_eq!(read, text.replace('\0', ""));
        }

        #[test]
        fn no_input_makes_it_panic(text in ".*") {
            let _clean = without_nul(&text);
        }
    }
}
