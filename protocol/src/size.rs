//! Sizes, with their unit in the type.

use std::fmt;

use crate::js;

const BYTES: f64 = 1_048_576.0;

/// A size in MiB, as limits are given: often a whole number, not always.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd)]
pub struct Mebibytes(f64);

impl Mebibytes {
    /// So many MiB.
    pub const fn new(mebibytes: f64) -> Self {
        Self(mebibytes)
    }

    /// The size of so many bytes.
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    pub fn from_bytes(bytes: u64) -> Self {
        Self(bytes as f64 / BYTES)
    }

    /// How many MiB, for the wire and for messages.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Whole MiB, rounded down.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from a float saturates, and turns NaN into 0"
    )]
    pub fn whole(self) -> u64 {
        self.0 as u64
    }

    /// Whole bytes, rounded down; none for what is no number or negative, the most there are for what does not fit.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from a float saturates, and turns NaN into 0"
    )]
    pub fn bytes(self) -> u64 {
        (self.0 * BYTES) as u64
    }
}

/// The number alone, as JavaScript prints it.
impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&js::number(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_whole_and_bounded() {
        assert_eq!(Mebibytes::new(0.5).bytes(), 524_288);
        assert_eq!(Mebibytes::from_bytes(1_572_864).whole(), 1);
        assert_eq!(Mebibytes::new(-1.0).bytes(), 0);
        assert_eq!(Mebibytes::new(f64::NAN).bytes(), 0);
        assert_eq!(Mebibytes::new(f64::INFINITY).bytes(), u64::MAX);
    }

    #[test]
    fn a_size_is_printed_as_in_javascript() {
        assert_eq!(Mebibytes::new(10.0).to_string(), "10");
        assert_eq!(Mebibytes::from_bytes(1_572_864).to_string(), "1.5");
    }
}
