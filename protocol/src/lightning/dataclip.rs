//! Dataclips on the wire: as they come, and as they go.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::clean::storable;
use crate::phoenix::Payload;

/// A reply to `fetch:dataclip` that is no dataclip.
#[derive(Debug, thiserror::Error)]
pub enum DataclipError {
    /// A JSON array with something else than byte values in it.
    #[error("the dataclip is an array that holds something else than byte values")]
    NotBytes,
    /// Bytes that are not JSON.
    #[error("the dataclip is not JSON: {0}")]
    NotJson(serde_json::Error),
}

/// The JSON text of a fetched dataclip: the server replies with bytes, the npm mock with an array of byte values. A string
/// that holds JSON is taken for that JSON, and any other JSON value as it is (protocol spec, section 4.3).
///
/// # Errors
/// [`DataclipError`] when there is no JSON text in it.
pub fn dataclip_bytes(payload: &Payload) -> Result<Bytes, DataclipError> {
    match payload {
        Payload::Binary(data) => checked(data.clone()),
        Payload::Json(json) => match json.get().as_bytes().first() {
            Some(b'[') => {
                let bytes: Vec<u8> =
                    serde_json::from_str(json.get()).map_err(|_| DataclipError::NotBytes)?;
                checked(bytes.into())
            }
            Some(b'"') => {
                let text: String =
                    serde_json::from_str(json.get()).map_err(DataclipError::NotJson)?;
                Ok(checked(text.into()).unwrap_or_else(|_| as_it_is(json)))
            }
            _ => Ok(as_it_is(json)),
        },
    }
}

fn as_it_is(json: &RawValue) -> Bytes {
    Bytes::copy_from_slice(json.get().as_bytes())
}

/// Nothing at all is left to the caller, who knows what stands for it.
fn checked(bytes: Bytes) -> Result<Bytes, DataclipError> {
    if !bytes.is_empty() {
        serde_json::from_slice::<&RawValue>(&bytes).map_err(DataclipError::NotJson)?;
    }
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

    /// A state, without what Lightning cannot store (protocol spec, W27). `None` if it is no JSON object, which Lightning
    /// refuses.
    pub fn from_json(state: Bytes) -> Option<Self> {
        cleaned(state)
            .filter(|state| state.starts_with(b"{"))
            .map(Self)
    }

    /// Bytes of the JSON text.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an object has two bytes at least"
    )]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The state as JSON text, not yet escaped into a string.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made of JSON or of a string, both of which are UTF-8")
    }
}

impl Serialize for OutputDataclip {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A run's state as `final_state`: JSON, on the wire as it is (protocol spec, section 4.13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalState(Bytes);

impl FinalState {
    /// A state, without what Lightning cannot store (protocol spec, W27). `None` if it is no JSON.
    pub fn from_json(state: Bytes) -> Option<Self> {
        cleaned(state).map(Self)
    }

    /// The state as JSON, as it is sent.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    fn raw(&self) -> Result<&RawValue, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }
}

impl Serialize for FinalState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw()
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FinalState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(String::from(Box::<str>::from(raw)).into()))
    }
}

/// JSON text without what Lightning cannot store; not copied where there is nothing of that kind.
fn cleaned(state: Bytes) -> Option<Bytes> {
    let raw: &RawValue = serde_json::from_slice(&state).ok()?;
    Some(match storable(raw.get()) {
        Cow::Borrowed(text) if text.len() == state.len() => state,
        text @ (Cow::Borrowed(_) | Cow::Owned(_)) => text.into_owned().into(),
    })
}

/// What a worker has sent, unchecked.
impl<'de> Deserialize<'de> for OutputDataclip {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            dataclip_bytes(&json(r#""{\"a\":1}""#)).unwrap(),
            r#"{"a":1}"#
        );
        assert_eq!(dataclip_bytes(&json(r#""hi""#)).unwrap(), r#""hi""#);
        assert_eq!(dataclip_bytes(&json("null")).unwrap(), "null");
        assert_eq!(dataclip_bytes(&Payload::Binary(Bytes::new())).unwrap(), "");
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
        let clip =
            OutputDataclip::from_json(Bytes::from_static(br#" {"a":"\u0000\ud800"} "#)).unwrap();
        assert_eq!(clip.as_str(), r#"{"a":"\ufffd"}"#);
        assert_eq!(OutputDataclip::from_json(Bytes::from_static(b"[1]")), None);
        assert_eq!(OutputDataclip::from_json(Bytes::from_static(b"{")), None);
    }
}
