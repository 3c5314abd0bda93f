//! Values that are shown outside the program by one word each: in metrics, in `/status`, in logs and on the wire.

use strum::VariantArray;

/// A value out of a small set, each with its own word.
///
/// Derived, so that neither the set nor a word can be forgotten when a variant is added:
///
/// ```
/// use protocol::words::Word;
///
/// #[derive(Clone, Copy, serde::Serialize, strum::IntoStaticStr, strum::VariantArray)]
/// #[serde(into = "&'static str")]
/// #[strum(serialize_all = "lowercase")]
/// enum Light {
///     Red,
///     Green,
/// }
///
/// assert_eq!(Light::Red.word(), "red");
/// assert_eq!(Light::words(), ["red", "green"]);
/// assert_eq!(serde_json::to_string(&Light::Green).unwrap(), "\"green\"");
/// ```
pub trait Word: VariantArray + Copy + Into<&'static str> {
    /// The word of this value.
    fn word(self) -> &'static str {
        self.into()
    }

    /// The words of all values, in the order of their definition.
    fn words() -> Vec<&'static str> {
        Self::VARIANTS.iter().map(|value| value.word()).collect()
    }
}

impl<T: VariantArray + Copy + Into<&'static str>> Word for T {}
