//! What the same scan tells about a text that the parser refuses.

use super::{Before, Kind, Scan, Special};
use crate::source::to_u32;

/// Where the first `@` is that is not part of a string, a comment or the like.
pub(crate) fn first_at_sign(text: &str) -> Option<u32> {
    let mut scan = Scan::new(text);
    while let Some(start) = scan.next() {
        if scan.bytes[start] == b'@' {
            return Some(to_u32(start));
        }
    }
    None
}

/// The first brace that ends a `${…}` where an operand is missing.
pub(crate) fn unfinished_substitution(text: &str) -> Option<u32> {
    let mut scan = Scan::new(text);
    loop {
        let misses_operand = scan.special == Special::Dot
            || matches!(scan.before, Before::Operator | Before::KeywordOperator);
        let is_substitution = scan.frame().kind == Kind::Substitution;
        let start = scan.next()?;
        if misses_operand && is_substitution && scan.bytes[start] == b'}' {
            return Some(to_u32(start));
        }
    }
}

/// A word that begins a statement where none with it may be.
pub(crate) struct Misplaced<'t> {
    pub(crate) word: &'t str,
    pub(crate) offset: u32,
}

/// The first `import` or `export` declaration inside a block, or `return` outside of all brackets.
pub(crate) fn misplaced_statement(text: &str) -> Option<Misplaced<'_>> {
    let mut scan = Scan::new(text);
    loop {
        let begins_statement = match scan.before {
            Before::Start | Before::Brace => true,
            Before::Operand => scan.after_line_end,
            Before::Operator | Before::KeywordOperator | Before::Colon | Before::IncDec => false,
        };
        let is_outside = scan.frames.len() == 1;
        let is_block = scan.frame().kind == Kind::Block;
        let start = scan.next()?;
        let word = &text[start..scan.at];
        let is_misplaced = match word {
            "return" => is_outside,
            "export" => !is_outside && is_block,
            // `import(…)` and `import.meta` are expressions.
            "import" => {
                let is_expression = text[scan.at..].trim_start().starts_with(['(', '.']);
                !is_outside && is_block && !is_expression
            }
            _ => false,
        };
        if begins_statement && is_misplaced {
            return Some(Misplaced {
                word,
                offset: to_u32(start),
            });
        }
    }
}

/// Whether, at the offset `until`, the literals and round brackets around `inside` are still open:
/// those that can turn out to be a pattern.
pub(crate) fn cover_is_open(text: &str, inside: u32, until: u32) -> bool {
    let mut scan = Scan::new(text);
    let mut outermost = None;
    loop {
        if scan.at >= inside as usize {
            let around = outermost.get_or_insert_with(|| {
                let covers = scan.frames.iter().rev();
                let count = covers
                    .take_while(|frame| matches!(frame.kind, Kind::Object | Kind::Group))
                    .count();
                scan.frames.len() - count
            });
            if scan.frames.len() <= *around {
                return false;
            }
            if scan.at >= until as usize {
                return true;
            }
        }
        if scan.next().is_none() {
            return false;
        }
    }
}
