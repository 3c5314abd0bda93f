//! Says what is wrong with a job in the words and at the place that job authors know, which are
//! those of the parser that the reference uses (compiler spec, section 13.2).
//!
//! Our parser finds the same errors but words and places many of them differently, so each of its
//! messages is translated here. What has no translation is an `Unexpected token`, as nearly
//! everything is that the grammar does not allow.

use oxc::{
    ast::{
        AstKind,
        ast::{Program, UnaryOperator},
    },
    ast_visit::VisitJs,
    diagnostics::OxcDiagnostic,
    span::{GetSpan, Span},
    syntax::keyword::RESERVED_KEYWORDS,
};

use crate::{
    nesting,
    source::{is_line_end, is_space, to_u32},
};

/// What is wrong, and the byte offset where it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) text: String,
    pub(crate) offset: u32,
}

impl Diagnosis {
    fn new(text: impl Into<String>, offset: u32) -> Self {
        Self {
            text: text.into(),
            offset,
        }
    }
}

/// Chooses the error that a reader of the job meets first and translates it.
pub(crate) fn diagnose(
    source: &str,
    program: &Program<'_>,
    found: &[OxcDiagnostic],
) -> Option<Diagnosis> {
    let mut facts = Facts::default();
    if found.is_empty() {
        facts.visit_program(program);
        let offset = facts.unsupported?;
        return Some(
            Translator {
                source,
                facts: &facts,
            }
            .unexpected(offset),
        );
    }
    facts.visit_program(program);
    let translator = Translator {
        source,
        facts: &facts,
    };
    // The reference looks for undefined exports only when it has read everything.
    let is_late = |message: &str| message.starts_with("Export '");
    let first = found.iter().min_by_key(|diagnostic| {
        (
            is_late(&diagnostic.message),
            place(source, diagnostic, 0).map_or(0, |span| span.start),
        )
    })?;
    let at = place(source, first, 0).unwrap_or(Span::empty(0));
    // Our parser knows decorators and complains about what comes after the sign, if at all.
    if let Some(sign) = nesting::first_at_sign(source)
        && sign <= at.start
    {
        return Some(translator.unexpected(sign));
    }
    if let Some(offset) = facts.unsupported
        && (offset < at.start || is_late(&first.message))
    {
        return Some(translator.unexpected(offset));
    }
    Some(translator.translate(&first.message, at, place(source, first, 1).unwrap_or(at)))
}

/// One of the places that a diagnostic points at.
fn place(source: &str, diagnostic: &OxcDiagnostic, index: usize) -> Option<Span> {
    let label = diagnostic.labels.get(index)?;
    // Our parser sometimes points inside a character.
    let start = source.floor_char_boundary(label.offset() as usize);
    let end = source.ceil_char_boundary((label.offset() + label.len()) as usize);
    Some(Span::new(to_u32(start), to_u32(end)))
}

/// What the translation must know of the tree, when there is one.
#[derive(Default)]
struct Facts {
    parameters: Vec<Span>,
    /// `delete` expressions and what they delete.
    deletions: Vec<(Span, Span)>,
    /// The text between the parts of templates.
    template_texts: Vec<Span>,
    strings: Vec<Span>,
    /// Logical expressions and their left sides.
    logical: Vec<(Span, Span)>,
    /// Jumps and their labels.
    jumps: Vec<(Span, Span)>,
    /// `try` statements without `catch` and `finally`.
    bare_tries: Vec<Span>,
    objects: Vec<Span>,
    regexes: Vec<(Span, String)>,
    /// Declarations of `eval` and `arguments`.
    bindings: Vec<Span>,
    /// The first use of syntax that our parser takes and the reference's does not.
    unsupported: Option<u32>,
}

impl Facts {
    fn refuse(&mut self, offset: u32) {
        self.unsupported = Some(self.unsupported.map_or(offset, |other| other.min(offset)));
    }
}

impl<'a> VisitJs<'a> for Facts {
    fn enter_node(&mut self, kind: AstKind<'a>) {
        let span = kind.span();
        match kind {
            AstKind::FormalParameters(_) => self.parameters.push(span),
            AstKind::UnaryExpression(unary) if unary.operator == UnaryOperator::Delete => {
                self.deletions.push((span, unary.argument.span()));
            }
            AstKind::TemplateElement(_) => self.template_texts.push(span),
            AstKind::StringLiteral(_) | AstKind::Directive(_) => self.strings.push(span),
            AstKind::LogicalExpression(logical) => self.logical.push((span, logical.left.span())),
            AstKind::BreakStatement(jump) => {
                self.jumps
                    .push((span, jump.label.as_ref().map_or(span, |label| label.span)));
            }
            AstKind::ContinueStatement(jump) => {
                self.jumps
                    .push((span, jump.label.as_ref().map_or(span, |label| label.span)));
            }
            AstKind::TryStatement(attempt)
                if attempt.handler.is_none() && attempt.finalizer.is_none() =>
            {
                self.bare_tries.push(span);
            }
            AstKind::ObjectExpression(_) => self.objects.push(span),
            AstKind::RegExpLiteral(regex) => self
                .regexes
                .push((span, regex.regex.pattern.text.to_string())),
            AstKind::BindingIdentifier(id) if matches!(id.name.as_str(), "eval" | "arguments") => {
                self.bindings.push(span);
            }
            AstKind::AccessorProperty(property) => self.refuse(property.key.span().start),
            AstKind::ImportDeclaration(import) if import.phase.is_some() => self.refuse(span.start),
            AstKind::ImportExpression(import) if import.phase.is_some() => self.refuse(span.start),
            AstKind::Decorator(_) => self.refuse(span.start),
            _ => {}
        }
    }
}

struct Translator<'t> {
    source: &'t str,
    facts: &'t Facts,
}

impl Translator<'_> {
    fn translate(&self, message: &str, at: Span, last: Span) -> Diagnosis {
        let fixed = FIXED.iter().find(|(ours, _)| message.starts_with(ours));
        if let Some((_, theirs)) = fixed {
            return Diagnosis::new(*theirs, at.start);
        }
        self.lexical(message, at)
            .or_else(|| self.declarations(message, at, last))
            .or_else(|| self.structure(message, at, last))
            .unwrap_or_else(|| self.unexpected(self.offending_token(message, at)))
    }

    /// Errors inside a token.
    fn lexical(&self, message: &str, at: Span) -> Option<Diagnosis> {
        let start = at.start;
        Some(match message {
            "Unterminated string" if self.rest(start).starts_with(['\'', '"']) => {
                Diagnosis::new("Unterminated string constant", start)
            }
            "Unterminated string" => Diagnosis::new("Unterminated template", start + 1),
            "Unterminated regular expression" => {
                Diagnosis::new("Unterminated regular expression", start + 1)
            }
            "Bad escape sequence in untagged template literal" => Diagnosis::new(
                message,
                self.facts
                    .template_texts
                    .iter()
                    .rfind(|span| span.start <= start)
                    .map_or(start, |span| span.start),
            ),
            "Invalid escape sequence" => self.escape(start),
            "Invalid Unicode escape sequence" => self.name_escape(start),
            "'0'-prefixed octal literals and octal escape sequences are deprecated" => {
                match self.facts.strings.iter().find(|span| span.start == start) {
                    Some(string) => {
                        Diagnosis::new("Octal literal in strict mode", self.octal_escape(*string))
                    }
                    None => Diagnosis::new("Invalid number", start),
                }
            }
            "Invalid characters after number" => self.after_number(start),
            _ if message.starts_with("Invalid Character `") => self.character(start),
            _ if message.starts_with("Unexpected flag") => {
                Diagnosis::new("Invalid regular expression flag", self.regex_before(start))
            }
            _ if message.starts_with("Flag ") => Diagnosis::new(
                "Duplicate regular expression flag",
                self.regex_before(start),
            ),
            _ => {
                let reason = message.strip_prefix("Invalid regular expression: ")?;
                self.regex(reason, start)
            }
        })
    }

    /// Names that are declared twice or may not be declared, and the like.
    fn declarations(&self, message: &str, at: Span, last: Span) -> Option<Diagnosis> {
        if let Some(name) = between(message, "Identifier `", "` has already been declared") {
            let in_same = |spans: &[Span], with: &dyn Fn(Span) -> bool| {
                spans.iter().any(|span| {
                    span.contains_inclusive(at) && span.contains_inclusive(last) && with(*span)
                })
            };
            if name == "__proto__" && in_same(&self.facts.objects, &|_| true) {
                return Some(Diagnosis::new(
                    "Redefinition of __proto__ property",
                    last.start,
                ));
            }
            if in_same(&self.facts.parameters, &|_| true) {
                return Some(Diagnosis::new("Argument name clash", last.start));
            }
            return Some(Diagnosis::new(
                format!("Identifier '{name}' has already been declared"),
                at.start.max(last.start),
            ));
        }
        if let Some(name) = between(message, "Label `", "` has already been declared") {
            return Some(Diagnosis::new(
                format!("Label '{name}' is already declared"),
                last.start,
            ));
        }
        if let Some(name) = between(message, "Duplicated export '", "'") {
            return Some(Diagnosis::new(
                format!("Duplicate export '{name}'"),
                last.start,
            ));
        }
        if let Some(name) = between(message, "Private identifier '", "' is not allowed outside") {
            return Some(Diagnosis::new(
                format!("Private field '{name}' must be declared in an enclosing class"),
                at.start,
            ));
        }
        if let Some(name) = between(message, "Cannot assign to '", "' in strict mode") {
            let verb = if self.facts.bindings.contains(&at) {
                "Binding"
            } else {
                "Assigning to"
            };
            return Some(Diagnosis::new(
                format!("{verb} {name} in strict mode"),
                at.start,
            ));
        }
        let same = [
            "The keyword '",
            "Export '",
            "Private field '",
            "Constructor can't",
        ];
        if same.iter().any(|start| message.starts_with(start))
            || message.ends_with("may not have an initializer")
        {
            return Some(Diagnosis::new(message, at.start));
        }
        if let Some(word) = between(message, "Identifier expected. '", "' is a reserved word") {
            if self.is_operand_place(at.start) {
                return Some(self.unexpected(at.start));
            }
            return Some(Diagnosis::new(
                format!("Unexpected keyword '{word}'"),
                at.start,
            ));
        }
        match message {
            "A module cannot have multiple default exports." => {
                Some(Diagnosis::new("Duplicate export 'default'", last.start))
            }
            "Multiple constructor implementations are not allowed." => Some(Diagnosis::new(
                "Duplicate constructor in the same class",
                last.start,
            )),
            "Missing initializer in destructuring declaration"
                if self.before(at.start).trim_end().ends_with("const") =>
            {
                Some(self.unexpected(self.skip_trivia(at.end)))
            }
            "Missing initializer in destructuring declaration" => Some(Diagnosis::new(
                "Complex binding patterns require an initialization value",
                at.end,
            )),
            _ => None,
        }
    }

    /// Things in the wrong place.
    fn structure(&self, message: &str, at: Span, last: Span) -> Option<Diagnosis> {
        let text = |span: Span| &self.source[span.start as usize..span.end as usize];
        Some(match message {
            "Cannot assign to this expression" if text(at).contains("?.") => Diagnosis::new(
                "Optional chaining cannot appear in left-hand side",
                at.start,
            ),
            "Cannot assign to this expression" | "Invalid left-hand side in assignment" => {
                Diagnosis::new("Assigning to rvalue", at.start)
            }
            "A rest parameter must be last in a parameter list"
            | "A rest element must be last in a destructuring pattern"
            | "Spread must be last element" => Diagnosis::new(
                "Comma is not permitted after the rest element",
                self.skip_trivia(at.end),
            ),
            "Delete of an unqualified identifier in strict mode." => {
                let deletion = self
                    .facts
                    .deletions
                    .iter()
                    .find(|(_, argument)| *argument == at);
                Diagnosis::new(
                    "Deleting local variable in strict mode",
                    deletion.map_or(at.start, |(whole, _)| whole.start),
                )
            }
            "Illegal newline after throw" => Diagnosis::new(message, at.end),
            "Logical expressions and coalesce expressions cannot be mixed" => {
                // The second of the two operators: that of the right side if the mix is there.
                let sides = self.facts.logical.iter();
                let second = sides
                    .filter(|(whole, _)| at.contains_inclusive(*whole) && whole.end == at.end)
                    .max_by_key(|(_, left)| left.end);
                let operator = second.map_or(at.start, |(_, left)| self.operator_after(left.end));
                Diagnosis::new(
                    "Logical expressions and coalesce expressions cannot be mixed. Wrap either by parentheses",
                    operator,
                )
            }
            "Missing catch or finally clause" => {
                let attempt = self
                    .facts
                    .bare_tries
                    .iter()
                    .find(|attempt| attempt.end == at.start);
                let word = || self.before(at.start).rfind("try").map_or(at.start, to_u32);
                Diagnosis::new(message, attempt.map_or_else(word, |attempt| attempt.start))
            }
            "A 'default' clause cannot appear more than once in a 'switch' statement." => {
                Diagnosis::new("Multiple default clauses", last.start)
            }
            "Invalid assignment in object literal" => {
                let equals = text(at).find('=').map_or(0, to_u32);
                Diagnosis::new(
                    "Shorthand property assignments are valid only in destructuring patterns",
                    at.start + equals,
                )
            }
            "The only valid meta property for new is new.target" => Diagnosis::new(
                "The only valid meta property for new is 'new.target'",
                self.property_after_dot(at),
            ),
            _ if message.starts_with("The only valid property accesses on import") => {
                Diagnosis::new(
                    "The only valid meta property for import is 'import.meta'",
                    self.property_after_dot(at),
                )
            }
            "Empty parenthesized expression" => self.unexpected(at.end.saturating_sub(1)),
            _ if message.starts_with("'super' can only be used with") => {
                if self.before(at.start).contains("class") {
                    self.unexpected(self.skip_trivia(at.end))
                } else {
                    Diagnosis::new("'super' keyword outside a method", at.start)
                }
            }
            _ if message.starts_with("Expected `:` but found") => {
                self.property_without_value(at.start)
            }
            _ if message.starts_with("Expected `in` but found") => match self.word_before(at.start)
            {
                Some((start, word)) if word.starts_with('#') => self.unexpected(start),
                _ => self.unexpected(at.start),
            },
            "Use of undefined label" => self.jump(at, at),
            "Illegal break statement" => self.jump(at, at),
            _ if message.starts_with("Illegal continue statement") => self.jump(at, at),
            _ if message.contains("statement can only jump to a label of an enclosing") => {
                self.jump(at, last)
            }
            _ => return None,
        })
    }

    fn jump(&self, at: Span, last: Span) -> Diagnosis {
        let jumps = &self.facts.jumps;
        let jump = jumps
            .iter()
            .find(|(whole, label)| [at, last].iter().any(|span| whole == span || label == span));
        let start = jump.map_or(at.start, |(whole, _)| whole.start);
        let word = if self.rest(start).starts_with("break") {
            "break"
        } else {
            "continue"
        };
        Diagnosis::new(format!("Unsyntactic {word}"), start)
    }

    /// A bad escape in a string, a template or a name, which starts with a backslash at `start`.
    fn escape(&self, start: u32) -> Diagnosis {
        let rest = self.rest(start);
        if let Some(digits) = rest.strip_prefix("\\u{") {
            let hex = digits.split('}').next().unwrap_or(digits);
            if !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Diagnosis::new("Code point out of bounds", start + 3);
            }
            return Diagnosis::new("Bad character escape sequence", start + 3);
        }
        Diagnosis::new("Bad character escape sequence", start + 2)
    }

    /// The first octal escape of a string.
    fn octal_escape(&self, string: Span) -> u32 {
        let text = &self.source.as_bytes()[string.start as usize..string.end as usize];
        let mut at = 0;
        while at + 1 < text.len() {
            if text[at] == b'\\' {
                let is_null =
                    text[at + 1] == b'0' && !text.get(at + 2).is_some_and(u8::is_ascii_digit);
                if text[at + 1].is_ascii_digit() && !is_null {
                    return string.start + to_u32(at);
                }
                at += 1;
            }
            at += 1;
        }
        string.start
    }

    /// What follows a number where nothing may.
    fn after_number(&self, start: u32) -> Diagnosis {
        let before = &self.source[..start as usize];
        if self.rest(start).starts_with('_') && before.ends_with('_') {
            return Diagnosis::new("Numeric separator must be exactly one underscore", start);
        }
        if before.ends_with('_') {
            return Diagnosis::new(
                "Numeric separator is not allowed at the last of digits",
                start - 1,
            );
        }
        Diagnosis::new("Identifier directly after number", start)
    }

    /// A character that can begin no token.
    fn character(&self, start: u32) -> Diagnosis {
        let before = &self.source[..start as usize];
        let number = before.trim_end_matches(|character: char| character.is_ascii_alphanumeric());
        let number = &before[number.len()..];
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            if number.eq_ignore_ascii_case(prefix) {
                return Diagnosis::new(format!("Expected number in radix {radix}"), start);
            }
        }
        if number.starts_with(|character: char| character.is_ascii_digit()) || before.ends_with('_')
        {
            return self.after_number(start);
        }
        if let Some(escape) = before.rfind("\\u") {
            let between = &before[escape + 2..];
            if between
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'{')
            {
                return Diagnosis::new("Invalid Unicode escape", to_u32(escape));
            }
        }
        match self.rest(start).chars().next() {
            Some(character) => Diagnosis::new(format!("Unexpected character '{character}'"), start),
            None => Diagnosis::new("Unexpected token", start),
        }
    }

    /// Where the pattern of the regular expression begins whose flags are at an offset.
    fn regex_before(&self, flags: u32) -> u32 {
        let before = &self.source[..flags as usize];
        let Some(close) = before.rfind('/') else {
            return flags;
        };
        let line = before[..close].rfind(is_line_end).map_or(0, |end| end + 1);
        let mut start = close;
        for (index, _) in before[line..close].match_indices('/') {
            let open = line + index;
            let is_escaped = before[..open].ends_with('\\');
            if !is_escaped && regex_closes_at(&before[open + 1..=close]) {
                start = open;
                break;
            }
        }
        to_u32(start + 1)
    }

    fn regex(&self, reason: &str, at: u32) -> Diagnosis {
        let regex = self
            .facts
            .regexes
            .iter()
            .find(|(span, _)| span.start <= at && at <= span.end);
        let reason = REGEX
            .iter()
            .find(|(ours, _)| reason.starts_with(ours))
            .map_or(reason, |(_, theirs)| theirs);
        match regex {
            Some((span, pattern)) => Diagnosis::new(
                format!("Invalid regular expression: /{pattern}/: {reason}"),
                span.start + 1,
            ),
            None => Diagnosis::new(format!("Invalid regular expression: {reason}"), at),
        }
    }

    /// A token where none like it may be, unless the token itself is malformed.
    fn unexpected(&self, offset: u32) -> Diagnosis {
        let rest = self.rest(offset);
        let line = rest.split(['\n', '\r']).next().unwrap_or(rest);
        match rest.bytes().next() {
            Some(b'/') if rest.starts_with("/*") => Diagnosis::new("Unterminated comment", offset),
            Some(b'@') => Diagnosis::new("Unexpected character '@'", offset),
            Some(b'\\') => self.name_escape(offset),
            Some(quote @ (b'\'' | b'"')) if !line[1..].contains(char::from(quote)) => {
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
                    _ => return Diagnosis::new("Unexpected token", offset),
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
        const RESERVED: [&str; 8] = [
            "implements",
            "interface",
            "let",
            "package",
            "private",
            "protected",
            "public",
            "yield",
        ];
        match self.word_before(offset) {
            Some((start, word)) if RESERVED.contains(&word) => {
                Diagnosis::new(format!("The keyword '{word}' is reserved"), start)
            }
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

    /// A property of an object literal that has no value although its name is no variable's.
    fn property_without_value(&self, offset: u32) -> Diagnosis {
        match self.word_before(offset) {
            Some((start, word)) if RESERVED_KEYWORDS.contains(word) => {
                Diagnosis::new(format!("Unexpected keyword '{word}'"), start)
            }
            _ => self.unexpected(offset),
        }
    }

    /// The word that ends just before an offset, white space aside.
    fn word_before(&self, offset: u32) -> Option<(u32, &str)> {
        let before = self.before(offset).trim_end_matches(is_space);
        let is_part =
            |character: char| character.is_alphanumeric() || matches!(character, '_' | '$' | '#');
        let start = before.trim_end_matches(is_part).len();
        let is_property = before[..start].ends_with('.');
        (start < before.len() && !is_property).then(|| (to_u32(start), &before[start..]))
    }

    /// Whether an operand, not a new name, is expected at an offset.
    fn is_operand_place(&self, offset: u32) -> bool {
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
        let head = head
            .trim_end_matches(is_space)
            .trim_end_matches(|name: char| name.is_alphanumeric() || name == '_');
        !head.trim_end_matches(is_space).ends_with("function")
    }

    /// An arrow after something that is no list of parameters.
    fn arrow(&self, offset: u32) -> Diagnosis {
        let before = self.before(offset).trim_end();
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

    /// A bad escape in a name, whose backslash is at an offset.
    fn name_escape(&self, start: u32) -> Diagnosis {
        // Our parser points behind the backslash.
        let start = if self.rest(start).starts_with('\\') {
            start
        } else {
            start.saturating_sub(1)
        };
        match self.rest(start + 1).bytes().next() {
            Some(b'u') => self.escape(start),
            _ => Diagnosis::new("Expecting Unicode escape sequence \\uXXXX", start + 1),
        }
    }

    fn before(&self, end: u32) -> &str {
        self.source.get(..end as usize).unwrap_or("")
    }

    fn rest(&self, start: u32) -> &str {
        self.source.get(start as usize..).unwrap_or("")
    }

    /// The start of the next token.
    fn skip_trivia(&self, from: u32) -> u32 {
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
    fn operator_after(&self, operand: u32) -> u32 {
        let mut at = self.skip_trivia(operand);
        while self.rest(at).starts_with(')') {
            at = self.skip_trivia(at + 1);
        }
        at
    }

    fn property_after_dot(&self, at: Span) -> u32 {
        let dot = self.rest(at.start).find('.').map_or(0, to_u32);
        self.skip_trivia(at.start + dot + 1)
    }

    /// Where the reference sees the token that it does not expect.
    fn offending_token(&self, message: &str, at: Span) -> u32 {
        let points_before = message.starts_with("Expected a semicolon")
            || message == "Expected function body"
            || message.starts_with("Identifier expected after")
            || matches!(
                message,
                "Missing initializer in const declaration"
                    | "A class name is required."
                    | "Unexpected end of file"
            );
        if points_before {
            self.skip_trivia(at.end)
        } else {
            at.start
        }
    }
}

/// Messages that change their words and keep their place.
const FIXED: [(&str, &str); 16] = [
    (
        "'import statement' declaration can only be used",
        "'import' and 'export' may only appear at the top level",
    ),
    (
        "'export statement' declaration can only be used",
        "'import' and 'export' may only appear at the top level",
    ),
    (
        "Unexpected new.target expression",
        "'new.target' can only be used in functions and class static block",
    ),
    (
        "A 'return' statement can only be used",
        "'return' outside of function",
    ),
    (
        "'super' can only be referenced in members",
        "'super' keyword outside a method",
    ),
    (
        "'super' can only be referenced in a derived class",
        "super() call outside constructor of a subclass",
    ),
    (
        "Super calls are not permitted",
        "super() call outside constructor of a subclass",
    ),
    ("'with' statements are not allowed", "'with' in strict mode"),
    (
        "`await` is only allowed within async functions",
        "Cannot use keyword 'await' outside an async function",
    ),
    ("Decimals with leading zeros", "Invalid number"),
    ("Unterminated multiline comment", "Unterminated comment"),
    (
        "Invalid optional chain from new expression",
        "Optional chaining cannot appear in the callee of new expressions",
    ),
    (
        "Tagged template expressions are not permitted in an optional chain",
        "Optional chaining cannot appear in the tag of tagged template expressions",
    ),
    (
        "A 'get' accessor must not have any formal parameters",
        "getter should have no params",
    ),
    (
        "A 'set' accessor must have exactly one parameter",
        "setter should have exactly one param",
    ),
    (
        "A 'set' accessor cannot have rest parameter",
        "Setter cannot use rest params",
    ),
];

/// What is wrong with regular expressions, in our parser's words and the reference's.
const REGEX: [(&str, &str); 1] = [("Unterminated capturing group", "Unterminated group")];

/// The text between a prefix and what follows it.
fn between<'m>(message: &'m str, prefix: &str, suffix: &str) -> Option<&'m str> {
    let rest = message.strip_prefix(prefix)?;
    rest.find(suffix).map(|end| &rest[..end])
}

/// Whether the first slash that ends a regular expression's pattern is the text's last character.
fn regex_closes_at(text: &str) -> bool {
    let mut in_class = false;
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'/' if !in_class => return index + 1 == text.len(),
            _ => {}
        }
    }
    false
}
