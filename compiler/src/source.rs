//! The job's text as the later stages see it, and positions in it.

use std::borrow::Cow;

use crate::error::Position;

/// Columns to which a tab at the start of a line moves on (compiler spec, section 3).
const TAB_WIDTH: u32 = 4;

/// Prepares a job's text: one space at the very end goes, a byte-order mark goes, and line ends
/// become `\n`. U+2028 and U+2029 stay, because they are legal inside strings and templates.
pub(crate) fn normalise(source: &str) -> Cow<'_, str> {
    let source = source.strip_suffix(' ').unwrap_or(source);
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    if !source.contains('\r') {
        return Cow::Borrowed(source);
    }
    Cow::Owned(source.replace("\r\n", "\n").replace('\r', "\n"))
}

/// Whether a character ends a line for JavaScript and for V8's stack positions.
pub(crate) fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\u{2028}' | '\u{2029}')
}

/// Whether a character is white space for JavaScript (`\s` of a regular expression).
pub(crate) fn is_space(character: char) -> bool {
    match character {
        '\u{feff}' => true,
        // The one character that Unicode calls white space and JavaScript does not.
        '\u{85}' => false,
        other => other.is_whitespace(),
    }
}

/// Byte offsets at which lines start.
pub(crate) struct Lines {
    starts: Vec<u32>,
}

impl Lines {
    pub(crate) fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut starts = vec![0];
        for (index, &byte) in bytes.iter().enumerate() {
            let ends = match byte {
                b'\n' => true,
                // The last byte of U+2028 (e2 80 a8) and U+2029 (e2 80 a9).
                0xa8 | 0xa9 => index >= 2 && bytes[index - 2] == 0xe2 && bytes[index - 1] == 0x80,
                _ => false,
            };
            if ends {
                starts.push(to_u32(index + 1));
            }
        }
        Self { starts }
    }

    /// The line that holds a byte offset, from 0, and the offset at which it starts.
    pub(crate) fn line_of(&self, offset: u32) -> (u32, u32) {
        let line = self.starts.partition_point(|&start| start <= offset) - 1;
        (to_u32(line), self.starts[line])
    }
}

/// The position of a byte offset as error messages give it (compiler spec, section 13.2).
///
/// The column is what the reference shows: it expands white space at the start of a line, so that
/// a tab counts up to the next multiple of four.
pub(crate) fn position(text: &str, offset: u32) -> Position {
    let offset = text.floor_char_boundary(offset as usize);
    let (line, start) = Lines::new(text).line_of(to_u32(offset));
    let mut column = 0;
    let mut indenting = true;
    for character in text[start as usize..offset].chars() {
        indenting = indenting && is_space(character);
        column = match character {
            '\t' if indenting => (column / TAB_WIDTH + 1) * TAB_WIDTH,
            '\u{b}' | '\u{feff}' if indenting => column,
            other => column + utf16_len(other),
        };
    }
    Position {
        line: line + 1,
        column,
    }
}

/// UTF-16 code units of a character.
pub(crate) fn utf16_len(character: char) -> u32 {
    if u32::from(character) >= 0x1_0000 {
        2
    } else {
        1
    }
}

/// Offsets fit: sources are limited to [`crate::MAX_SOURCE_BYTES`].
pub(crate) fn to_u32(value: usize) -> u32 {
    u32::try_from(value).expect("offsets and counts are bounded by the source limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_space_at_the_end_and_a_mark_at_the_start_go() {
        assert_eq!(normalise("\u{feff}fn()  "), "fn() ");
        assert_eq!(normalise("a\r\nb\rc\n"), "a\nb\nc\n");
    }

    #[test]
    fn a_leading_tab_counts_to_the_next_multiple_of_four() {
        let text = "x\n \treturn s.;";
        let offset = to_u32(text.find(';').unwrap());
        assert_eq!(
            position(text, offset),
            Position {
                line: 2,
                column: 13
            }
        );
    }

    #[test]
    fn a_tab_inside_a_line_counts_one_and_an_emoji_two() {
        let text = "a\t😀b";
        assert_eq!(
            position(text, to_u32(text.len() - 1)),
            Position { line: 1, column: 4 }
        );
    }

    #[test]
    fn line_separators_end_lines() {
        let lines = Lines::new("a\u{2028}b\u{2029}c\nd");
        assert_eq!(lines.line_of(0), (0, 0));
        assert_eq!(lines.line_of(4), (1, 4));
        assert_eq!(lines.line_of(8), (2, 8));
        assert_eq!(lines.line_of(10), (3, 10));
    }
}
