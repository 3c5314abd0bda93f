//! The generated text together with its version-3 mappings.

use crate::source::{Lines, is_line_end, is_space, utf16_len};

/// Bytes between two entries of the UTF-16 index.
const INDEX_STEP: usize = 1024;

/// Writes the compiled module and records where each character came from.
///
/// Every character of kept text that is not white space gets its own mapping, because the runtime
/// looks V8's one-based columns up as if they were zero-based and so needs the character after the
/// one it asks for (engine spec, section 10.2). New text gets none.
pub(crate) struct Writer<'a> {
    source: &'a str,
    lines: &'a Lines,
    columns: Columns,
    code: String,
    mappings: String,
    /// Column of the next generated character, in UTF-16 code units.
    column: u32,
    segment: Segment,
    line_has_segment: bool,
}

/// The values of the last mapping, which the next one is written relative to.
#[derive(Clone, Copy, Default)]
struct Segment {
    generated_column: u32,
    line: u32,
    column: u32,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(source: &'a str, lines: &'a Lines) -> Self {
        Self {
            source,
            lines,
            columns: Columns::new(source),
            code: String::with_capacity(source.len() + source.len() / 4 + 256),
            mappings: String::with_capacity(source.len() * 4),
            column: 0,
            segment: Segment::default(),
            line_has_segment: false,
        }
    }

    /// Writes text that the job did not contain.
    pub(crate) fn new_text(&mut self, text: &str) {
        self.code.push_str(text);
        for character in text.chars() {
            if is_line_end(character) {
                self.end_line();
            } else {
                self.column += utf16_len(character);
            }
        }
    }

    /// Whether the source goes on with this text at a position.
    pub(crate) fn starts_with(&self, at: u32, text: &str) -> bool {
        self.source
            .get(at as usize..)
            .is_some_and(|rest| rest.starts_with(text))
    }

    /// Writes the job's text from one byte offset to another.
    pub(crate) fn source_text(&mut self, from: u32, to: u32) {
        if from >= to {
            return;
        }
        let text = &self.source[from as usize..to as usize];
        self.code.push_str(text);
        let (mut line, start) = self.lines.line_of(from);
        let mut column = self.columns.between(self.source, start, from);
        for character in text.chars() {
            if is_line_end(character) {
                self.end_line();
                line += 1;
                column = 0;
                continue;
            }
            if !is_space(character) {
                self.map(line, column);
            }
            let width = utf16_len(character);
            column += width;
            self.column += width;
        }
    }

    /// Whether the text so far ends with a line break (or is empty).
    pub(crate) fn at_line_start(&self) -> bool {
        self.column == 0
    }

    /// The module's text and the `mappings` of its source map.
    pub(crate) fn finish(self) -> (String, String) {
        (self.code, self.mappings)
    }

    fn end_line(&mut self) {
        self.mappings.push(';');
        self.column = 0;
        self.segment.generated_column = 0;
        self.line_has_segment = false;
    }

    fn map(&mut self, line: u32, column: u32) {
        if self.line_has_segment {
            self.mappings.push(',');
        }
        self.line_has_segment = true;
        let last = self.segment;
        vlq(
            &mut self.mappings,
            i64::from(self.column) - i64::from(last.generated_column),
        );
        // There is one source, so its index never changes.
        self.mappings.push('A');
        vlq(&mut self.mappings, i64::from(line) - i64::from(last.line));
        vlq(
            &mut self.mappings,
            i64::from(column) - i64::from(last.column),
        );
        self.segment = Segment {
            generated_column: self.column,
            line,
            column,
        };
    }
}

/// Counts UTF-16 code units in the source without walking long lines again for every piece.
struct Columns {
    /// Code units before each multiple of [`INDEX_STEP`] bytes; empty when all text is ASCII.
    index: Vec<u32>,
}

impl Columns {
    fn new(source: &str) -> Self {
        if source.is_ascii() {
            return Self { index: Vec::new() };
        }
        let mut index = Vec::with_capacity(source.len() / INDEX_STEP + 1);
        let mut units = 0;
        for (offset, byte) in source.bytes().enumerate() {
            if offset % INDEX_STEP == 0 {
                index.push(units);
            }
            units += units_begun_by(byte);
        }
        Self { index }
    }

    /// Code units between two character boundaries.
    fn between(&self, source: &str, from: u32, to: u32) -> u32 {
        if self.index.is_empty() {
            return to - from;
        }
        self.before(source, to) - self.before(source, from)
    }

    fn before(&self, source: &str, offset: u32) -> u32 {
        let offset = offset as usize;
        if offset == 0 {
            return 0;
        }
        // A boundary at the very end has no entry of its own when the length is a multiple.
        let block = (offset / INDEX_STEP).min(self.index.len() - 1);
        let rest = &source.as_bytes()[block * INDEX_STEP..offset];
        self.index[block] + rest.iter().map(|&byte| units_begun_by(byte)).sum::<u32>()
    }
}

/// UTF-16 code units of the character that starts with this byte; 0 for a byte inside one.
fn units_begun_by(byte: u8) -> u32 {
    match byte {
        0x80..=0xbf => 0,
        0xf0..=0xff => 2,
        _ => 1,
    }
}

/// Appends one base-64 variable-length quantity.
fn vlq(out: &mut String, value: i64) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut rest = value.unsigned_abs() << 1 | u64::from(value < 0);
    loop {
        let mut digit = rest & 31;
        rest >>= 5;
        if rest > 0 {
            digit |= 32;
        }
        out.push(char::from(
            DIGITS[usize::try_from(digit).expect("six bits")],
        ));
        if rest == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(source: &str, write: impl FnOnce(&mut Writer<'_>)) -> (String, String) {
        let lines = Lines::new(source);
        let mut writer = Writer::new(source, &lines);
        write(&mut writer);
        writer.finish()
    }

    #[test]
    fn each_character_that_is_not_white_space_is_mapped() {
        let (code, mappings) = written("a b", |writer| writer.source_text(0, 3));
        assert_eq!(code, "a b");
        assert_eq!(mappings, "AAAA,EAAE");
    }

    #[test]
    fn new_text_has_no_mapping_but_moves_the_column() {
        let (code, mappings) = written("ab", |writer| {
            writer.new_text("xx\ny");
            writer.source_text(1, 2);
        });
        assert_eq!(code, "xx\nyb");
        assert_eq!(mappings, ";CAAC");
    }

    #[test]
    fn large_and_negative_differences_are_written() {
        let mut out = String::new();
        vlq(&mut out, 16);
        vlq(&mut out, -1);
        assert_eq!(out, "gBD");
    }

    #[test]
    fn columns_count_code_units_also_far_into_a_line() {
        let source = "😀".repeat(2000);
        let columns = Columns::new(&source);
        assert_eq!(columns.between(&source, 4, 8000), 3998);
    }
}
