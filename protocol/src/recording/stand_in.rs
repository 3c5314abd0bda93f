//! Texts that stand for data: of the same kind and as many bytes, and nothing of it left. A stand-in stands for itself, so a
//! frame that holds some is the same after it is redacted again.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// A stand-in for one JSON value without white space around it. It reads back as it was written, also where a reader
/// prints it anew.
pub(super) fn stand_in(json: &str) -> String {
    match json.as_bytes().first() {
        Some(b'{') => object(json.len(), None),
        Some(b'[') => array(json.len()),
        Some(b'"') if json.len() >= 2 => string(json.len()),
        // A word says of which kind it is, and there is no other of this kind and length.
        Some(b't' | b'f' | b'n') => json.to_owned(),
        Some(_) => "1".repeat(json.len()),
        None => String::new(),
    }
}

/// A stand-in for a JSON string that holds JSON, of the same length in its escaped and its plain form.
pub(super) fn string_of_json(token: &str) -> String {
    let held = serde_json::from_str::<String>(token).ok();
    let held = held.filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    let Some(held) = held else {
        return string(token.len());
    };
    let trimmed = held.trim();
    let inner = match trimmed.as_bytes().first() {
        // Each escape takes one byte more; where a writer has used longer ones, that cannot be said of a state.
        Some(b'{') => object(held.len(), (token.len() - 2).checked_sub(held.len())),
        _ => stand_in(trimmed),
    };
    match serde_json::to_string(&inner) {
        Ok(text) if text.len() == token.len() => text,
        Ok(_) | Err(_) => string(token.len()),
    }
}

/// A stand-in for a token: still a JWT whose claims can be read, but signed by nobody.
pub(super) fn void_token(token: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    if let [header, claims, signature] = parts[..]
        && URL_SAFE_NO_PAD
            .decode(claims)
            .is_ok_and(|json| serde_json::from_slice::<Value>(&json).is_ok_and(|it| it.is_object()))
    {
        return format!("{header}.{claims}.{}", "A".repeat(signature.len()));
    }
    "x".repeat(token.len())
}

/// A JSON string of this many bytes, the quotes included.
pub(super) fn string(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes.saturating_sub(2)))
}

fn array(bytes: usize) -> String {
    match bytes {
        0..=2 => "[]".to_owned(),
        3 => "[1]".to_owned(),
        _ => format!("[{}]", string(bytes - 2)),
    }
}

/// An object of this many bytes; `escapes` is how many of them take a second byte inside a JSON string.
fn object(bytes: usize, escapes: Option<usize>) -> String {
    const LEAST: usize = r#"{"":""}"#.len();
    const QUOTES: usize = 4;
    match escapes {
        None if bytes == LEAST - 1 => r#"{"":0}"#.to_owned(),
        None if bytes < LEAST => format!("{{{}}}", " ".repeat(bytes.saturating_sub(2))),
        None => format!("{{\"\":{}}}", string(bytes - LEAST + 2)),
        Some(escapes)
            if escapes >= QUOTES && bytes >= LEAST && bytes - LEAST >= escapes - QUOTES =>
        {
            let (more, free) = (escapes - QUOTES, bytes - LEAST);
            // Two a backslash that is escaped already, one a line break between the parts.
            let (backslashes, breaks) = (more / 2, more % 2);
            format!(
                "{{{}\"\":\"{}{}\"}}",
                "\n".repeat(breaks),
                "\\\\".repeat(backslashes),
                "x".repeat(free - 2 * backslashes - breaks)
            )
        }
        Some(escapes) => {
            let room = bytes.saturating_sub(2);
            let breaks = escapes.min(room);
            format!("{{{}{}}}", "\n".repeat(breaks), " ".repeat(room - breaks))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any JSON value, in compact form.
    pub(in crate::recording) fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z\"\\\\\n\té\u{1}]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-c\"]{0,3}", inner), 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    fn kind(json: &str) -> std::mem::Discriminant<Value> {
        std::mem::discriminant(&serde_json::from_str::<Value>(json).unwrap())
    }

    proptest! {
        #[test]
        fn a_stand_in_is_as_long_of_the_same_kind_and_stands_for_itself(value in json()) {
            let text = value.to_string();
            let other = stand_in(&text);
            prop_assert_eq!(other.len(), text.len());
            prop_assert_eq!(kind(&other), kind(&text));
            prop_assert_eq!(stand_in(&other), other.clone());
            let printed = serde_json::from_str::<Value>(&other).unwrap().to_string();
            prop_assert_eq!(printed, other);
        }

        #[test]
        fn a_state_in_a_string_keeps_both_its_lengths(value in json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            let token = serde_json::to_string(&text).unwrap();
            let other = string_of_json(&token);
            prop_assert_eq!(other.len(), token.len());
            prop_assert_eq!(string_of_json(&other), other.clone());
            if value.is_object() {
                let held: String = serde_json::from_str(&other).unwrap();
                prop_assert_eq!(held.len(), text.len());
                prop_assert_eq!(kind(&held), kind(&text));
            }
        }
    }

    #[test]
    fn nothing_of_a_text_is_left() {
        assert_eq!(stand_in(r#"{"name":"Amina"}"#), r#"{"":"xxxxxxxxx"}"#);
        assert_eq!(stand_in("[1,2]"), r#"["x"]"#);
        assert_eq!(stand_in("-12.5"), "11111");
        assert_eq!(
            string_of_json(r#""{\"a\":\"b\\n\"}""#),
            r#""{\n\"\":\"xxx\"}""#
        );
    }

    #[test]
    fn a_token_keeps_its_claims_and_loses_its_signature() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"id":"r1","exp":12}"#);
        let void = void_token(&format!("head.{claims}.signature"));
        assert_eq!(void, format!("head.{claims}.AAAAAAAAA"));
        assert_eq!(void_token(&void), void);
        assert_eq!(crate::token::unverified_expiry(&void), Some(12));
        assert_eq!(void_token("not.a.token"), "xxxxxxxxxxx");
    }
}
