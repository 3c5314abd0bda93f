//! Parsing a job and saying what is wrong with one that does not parse.

use oxc::{
    allocator::Allocator,
    ast::ast::Program,
    parser::{ParseOptions, Parser},
    semantic::SemanticBuilder,
    span::SourceType,
};

use crate::{
    diagnosis::{Diagnosis, diagnose},
    error::CompileError,
    source::position,
};

/// Parses a job as an ES module.
///
/// # Errors
///
/// [`CompileError::Syntax`] with the first thing that is wrong.
pub(crate) fn parse<'a>(
    allocator: &'a Allocator,
    source: &'a str,
) -> Result<&'a Program<'a>, CompileError> {
    read(allocator, source).map_err(|first| {
        let diagnosis = if first.text.starts_with("Unterminated template") {
            before_template(source, first)
        } else {
            first
        };
        CompileError::Syntax {
            text: diagnosis.text,
            at: position(source, diagnosis.offset),
        }
    })
}

fn read<'a>(allocator: &'a Allocator, source: &'a str) -> Result<&'a Program<'a>, Diagnosis> {
    let options = ParseOptions {
        parse_regular_expression: true,
        preserve_parens: false,
        ..ParseOptions::default()
    };
    let parsed = Parser::new(allocator, source, SourceType::mjs())
        .with_options(options)
        .parse();
    let mut diagnostics: Vec<_> = parsed.diagnostics.into_iter().collect();
    let program: &'a Program<'a> = allocator.alloc(parsed.program);
    if !parsed.panicked {
        let checked = SemanticBuilder::new()
            .with_check_syntax_error(true)
            .build(program);
        diagnostics.extend(checked.diagnostics);
    }
    // One word in a comment makes our parser report nothing but that word.
    if diagnostics
        .iter()
        .any(|diagnostic| diagnostic.message.starts_with("Flow is not supported"))
    {
        return read(
            allocator,
            allocator.alloc_str(&source.replace("@flow", "@Flow")),
        );
    }
    match diagnose(source, program, &diagnostics) {
        None => Ok(program),
        Some(diagnosis) => Err(diagnosis),
    }
}

/// What is wrong with a text whose template never ends.
///
/// Our parser reads one token ahead and so meets the template where the reference has refused its
/// first character already, as in ``const ` ``. So it is asked again, with a template that ends.
fn before_template(source: &str, unterminated: Diagnosis) -> Diagnosis {
    let Some(start) = unterminated.offset.checked_sub(1) else {
        return unterminated;
    };
    let Some(before) = source[..start as usize + 1].strip_suffix('`') else {
        return unterminated;
    };
    match read(&Allocator::default(), &format!("{before}``")) {
        Err(earlier) if earlier.offset <= start && !earlier.is_late() => earlier,
        _ => unterminated,
    }
}
