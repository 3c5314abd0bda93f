//! Parsing a job and saying what is wrong with one that does not parse.

use oxc::{
    allocator::Allocator,
    ast::ast::Program,
    parser::{ParseOptions, Parser},
    semantic::SemanticBuilder,
    span::SourceType,
};

use crate::{diagnosis::diagnose, error::CompileError, source::position};

/// Parses a job as an ES module.
///
/// # Errors
///
/// [`CompileError::Syntax`] with the first thing that is wrong.
pub(crate) fn parse<'a>(
    allocator: &'a Allocator,
    source: &'a str,
) -> Result<&'a Program<'a>, CompileError> {
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
        return parse(
            allocator,
            allocator.alloc_str(&source.replace("@flow", "@Flow")),
        );
    }
    match diagnose(source, program, &diagnostics) {
        None => Ok(program),
        Some(diagnosis) => Err(CompileError::Syntax {
            text: diagnosis.text,
            at: position(source, diagnosis.offset),
        }),
    }
}
