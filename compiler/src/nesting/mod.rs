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

use crate::source::{is_line_end, is_space, to_u32};

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

/// Scans a text.
pub(crate) fn measure(text: &str) -> Nesting {
    let mut scan = Scan::new(text);
    while scan.next().is_some() {}
    scan.nesting
}

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
    /// `${…}`.
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
            // In a module this is no comment, but the parser takes it for one after a line end.
            b'<' if self.text[self.at..].starts_with("<!--") => self.give_up(),
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

    /// Moves over a word or number.
    fn word(&mut self) {
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
    fn unicode_escape(&self) -> Option<usize> {
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
    fn bad_escape(&mut self) {
        self.nesting.bad_escape = Some(to_u32(self.at));
        self.give_up();
    }

    fn give_up(&mut self) {
        self.nesting.depth = u32::MAX;
        self.at = self.bytes.len();
    }

    fn name(&mut self) {
        let start = self.at;
        self.word();
        let word = &self.text[start..self.at];
        let after_dot = self.special == Special::Dot;
        if after_dot || word.starts_with('#') {
            if word.starts_with('#') && !after_dot {
                self.begin_operand();
            }
            self.set(Before::Operand);
            return;
        }
        match word {
            "else" | "do" | "try" | "finally" => {
                if matches!(word, "do" | "try") {
                    self.begin_operand();
                }
                self.deepen();
                self.set(Before::Start);
            }
            "if" | "for" | "with" | "while" | "switch" | "catch" => {
                if !matches!(word, "while" | "catch") {
                    self.begin_operand();
                }
                self.deepen();
                self.set(Before::Operand);
                self.special = Special::HeadKeyword;
            }
            "in" | "instanceof" | "extends" => {
                self.deepen();
                self.set(Before::KeywordOperator);
            }
            // A keyword or a name: a slash after it can be either.
            "of" if self.frame().kind == Kind::Head => {
                self.deepen();
                self.set(Before::IncDec);
            }
            "as" | "from" => self.set(Before::Operand),
            "case" | "default" => {
                if self.frame().kind == Kind::Block {
                    self.flatten();
                }
                self.set(Before::KeywordOperator);
            }
            "await" if self.special == Special::HeadKeyword => {
                self.set(Before::Operand);
                self.special = Special::HeadKeyword;
            }
            "return" | "throw" | "typeof" | "void" | "delete" | "new" | "await" | "yield" => {
                self.begin_operand();
                self.deepen();
                self.set(Before::KeywordOperator);
            }
            "class" | "function" | "async" => {
                self.begin_operand();
                self.deepen();
                self.set(Before::Operand);
                if word == "async" {
                    self.special = Special::Async;
                }
            }
            _ => {
                self.begin_operand();
                self.set(Before::Operand);
            }
        }
    }

    fn open(&mut self, byte: u8) {
        let after_operand = matches!(self.before, Before::Operand | Before::Brace);
        let kind = match byte {
            b'(' if self.special == Special::HeadKeyword => Kind::Head,
            b'(' if !after_operand || self.special == Special::Async => Kind::Group,
            b'{' if self.is_object() => Kind::Object,
            b'{' => Kind::Block,
            _ => Kind::List,
        };
        if after_operand && byte != b'{' {
            self.deepen();
        }
        self.below += self.frame().chain + 1;
        self.frames.push(Frame::new(kind));
        self.nesting.depth = self.nesting.depth.max(self.below + 1);
        self.groups += u32::from(kind == Kind::Group);
        self.at += 1;
        self.set(if kind == Kind::Block {
            Before::Start
        } else {
            Before::Operator
        });
    }

    /// Whether an opening brace certainly begins an object literal.
    fn is_object(&mut self) -> bool {
        match self.before {
            Before::Operator => true,
            Before::KeywordOperator => !self.after_line_end,
            Before::Colon => self.frame().kind != Kind::Block,
            Before::Start | Before::IncDec | Before::Operand | Before::Brace => false,
        }
    }

    fn close(&mut self, byte: u8) {
        self.at += 1;
        if self.frames.len() == 1 {
            // The parser stops at a closing bracket too many.
            self.set(Before::Operand);
            return;
        }
        let kind = self.frame().kind;
        self.frames.pop();
        self.below -= self.frame().chain + 1;
        self.groups -= u32::from(kind == Kind::Group);
        match (byte, kind) {
            (b'}', Kind::Substitution) => self.template(),
            (_, Kind::Head) => self.set(Before::Start),
            (b'}', Kind::Block) => self.set(Before::Brace),
            _ => self.set(Before::Operand),
        }
    }

    fn punctuator(&mut self, byte: u8) {
        const LONG: [&str; 22] = [
            ">>>=", "...", "===", "!==", "**=", "<<=", ">>=", ">>>", "&&=", "||=", "??=", "==",
            "!=", "<=", ">=", "&&", "||", "??", "**", "<<", ">>", "+=",
        ];
        const LONG_ASSIGNMENTS: [&str; 6] = ["-=", "*=", "%=", "&=", "|=", "^="];
        let rest = &self.text[self.at..];
        match byte {
            b';' => {
                self.at += 1;
                if self.frame().kind != Kind::Block {
                    self.flatten();
                }
                self.set(Before::Start);
                self.ended = true;
            }
            b',' => {
                self.at += 1;
                // In a block a comma can stand inside nested statements, which go on.
                if self.frame().kind != Kind::Block {
                    self.flatten();
                }
                self.set(Before::Operator);
            }
            b':' => {
                self.at += 1;
                self.deepen();
                self.set(Before::Colon);
            }
            _ if rest.starts_with("=>") => {
                self.at += 2;
                self.deepen();
                self.set(Before::Start);
            }
            _ if rest.starts_with("++") || rest.starts_with("--") => {
                self.at += 2;
                self.deepen();
                self.set(Before::IncDec);
            }
            b'.' if !rest.starts_with("...") => {
                self.at += 1;
                self.deepen();
                self.set(Before::Operator);
                self.special = Special::Dot;
            }
            b'?' if rest.starts_with("?.")
                && !rest.as_bytes().get(2).is_some_and(u8::is_ascii_digit) =>
            {
                self.at += 2;
                self.deepen();
                // A name, a call or an index follows; for the last two this counts as an operand.
                self.set(Before::Operand);
                self.special = Special::Dot;
            }
            _ => {
                let long = LONG
                    .iter()
                    .chain(&LONG_ASSIGNMENTS)
                    .find(|long| rest.starts_with(**long));
                self.at += long.map_or(1, |long| long.len());
                self.deepen();
                self.set(Before::Operator);
            }
        }
    }

    fn slash(&mut self) {
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

    fn divide(&mut self) {
        self.at += 1;
        self.deepen();
        self.set(Before::Operator);
    }

    /// Where a regular expression that begins here ends, if it ends on this line.
    fn regex_end(&mut self) -> Option<usize> {
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

    fn line_end(&self) -> usize {
        let rest = &self.bytes[self.at..];
        self.at
            + rest
                .iter()
                .position(|&byte| byte == b'\n')
                .unwrap_or(rest.len())
    }

    fn find_regex_end(&self) -> Option<usize> {
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
    fn regex(&mut self, end: usize) {
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

    fn string(&mut self, quote: u8) {
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
    fn template(&mut self) {
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
    fn align(&mut self) {
        while !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
    }

    fn skip_line(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest
            .find(|character| is_line_end(character) || character == '\r')
            .unwrap_or(rest.len());
    }

    fn block_comment(&mut self) {
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

#[cfg(test)]
mod tests;
