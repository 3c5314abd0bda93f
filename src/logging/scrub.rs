//! Keeps secrets out of the log, whoever wrote the line.

use std::borrow::Cow;

use actors::config::Secret;

/// What stands for a secret.
const STARS: &str = "***";
/// A shorter secret is no secret, and replacing it would make every line unreadable.
const SHORTEST: usize = 6;
/// How the header of every JSON web token begins: `{"` in base64.
const TOKEN_START: &str = "eyJ";

/// Replaces the worker's own secrets, and everything that looks like a signed token (worker token, run tokens), by `***`.
pub(super) struct Scrubber(Vec<Secret>);

impl Scrubber {
    pub(super) fn new(secrets: &[Secret]) -> Self {
        Self(
            secrets
                .iter()
                .filter(|secret| secret.expose().len() >= SHORTEST)
                .cloned()
                .collect(),
        )
    }

    pub(super) fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.0 {
            if text.contains(secret.expose()) {
                text = Cow::Owned(text.replace(secret.expose(), STARS));
            }
        }
        if text.contains(TOKEN_START) {
            Cow::Owned(without_tokens(&text))
        } else {
            text
        }
    }
}

fn without_tokens(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(TOKEN_START) {
        clean.push_str(&rest[..start]);
        let candidate = &rest[start..];
        let end = candidate
            .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
            .unwrap_or(candidate.len());
        let is_token = candidate[..end].matches('.').count() >= 2;
        clean.push_str(if is_token { STARS } else { &candidate[..end] });
        rest = &candidate[end..];
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(text: &str) -> String {
        Scrubber::new(&[Secret::new("open sesame"), Secret::new("abc")])
            .clean(text)
            .into_owned()
    }

    #[test]
    fn a_secret_is_replaced_wherever_it_stands() {
        assert_eq!(
            clean("signed with open sesame (open sesame)"),
            "signed with *** (***)"
        );
    }

    #[test]
    fn a_secret_too_short_to_be_one_is_left() {
        assert_eq!(clean("abc"), "abc");
    }

    #[test]
    fn a_signed_token_is_replaced_and_the_text_around_it_stays() {
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJ1cm4ifQ.c2lnbmF0dXJl-_x";
        assert_eq!(
            clean(&format!("ws://h/websocket?token={token}&vsn=2.0.0 {token}")),
            "ws://h/websocket?token=***&vsn=2.0.0 ***"
        );
    }

    #[test]
    fn a_word_that_only_begins_like_a_token_is_left() {
        assert_eq!(clean("eyJet and eyJ.a, done"), "eyJet and eyJ.a, done");
        assert_eq!(clean("eyJé"), "eyJé");
    }
}
