//! Errors about whole constructs, in the reference's words.

use oxc::{span::Span, syntax::keyword::RESERVED_KEYWORDS};

use super::{Diagnosis, facts::Facts, messages::FIXED, text::between};
use crate::source::to_u32;

/// Translates the parser's messages about one job.
pub(super) struct Translator<'t> {
    pub(super) source: &'t str,
    pub(super) facts: &'t Facts,
}

impl Translator<'_> {
    pub(super) fn translate(&self, message: &str, at: Span, last: Span) -> Diagnosis {
        let fixed = FIXED.iter().find(|(ours, _)| message.starts_with(ours));
        if let Some((_, theirs)) = fixed {
            return self.fixed(theirs, at);
        }
        self.lexical(message, at)
            .or_else(|| self.declarations(message, at, last))
            .or_else(|| self.structure(message, at, last))
            .unwrap_or_else(|| self.unexpected(self.offending_token(message, at)))
    }

    /// A message that keeps its place.
    fn fixed(&self, text: &str, at: Span) -> Diagnosis {
        let diagnosis = Diagnosis::new(text, at.start);
        if text.starts_with("Cannot use keyword 'await'") {
            return self.after_next_token(diagnosis, "await");
        }
        // The reference asks for the parameters when it has read the whole method.
        let is_accessor = text.starts_with("getter") || text.contains("etter");
        let mut functions = self.facts.functions.iter();
        if is_accessor
            && let Some((_, end)) = functions.find(|(params, _)| params.contains_inclusive(at))
        {
            return diagnosis.found_at(self.skip_trivia(*end));
        }
        // Outside of all methods it refuses the word itself, which our parser may take for a call.
        if text.starts_with("super()") && !self.before(at.start).contains("class") {
            let word = self.word_in(at, &["super"]).unwrap_or(at.start);
            return Diagnosis::new("'super' keyword outside a method", word);
        }
        diagnosis
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
                let clash = Diagnosis::new("Argument name clash", last.start);
                // The names are compared before a body with statements and behind an expression.
                let mut arrows = self.facts.arrows.iter().rev();
                return Some(
                    match arrows.find(|(arrow, _)| arrow.contains_inclusive(last)) {
                        Some((_, Some(block))) => clash.found_at(*block).if_accepted(),
                        Some((arrow, None)) => clash.found_at(self.skip_trivia(arrow.end)),
                        None => clash,
                    },
                );
            }
            return Some(
                Diagnosis::new(
                    format!("Identifier '{name}' has already been declared"),
                    at.start.max(last.start),
                )
                .found_at(self.skip_trivia(at.end.max(last.end))),
            );
        }
        if let Some(name) = between(message, "Label `", "` has already been declared") {
            return Some(Diagnosis::new(
                format!("Label '{name}' is already declared"),
                last.start,
            ));
        }
        if let Some(name) = between(message, "Duplicated export '", "'") {
            // What a declaration exports is noted behind it.
            let mut exports = self.facts.exports.iter();
            let declaration = exports.find(|export| export.contains_inclusive(last));
            let end = declaration.map_or(last.end, |export| export.end);
            let text = format!("Duplicate export '{name}'");
            return Some(Diagnosis::new(text, last.start).found_at(self.skip_trivia(end)));
        }
        if let Some(name) = between(message, "Private identifier '", "' is not allowed outside") {
            let text = format!("Private field '{name}' must be declared in an enclosing class");
            let found = self.skip_trivia(at.end);
            return Some(Diagnosis::new(text, at.start).found_at(found));
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
        if message == "The keyword 'await' is reserved"
            || message.starts_with("Cannot use `await` as an identifier")
        {
            return Some(self.reserved("await", at.start));
        }
        if message.starts_with("Export '")
            && let Some(token) = self.after_from(at.end)
        {
            return Some(self.unexpected(token));
        }
        let same = ["Export '", "Private field '", "Constructor can't"];
        if same.iter().any(|start| message.starts_with(start))
            || message.ends_with("may not have an initializer")
        {
            return Some(Diagnosis::new(message, at.start));
        }
        if let Some(word) = between(message, "The keyword '", "' is reserved") {
            return Some(self.keyword(word, at.start));
        }
        if let Some(word) = between(message, "Identifier expected. '", "' is a reserved word") {
            if self.is_operand_place(at.start) {
                return Some(self.unexpected(at.start));
            }
            return Some(self.reserved(word, at.start));
        }
        if let Some(word) = between(message, "Expected `Identifier` but found `", "`")
            && RESERVED_KEYWORDS.contains(word)
            && !self.is_operand_place(at.start)
            && !matches!(self.word_before(at.start), Some((_, "class")))
        {
            return Some(self.reserved(word, at.start));
        }
        if message.ends_with(" modifier cannot be used here.")
            || message.starts_with("Parameter modifiers can only")
        {
            let word = &self.source[at.start as usize..at.end as usize];
            return Some(match word {
                "async" => self.after_async(at.start, self.skip_trivia(at.end)),
                _ if RESERVED_KEYWORDS.contains(word) && !self.is_operand_place(at.start) => {
                    self.reserved(word, at.start)
                }
                _ => self.unexpected(at.start),
            });
        }
        if message.contains(" modifier can only appear on") {
            return Some(self.unexpected(self.skip_trivia(at.end)));
        }
        match message {
            "A module cannot have multiple default exports." => {
                Some(Diagnosis::new("Duplicate export 'default'", last.start))
            }
            "Multiple constructor implementations are not allowed." => Some(
                Diagnosis::new("Duplicate constructor in the same class", last.start).found_at({
                    let mut methods = self.facts.methods.iter();
                    let method = methods.find(|method| method.contains_inclusive(last));
                    self.skip_trivia(method.map_or(last.end, |method| method.end))
                }),
            ),
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
                .found_at(self.skip_trivia(at.end))
            }
            "Illegal newline after throw" => {
                Diagnosis::new(message, at.end).found_at(self.skip_trivia(at.end))
            }
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
                    .found_at(self.skip_trivia(at.start))
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
            _ if message.starts_with("Expected `=>` but found")
                || message == "Line terminator not permitted before arrow" =>
            {
                self.unexpected(self.only_parameters(at.start).unwrap_or(at.start))
            }
            "The only valid meta property for new is new.target" => {
                let property = self.property_after_dot(at);
                if self.name_or_keyword_at(property).is_none() {
                    return Some(self.unexpected(property));
                }
                Diagnosis::new(
                    "The only valid meta property for new is 'new.target'",
                    property,
                )
            }
            _ if message.starts_with("The only valid property accesses on import") => {
                let property = self.property_after_dot(at);
                if self.name_or_keyword_at(property).is_none() {
                    return Some(self.unexpected(property));
                }
                Diagnosis::new(
                    "The only valid meta property for import is 'import.meta'",
                    property,
                )
            }
            _ if message.starts_with("A reserved word cannot be used as an exported binding") => {
                match self.after_from(at.end) {
                    Some(token) => self.unexpected(token),
                    // With `from` the names would be those of the other module.
                    None => self
                        .reserved(text(at), at.start)
                        .found_at(self.after_list(at.end)),
                }
            }
            _ if message.starts_with("A string literal cannot be used as an exported binding") => {
                match self.after_from(at.end) {
                    Some(token) => self.unexpected(token),
                    None => Diagnosis::new(format!("{message}."), at.start)
                        .found_at(self.after_list(at.end)),
                }
            }
            _ if message.starts_with("Type assertion expressions") => {
                let word = self.word_in(at, &["as", "satisfies"]);
                self.unexpected(word.unwrap_or(at.start))
            }
            _ if message.starts_with("A unary expression with the") => {
                self.unexpected(self.operator_after(at.end))
            }
            "import() requires a specifier." => self.unexpected(at.end - 1),
            _ if message.starts_with("Dynamic imports can only accept") => {
                self.unexpected(self.skip_trivia(at.end))
            }
            "Parenthesized expressions may not have a trailing comma." => {
                self.unexpected(self.skip_trivia(at.end))
            }
            "Using declarations must have an initializer." => {
                let mut awaits = self.facts.awaits_using.iter();
                let is_await = awaits.any(|declaration| declaration.contains_inclusive(at))
                    || self.before(at.start).trim_end().ends_with("await using");
                let kind = if is_await { "await using" } else { "using" };
                Diagnosis::new(format!("Missing initializer in {kind} declaration"), at.end)
            }
            _ if message.starts_with("The left-hand side of a for...in statement cannot be an") => {
                Diagnosis::new(
                    "Using declaration is not allowed in for-in loops",
                    self.skip_trivia(at.end),
                )
            }
            _ if message.ends_with("declaration cannot appear in the bare case statement.") => {
                Diagnosis::new(
                    "Using declaration cannot appear in the top level when source type is `script` or in the bare case statement",
                    at.start,
                )
            }
            _ if message.starts_with("Lexical declaration cannot appear in a single-statement")
                && text(at).starts_with(['u', 'a']) =>
            {
                Diagnosis::new(
                    "Using declaration is not allowed in single-statement positions",
                    at.start,
                )
            }
            // At the end of the text the reference reads these two signs one by one.
            "Identifier expected after '?.'" if self.rest(at.end).is_empty() => {
                self.unexpected(at.end - 1)
            }
            "Empty parenthesized expression" => self.unexpected(at.end.saturating_sub(1)),
            _ if message.starts_with("'super' can only be used with") => {
                if self.before(at.start).contains("class") {
                    self.unexpected(self.skip_trivia(at.end))
                } else {
                    let word = self.rest(at.start).find("super").map_or(0, to_u32);
                    Diagnosis::new("'super' keyword outside a method", at.start + word)
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
        let end = jump.map_or(at.end, |(whole, _)| whole.end);
        let jump = Diagnosis::new(format!("Unsyntactic {word}"), start);
        let jump = jump.found_at(self.skip_trivia(end));
        if self.before(end).ends_with(';') {
            jump
        } else {
            jump.if_accepted()
        }
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
