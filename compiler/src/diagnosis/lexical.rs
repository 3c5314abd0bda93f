//! Errors inside tokens, in the reference's words.

use oxc::{span::Span, syntax::identifier::is_identifier_start};

use super::{Diagnosis, messages::REGEX, text::is_part_of_name, translate::Translator};
use crate::{
    nesting,
    source::{is_line_end, to_u32},
};

impl Translator<'_> {
    /// Errors inside a token.
    pub(super) fn lexical(&self, message: &str, at: Span) -> Option<Diagnosis> {
        let start = at.start;
        Some(match message {
            "Unterminated string" if self.rest(start).starts_with(['\'', '"']) => {
                Diagnosis::new("Unterminated string constant", start).found_at(at.end)
            }
            // An unfinished `${…}` makes our parser take the rest of the source for a template.
            "Unterminated string" if !self.rest(start).starts_with(['`', '}']) => {
                let brace = nesting::unfinished_substitution(self.source);
                Diagnosis::new("Unexpected token", brace.unwrap_or(start))
            }
            "Unterminated string"
                if self.rest(start).starts_with('}')
                    && let Some(brace) = nesting::unfinished_substitution(self.source)
                    && brace <= start =>
            {
                Diagnosis::new("Unexpected token", brace)
            }
            "Unterminated string" if at.end == start + 1 => {
                Diagnosis::new("Unterminated template literal", at.end).found_at(start)
            }
            "Unterminated string" => {
                Diagnosis::new("Unterminated template", start + 1).found_at(start)
            }
            "Unterminated regular expression" => {
                in_regex("Unterminated regular expression", start + 1)
            }
            "Bad escape sequence in untagged template literal" => Diagnosis::new(
                message,
                self.facts
                    .template_texts
                    .iter()
                    .rfind(|span| span.start <= start)
                    .map_or(start, |span| span.start),
            ),
            "Invalid escape sequence" => self.escape(start),
            "Invalid Unicode escape sequence" => self.name_escape(start),
            "'0'-prefixed octal literals and octal escape sequences are deprecated" => {
                match self.facts.strings.iter().find(|span| span.start == start) {
                    Some(string) => {
                        Diagnosis::new("Octal literal in strict mode", self.octal_escape(*string))
                    }
                    None => Diagnosis::new("Invalid number", start),
                }
            }
            "Invalid characters after number" => self.after_number(start),
            _ if message.starts_with("Invalid Character `") => self.character(start),
            _ if message.starts_with("Unexpected flag") => {
                in_regex("Invalid regular expression flag", self.regex_before(start))
            }
            _ if message.starts_with("Flag ") => in_regex(
                "Duplicate regular expression flag",
                self.regex_before(start),
            ),
            _ => {
                let reason = message.strip_prefix("Invalid regular expression: ")?;
                self.regex(reason, start)
            }
        })
    }

    /// A bad escape in a string, a template or a name, which starts with a backslash at `start`.
    fn escape(&self, start: u32) -> Diagnosis {
        let rest = self.rest(start);
        if let Some(digits) = rest.strip_prefix("\\u{") {
            let hex = digits.split_once('}').map_or("", |(hex, _)| hex);
            if !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Diagnosis::new("Code point out of bounds", start + 3);
            }
            return Diagnosis::new("Bad character escape sequence", start + 3);
        }
        Diagnosis::new("Bad character escape sequence", start + 2)
    }

    /// The first octal escape of a string.
    fn octal_escape(&self, string: Span) -> u32 {
        let text = &self.source.as_bytes()[string.start as usize..string.end as usize];
        let mut at = 0;
        while at + 1 < text.len() {
            if text[at] == b'\\' {
                let is_null =
                    text[at + 1] == b'0' && !text.get(at + 2).is_some_and(u8::is_ascii_digit);
                if text[at + 1].is_ascii_digit() && !is_null {
                    return string.start + to_u32(at);
                }
                at += 1;
            }
            at += 1;
        }
        string.start
    }

    /// What follows a number where nothing may.
    fn after_number(&self, start: u32) -> Diagnosis {
        let before = &self.source[..start as usize];
        if self.rest(start).starts_with('_') && before.ends_with('_') {
            return Diagnosis::new("Numeric separator must be exactly one underscore", start);
        }
        if before.ends_with('_') {
            return Diagnosis::new(
                "Numeric separator is not allowed at the last of digits",
                start - 1,
            )
            .found_at(start);
        }
        let digits = before
            .trim_end_matches(|digit: char| digit.is_ascii_digit())
            .len();
        if before[digits..].len() > 1 && before[digits..].starts_with('0') {
            return Diagnosis::new("Invalid number", to_u32(digits));
        }
        match self.rest(start).chars().next() {
            Some(next) if !is_identifier_start(next) => self.unexpected(start),
            _ => Diagnosis::new("Identifier directly after number", start),
        }
    }

    /// A character that can begin no token.
    fn character(&self, start: u32) -> Diagnosis {
        let before = &self.source[..start as usize];
        let unsigned = before.strip_suffix(['+', '-']).unwrap_or(before);
        let number = unsigned.trim_end_matches(|character: char| {
            character.is_ascii_alphanumeric() || character == '.'
        });
        let number = &unsigned[number.len()..];
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            if number.eq_ignore_ascii_case(prefix) {
                return Diagnosis::new(format!("Expected number in radix {radix}"), start);
            }
        }
        if number.starts_with(|character: char| character.is_ascii_digit())
            && number.ends_with(['e', 'E'])
        {
            return Diagnosis::new("Invalid number", to_u32(unsigned.len() - number.len()));
        }
        let word = before.trim_end_matches(is_part_of_name).len();
        if before[word..].starts_with(|character: char| character.is_ascii_digit()) {
            return self.after_number(start);
        }
        if let Some(escape) = before.rfind("\\u") {
            let between = &before[escape + 2..];
            if between
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'{')
            {
                return Diagnosis::new("Invalid Unicode escape", to_u32(escape));
            }
        }
        match self.rest(start).chars().next() {
            Some(character) => Diagnosis::new(format!("Unexpected character '{character}'"), start),
            None => Diagnosis::new("Unexpected token", start),
        }
    }

    /// Where the pattern of the regular expression begins whose flags are at an offset.
    fn regex_before(&self, flags: u32) -> u32 {
        let before = &self.source[..flags as usize];
        let Some(close) = before.rfind('/') else {
            return flags;
        };
        let line = before[..close].rsplit(is_line_end).next();
        let line = close - line.map_or(0, str::len);
        let mut start = close;
        for (index, _) in before[line..close].match_indices('/') {
            let open = line + index;
            let is_escaped = before[..open].ends_with('\\');
            if !is_escaped && regex_end(&before[open + 1..=close]) == Some(close - open - 1) {
                start = open;
                break;
            }
        }
        to_u32(start + 1)
    }

    /// The pattern of a regular expression that an offset is in, and where it begins, as far as
    /// the line tells.
    fn regex_around(&self, at: u32) -> Option<(u32, &str)> {
        let before = self.before(at);
        let line = before.rfind(is_line_end).unwrap_or(0);
        before[line..].match_indices('/').find_map(|(index, _)| {
            let start = line + index + 1;
            let pattern = &self.source[start..];
            let end = regex_end(pattern).filter(|end| start + end >= at as usize)?;
            Some((to_u32(start), &pattern[..end]))
        })
    }

    fn regex(&self, reason: &str, at: u32) -> Diagnosis {
        let regex = self
            .facts
            .regexes
            .iter()
            .find(|(span, _)| span.start <= at && at <= span.end)
            .map(|(span, pattern)| (span.start + 1, pattern.as_str()))
            .or_else(|| self.regex_around(at));
        let reason = match REGEX.iter().find(|(ours, _)| reason.starts_with(ours)) {
            Some((_, theirs)) => theirs,
            None if reason.starts_with("Could not parse the entire pattern") => self.leftover(at),
            None if reason.starts_with("Numbers out of order") => {
                if self.before(at).ends_with(['/', '(', '|', '^', ':', '=']) {
                    "Nothing to repeat"
                } else {
                    "numbers out of order in {} quantifier"
                }
            }
            None => reason,
        };
        match regex {
            Some((start, pattern)) => in_regex(
                &format!("Invalid regular expression: /{pattern}/: {reason}"),
                start,
            ),
            None => Diagnosis::new(format!("Invalid regular expression: {reason}"), at),
        }
    }

    /// Why nothing in a pattern can begin at an offset.
    fn leftover(&self, at: u32) -> &'static str {
        let before = self.before(at);
        match self.rest(at).as_bytes() {
            [b'c' | b'u', ..] if before.ends_with('\\') => "Invalid unicode escape",
            _ if before.ends_with('\\') => "Invalid escape",
            [b')', ..] => "Unmatched ')'",
            [b'{', ..] if !before.ends_with(['/', '(', '|', '^', '}']) => "Incomplete quantifier",
            _ => "Lone quantifier brackets",
        }
    }

    /// A bad escape in a name, whose backslash is at an offset.
    pub(super) fn name_escape(&self, start: u32) -> Diagnosis {
        // Our parser points behind the backslash.
        let start = if self.rest(start).starts_with('\\') {
            start
        } else {
            start.saturating_sub(1)
        };
        match self.rest(start + 1).bytes().next() {
            Some(b'u') => self.escape(start),
            _ => Diagnosis::new("Expecting Unicode escape sequence \\uXXXX", start + 1),
        }
    }
}

/// An error in a regular expression, which is found when the expression has been read.
fn in_regex(text: &str, pattern: u32) -> Diagnosis {
    Diagnosis::new(text, pattern).found_at(pattern.saturating_sub(1))
}

/// Where the slash is that ends a regular expression's pattern, given what follows its first slash.
pub(super) fn regex_end(text: &str) -> Option<usize> {
    let mut in_class = false;
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'/' if !in_class => return Some(index),
            _ => {}
        }
    }
    None
}
