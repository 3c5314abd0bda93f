//! The shapes in which the server refuses something, and checks of single fields of a payload.

use serde_json::{Map, Value, json};

/// Text for a field that has to be there.
pub(crate) const BLANK: &str = "This field can't be blank.";

/// `{"errors":{"<field>":["<text>"]}}`.
pub(crate) fn field_error(field: &str, text: &str) -> Value {
    json!({ "errors": { field: [text] } })
}

/// The text under `field`.
///
/// # Errors
/// A refusal if it is missing, null, empty or no string.
pub(crate) fn required_text<'a>(
    payload: &'a Map<String, Value>,
    field: &str,
) -> Result<&'a str, Value> {
    optional_text(payload, field)?
        .filter(|text| !text.is_empty())
        .ok_or_else(|| field_error(field, BLANK))
}

/// The text under `field`; `None` if it is missing or null.
///
/// # Errors
/// A refusal if it is neither string nor null.
pub(crate) fn optional_text<'a>(
    payload: &'a Map<String, Value>,
    field: &str,
) -> Result<Option<&'a str>, Value> {
    match payload.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(field_error(field, "is invalid")),
    }
}

/// The UUID under `field`, which the worker made itself.
///
/// # Errors
/// A refusal if it is missing or not written as a UUID with hyphens.
pub(crate) fn required_uuid<'a>(
    payload: &'a Map<String, Value>,
    field: &str,
) -> Result<&'a str, Value> {
    let text = required_text(payload, field)?;
    if is_uuid(text) {
        Ok(text)
    } else {
        Err(field_error(field, "is invalid"))
    }
}

/// True for 36 characters of a UUID with hyphens.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

/// The time under `timestamp` in microseconds: a string of 16 digits (µs) or 13 digits (ms), or an integer (ms)
/// (protocol spec, section 4.6).
///
/// # Errors
/// A refusal for anything else.
pub(crate) fn optional_timestamp(payload: &Map<String, Value>) -> Result<Option<u64>, Value> {
    let invalid = || field_error("timestamp", "is invalid");
    match payload.get("timestamp") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            let number: u64 = text.parse().map_err(|_| invalid())?;
            match text.len() {
                16 => Ok(Some(number)),
                13 => Ok(Some(number * 1000)),
                _ => Err(invalid()),
            }
        }
        Some(Value::Number(number)) => number
            .as_u64()
            .and_then(|millis| millis.checked_mul(1000))
            .map(Some)
            .ok_or_else(invalid),
        Some(_) => Err(invalid()),
    }
}

/// Whether a text anywhere in a value holds U+0000, which PostgreSQL stores neither as `text` nor in `jsonb` (protocol
/// spec, W27).
pub(crate) fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, field)| name.contains('\0') || holds_nul(field)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timestamp(value: Value) -> Result<Option<u64>, Value> {
        optional_timestamp(&Map::from_iter([("timestamp".to_owned(), value)]))
    }

    #[test]
    fn timestamps_are_16_or_13_digits_or_an_integer() {
        assert_eq!(
            timestamp(json!("1767225600123456")),
            Ok(Some(1_767_225_600_123_456))
        );
        assert_eq!(
            timestamp(json!("1767225600123")),
            Ok(Some(1_767_225_600_123_000))
        );
        assert_eq!(
            timestamp(json!(1_767_225_600_123_u64)),
            Ok(Some(1_767_225_600_123_000))
        );
        assert_eq!(timestamp(Value::Null), Ok(None));
        for wrong in [
            json!("17672256001234567"),
            json!("176722560012345x"),
            json!(""),
            json!(1.5),
            json!(-1),
            json!({}),
        ] {
            assert_eq!(
                timestamp(wrong.clone()),
                Err(field_error("timestamp", "is invalid")),
                "{wrong}"
            );
        }
    }

    #[test]
    fn only_hyphenated_uuids_count() {
        assert!(is_uuid("6718b8f4-f3dd-4da7-8874-b3c38f79bf3d"));
        assert!(!is_uuid("6718b8f4f3dd4da78874b3c38f79bf3d"));
        assert!(!is_uuid("s1"));
    }
}
