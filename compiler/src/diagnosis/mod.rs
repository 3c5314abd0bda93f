//! Says what is wrong with a job in the words and at the place that job authors know, which are
//! those of the parser that the reference uses (compiler spec, section 13.2).
//!
//! Our parser finds the same errors but words and places many of them differently, so each of its
//! messages is translated here. What has no translation is an `Unexpected token`, as nearly
//! everything is that the grammar does not allow.

mod facts;
mod lexical;
mod text;
mod translate;
mod unexpected;

use oxc::{ast::ast::Program, ast_visit::VisitJs, diagnostics::OxcDiagnostic, span::Span};

use self::{
    facts::{Facts, Unsupported},
    translate::Translator,
};
use crate::{nesting, source::to_u32};

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

    /// Whether the reference finds this only when it has read everything.
    pub(crate) fn is_late(&self) -> bool {
        is_late(&self.text)
    }
}

/// Chooses the error that a reader of the job meets first and translates it.
pub(crate) fn diagnose(
    source: &str,
    program: &Program<'_>,
    found: &[OxcDiagnostic],
) -> Option<Diagnosis> {
    let unsupported = Unsupported::first(source, program);
    let mut facts = Facts::default();
    if found.is_empty() {
        let offset = unsupported?;
        let translator = Translator {
            source,
            facts: &facts,
        };
        return Some(translator.unexpected(offset));
    }
    facts.visit_program(program);
    let translator = Translator {
        source,
        facts: &facts,
    };
    let skips_shorthands = shorthands_may_be_patterns(source, found);
    let first = found
        .iter()
        .filter(|diagnostic| !(skips_shorthands && diagnostic.message == SHORTHAND))
        .min_by_key(|diagnostic| order(source, diagnostic))?;
    let at = place(source, first, 0).unwrap_or(Span::empty(0));
    // Our parser knows decorators and complains about what comes after the sign, if at all.
    if let Some(sign) = nesting::first_at_sign(source)
        && sign <= at.start
    {
        return Some(translator.unexpected(sign));
    }
    if let Some(offset) = unsupported
        && (offset < at.start || is_late(&first.message))
    {
        return Some(translator.unexpected(offset));
    }
    // The reference refuses these where they begin, ours when it has read them.
    if let Some(misplaced) = nesting::misplaced_statement(source)
        && misplaced.offset < at.start
    {
        let text = match misplaced.word {
            "return" => "'return' outside of function",
            _ => "'import' and 'export' may only appear at the top level",
        };
        return Some(Diagnosis::new(text, misplaced.offset));
    }
    Some(translator.translate(&first.message, at, place(source, first, 1).unwrap_or(at)))
}

/// Whether an error is found only when everything else has been read.
fn is_late(message: &str) -> bool {
    message.starts_with("Export '")
}

/// When the reference would meet an error, compared with others.
fn order(source: &str, diagnostic: &OxcDiagnostic) -> (bool, u32) {
    let at = place(source, diagnostic, 0).unwrap_or(Span::empty(0));
    // A bad escape in a string comes before the end that the string does not have.
    let is_string = diagnostic.message == "Unterminated string"
        && source[at.start as usize..].starts_with(['\'', '"']);
    (
        is_late(&diagnostic.message),
        if is_string { at.end } else { at.start },
    )
}

/// What our parser says of `{ a = 1 }`, which becomes a pattern when `=` or `=>` follows.
const SHORTHAND: &str = "Invalid assignment in object literal";

/// Whether such literals could all have become patterns, had the text not broken off or gone wrong
/// in another way before the brackets around them ended.
fn shorthands_may_be_patterns(source: &str, found: &[OxcDiagnostic]) -> bool {
    let starts = |is_shorthand: bool| {
        found
            .iter()
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
