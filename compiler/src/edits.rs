//! Changes to the job's text, and writing the text with them applied.
//!
//! The transforms never touch a tree: each says which span of the source becomes what. Spans of
//! edits are nested or apart, never crossing, because each belongs to a node of the job's tree.

use std::collections::HashSet;

use oxc::span::Span;

use crate::source_map::Writer;

/// One change to a span of the job's text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edit {
    pub(crate) span: Span,
    pub(crate) change: Change,
}

/// What becomes of a span.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// `$` becomes `state`.
    Rename,
    /// The span becomes the body of `state => …`.
    Wrap {
        before: &'static str,
        after: &'static str,
    },
    /// A promise chain becomes `_defer(operation, p => rest, handler)`.
    Defer(Defer),
}

/// How a promise chain is taken apart (compiler spec, section 6.2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defer {
    /// The call at the bottom of the chain.
    pub(crate) operation: Span,
    pub(crate) rest: Rest,
    pub(crate) handler: Option<Handler>,
}

/// The second argument of `_defer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing follows the operation's own `catch`: `undefined`.
    Nothing,
    /// The same, but the rewritten call is the object of a further member: `p => p`.
    Identity,
    /// `p => …`: the chain with this part of it replaced by `p`.
    Chain { replaced: Span },
    /// `p => …`: the whole chain as it was, for an operation that is itself called.
    Whole,
}

/// The error handler that an operation's own `catch` gives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handler {
    pub(crate) span: Span,
    /// A comma expression loses its parentheses when it is moved.
    pub(crate) parenthesise: bool,
}

/// All edits of a job, ordered so that an edit stands before those inside it.
pub(crate) struct Edits {
    sorted: Vec<Edit>,
}

impl Edits {
    pub(crate) fn new(mut edits: Vec<Edit>) -> Self {
        edits.sort_by_key(|edit| (edit.span.start, std::cmp::Reverse(edit.span.end)));
        Self { sorted: edits }
    }

    /// Writes a span of the source with all edits inside it applied.
    pub(crate) fn write(&self, writer: &mut Writer<'_>, span: Span) {
        write_span(writer, span, &self.sorted);
    }
}

/// Spans that lazy state wrapped, which the later transforms see as arrow functions.
#[derive(Debug, Default)]
pub(crate) struct Wraps {
    spans: HashSet<Span>,
}

impl Wraps {
    /// Returns whether the span was new.
    pub(crate) fn insert(&mut self, span: Span) -> bool {
        self.spans.insert(span)
    }

    pub(crate) fn contains(&self, span: Span) -> bool {
        !self.spans.is_empty() && self.spans.contains(&span)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

/// The edits that lie inside a span, given the ordered edits of something around it.
fn inside(edits: &[Edit], span: Span) -> &[Edit] {
    let from = edits.partition_point(|edit| edit.span.start < span.start);
    let edits = &edits[from..];
    let to = edits.partition_point(|edit| edit.span.start < span.end);
    let edits = &edits[..to];
    // Edits that start with the span but reach beyond it belong to a node around it.
    let around = edits
        .iter()
        .take_while(|edit| edit.span.start == span.start && edit.span.end > span.end)
        .count();
    &edits[around..]
}

fn write_span(writer: &mut Writer<'_>, span: Span, edits: &[Edit]) {
    let mut edits = inside(edits, span);
    let mut at = span.start;
    while let Some((edit, rest)) = edits.split_first() {
        writer.source_text(at, edit.span.start);
        let within = rest.partition_point(|other| other.span.start < edit.span.end);
        let (children, after) = rest.split_at(within);
        write_edit(writer, edit, children);
        at = edit.span.end;
        edits = after;
    }
    writer.source_text(at, span.end);
}

fn write_edit(writer: &mut Writer<'_>, edit: &Edit, children: &[Edit]) {
    match edit.change {
        Change::Rename => writer.new_text("state"),
        Change::Wrap { before, after } => {
            writer.new_text(before);
            write_span(writer, edit.span, children);
            writer.new_text(after);
        }
        Change::Defer(defer) => write_defer(writer, edit.span, defer, children),
    }
}

fn write_defer(writer: &mut Writer<'_>, chain: Span, defer: Defer, children: &[Edit]) {
    writer.new_text("_defer(");
    write_span(writer, defer.operation, children);
    match defer.rest {
        Rest::Nothing => writer.new_text(", undefined"),
        Rest::Identity => writer.new_text(", p => p"),
        Rest::Whole => {
            // After an arrow a curly bracket opens a block, not an object.
            let object = writer.starts_with(chain.start, "{");
            writer.new_text(if object { ", p => (" } else { ", p => " });
            write_span(writer, chain, children);
            if object {
                writer.new_text(")");
            }
        }
        Rest::Chain { replaced } => {
            writer.new_text(", p => ");
            // Only opening brackets can stand before the part that is replaced; their closing
            // ones come after it.
            writer.source_text(chain.start, replaced.start);
            writer.new_text("p");
            write_span(writer, Span::new(replaced.end, chain.end), children);
        }
    }
    if let Some(handler) = defer.handler {
        writer.new_text(if handler.parenthesise { ", (" } else { ", " });
        write_span(writer, handler.span, children);
        writer.new_text(if handler.parenthesise { ")" } else { "" });
    }
    writer.new_text(")");
}
