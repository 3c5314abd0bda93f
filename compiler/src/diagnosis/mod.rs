//! Says what is wrong with a job in the words and at the place that job authors know, which are
//! those of the parser that the reference uses (compiler spec, section 13.2).
//!
//! Our parser finds the same errors but words and places many of them differently, so each of its
//! messages is translated here. What has no translation is an `Unexpected token`, as nearly
//! everything is that the grammar does not allow.

mod facts;
mod lexical;
mod messages;
mod text;
mod translate;
mod unexpected;

use std::borrow::Cow;

use oxc::{ast::ast::Program, ast_visit::VisitJs, diagnostics::OxcDiagnostic, span::Span};

use self::{
    facts::{Facts, Unsupported},
    messages::IN_TOKENS,
    translate::Translator,
};
use crate::{
    nesting,
    source::{is_line_end, to_u32},
};

/// How many errors of one job are compared. Only a job made for it has so many that come first.
const MAX_COMPARED: usize = 64;

/// What is wrong, and the byte offset where it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) text: String,
    pub(crate) offset: u32,
    found: Found,
    /// The tree of a text that parses showed this, not how the text was read.
    pub(crate) in_tree: bool,
}

/// When the reference finds an error: it stops at the first one that it finds, which need not be
/// the one that stands first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    /// Only when it has read everything.
    late: bool,
    /// The token that it has read last.
    token: u32,
    stage: Stage,
}

/// What the reference does with a token, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It reads the token.
    Reading,
    /// It looks at what the token has ended.
    Checking,
    /// It asks whether the token may stand there.
    Expecting,
    /// The token may stand there.
    Accepted,
}

impl Diagnosis {
    fn new(text: impl Into<String>, offset: u32) -> Self {
        let text = text.into();
        let stage = match text.as_str() {
            "Unexpected token" => Stage::Expecting,
            // The sign that begins a template is a token of its own.
            text if text.starts_with("Unterminated template") => Stage::Expecting,
            text if IN_TOKENS.iter().any(|start| text.starts_with(start)) => Stage::Reading,
            _ => Stage::Checking,
        };
        let found = Found {
            late: text.starts_with("Export '"),
            token: offset,
            stage,
        };
        Self {
            text,
            offset,
            found,
            in_tree: false,
        }
    }

    /// The same error, found when the reference has read the token at `token`.
    fn found_at(mut self, token: u32) -> Self {
        self.found.token = token;
        self
    }

    /// The same error, found only if the token may stand where it does.
    fn if_accepted(mut self) -> Self {
        self.found.stage = Stage::Accepted;
        self
    }

    /// Whether the reference finds this before another error.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        self.found < other.found
    }

    /// The same error in a text that was completed from an offset on with a space and more: the
    /// token that was added stands for the one that the text has there.
    pub(crate) fn in_text_up_to(mut self, offset: u32) -> Self {
        if self.found.token == offset + 1 {
            self.found.token = offset;
        }
        self
    }

    /// Whether this error is placed by what the tree of the job says.
    pub(crate) fn needs_tree(&self) -> bool {
        self.text.starts_with("Logical expressions")
    }

    /// Whether this is about a literal that can still turn out to be a pattern, at the place where
    /// a text breaks off.
    pub(crate) fn may_be_undone(&self, text: &str) -> bool {
        let is_undone = ["Shorthand property", "Redefinition of __proto__"]
            .iter()
            .any(|start| self.text.starts_with(start));
        is_undone && nesting::cover_is_open(text, self.offset, to_u32(text.len()))
    }
}

/// What our parser found out about a job.
pub(crate) struct Findings<'f, 'a> {
    pub(crate) program: &'f Program<'a>,
    /// Errors met while reading.
    pub(crate) reading: &'f [OxcDiagnostic],
    /// Errors in the tree.
    pub(crate) tree: &'f [OxcDiagnostic],
    /// The first character between tokens that our parser skips as white space and JavaScript
    /// does not.
    pub(crate) odd_space: Option<u32>,
}

/// Chooses the error that the reference meets first and translates it.
pub(crate) fn diagnose(source: &str, findings: &Findings<'_, '_>) -> Option<Diagnosis> {
    let Unsupported {
        first: unsupported,
        await_using,
        ..
    } = Unsupported::find(source, findings.program);
    let found = || findings.reading.iter().chain(findings.tree);
    let is_accepted = found().next().is_none();
    let is_supported = unsupported.is_none() && await_using.is_none();
    if is_accepted && is_supported && findings.odd_space.is_none() {
        return None;
    }
    let source = &*without_comments(source, findings.program);
    let mut facts = Facts::default();
    facts.visit_program(findings.program);
    let translator = Translator {
        source,
        facts: &facts,
    };
    let skips_shorthands = shorthands_may_be_patterns(source, found);
    let in_tree = std::iter::repeat_n(false, findings.reading.len()).chain(std::iter::repeat(true));
    let mut compared: Vec<_> = found()
        .zip(in_tree)
        .filter(|(diagnostic, _)| !(skips_shorthands && diagnostic.message == SHORTHAND))
        .map(|(diagnostic, in_tree)| (place(source, diagnostic, 0), diagnostic, in_tree))
        .map(|(at, diagnostic, in_tree)| (at.unwrap_or(Span::empty(0)), diagnostic, in_tree))
        .collect();
    compared.sort_by_key(|(at, ..)| at.start);
    compared.truncate(MAX_COMPARED);
    // Our parser knows decorators and complains about what comes after the sign, if at all.
    let sign = (!is_accepted).then(|| nesting::first_at_sign(source));
    let tokens = [sign.flatten(), unsupported, findings.odd_space];
    let tokens = tokens.into_iter().flatten();
    // The reference refuses these where they begin, ours when it has read them.
    let misplaced = (!is_accepted).then(|| nesting::misplaced_statement(source));
    let misplaced = misplaced.flatten().map(|misplaced| {
        let text = match misplaced.word {
            "return" => "'return' outside of function",
            "with" => "'with' in strict mode",
            _ => "'import' and 'export' may only appear at the top level",
        };
        Diagnosis::new(text, misplaced.offset)
    });
    let awaits_using = await_using.map(|offset| Diagnosis {
        in_tree: true,
        ..Diagnosis::new(
            "Await using cannot appear outside of async function",
            offset,
        )
    });
    let translated = compared.iter().map(|(at, diagnostic, in_tree)| {
        let last = place(source, diagnostic, 1).unwrap_or(*at);
        Diagnosis {
            in_tree: *in_tree,
            ..translator.translate(&diagnostic.message, *at, last)
        }
    });
    tokens
        .map(|offset| Diagnosis {
            in_tree: true,
            ..translator.unexpected(translator.skip_trivia(offset))
        })
        .chain(misplaced)
        .chain(awaits_using)
        .chain(translated)
        .min_by_key(|diagnosis| diagnosis.found)
}

/// The error inside the token at which the reference finds an error: it reads a whole token before
/// it asks whether the token may be there. `token_error` says what is wrong inside a single token,
/// and where in it.
pub(crate) fn inside_token(
    source: &str,
    diagnosis: Diagnosis,
    token_error: impl Fn(&str) -> Option<(String, u32)>,
) -> Diagnosis {
    let translator = Translator {
        source,
        facts: &Facts::default(),
    };
    let Some(token) = translator.token_in_question(&diagnosis) else {
        return diagnosis;
    };
    if let Some(malformed) = translator.malformed(token)
        && malformed.text != diagnosis.text
    {
        return malformed;
    }
    let error = translator
        .token_with_content(token)
        .and_then(|text| token_error(&text));
    error.map_or(diagnosis, |(text, offset)| {
        Diagnosis::new(text, token + offset).found_at(token)
    })
}

/// A text with spaces for its comments, so that nothing in them is taken for code.
fn without_comments<'s>(source: &'s str, program: &Program<'_>) -> Cow<'s, str> {
    let mut blank = String::new();
    for comment in &program.comments {
        let start = comment.span.start as usize;
        // Comments of HTML are no comments for the reference.
        if start < blank.len() || source[start..].starts_with(['<', '-']) {
            continue;
        }
        blank.push_str(&source[blank.len()..start]);
        for character in source[start..comment.span.end as usize].chars() {
            if is_line_end(character) {
                blank.push(character);
            } else {
                blank.extend(std::iter::repeat_n(' ', character.len_utf8()));
            }
        }
    }
    if blank.is_empty() {
        return Cow::Borrowed(source);
    }
    blank.push_str(&source[blank.len()..]);
    Cow::Owned(blank)
}

/// What our parser says of `{ a = 1 }`, which becomes a pattern when `=` or `=>` follows.
const SHORTHAND: &str = "Invalid assignment in object literal";

/// Whether such literals could all have become patterns, had the text not broken off or gone wrong
/// in another way before the brackets around them ended.
fn shorthands_may_be_patterns<'d, D: Iterator<Item = &'d OxcDiagnostic>>(
    source: &str,
    found: impl Fn() -> D,
) -> bool {
    let starts = |is_shorthand: bool| {
        found()
            .filter(move |diagnostic| (diagnostic.message == SHORTHAND) == is_shorthand)
            .filter_map(|diagnostic| place(source, diagnostic, 0))
            .map(|span| span.start)
    };
    let Some(first) = starts(true).min() else {
        return false;
    };
    // All later ones up to that place are inside the same brackets.
    starts(false)
        .filter(|other| *other > first)
        .min()
        .is_some_and(|other| nesting::cover_is_open(source, first, other))
}

/// One of the places that a diagnostic points at.
fn place(source: &str, diagnostic: &OxcDiagnostic, index: usize) -> Option<Span> {
    let label = diagnostic.labels.get(index)?;
    // Our parser sometimes points inside a character.
    let start = source.floor_char_boundary(label.offset() as usize);
    let end = source.ceil_char_boundary((label.offset() + label.len()) as usize);
    Some(Span::new(to_u32(start), to_u32(end)))
}
