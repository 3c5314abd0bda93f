//! What the translation of errors must know of a job's tree.

use oxc::{
    ast::{
        AstKind,
        ast::{Program, UnaryOperator, VariableDeclarationKind},
    },
    ast_visit::VisitJs,
    span::{GetSpan, Span},
};

use super::text::is_part_of_name;
use crate::source::to_u32;

/// What the translation must know of the tree, when there is one.
#[derive(Default)]
pub(super) struct Facts {
    /// Parameter lists, each with its brackets.
    pub(super) parameters: Vec<Span>,
    /// Arrow functions, and where their bodies begin if they are no expressions.
    pub(super) arrows: Vec<(Span, Option<u32>)>,
    /// Declarations behind `export`, from that word on.
    pub(super) exports: Vec<Span>,
    /// `delete` expressions and what they delete.
    pub(super) deletions: Vec<(Span, Span)>,
    /// The text between the parts of templates.
    pub(super) template_texts: Vec<Span>,
    pub(super) strings: Vec<Span>,
    /// Logical expressions and their left sides.
    pub(super) logical: Vec<(Span, Span)>,
    /// Jumps and their labels.
    pub(super) jumps: Vec<(Span, Span)>,
    /// `try` statements without `catch` and `finally`.
    pub(super) bare_tries: Vec<Span>,
    pub(super) objects: Vec<Span>,
    pub(super) regexes: Vec<(Span, String)>,
    /// The parameters of functions, and the ends of the functions.
    pub(super) functions: Vec<(Span, u32)>,
    /// Whole methods of classes, for errors that are found behind them.
    pub(super) methods: Vec<Span>,
    /// `await using` declarations, whose missing initialiser has words of its own.
    pub(super) awaits_using: Vec<Span>,
    /// Declarations of `eval` and `arguments`.
    pub(super) bindings: Vec<Span>,
}

impl<'a> VisitJs<'a> for Facts {
    fn enter_node(&mut self, kind: AstKind<'a>) {
        let span = kind.span();
        match kind {
            AstKind::FormalParameters(_) => self.parameters.push(span),
            AstKind::UnaryExpression(unary) if unary.operator == UnaryOperator::Delete => {
                self.deletions.push((span, unary.argument.span()));
            }
            AstKind::TemplateElement(_) => self.template_texts.push(span),
            AstKind::StringLiteral(_) | AstKind::Directive(_) => self.strings.push(span),
            AstKind::LogicalExpression(logical) => self.logical.push((span, logical.left.span())),
            AstKind::BreakStatement(jump) => {
                self.jumps
                    .push((span, jump.label.as_ref().map_or(span, |label| label.span)));
            }
            AstKind::ContinueStatement(jump) => {
                self.jumps
                    .push((span, jump.label.as_ref().map_or(span, |label| label.span)));
            }
            AstKind::TryStatement(attempt)
                if attempt.handler.is_none() && attempt.finalizer.is_none() =>
            {
                self.bare_tries.push(span);
            }
            AstKind::Function(function) => {
                self.functions.push((function.params.span, span.end));
            }
            AstKind::ArrowFunctionExpression(arrow) => {
                let block = (!arrow.is_expression()).then(|| arrow.body.span().start);
                self.arrows.push((span, block));
            }
            AstKind::ExportDeclaration(_) => self.exports.push(span),
            AstKind::VariableDeclaration(declaration)
                if declaration.kind == VariableDeclarationKind::AwaitUsing =>
            {
                self.awaits_using.push(span);
            }
            AstKind::MethodDefinition(_) => self.methods.push(span),
            AstKind::ObjectExpression(_) => self.objects.push(span),
            AstKind::RegExpLiteral(regex) => self
                .regexes
                .push((span, regex.regex.pattern.text.to_string())),
            AstKind::BindingIdentifier(id) if matches!(id.name.as_str(), "eval" | "arguments") => {
                self.bindings.push(span);
            }
            _ => {}
        }
    }
}

/// Finds syntax that our parser takes and the reference's does not: decorators, fields with
/// `accessor`, imports with a phase, labels in round brackets, a list of exports before a `from` that
/// names no module, and `await using` where nothing can be awaited.
pub(super) struct Unsupported<'s> {
    source: &'s str,
    /// The first token that the reference does not expect.
    pub(super) first: Option<u32>,
    /// The first `await using` in a function that is not `async`.
    pub(super) await_using: Option<u32>,
    /// Whether each function around is `async`; a static block is as one that is not.
    asyncs: Vec<bool>,
}

impl<'s> Unsupported<'s> {
    /// The first use of each in a job.
    pub(super) fn find(source: &'s str, program: &Program<'_>) -> Self {
        let mut finder = Self {
            source,
            first: None,
            await_using: None,
            asyncs: Vec::new(),
        };
        // Nearly no job has one of these, so that nearly no tree is walked for them.
        let has_word = ["@", "accessor", "import", "from", "using"]
            .iter()
            .any(|word| source.contains(word));
        let mut after_brackets = source.split(')').skip(1);
        if !has_word && !after_brackets.any(|text| text.trim_start().starts_with([':', '/'])) {
            return finder;
        }
        finder.visit_program(program);
        finder
    }

    /// A list of exports, whose last name ends at an offset: a `from` behind it names a module.
    fn export_from(&mut self, last: u32) {
        let list = &self.source[last as usize..];
        let after = list
            .find('}')
            .map_or("", |end| list[end + 1..].trim_start());
        if let Some(rest) = after.strip_prefix("from")
            && !rest.starts_with(is_part_of_name)
        {
            self.refuse(to_u32(self.source.len() - rest.len()));
        }
    }

    fn refuse(&mut self, offset: u32) {
        self.first = Some(self.first.map_or(offset, |other| other.min(offset)));
    }
}

impl<'a> VisitJs<'a> for Unsupported<'_> {
    fn enter_node(&mut self, kind: AstKind<'a>) {
        let start = kind.span().start;
        match kind {
            AstKind::AccessorProperty(property) => self.refuse(property.key.span().start),
            // Without the phase, its word is the name that is imported, and `from` must follow.
            AstKind::ImportDeclaration(import) if import.phase.is_some() => {
                let import = &self.source[start as usize..];
                let word = ["defer", "source"]
                    .iter()
                    .find_map(|word| import.find(word).map(|index| index + word.len()));
                let rest = &import[word.unwrap_or(0)..];
                let space = rest.len() - rest.trim_start().len();
                self.refuse(start + to_u32(word.unwrap_or(0) + space));
            }
            AstKind::ImportExpression(import) if import.phase.is_some() => self.refuse(start),
            AstKind::Decorator(_) => self.refuse(start),
            AstKind::Function(function) => self.asyncs.push(function.r#async),
            AstKind::ArrowFunctionExpression(arrow) => self.asyncs.push(arrow.r#async),
            AstKind::StaticBlock(_) => self.asyncs.push(false),
            AstKind::VariableDeclaration(declaration)
                if declaration.kind == VariableDeclarationKind::AwaitUsing
                    && self.asyncs.last() == Some(&false) =>
            {
                self.await_using.get_or_insert(start);
            }
            AstKind::ExportNamedDeclaration(export) => {
                let last = export.specifiers.last();
                self.export_from(last.map_or(start, |last| last.span.end));
            }
            AstKind::LabeledStatement(labeled) if labeled.label.span.start > start => {
                let end = labeled.label.span.end;
                let colon = self.source[end as usize..].find(':').map_or(0, to_u32);
                self.refuse(end + colon);
            }
            _ => {}
        }
    }

    fn leave_node(&mut self, kind: AstKind<'a>) {
        if matches!(
            kind,
            AstKind::Function(_) | AstKind::ArrowFunctionExpression(_) | AstKind::StaticBlock(_)
        ) {
            self.asyncs.pop();
        }
    }
}
