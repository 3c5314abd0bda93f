//! Errors about whole constructs, in the reference's words.

use oxc::{span::Span, syntax::keyword::RESERVED_KEYWORDS};

use super::{Diagnosis, facts::Facts, unexpected::reserved};
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
            return Diagnosis::new(*theirs, at.start);
        }
        self.lexical(message, at)
            .or_else(|| self.declarations(message, at, last))
            .or_else(|| self.structure(message, at, last))
            .unwrap_or_else(|| self.unexpected(self.offending_token(message, at)))
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
        if message == "The keyword 'await' is reserved"
            || message.starts_with("Cannot use `await` as an identifier")
        {
            return Some(reserved("await", at.start));
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
            return Some(reserved(word, at.start));
        }
        if let Some(word) = between(message, "Expected `Identifier` but found `", "`")
            && RESERVED_KEYWORDS.contains(word)
            && !self.is_operand_place(at.start)
            && !matches!(self.word_before(at.start), Some((_, "class")))
        {
            return Some(reserved(word, at.start));
        }
        if message.ends_with(" modifier cannot be used here.")
            || message.starts_with("Parameter modifiers can only")
        {
            let word = &self.source[at.start as usize..at.end as usize];
            return Some(match word {
                "async" => self.after_async(at.start, self.skip_trivia(at.end)),
                _ if RESERVED_KEYWORDS.contains(word) && !self.is_operand_place(at.start) => {
                    reserved(word, at.start)
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
            _ if message.starts_with("Expected `=>` but found")
                || message == "Line terminator not permitted before arrow" =>
            {
                self.unexpected(self.only_parameters(at.start).unwrap_or(at.start))
            }
            "The only valid meta property for new is new.target" => Diagnosis::new(
                "The only valid meta property for new is 'new.target'",
                self.property_after_dot(at),
            ),
            _ if message.starts_with("The only valid property accesses on import") => {
                let property = self.property_after_dot(at);
                if !self.rest(property).starts_with(char::is_alphabetic) {
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
                    None => reserved(text(at), at.start),
                }
            }
            _ if message.starts_with("Type assertion expressions") => {
                let word = text(at).find(" as ").map_or(0, to_u32);
                self.unexpected(self.skip_trivia(at.start + word))
            }
            "import() requires a specifier." => self.unexpected(at.end - 1),
            _ if message.starts_with("Dynamic imports can only accept") => {
                self.unexpected(self.skip_trivia(at.end))
            }
            "Parenthesized expressions may not have a trailing comma." => {
                self.unexpected(self.skip_trivia(at.end))
            }
            "Using declarations must have an initializer." => {
                Diagnosis::new("Missing initializer in using declaration", at.end)
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

/// The text between a prefix and what follows it.
pub(super) fn between<'m>(message: &'m str, prefix: &str, suffix: &str) -> Option<&'m str> {
    let rest = message.strip_prefix(prefix)?;
    rest.find(suffix).map(|end| &rest[..end])
}
