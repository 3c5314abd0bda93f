//! Tokens where none like them may be, in the reference's words.

use oxc::syntax::keyword::RESERVED_KEYWORDS;

use super::{Diagnosis, lexical::regex_end, text::is_part_of_name, translate::Translator};
use crate::source::{is_line_end, to_u32};

impl Translator<'_> {
    /// A token where none like it may be, unless the token itself is malformed.
    pub(super) fn unexpected(&self, offset: u32) -> Diagnosis {
        let rest = self.rest(offset);
        match rest.bytes().next() {
            Some(b'/') if rest.starts_with("/*") => Diagnosis::new("Unterminated comment", offset),
            Some(b'@') => Diagnosis::new("Unexpected character '@'", offset),
            Some(b'#') => self.hash(offset),
            Some(b'/') if self.can_begin_regex(offset) => self.slash(offset),
            Some(b'.') if rest.starts_with("...") => self.spread(offset),
            Some(b'\\') => self.name_escape(offset),
            Some(quote @ (b'\'' | b'"')) if !has_end(&rest[1..], quote) => {
                Diagnosis::new("Unterminated string constant", offset)
            }
            Some(b'0') if rest[1..].starts_with(|digit: char| digit.is_ascii_digit()) => {
                Diagnosis::new("Invalid number", offset)
            }
            Some(b'0') => {
                let radix = match rest.as_bytes().get(1) {
                    Some(b'x' | b'X') => 16,
                    Some(b'o' | b'O') => 8,
                    Some(b'b' | b'B') => 2,
                    _ => return self.number(offset),
                };
                if rest[2..].starts_with(|digit: char| digit.is_digit(radix)) {
                    Diagnosis::new("Unexpected token", offset)
                } else {
                    Diagnosis::new(format!("Expected number in radix {radix}"), offset + 2)
                }
            }
            Some(b'=') if rest.starts_with("=>") => self.arrow(offset),
            Some(b'e') if rest.starts_with("enum") => {
                Diagnosis::new("The keyword 'enum' is reserved", offset)
            }
            _ => self.after_word(offset),
        }
    }

    /// A token that is unexpected only because of the word before it, which the reference refuses
    /// already: a name that strict mode reserves, or a number with a leading zero.
    fn after_word(&self, offset: u32) -> Diagnosis {
        const RESERVED: [&str; 9] = [
            "implements",
            "interface",
            "let",
            "package",
            "private",
            "protected",
            "public",
            "static",
            "yield",
        ];
        match self.word_before(offset) {
            // As a modifier in a class `static` is none.
            Some((_, "static")) if self.innermost_bracket(offset) == Some('{') => {
                Diagnosis::new("Unexpected token", offset)
            }
            Some((start, word)) if RESERVED.contains(&word) => {
                Diagnosis::new(format!("The keyword '{word}' is reserved"), start)
            }
            Some((start, "async")) => self.after_async(start, offset),
            Some((start, word))
                if word.len() > 1
                    && word.starts_with('0')
                    && word.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Diagnosis::new("Invalid number", start)
            }
            _ => Diagnosis::new("Unexpected token", offset),
        }
    }

    /// `async` begins an arrow function if a name follows, so what is wrong comes after the name.
    pub(super) fn after_async(&self, start: u32, offset: u32) -> Diagnosis {
        let is_same_line = !self.source[start as usize..offset as usize].contains(is_line_end);
        match self.name_at(offset) {
            Some(end) if is_same_line => Diagnosis::new("Unexpected token", self.skip_trivia(end)),
            _ => Diagnosis::new("Unexpected token", offset),
        }
    }

    /// A private name that stands alone, or a sign without a name.
    fn hash(&self, offset: u32) -> Diagnosis {
        match self.rest(offset + 1).chars().next() {
            Some(next) if !is_part_of_name(next) && next != '\\' => {
                Diagnosis::new(format!("Unexpected character '{next}'"), offset + 1)
            }
            _ => Diagnosis::new("Unexpected token", offset),
        }
    }

    /// A slash where an operand is expected: the reference has read a regular expression already.
    fn slash(&self, offset: u32) -> Diagnosis {
        let rest = &self.rest(offset)[1..];
        let line = &rest[..rest.find(is_line_end).unwrap_or(rest.len())];
        let Some(end) = regex_end(line) else {
            return Diagnosis::new("Unterminated regular expression", offset + 1);
        };
        let flags = &line[end + 1..];
        let flags = &flags[..flags
            .find(|character| !is_part_of_name(character))
            .unwrap_or(flags.len())];
        if flags.contains(|flag| !"dgimsuvy".contains(flag)) {
            return Diagnosis::new("Invalid regular expression flag", offset + 1);
        }
        Diagnosis::new("Unexpected token", offset)
    }

    /// `...` in round brackets begins the last parameter of an arrow function.
    fn spread(&self, offset: u32) -> Diagnosis {
        let is_element = self.before(offset).trim_end().ends_with(['(', ',']);
        if !is_element || self.innermost_bracket(offset) != Some('(') {
            return Diagnosis::new("Unexpected token", offset);
        }
        let operand = self.skip_trivia(offset + 3);
        let Some(end) = self.name_at(operand) else {
            let is_pattern = self.rest(operand).starts_with(['[', '{']);
            return Diagnosis::new(
                "Unexpected token",
                if is_pattern { offset } else { operand },
            );
        };
        let next = self.skip_trivia(end);
        match self.rest(next).bytes().next() {
            Some(b',') => Diagnosis::new("Comma is not permitted after the rest element", next),
            Some(b')') => Diagnosis::new("Unexpected token", offset),
            _ => Diagnosis::new("Unexpected token", next),
        }
    }

    /// A number that begins with 0 and is none in another base.
    fn number(&self, offset: u32) -> Diagnosis {
        let exponent = self.rest(offset)[1..].strip_prefix(['e', 'E']);
        let digits = exponent.map(|digits| digits.strip_prefix(['+', '-']).unwrap_or(digits));
        if digits.is_some_and(|digits| !digits.starts_with(|digit: char| digit.is_ascii_digit())) {
            return Diagnosis::new("Invalid number", offset);
        }
        self.after_word(offset)
    }

    /// A property of an object literal that has no value although its name is no variable's.
    pub(super) fn property_without_value(&self, offset: u32) -> Diagnosis {
        match self.word_before(offset) {
            Some((start, word)) if RESERVED_KEYWORDS.contains(word) && word != "default" => {
                reserved(word, start)
            }
            _ => self.unexpected(offset),
        }
    }

    /// An arrow after something that is no list of parameters.
    fn arrow(&self, offset: u32) -> Diagnosis {
        let before = self.before(offset).trim_end();
        // Our parser gives up the arrow function for what is wrong after its sign.
        let body = self.skip_trivia(offset + 2);
        if before.ends_with(')') && self.rest(body).is_empty() {
            return Diagnosis::new("Unexpected token", body);
        }
        let inner = before
            .strip_suffix(')')
            .and_then(|inner| inner.rfind('(').map(|open| &inner[open + 1..]));
        match inner {
            Some(inner) if inner.trim_start().starts_with("await ") => {
                let start = before.len() - 1 - inner.trim_start().len();
                Diagnosis::new("Await expression cannot be a default value", to_u32(start))
            }
            _ => Diagnosis::new("Unexpected token", offset),
        }
    }
}

/// A reserved word where a name is expected.
pub(super) fn reserved(word: &str, offset: u32) -> Diagnosis {
    match word {
        "await" => Diagnosis::new(
            "Cannot use keyword 'await' outside an async function",
            offset,
        ),
        _ => Diagnosis::new(format!("Unexpected keyword '{word}'"), offset),
    }
}

/// Whether a string ends, given what follows its first quote.
fn has_end(text: &str, quote: u8) -> bool {
    let mut escaped = false;
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'\n' | b'\r' => return false,
            _ if byte == quote => return true,
            _ => {}
        }
    }
    false
}
