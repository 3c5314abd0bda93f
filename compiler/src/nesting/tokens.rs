//! Names, brackets and punctuation, and the levels that they open and end.

use super::{Before, Frame, Kind, Scan, Special};

impl Scan<'_> {
    pub(super) fn name(&mut self) {
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

    pub(super) fn open(&mut self, byte: u8) {
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
    pub(super) fn is_object(&mut self) -> bool {
        match self.before {
            Before::Operator => true,
            Before::KeywordOperator => !self.after_line_end,
            Before::Colon => self.frame().kind != Kind::Block,
            Before::Start | Before::IncDec | Before::Operand | Before::Brace => false,
        }
    }

    pub(super) fn close(&mut self, byte: u8) {
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

    pub(super) fn punctuator(&mut self, byte: u8) {
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
}
