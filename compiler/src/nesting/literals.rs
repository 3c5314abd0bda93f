//! Names' letters, literals and comments: what is moved over without a look at what it says.

use super::{Before, Frame, Kind, MAX_FRUITLESS, Scan};
use crate::source::{is_line_end, is_space, to_u32};

impl Scan<'_> {
    /// Moves over a word or number.
    pub(super) fn word(&mut self) {
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'$' | b'#' => self.at += 1,
                b'\\' => match self.unicode_escape() {
                    Some(end) => self.at = end,
                    None => return self.bad_escape(),
                },
                0x80.. => {
                    let character = self.text[self.at..].chars().next().unwrap_or(' ');
                    if is_space(character) || is_line_end(character) {
                        return;
                    }
                    self.at += character.len_utf8();
                }
                _ => return,
            }
        }
    }

    /// Where the escape at hand ends, if it is a sound `\uXXXX` or `\u{…}`.
    pub(super) fn unicode_escape(&self) -> Option<usize> {
        let digits = self.text[self.at..].strip_prefix("\\u")?;
        let start = self.at + 2;
        if let Some(code_point) = digits.strip_prefix('{') {
            let end = code_point.find('}')?;
            let is_hex = code_point[..end]
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit());
            return (end > 0 && is_hex).then_some(start + end + 2);
        }
        let digits = digits.as_bytes().get(..4)?;
        digits
            .iter()
            .all(u8::is_ascii_hexdigit)
            .then_some(start + 4)
    }

    /// The parser may go on after a malformed escape in another way than the scan would.
    pub(super) fn bad_escape(&mut self) {
        self.nesting.bad_escape = Some(to_u32(self.at));
        self.give_up();
    }

    pub(super) fn slash(&mut self) {
        match self.before {
            Before::Operand => self.divide(),
            Before::Start | Before::Operator | Before::KeywordOperator | Before::Colon => {
                match self.regex_end() {
                    Some(end) => self.regex(end),
                    None => self.divide(),
                }
            }
            Before::Brace | Before::IncDec => match self.regex_end() {
                None => self.divide(),
                Some(end) if is_harmless(&self.bytes[self.at + 1..end - 1]) => self.regex(end),
                Some(_) => self.give_up(),
            },
        }
    }

    pub(super) fn divide(&mut self) {
        self.at += 1;
        self.deepen();
        self.set(Before::Operator);
    }

    /// Where a regular expression that begins here ends, if it ends on this line.
    pub(super) fn regex_end(&mut self) -> Option<usize> {
        let end = self.find_regex_end();
        if end.is_none() {
            // What was looked through is looked at again. A text in which that happens all the
            // time is none that the parser would take.
            self.fruitless += self.line_end() - self.at;
            if self.fruitless > MAX_FRUITLESS * self.bytes.len() {
                self.nesting.depth = u32::MAX;
            }
        }
        end
    }

    pub(super) fn line_end(&self) -> usize {
        let rest = &self.bytes[self.at..];
        self.at
            + rest
                .iter()
                .position(|&byte| byte == b'\n')
                .unwrap_or(rest.len())
    }

    pub(super) fn find_regex_end(&self) -> Option<usize> {
        let mut in_class = false;
        let mut at = self.at + 1;
        loop {
            match self.bytes.get(at)? {
                b'\n' | b'\r' => return None,
                b'\\' => at += 1,
                b'[' => in_class = true,
                b']' => in_class = false,
                b'/' if !in_class => return Some(at + 1),
                0xe2 if self.text[at..].starts_with(is_line_end) => return None,
                _ => {}
            }
            at += 1;
            while at < self.bytes.len() && !self.text.is_char_boundary(at) {
                at += 1;
            }
        }
    }

    /// Moves over a regular expression, whose groups and classes nest as well.
    pub(super) fn regex(&mut self, end: usize) {
        let mut open = 0_u32;
        let mut deepest = 0;
        let mut escaped = false;
        for &byte in &self.bytes[self.at..end] {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'(' | b'[' => open += 1,
                b')' | b']' => open = open.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(open);
        }
        self.begin_operand();
        let depth = self.below + self.frame().chain + 1 + deepest;
        self.nesting.depth = self.nesting.depth.max(depth);
        self.at = end;
        self.word();
        self.set(Before::Operand);
    }

    pub(super) fn string(&mut self, quote: u8) {
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'\\' if self.next_is(0, b'u') => {
                    self.at -= 1;
                    match self.unicode_escape() {
                        Some(end) => self.at = end,
                        None => return self.bad_escape(),
                    }
                }
                b'\\' => self.at += usize::from(self.at < self.bytes.len()),
                b'\n' | b'\r' => break,
                _ if byte == quote => break,
                _ => {}
            }
        }
        self.align();
        self.set(Before::Operand);
    }

    /// Moves over the text of a template, up to its end or to a substitution.
    pub(super) fn template(&mut self) {
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'\\' => self.at += usize::from(self.at < self.bytes.len()),
                b'`' => break,
                b'$' if self.next_is(0, b'{') => {
                    self.at += 1;
                    self.below += self.frame().chain + 1;
                    self.frames.push(Frame::new(Kind::Substitution));
                    self.nesting.depth = self.nesting.depth.max(self.below + 1);
                    self.set(Before::Operator);
                    return;
                }
                _ => {}
            }
        }
        self.align();
        self.set(Before::Operand);
    }

    /// An escape may have ended inside a character.
    pub(super) fn align(&mut self) {
        while !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
    }

    pub(super) fn skip_line(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest
            .find(|character| is_line_end(character) || character == '\r')
            .unwrap_or(rest.len());
    }

    pub(super) fn block_comment(&mut self) {
        let rest = &self.text[self.at + 2..];
        let length = rest.find("*/").map_or(rest.len(), |end| end + 2);
        self.after_line_end |=
            rest[..length].contains(|character| is_line_end(character) || character == '\r');
        self.at += 2 + length;
    }
}

/// Whether the text between two slashes nests the same whether it is code or not.
fn is_harmless(bytes: &[u8]) -> bool {
    !bytes.iter().any(|byte| {
        matches!(
            byte,
            b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'"' | b'\'' | b'`' | b'/' | b'*' | b'\\'
        )
    })
}
