//! What all contexts of QuickJS have in common: how they are made, and what is read of what they throw.

use rquickjs::CaughtError;

/// What every context is made like before anything else.
pub(crate) const REALM: &str = include_str!("realm.js");

/// The message of what was thrown.
pub(crate) fn message_of(error: &CaughtError<'_>) -> String {
    match error {
        CaughtError::Error(error) => error.to_string(),
        CaughtError::Exception(exception) => exception.message().unwrap_or_default(),
        CaughtError::Value(value) => value
            .as_string()
            .and_then(|text| text.to_string().ok())
            .unwrap_or_else(|| "not an error".to_owned()),
    }
}
