//! Says what is wrong with a job in the words and at the place that job authors know, which are
//! those of the parser that the reference uses (compiler spec, section 13.2).
//!
//! Our parser finds the same errors but words and places many of them differently, so each of its
//! messages is translated here. What has no translation is an `Unexpected token`, as nearly
//! everything is that the grammar does not allow.

mod facts;
mod tokens;
mod translate;

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
    if let Some(offset) = unsupported
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
