//! JSON that every reader takes and a database can store.
//!
//! JavaScript strings may hold halves of surrogate pairs, and `JSON.stringify` writes them as escapes. They are no text:
//! Lightning cannot read a frame with one and drops the whole socket for it. U+0000 is text, but PostgreSQL stores it
//! neither in `text` nor in `jsonb` (protocol spec, section 10.1, W27).

use std::borrow::Cow;

/// The length of `\u0000`.
const ESCAPE: usize = 6;
const REPLACEMENT: &str = "\\ufffd";

/// JSON text with halves of surrogate pairs replaced by U+FFFD.
pub fn readable(json: &str) -> Cow<'_, str> {
    clean(json, false)
}

/// JSON text with halves of surrogate pairs replaced by U+FFFD, and without U+0000.
pub fn storable(json: &str) -> Cow<'_, str> {
    clean(json, true)
}

fn clean(json: &str, drop_nul: bool) -> Cow<'_, str> {
    if !json.contains("\\u") {
        return Cow::Borrowed(json);
    }
    let bytes = json.as_bytes();
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(|byte| *byte == b'\\'))
    {
        let start = at + found;
        let Some(unit) = escaped_unit(bytes, start) else {
            // The backslash and the character that it escapes, which may be a backslash.
            at = start + 2;
            continue;
        };
        at = start + ESCAPE;
        let replacement = match unit {
            0 if drop_nul => "",
            0xd800..=0xdbff if matches!(escaped_unit(bytes, at), Some(0xdc00..=0xdfff)) => {
                at += ESCAPE;
                continue;
            }
            0xd800..=0xdfff => REPLACEMENT,
            _ => continue,
        };
        // Both ends are beside ASCII characters, so they are character borders.
        out.push_str(&json[copied..start]);
        out.push_str(replacement);
        copied = at;
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(&json[copied..]);
    Cow::Owned(out)
}

/// The UTF-16 unit whose escape begins here.
fn escaped_unit(bytes: &[u8], start: usize) -> Option<u16> {
    let digits = bytes.get(start..start + ESCAPE)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn null_characters_are_taken_out_and_their_likeness_stays() {
        for (json, clean) in [
            (r#"{"a":"x\u0000y"}"#, r#"{"a":"xy"}"#),
            (r#"{"a":"x\\u0000y"}"#, r#"{"a":"x\\u0000y"}"#),
            (r#"{"a":"x\\\u0000y"}"#, r#"{"a":"x\\y"}"#),
            (r#"{"a":"\u0000\u0000é\u0001"}"#, r#"{"a":"é\u0001"}"#),
        ] {
            assert_eq!(storable(json), clean);
            assert_eq!(readable(json), json);
        }
    }

    #[test]
    fn halves_of_surrogate_pairs_are_replaced_and_pairs_stay() {
        for (json, clean) in [
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\uD83D\uDE00""#, r#""\uD83D\uDE00""#),
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\ud83dx\ude00""#, r#""\ufffdx\ufffd""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
        ] {
            assert_eq!(readable(json), clean);
            assert_eq!(storable(json), clean);
        }
    }

    #[test]
    fn text_without_such_escapes_is_not_copied() {
        for json in ["{}", r#""\n\\u0000 \u0041""#] {
            assert!(matches!(storable(json), Cow::Borrowed(_)));
        }
    }

    proptest! {
        #[test]
        fn cleaning_only_takes_null_characters_out_of_text(text in "[\\x00a\\\\u0é😀\"]{0,40}") {
            let written = serde_json::to_string(&text).unwrap();
            let read: String = serde_json::from_str(&storable(&written)).unwrap();
            prop_assert_eq!(read, text.replace('\0', ""));
            prop_assert_eq!(readable(&written), written.as_str());
        }

        #[test]
        fn what_javascript_writes_becomes_readable(units in prop::collection::vec(prop_oneof![
            Just(0u16), Just(0x41), Just(0x5c), 0xd7f0u16..=0xe010, any::<u16>(),
        ], 0..20)) {
            let written = format!("\"{}\"", units.iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>());
            let read: String = serde_json::from_str(&readable(&written)).unwrap();
            prop_assert_eq!(read, String::from_utf16_lossy(&units));
            let read: String = serde_json::from_str(&storable(&written)).unwrap();
            prop_assert_eq!(read, String::from_utf16_lossy(&units).replace('\0', ""));
        }

        #[test]
        fn no_input_makes_it_panic(text in ".*", escapes in "[\\\\ud80é]{0,30}") {
            let _clean = storable(&text);
            let _clean = storable(&escapes);
        }
    }
}
