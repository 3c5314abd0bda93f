//! Parsing a job and saying what is wrong with one that does not parse.

use std::borrow::Cow;

use oxc::{
    allocator::Allocator,
    ast::ast::Program,
    parser::{ParseOptions, Parser},
    semantic::SemanticBuilder,
    span::SourceType,
};

use crate::{
    diagnosis::{Diagnosis, Findings, diagnose, inside_token},
    error::CompileError,
    nesting,
    source::{is_space, position},
};

/// A character that can begin no token either and is as long as the replacement character.
const STAND_IN: &str = "\u{fffc}";

/// The longest text that is read again to find the first of several errors.
const MAX_REREAD_BYTES: usize = 1 << 20;

/// How much of such a text our parser may have to read twice; far more than in any real job.
const MAX_REREADING: u64 = 200_000;

/// Parses a job as an ES module.
///
/// # Errors
///
/// [`CompileError::Syntax`] with the first thing that is wrong.
pub(crate) fn parse<'a>(
    allocator: &'a Allocator,
    source: &'a str,
) -> Result<&'a Program<'a>, CompileError> {
    let text = without_html_openers(source);
    let text: &'a str = match text {
        Cow::Borrowed(_) => source,
        Cow::Owned(text) => allocator.alloc_str(&text),
    };
    read(allocator, text).map_err(|refusal| {
        let diagnosis = first_met(text, refusal);
        CompileError::Syntax {
            text: diagnosis.text,
            at: position(source, diagnosis.offset),
        }
    })
}

/// A text in which nothing looks like a comment of HTML. There is none in a module, where `<!--` is
/// an operator before two others, but our parser skips the rest of a line that begins so. What
/// stands for it is as long, and means as little to the transforms.
fn without_html_openers(source: &str) -> Cow<'_, str> {
    if !source.contains("<!--") {
        return Cow::Borrowed(source);
    }
    let mut text = source.to_owned();
    for start in nesting::html_openers(source) {
        text.replace_range(start..start + 4, "<~--");
    }
    Cow::Owned(text)
}

/// Why a text was refused.
struct Refusal {
    diagnosis: Diagnosis,
    /// Where our parser gave up, if it did, so that there was no tree to check.
    gave_up: Option<u32>,
}

fn read<'a>(allocator: &'a Allocator, source: &'a str) -> Result<&'a Program<'a>, Refusal> {
    let options = ParseOptions {
        parse_regular_expression: true,
        preserve_parens: false,
        ..ParseOptions::default()
    };
    let parsed = Parser::new(allocator, source, SourceType::mjs())
        .with_options(options)
        .parse();
    let reading: Vec<_> = parsed.diagnostics.into_iter().collect();
    let program: &'a Program<'a> = allocator.alloc(parsed.program);
    let tree: Vec<_> = if parsed.panicked {
        Vec::new()
    } else {
        let checks = SemanticBuilder::new().with_check_syntax_error(true);
        checks.build(program).diagnostics.into_iter().collect()
    };
    // One word in a comment makes our parser report nothing but that word.
    if reading
        .iter()
        .any(|diagnostic| diagnostic.message.starts_with("Flow is not supported"))
    {
        return read(
            allocator,
            allocator.alloc_str(&source.replace("@flow", "@Flow")),
        );
    }
    // One character makes it skip the rest of the text and report no place.
    if reading
        .iter()
        .any(|diagnostic| diagnostic.message.starts_with("File appears to be binary"))
    {
        let text = source.replace(char::REPLACEMENT_CHARACTER, STAND_IN);
        return read(allocator, allocator.alloc_str(&text)).map_err(|mut refusal| {
            let original = char::REPLACEMENT_CHARACTER.to_string();
            if source[refusal.diagnosis.offset as usize..].starts_with(&original) {
                let text = &mut refusal.diagnosis.text;
                *text = text.replace(STAND_IN, &original);
            }
            refusal
        });
    }
    let odd_space = parsed.irregular_whitespaces.iter().find(|span| {
        let character = source[span.start as usize..].chars().next();
        character.is_some_and(|character| !is_space(character))
    });
    let findings = Findings {
        program,
        reading: &reading,
        tree: &tree,
        odd_space: odd_space.map(|span| span.start),
    };
    match diagnose(source, &findings) {
        None => Ok(program),
        Some(diagnosis) => Err(Refusal {
            gave_up: parsed.panicked.then(|| {
                let places = reading.iter().flat_map(|found| found.labels.first());
                let last = places.map(|place| place.offset()).max();
                last.map_or(diagnosis.offset, |last| last.max(diagnosis.offset))
            }),
            diagnosis,
        }),
    }
}

/// The error that the reference meets first in a text that was refused.
fn first_met(source: &str, refusal: Refusal) -> Diagnosis {
    if source.len() > MAX_REREAD_BYTES || nesting::measure(source).rereading > MAX_REREADING {
        return refusal.diagnosis;
    }
    let first = if refusal.diagnosis.text.starts_with("Unterminated template") {
        before_template(source, refusal.diagnosis)
    } else {
        refusal.diagnosis
    };
    let first = inside_token(source, first, token_error);
    match refusal.gave_up {
        Some(offset) => before_giving_up(source, offset, first),
        None => first,
    }
}

/// What is wrong inside a single token, and where in it.
fn token_error(token: &str) -> Option<(String, u32)> {
    let error = read(&Allocator::default(), &format!("({token})")).err()?;
    let diagnosis = error.diagnosis;
    let offset = diagnosis.offset.checked_sub(1)?;
    let is_inside = diagnosis.text != "Unexpected token" && offset as usize <= token.len();
    is_inside.then_some((diagnosis.text, offset))
}

/// What is wrong before the place where our parser gave up, because of which nothing before it was
/// checked. So the text is read again up to there, completed in some way that parses.
fn before_giving_up(source: &str, offset: u32, first: Diagnosis) -> Diagnosis {
    let before = &source[..source.floor_char_boundary(offset as usize)];
    for text in nesting::completions(before) {
        match read(&Allocator::default(), &text) {
            Ok(_) => return first,
            Err(refusal) if refusal.gave_up.is_some() => {}
            Err(refusal) => {
                let earlier = refusal.diagnosis.in_text_up_to(offset);
                // With a tree, the same error can be placed more exactly.
                let is_same = earlier.text == first.text && first.needs_tree();
                // What is not expected while reading can be what completed the text.
                let is_earlier = (is_same || earlier.is_before(&first))
                    && earlier.offset < offset
                    && (earlier.in_tree || earlier.text != "Unexpected token")
                    && !earlier.may_be_undone(before);
                return if is_earlier { earlier } else { first };
            }
        }
    }
    first
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
        Err(refusal) if !unterminated.is_before(&refusal.diagnosis) => refusal.diagnosis,
        _ => unterminated,
    }
}
