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

/// Where `<!--` stands that is not part of a string, a comment or the like.
pub(crate) fn html_openers(text: &str) -> Vec<usize> {
    let mut scan = Scan::new(text);
    let mut found = Vec::new();
    while let Some(start) = scan.next() {
        if text[start..].starts_with("<!--") {
            found.push(start);
        }
    }
    found
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

/// The first `import` or `export` declaration inside a block, `return` outside of all brackets, or
/// `with` that is no method's name.
pub(crate) fn misplaced_statement(text: &str) -> Option<Misplaced<'_>> {
    let mut scan = Scan::new(text);
    let mut after_arrow = false;
    loop {
        let begins_statement = match scan.before {
            Before::Start | Before::Brace => !after_arrow,
            Before::Operand => scan.after_line_end,
            Before::Operator | Before::KeywordOperator | Before::Colon | Before::IncDec => false,
        };
        let is_outside = scan.frames.len() == 1;
        let is_block = scan.frame().kind == Kind::Block;
        let start = scan.next()?;
        let word = &text[start..scan.at];
        after_arrow = word == "=>" || after_arrow && word.trim().is_empty();
        let is_misplaced = match word {
            "return" => is_outside,
            "export" => !is_outside && is_block,
            "with" => {
                let next = text[scan.at..].trim_start();
                is_block && !next.starts_with(['(', '=', ';', '}'])
            }
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
                    .take_while(|frame| {
                        matches!(frame.kind, Kind::Object | Kind::Group | Kind::List)
                    })
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

/// Texts that begin with one that breaks off and could parse: with its brackets closed, after
/// different things that may be missing; at last without the statement that breaks off.
pub(crate) fn completions(text: &str) -> impl Iterator<Item = String> {
    const AFTER_OPERAND: [&str; 9] = ["", ":x", "(){}", "=>x", "{}", ";", "=x", "x", "from''"];
    const FOR_OPERAND: [&str; 7] = ["x", "", "x:x", ":x", ";;", "x=x", "(){}"];
    let ending = Ending::of(text);
    let fillers: &[&str] = if ending.expects_operand {
        &FOR_OPERAND
    } else {
        &AFTER_OPERAND
    };
    let whole: Vec<String> = fillers
        .iter()
        .map(|filler| format!("{text}{}{filler}{}", ending.space, ending.closers))
        .collect();
    let (start, closers) = ending.last_statement;
    let cut = format!("{}{closers}", &text[..start]);
    whole.into_iter().chain(std::iter::once(cut))
}

/// How a text that breaks off ends.
struct Ending {
    /// What closes the brackets that are open.
    closers: String,
    expects_operand: bool,
    /// What ends a comment that the text ends with.
    space: char,
    /// Where the last statement starts, and what closes the brackets around it.
    last_statement: (usize, String),
}

impl Ending {
    fn of(text: &str) -> Self {
        let mut scan = Scan::new(text);
        let mut open: Vec<&'static str> = Vec::new();
        // Where the last statement starts between each pair of brackets, and outside of all.
        let mut starts = vec![None];
        // The last three tokens.
        let mut last = [""; 3];
        let mut space = ' ';
        loop {
            let begins_statement = match scan.before {
                Before::Start | Before::Brace => true,
                Before::Operand => scan.after_line_end,
                _ => false,
            };
            let is_block = scan.frame().kind == Kind::Block;
            let Some(start) = scan.next() else { break };
            let token = &text[start..scan.at];
            let is_comment = token.starts_with("//") && scan.at == text.len();
            space = if is_comment { '\n' } else { ' ' };
            if token.trim().is_empty() || token.starts_with("//") || token.starts_with("/*") {
                continue;
            }
            let continues = ["else", "catch", "finally", "while"].contains(&token)
                || !token.starts_with(|first: char| first.is_alphanumeric() || first == '_');
            if begins_statement && is_block && !continues {
                starts[open.len()] = Some(start);
            }
            if scan.frames.len() > open.len() + 1 {
                open.push(closer(token, last, scan.frame().kind));
                starts.push(None);
            } else if scan.frames.len() < open.len() + 1 {
                open.pop();
                starts.pop();
            }
            last = [last[1], last[2], token];
        }
        let levels = starts.iter().enumerate().rev();
        let (level, start) = levels
            .filter_map(|(level, start)| start.map(|start| (level, start)))
            .next()
            .unwrap_or((0, 0));
        let close = |open: &[&str]| open.iter().rev().copied().collect();
        Self {
            closers: close(&open),
            expects_operand: matches!(
                scan.before,
                Before::Operator | Before::KeywordOperator | Before::Colon
            ),
            space,
            last_statement: (start, close(&open[..level])),
        }
    }
}

/// What closes a bracket, together with what must follow it.
fn closer(token: &str, before: [&str; 3], kind: Kind) -> &'static str {
    let [second, first, word] = before;
    match (token, kind) {
        ("{", _) if word == "try" => "}finally{}",
        ("{", _) if word == "do" => "}while(0)",
        ("{", _) => "}",
        ("[", _) => "]",
        ("(", Kind::Head) => ");",
        ("(", _) if ["catch", "switch", "function"].contains(&word) => "){}",
        ("(", _) if first == "function" || (first, second) == ("*", "function") => "){}",
        ("(", _) => ")",
        // A template up to its first substitution.
        _ => "}`",
    }
}
