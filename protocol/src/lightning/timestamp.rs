//! Points in time as Lightning wants them.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Microseconds since the epoch, on the wire a string of 16 digits (protocol spec, section 4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From microseconds since the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub fn as_micros(self) -> u64 {
        self.0
    }

    /// This many milliseconds earlier, as the worker's own lines are dated (protocol spec, section 5.2).
    pub fn minus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_sub(millis.saturating_mul(1000)))
    }

    /// This many microseconds later.
    pub fn plus_micros(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016}", self.0)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(DigitsVisitor)
    }
}

struct DigitsVisitor;

impl Visitor<'_> for DigitsVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time of 16 digits, microseconds since the epoch")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(micros) if digits => Ok(Timestamp(micros)),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_a_string_of_sixteen_digits() {
        let time = Timestamp::from_micros(1_767_225_600_123_456);
        assert_eq!(
            serde_json::to_string(&time).unwrap(),
            "\"1767225600123456\""
        );
        assert_eq!(time.minus_millis(10).as_micros(), 1_767_225_600_113_456);
        for bad in [
            "\"123\"",
            "\"+123456789012345\"",
            "1767225600123456",
            "null",
        ] {
            assert!(serde_json::from_str::<Timestamp>(bad).is_err(), "{bad}");
        }
        assert_eq!(
            serde_json::from_str::<Timestamp>("\"1767225600123456\"").unwrap(),
            time
        );
    }
}
