//! Tokens where none like them may be, in the reference's words.

use oxc::syntax::{identifier::is_identifier_start, keyword::RESERVED_KEYWORDS};

use super::{
    Diagnosis, Found, Stage, lexical::regex_end, text::is_part_of_name, translate::Translator,
};
use crate::source::{is_line_end, is_space, to_u32};

/// Words that no variable may have for a name in strict mode, and that are no keywords of it.
const RESERVED: [&str; 10] = [
    "enum",
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

impl Translator<'_> {
    /// A token where none like it may be, unless the token itself is malformed.
    pub(super) fn unexpected(&self, offset: u32) -> Diagnosis {
        if let Some(malformed) = self.malformed(offset) {
            return malformed;
        }
        let rest = self.rest(offset);
        if rest.starts_with("...") {
            self.spread(offset)
        } else if rest.starts_with("=>") {
            self.arrow(offset)
        } else if rest.starts_with(',') && self.follows_rest(offset) {
            Diagnosis::new("Comma is not permitted after the rest element", offset)
        } else if let Some(word) = self.reserved_at(offset)
            && self.follows_operator(offset)
        {
            self.keyword(word, offset)
        } else {
            self.after_word(offset)
        }
    }

    /// What is wrong inside the token that begins at an offset, as far as its first characters
    /// tell.
    pub(super) fn malformed(&self, offset: u32) -> Option<Diagnosis> {
        let rest = self.rest(offset);
        match rest.chars().next()? {
            '/' if rest.starts_with("/*") => Some(Diagnosis::new("Unterminated comment", offset)),
            '/' if self.can_begin_regex(offset) => self.slash(offset),
            '#' => self.hash(offset),
            quote @ ('\'' | '"') if string_end(rest, quote).is_none() => {
                Some(Diagnosis::new("Unterminated string constant", offset))
            }
            first if !begins_token(first) => Some(unexpected_character(first, offset)),
            _ => None,
        }
    }

    /// Where the token stands whose content is in question when the reference finds an error.
    pub(super) fn token_in_question(&self, diagnosis: &Diagnosis) -> Option<u32> {
        match diagnosis.text.as_str() {
            "Unexpected token" | "Unterminated string constant" => Some(diagnosis.offset),
            // The token after a name, for one, is read before the name is looked at.
            _ => {
                let Found { token, stage, .. } = diagnosis.found;
                (stage == Stage::Checking && token > diagnosis.offset).then_some(token)
            }
        }
    }

    /// The string, the number or the word with escapes that begins at an offset.
    pub(super) fn token_with_content(&self, offset: u32) -> Option<String> {
        let rest = self.rest(offset);
        let first = rest.chars().next()?;
        if let '\'' | '"' = first {
            return Some(match string_end(rest, first) {
                Some(end) => rest[..end].to_owned(),
                None => {
                    let line = &rest[..rest.find(is_line_end).unwrap_or(rest.len())];
                    format!("{line}{first}")
                }
            });
        }
        let is_number = rest
            .strip_prefix('.')
            .unwrap_or(rest)
            .starts_with(|digit: char| digit.is_ascii_digit());
        let is_part = |character: char| is_part_of_name(character) || character == '\\';
        let word = if is_number {
            let word = |text: &str| {
                let end = text.find(|character| !is_part(character) && character != '.');
                end.unwrap_or(text.len())
            };
            let end = word(rest);
            let has_exponent = rest[..end].ends_with(['e', 'E']) && !rest.starts_with("0x");
            let sign = has_exponent && rest[end..].starts_with(['+', '-']);
            let tail = end + usize::from(sign);
            &rest[..if sign {
                tail + word(&rest[tail..])
            } else {
                end
            }]
        } else {
            let end = rest.find(|character| !is_part(character) && !matches!(character, '{' | '}'));
            let word = &rest[..end.unwrap_or(rest.len())];
            if !word.contains('\\') {
                return None;
            }
            // Curly brackets belong to a word in escapes only.
            let escape = word.rfind('\\').unwrap_or(0);
            let brace = word[escape..].find('}').map(|end| escape + end + 1);
            match word
                .find('{')
                .filter(|open| *open != word.find("\\u").unwrap_or(0) + 2)
            {
                Some(open) => &word[..open],
                None => &word[..brace.unwrap_or(word.len())],
            }
        };
        Some(word.to_owned())
    }

    /// A token that is unexpected only because of the word before it, which the reference refuses
    /// already: a name that strict mode reserves, or a number with a leading zero.
    fn after_word(&self, offset: u32) -> Diagnosis {
        match self.word_before(offset) {
            // As a modifier in a class `static` is none.
            Some((_, "static")) if self.innermost_bracket(offset) == Some('{') => {
                Diagnosis::new("Unexpected token", offset)
            }
            Some((start, word)) if RESERVED.contains(&word) && word != "enum" => {
                self.keyword(word, start)
            }
            Some((start, "async")) => self.after_async(start, offset),
            Some((start, "using")) => self.after_using(start, offset),
            // Our parser takes it for TypeScript's, before a type.
            Some((start, "as" | "satisfies"))
                if !self.is_in_module_list(offset) && self.follows_operand(start) =>
            {
                Diagnosis::new("Unexpected token", start)
            }
            Some((start, word))
                if is_bad_number(word)
                    && self.before(offset).len() == start as usize + word.len()
                    || is_octal_number(word) =>
            {
                Diagnosis::new("Invalid number", start)
            }
            _ => Diagnosis::new("Unexpected token", offset),
        }
    }

    /// The word at an offset that strict mode reserves.
    fn reserved_at(&self, offset: u32) -> Option<&'static str> {
        let end = self.name_or_keyword_at(offset)?;
        let word = &self.source[offset as usize..end as usize];
        RESERVED.into_iter().find(|reserved| *reserved == word)
    }

    /// `async` begins an arrow function if a name follows, so what is wrong comes after the name.
    pub(super) fn after_async(&self, start: u32, offset: u32) -> Diagnosis {
        let is_same_line = !self.source[start as usize..offset as usize].contains(is_line_end);
        // Not so where only an operand may be, or a new name.
        let before = self.before(start).trim_end_matches(is_space);
        let is_operand = before.ends_with(|last| "+-*/%&|^<>.!~".contains(last))
            && !before.ends_with("=>")
            && !before.ends_with("...");
        let is_name = matches!(self.word_before(start), Some((_, "const" | "let" | "var")));
        match self.name_at(offset) {
            Some(end) if is_same_line && !is_operand && !is_name => {
                Diagnosis::new("Unexpected token", self.skip_trivia(end))
            }
            _ => Diagnosis::new("Unexpected token", offset),
        }
    }

    /// `using` begins a declaration if a word follows on its line, which may be a reserved one.
    fn after_using(&self, start: u32, offset: u32) -> Diagnosis {
        let is_same_line = !self.source[start as usize..offset as usize].contains(is_line_end);
        let end = self.name_or_keyword_at(offset).unwrap_or(offset);
        let word = &self.source[offset as usize..end as usize];
        let is_name = RESERVED_KEYWORDS.contains(word) && !matches!(word, "in" | "instanceof");
        if is_same_line && is_name && self.begins_statement(start) {
            self.reserved(word, offset)
        } else {
            Diagnosis::new("Unexpected token", offset)
        }
    }

    /// Whether a word, perhaps with `await` before it, begins a statement, as far as what stands
    /// before it tells.
    fn begins_statement(&self, word: u32) -> bool {
        let before = self.before(word).trim_end_matches(is_space);
        let before = before.strip_suffix("await").unwrap_or(before);
        let line =
            before.trim_end_matches(|character| is_space(character) && !is_line_end(character));
        line.is_empty() || line.ends_with([';', '{', '}', ')']) || line.ends_with(is_line_end)
    }

    /// A sign for a private name without a name.
    fn hash(&self, offset: u32) -> Option<Diagnosis> {
        let Some(next) = self.rest(offset + 1).chars().next() else {
            // At the end of the text the reference names the character that it makes of no code.
            return Some(unexpected_character('\u{10000}', offset + 1));
        };
        let is_name = is_identifier_start(next) || next == '\\';
        (!is_name).then(|| unexpected_character(next, offset + 1))
    }

    /// A slash where an operand is expected: the reference has read a regular expression already.
    fn slash(&self, offset: u32) -> Option<Diagnosis> {
        let rest = &self.rest(offset)[1..];
        let line = &rest[..rest.find(is_line_end).unwrap_or(rest.len())];
        let Some(end) = regex_end(line) else {
            return Some(Diagnosis::new(
                "Unterminated regular expression",
                offset + 1,
            ));
        };
        let flags = &line[end + 1..];
        let flags = &flags[..flags
            .find(|character| !is_part_of_name(character))
            .unwrap_or(flags.len())];
        let is_unknown = flags.contains(|flag| !"dgimsuvy".contains(flag));
        is_unknown.then(|| Diagnosis::new("Invalid regular expression flag", offset + 1))
    }

    /// `...` in round brackets begins the last parameter of an arrow function.
    fn spread(&self, offset: u32) -> Diagnosis {
        let is_element = self.before(offset).trim_end().ends_with(['(', ',']);
        if !is_element || self.innermost_bracket(offset) != Some('(') {
            return Diagnosis::new("Unexpected token", offset);
        }
        let operand = self.skip_trivia(offset + 3);
        let Some(end) = self.name_at(operand) else {
            if let Some(end) = self.name_or_keyword_at(operand) {
                return self.reserved(&self.source[operand as usize..end as usize], operand);
            }
            let is_pattern = self.rest(operand).starts_with(['[', '{']);
            return Diagnosis::new(
                "Unexpected token",
                if is_pattern { offset } else { operand },
            );
        };
        if let Some(word) = self.reserved_at(operand) {
            return self.keyword(word, operand);
        }
        let next = self.skip_trivia(end);
        match self.rest(next).bytes().next() {
            Some(b',') => Diagnosis::new("Comma is not permitted after the rest element", next),
            Some(b')') => Diagnosis::new("Unexpected token", offset),
            _ => Diagnosis::new("Unexpected token", next),
        }
    }

    /// A property of an object literal that has no value although its name is no variable's.
    pub(super) fn property_without_value(&self, offset: u32) -> Diagnosis {
        match self.word_before(offset) {
            Some((start, word)) if RESERVED_KEYWORDS.contains(word) && word != "default" => {
                self.reserved(word, start)
            }
            _ => self.unexpected(offset),
        }
    }

    /// An arrow after something that is no list of parameters.
    fn arrow(&self, offset: u32) -> Diagnosis {
        let before = self.before(offset).trim_end();
        // Our parser gives up the arrow function for what is wrong after its sign.
        let body = self.skip_trivia(offset + 2);
        let is_same_line = !self.source[before.len()..offset as usize].contains(is_line_end);
        let is_call = |before: &str| {
            before.ends_with([')', ']'])
                || before.ends_with(is_part_of_name) && !before.ends_with("async")
        };
        let list = self.before_brackets(to_u32(before.len()));
        let is_list = before.ends_with(')') && !list.is_some_and(is_call);
        if is_list && is_same_line && self.rest(body).is_empty() {
            return Diagnosis::new("Unexpected token", body);
        }
        let inner = before
            .strip_suffix(')')
            .and_then(|inner| inner.rfind('(').map(|open| &inner[open + 1..]));
        match inner {
            Some(inner) if inner.trim_start().starts_with("await ") && is_list && is_same_line => {
                let start = before.len() - 1 - inner.trim_start().len();
                Diagnosis::new("Await expression cannot be a default value", to_u32(start))
            }
            _ => Diagnosis::new("Unexpected token", offset),
        }
    }

    /// A reserved word where a name is expected.
    pub(super) fn reserved(&self, word: &str, offset: u32) -> Diagnosis {
        let text = match word {
            "await" => "Cannot use keyword 'await' outside an async function".to_owned(),
            _ => format!("Unexpected keyword '{word}'"),
        };
        self.after_next_token(Diagnosis::new(text, offset), word)
    }

    /// A word that is reserved in strict mode, where a name is expected.
    pub(super) fn keyword(&self, word: &str, offset: u32) -> Diagnosis {
        let text = format!("The keyword '{word}' is reserved");
        self.after_next_token(Diagnosis::new(text, offset), word)
    }

    /// An error about a word, which the reference finds when it has read one token more.
    pub(super) fn after_next_token(&self, diagnosis: Diagnosis, word: &str) -> Diagnosis {
        let next = self.skip_trivia(diagnosis.offset + to_u32(word.len()));
        diagnosis.found_at(next)
    }
}

/// Whether a word is a number with a leading zero.
fn is_octal_number(word: &str) -> bool {
    word.len() > 1 && word.starts_with('0') && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a word is a number without the digits of its exponent.
fn is_bad_number(word: &str) -> bool {
    let digits = word.strip_suffix(['e', 'E']).unwrap_or("");
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn unexpected_character(character: char, offset: u32) -> Diagnosis {
    Diagnosis::new(format!("Unexpected character '{character}'"), offset)
}

/// Whether a token can begin with a character.
fn begins_token(first: char) -> bool {
    match first {
        '@' => false,
        _ if first.is_ascii() => first.is_ascii_graphic(),
        _ => is_identifier_start(first),
    }
}

/// Where a string ends that a text begins with.
fn string_end(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\n' | '\r' => return None,
            _ if character == quote => return Some(index + 1),
            _ => {}
        }
    }
    None
}
