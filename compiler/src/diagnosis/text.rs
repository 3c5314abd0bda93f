//! What stands before and after a place in a text that was refused.

use oxc::{
    span::Span,
    syntax::{identifier::is_identifier_part, keyword::RESERVED_KEYWORDS},
};

use super::translate::Translator;
use crate::source::{is_line_end, is_space, to_u32};

impl Translator<'_> {
    /// The text up to an offset.
    pub(super) fn before(&self, end: u32) -> &str {
        self.source.get(..end as usize).unwrap_or("")
    }

    /// The text from an offset on.
    pub(super) fn rest(&self, start: u32) -> &str {
        self.source.get(start as usize..).unwrap_or("")
    }

    /// The start of the next token.
    pub(super) fn skip_trivia(&self, from: u32) -> u32 {
        let mut at = from as usize;
        loop {
            let rest = self.rest(to_u32(at));
            let skipped = match rest.chars().next() {
                Some(character) if is_space(character) => character.len_utf8(),
                _ if rest.starts_with("//") => rest.find(is_line_end).unwrap_or(rest.len()),
                _ if rest.starts_with("/*") && rest[2..].contains("*/") => {
                    rest[2..].find("*/").map_or(0, |end| end + 4)
                }
                _ => return to_u32(at),
            };
            at += skipped;
        }
    }

    /// The operator after an operand, which may be in parentheses.
    pub(super) fn operator_after(&self, operand: u32) -> u32 {
        let mut at = self.skip_trivia(operand);
        while self.rest(at).starts_with(')') {
            at = self.skip_trivia(at + 1);
        }
        at
    }

    /// The token after the first dot of an expression.
    pub(super) fn property_after_dot(&self, at: Span) -> u32 {
        let dot = self.rest(at.start).find('.').map_or(0, to_u32);
        self.skip_trivia(at.start + dot + 1)
    }

    /// What makes the list of brackets just before an offset parameters and nothing else: its
    /// closing bracket if it is empty, a last parameter with `...`.
    pub(super) fn only_parameters(&self, offset: u32) -> Option<u32> {
        let list = self.before(offset).trim_end().strip_suffix(')')?;
        let open = list.rfind('(')?;
        if list[..open].trim_end().ends_with("async") {
            return None;
        }
        let last = list[open + 1..]
            .rfind(',')
            .map_or(open + 1, |comma| open + comma + 2);
        let parameter = list[last..].trim_start();
        if parameter.is_empty() {
            return Some(to_u32(list.len()));
        }
        parameter
            .starts_with("...")
            .then(|| to_u32(list.len() - parameter.len()))
    }

    /// The token after `from`, if that follows the list of exports that an offset is in.
    pub(super) fn after_from(&self, offset: u32) -> Option<u32> {
        let list_end = self.rest(offset).find('}').map(to_u32)?;
        let word = self.skip_trivia(offset + list_end + 1);
        let end = self.name_at(word)?;
        (end == word + 4 && self.rest(word).starts_with("from")).then(|| self.skip_trivia(end))
    }

    /// The token after the list of exports that an offset is in.
    pub(super) fn after_list(&self, offset: u32) -> u32 {
        let list_end = self.rest(offset).find('}').map_or(u32::MAX, to_u32);
        self.skip_trivia(offset.saturating_add(list_end).saturating_add(1))
    }

    /// The word that ends just before an offset, white space aside.
    pub(super) fn word_before(&self, offset: u32) -> Option<(u32, &str)> {
        let before = self.before(offset).trim_end_matches(is_space);
        let start = before
            .trim_end_matches(|character| is_part_of_name(character) || character == '#')
            .len();
        let is_property = before[..start].ends_with('.') && !before[..start].ends_with("...");
        (start < before.len() && !is_property).then(|| (to_u32(start), &before[start..]))
    }

    /// Where the name ends that begins at an offset, unless it is a reserved word.
    pub(super) fn name_at(&self, offset: u32) -> Option<u32> {
        let end = self.name_or_keyword_at(offset)?;
        let name = &self.source[offset as usize..end as usize];
        (!RESERVED_KEYWORDS.contains(name)).then_some(end)
    }

    /// Where the word ends that begins at an offset.
    pub(super) fn name_or_keyword_at(&self, offset: u32) -> Option<u32> {
        let rest = self.rest(offset);
        let length = rest.find(|character| !is_part_of_name(character));
        let length = length.unwrap_or(rest.len());
        let is_word = rest[..length].starts_with(|first: char| !first.is_ascii_digit());
        is_word.then(|| offset + to_u32(length))
    }

    /// The bracket that is open at an offset, brackets in strings and the like not told apart.
    pub(super) fn innermost_bracket(&self, offset: u32) -> Option<char> {
        let mut closed = 0_u32;
        self.before(offset)
            .chars()
            .rev()
            .find(|character| match character {
                ')' | ']' | '}' => {
                    closed += 1;
                    false
                }
                '(' | '[' | '{' if closed > 0 => {
                    closed -= 1;
                    false
                }
                '(' | '[' | '{' => true,
                _ => false,
            })
    }

    /// Whether a slash at an offset would begin a regular expression, as far as the one character
    /// before it tells.
    pub(super) fn can_begin_regex(&self, offset: u32) -> bool {
        let before = self.before(offset).trim_end_matches(is_space);
        let ends_operand = |character| {
            is_part_of_name(character) || matches!(character, '.' | ')' | ']' | '\'' | '"' | '`')
        };
        !before.ends_with(ends_operand)
    }

    /// The first of some words, as a word of its own, inside a span.
    pub(super) fn word_in(&self, span: Span, words: &[&str]) -> Option<u32> {
        let text = &self.source[span.start as usize..span.end as usize];
        words
            .iter()
            .flat_map(|word| text.match_indices(word))
            .filter(|(index, word)| {
                !text[..*index].ends_with(is_part_of_name)
                    && !text[index + word.len()..].starts_with(is_part_of_name)
            })
            .map(|(index, _)| span.start + to_u32(index))
            .min()
    }

    /// Where the bracket opens that closes just before an offset, and the text up to it.
    pub(super) fn before_brackets(&self, end: u32) -> Option<&str> {
        let before = self.before(end);
        let mut open = 0_u32;
        let start = before.char_indices().rev().find(|(_, character)| {
            match character {
                ')' | ']' | '}' => open += 1,
                '(' | '[' | '{' => open = open.saturating_sub(1),
                _ => {}
            }
            open == 0
        });
        start.map(|(start, _)| before[..start].trim_end_matches(is_space))
    }

    /// Whether an offset is in the list of names of an `import` or `export`.
    pub(super) fn is_in_module_list(&self, offset: u32) -> bool {
        let before = self.before(offset);
        let open = before.rfind('{').map_or("", |open| &before[..open]);
        let word = self.word_before(to_u32(open.len()));
        let is_declaration = matches!(word, Some((_, "import" | "export")));
        is_declaration || open.trim_end_matches(is_space).ends_with(',')
    }

    /// Whether a name with `...` before it ends just before an offset.
    pub(super) fn follows_rest(&self, offset: u32) -> bool {
        let name = self.word_before(offset);
        name.is_some_and(|(start, _)| self.before(start).trim_end().ends_with("..."))
    }

    /// Whether an operand ends on the same line just before an offset.
    pub(super) fn follows_operand(&self, offset: u32) -> bool {
        let before = self.before(offset).trim_end_matches(is_space);
        let is_same_line = !self.source[before.len()..offset as usize].contains(is_line_end);
        let ends_operand = match self.word_before(offset) {
            Some((_, word)) => !RESERVED_KEYWORDS.contains(word),
            None => before.ends_with(|last| is_part_of_name(last) || ")]}'\"`".contains(last)),
        };
        is_same_line && ends_operand
    }

    /// Whether an operator, or nothing, stands just before an offset.
    pub(super) fn follows_operator(&self, offset: u32) -> bool {
        let before = self.before(offset).trim_end_matches(is_space);
        before.is_empty() || before.ends_with(|last| "([{,=:?+-*/!&|~^%<>;".contains(last))
    }

    /// Whether an operand, not a new name, is expected at an offset.
    pub(super) fn is_operand_place(&self, offset: u32) -> bool {
        if let Some((_, word)) = self.word_before(offset) {
            return !matches!(
                word,
                "let" | "const" | "var" | "function" | "class" | "as" | "import"
            );
        }
        let before = self.before(offset).trim_end_matches(is_space);
        let Some(head) = before.strip_suffix('(') else {
            return !before.ends_with(['{', ',', '*']);
        };
        let head = head.trim_end_matches(is_space);
        let unnamed = head.trim_end_matches(|name: char| name.is_alphanumeric() || name == '_');
        !head.ends_with("function") && !unnamed.trim_end_matches(is_space).ends_with("function")
    }
}

/// Whether a character can be inside a name.
pub(super) fn is_part_of_name(character: char) -> bool {
    is_identifier_part(character)
}

/// The text between a prefix and what follows it.
pub(super) fn between<'m>(message: &'m str, prefix: &str, suffix: &str) -> Option<&'m str> {
    let rest = message.strip_prefix(prefix)?;
    rest.find(suffix).map(|end| &rest[..end])
}
