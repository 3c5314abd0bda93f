//! An upper bound of how deeply a job's text is nested, found without recursion.
//!
//! The parser, the checks and the transforms recurse as deeply as the text nests, and an
//! overflowing stack would take the whole worker down. So the bound is taken first: a job that
//! nests more deeply than the stack allows is refused.
//!
//! Nesting is more than brackets: `a => b => c`, `!!!x`, `a ? b : c ? d : e`, `x.y.z`, `if (a) if (b)`
//! and `else if` all make trees as deep as they are long. The scan therefore counts, inside each
//! pair of brackets, what can add a level since the last place where every such level has ended.
//! Where the text could be read in two ways (a slash after `}` may begin a regular expression or
//! divide) and the readings differ, it gives up and answers that the bound is unknown.

mod literals;
mod outline;
mod tokens;

pub(crate) use self::outline::{
    completions, cover_is_open, first_at_sign, html_openers, misplaced_statement,
    unfinished_substitution,
};
use crate::source::{is_line_end, is_space};

/// How often a text may be searched in vain for the ends of regular expressions.
const MAX_FRUITLESS: usize = 8;

/// What the scan found out about a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nesting {
    /// At most so many levels; `u32::MAX` if the text could not be read with certainty.
    pub(crate) depth: u32,
    /// The backslash of a malformed escape that kept the text from being read.
    pub(crate) bad_escape: Option<u32>,
    /// How much the parser may have to read again: bytes, each counted once for every opening
    /// bracket before it that could begin the parameters of an arrow function.
    pub(crate) rereading: u64,
}

/// Scans a text once, in time linear in its length.
pub(crate) fn measure(text: &str) -> Nesting {
    let mut scan = Scan::new(text);
    while scan.next().is_some() {}
    scan.nesting
}

/// What a pair of brackets holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Statements, or members of a class, or something unknown between braces.
    Block,
    /// Certainly properties of an object literal.
    Object,
    /// Round brackets that could hold the parameters of an arrow function.
    Group,
    /// The head of `if`, `for`, `while` or `with`: a statement follows.
    Head,
    /// Arguments, an index, an array.
    List,
    /// `${…}` in a template.
    Substitution,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    kind: Kind,
    /// Levels that may be open inside these brackets.
    chain: u32,
}

impl Frame {
    fn new(kind: Kind) -> Self {
        Self { kind, chain: 0 }
    }
}

/// What the last token lets the next one be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// A statement begins.
    Start,
    /// An operator or a comma: an operand follows.
    Operator,
    /// The same for a keyword such as `return`, after which a line end can end the statement.
    KeywordOperator,
    /// `:`: a value, or a statement after a label.
    Colon,
    /// `++` or `--`, before or after their operand; or another token that can be followed by an
    /// operator or an operand.
    IncDec,
    /// An operand has ended.
    Operand,
    /// A closing brace: of a block or of an operand.
    Brace,
}

/// What the last token was, where that changes what the next one means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Special {
    Nothing,
    /// A dot: any word after it is a property's name.
    Dot,
    /// A keyword before the head of a statement, such as `if`.
    HeadKeyword,
    /// `async`: brackets after it can be parameters.
    Async,
}

struct Scan<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    frames: Vec<Frame>,
    /// Levels of all brackets but the innermost.
    below: u32,
    /// Brackets open that could be parameters of an arrow function.
    groups: u32,
    before: Before,
    after_line_end: bool,
    /// A semicolon has ended a statement; `else` can still continue what it is part of.
    ended: bool,
    special: Special,
    /// Bytes that were searched in vain for the end of a regular expression.
    fruitless: usize,
    nesting: Nesting,
}

impl<'t> Scan<'t> {
    fn new(text: &'t str) -> Self {
        let mut scan = Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            frames: vec![Frame::new(Kind::Block)],
            below: 0,
            groups: 0,
            before: Before::Start,
            after_line_end: false,
            ended: false,
            special: Special::Nothing,
            fruitless: 0,
            nesting: Nesting {
                depth: 1,
                bad_escape: None,
                rereading: 0,
            },
        };
        if text.starts_with("#!") {
            scan.skip_line();
        }
        scan
    }

    /// Moves over one token or some white space and answers where it begins; nothing at the end
    /// of the text, or when it cannot be read with certainty.
    fn next(&mut self) -> Option<usize> {
        if self.at >= self.bytes.len() || self.nesting.depth == u32::MAX {
            return None;
        }
        let start = self.at;
        self.token();
        self.nesting.rereading += (self.at - start) as u64 * u64::from(self.groups);
        Some(start)
    }

    fn token(&mut self) {
        let byte = self.bytes[self.at];
        match byte {
            b' ' | b'\t' | 0x0b | 0x0c => self.at += 1,
            b'\n' | b'\r' => {
                self.at += 1;
                self.after_line_end = true;
            }
            b'/' if self.next_is(1, b'/') => self.skip_line(),
            b'/' if self.next_is(1, b'*') => self.block_comment(),
            b'"' | b'\'' => {
                self.begin_operand();
                self.string(byte);
            }
            b'`' => {
                self.begin_other();
                if matches!(self.before, Before::Operand | Before::Brace) {
                    self.deepen();
                }
                self.at += 1;
                self.template();
            }
            b'0'..=b'9' => {
                self.begin_operand();
                self.word();
                self.set(Before::Operand);
            }
            b'.' if self.bytes.get(self.at + 1).is_some_and(u8::is_ascii_digit) => {
                self.begin_operand();
                self.at += 1;
                self.word();
                self.set(Before::Operand);
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | b'\\' | b'#' => self.name(),
            0x80.. => {
                let character = self.text[self.at..].chars().next().unwrap_or(' ');
                if is_line_end(character) {
                    self.after_line_end = true;
                    self.at += character.len_utf8();
                } else if is_space(character) {
                    self.at += character.len_utf8();
                } else {
                    self.name();
                }
            }
            b'(' | b'[' | b'{' => {
                self.begin_other();
                self.open(byte);
            }
            b')' | b']' | b'}' => self.close(byte),
            b'/' => {
                self.begin_other();
                self.slash();
            }
            _ => {
                self.begin_other();
                self.punctuator(byte);
            }
        }
    }

    fn next_is(&self, offset: usize, byte: u8) -> bool {
        self.bytes.get(self.at + offset) == Some(&byte)
    }

    fn frame(&mut self) -> &mut Frame {
        // The outermost frame is never popped.
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    /// One more level can be open in the brackets in hand.
    fn deepen(&mut self) {
        self.frame().chain += 1;
        let depth = self.below + self.frame().chain + 1;
        self.nesting.depth = self.nesting.depth.max(depth);
    }

    /// Every level in the brackets in hand has ended.
    fn flatten(&mut self) {
        self.frame().chain = 0;
    }

    fn set(&mut self, before: Before) {
        self.before = before;
        self.after_line_end = false;
        self.ended = false;
        self.special = Special::Nothing;
    }

    /// A name, a number or the like begins here, which cannot continue an operand: if the text
    /// before it is complete, its levels have ended.
    fn begin_operand(&mut self) {
        let is_new = match self.before {
            Before::Operand => self.after_line_end,
            Before::Brace => true,
            Before::Start => self.ended,
            Before::Operator | Before::KeywordOperator | Before::Colon | Before::IncDec => false,
        };
        if is_new && self.frame().kind == Kind::Block {
            self.flatten();
        }
    }

    /// Something begins here that could continue an operand, but no statement that has ended.
    fn begin_other(&mut self) {
        if self.ended && self.frame().kind == Kind::Block {
            self.flatten();
        }
    }

    fn give_up(&mut self) {
        self.nesting.depth = u32::MAX;
        self.at = self.bytes.len();
    }
}

#[cfg(test)]
mod tests;
