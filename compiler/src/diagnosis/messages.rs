//! Messages of our parser and of the reference.

/// Messages that change their words and keep their place.
pub(super) const FIXED: [(&str, &str); 16] = [
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
pub(super) const REGEX: [(&str, &str); 15] = [
    ("Unterminated capturing group", "Unterminated group"),
    ("Unterminated ignore group", "Unterminated group"),
    ("Unterminated lookaround assertion", "Unterminated group"),
    ("Invalid braced quantifier", "Nothing to repeat"),
    ("Lone quantifier found", "Nothing to repeat"),
    ("Unknown modifiers", "Invalid group"),
    ("Character class atom range", CLASS_RANGE),
    ("Character class set range", CLASS_RANGE),
    ("Character class range with", "Invalid character class"),
    (
        "Unterminated nested class",
        "Invalid character in character class",
    ),
    ("Invalid class atom", "Invalid escape"),
    ("Invalid indexed reference", "Invalid escape"),
    ("Invalid unicode escape sequence", "Invalid unicode escape"),
    (
        "Invalid named reference",
        "Invalid named capture referenced",
    ),
    ("Duplicated capturing group", "Duplicate capture group name"),
];

const CLASS_RANGE: &str = "Range out of order in character class";

/// How the texts begin of errors inside tokens.
pub(super) const IN_TOKENS: [&str; 16] = [
    "Bad character escape",
    "Bad escape sequence",
    "Code point out of bounds",
    "Duplicate regular expression flag",
    "Expected number in radix",
    "Expecting Unicode escape",
    "Identifier directly after",
    "Invalid Unicode escape",
    "Invalid number",
    "Invalid regular expression",
    "Numeric separator",
    "Octal literal",
    "Unexpected character",
    "Unterminated comment",
    "Unterminated regular expression",
    "Unterminated string",
];
