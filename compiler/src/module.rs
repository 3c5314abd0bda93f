//! Puts the compiled module together: imports, the statements that stay, and the default export
//! with the operations (compiler spec, sections 6.3 to 9).

use oxc::{
    ast::ast::{
        ArrayExpression, ArrayExpressionElement, CallExpression, Declaration,
        ExportDefaultDeclarationKind, Expression, Program, Statement,
    },
    span::{GetSpan, Span},
};

use crate::{
    Operation,
    edits::{Edits, Wraps},
    imports::Import,
    source::{Lines, to_u32},
    source_map::Writer,
    top_level::{DefaultExport, default_export},
};

/// The module from which `_defer` comes; the runtime always offers it.
pub(crate) const RUNTIME: &str = "@openfn/runtime";

/// What the module is made of.
pub(crate) struct Parts<'p, 'a> {
    pub(crate) source: &'p str,
    pub(crate) lines: &'p Lines,
    pub(crate) program: &'p Program<'a>,
    pub(crate) edits: &'p Edits,
    pub(crate) wraps: &'p Wraps,
    /// Spans of the calls that became `_defer(…)`.
    pub(crate) defers: &'p [Span],
    pub(crate) imports_defer: bool,
    pub(crate) imports: &'p [Import<'p>],
}

/// The module's text, its mappings, and the index of its operations.
pub(crate) struct Module {
    pub(crate) code: String,
    pub(crate) mappings: String,
    pub(crate) operations: Vec<Operation>,
}

impl Parts<'_, '_> {
    pub(crate) fn write(&self) -> Module {
        let mut writer = Writer::new(self.source, self.lines);
        self.adaptor_imports(&mut writer);
        let default = default_export(self.program);
        let moves = !matches!(default, DefaultExport::Other);
        let mut moved = Vec::new();
        let mut imports_defer = self.imports_defer;
        // The gap before a statement is kept with it; the one before a moved operation goes.
        let mut gap = self
            .program
            .hashbang
            .as_ref()
            .map_or(0, |hashbang| hashbang.span.end);
        for directive in &self.program.directives {
            if std::mem::take(&mut imports_defer) {
                defer_import(&mut writer);
            }
            self.statement(&mut writer, gap, directive.span, true);
            gap = directive.span.end;
        }
        for statement in &self.program.body {
            let span = statement.span();
            if !matches!(statement, Statement::ImportDeclaration(_))
                && std::mem::take(&mut imports_defer)
            {
                start_line(&mut writer);
                defer_import(&mut writer);
            }
            if moves && let Some(call) = self.as_operation(statement) {
                moved.push(call);
            } else if let (DefaultExport::Array(array), true) =
                (&default, is_last(self.program, statement))
            {
                writer.source_text(gap, span.start);
                self.default_array(&mut writer, span, array, &moved);
            } else {
                self.statement(&mut writer, gap, span, needs_semicolon(statement));
            }
            gap = span.end;
        }
        if matches!(default, DefaultExport::Missing) {
            start_line(&mut writer);
            writer.new_text("export default [");
            self.operations(&mut writer, &moved);
            writer.new_text("];\n");
        } else {
            writer.source_text(gap, to_u32(self.source.len()));
            start_line(&mut writer);
        }
        let (code, mappings) = writer.finish();
        Module {
            code,
            mappings,
            operations: self.index(&moved),
        }
    }

    /// A later adaptor's lines stand before an earlier one's, as each inserts at the front.
    fn adaptor_imports(&self, writer: &mut Writer<'_>) {
        for import in self.imports.iter().rev() {
            let module = quoted(&import.adaptor.name);
            writer.new_text(&format!(
                "import {{ {} }} from {module};\n",
                import.names.join(", ")
            ));
            if import.adaptor.export_all {
                writer.new_text(&format!("export * from {module};\n"));
            }
        }
    }

    fn statement(&self, writer: &mut Writer<'_>, gap: u32, span: Span, needs_semicolon: bool) {
        writer.source_text(gap, span.start);
        self.edits.write(writer, span);
        // What follows in the source may not follow in the module, so that the end of the line
        // no longer ends the statement.
        if needs_semicolon && !self.source[..span.end as usize].ends_with(';') {
            writer.new_text(";");
        }
    }

    /// The call that a statement consists of, if it is still a plain call after the transforms.
    fn as_operation<'n, 'a>(&self, statement: &'n Statement<'a>) -> Option<&'n CallExpression<'a>> {
        let Statement::ExpressionStatement(statement) = statement else {
            return None;
        };
        match &statement.expression {
            Expression::CallExpression(call) if !self.wraps.contains(call.span) => Some(call),
            _ => None,
        }
    }

    fn default_array(
        &self,
        writer: &mut Writer<'_>,
        span: Span,
        array: &ArrayExpression<'_>,
        moved: &[&CallExpression<'_>],
    ) {
        let bracket = array.span.end - 1;
        self.edits.write(writer, Span::new(span.start, bracket));
        if !moved.is_empty() {
            let needs_comma = array.elements.last().is_some_and(|last| {
                !matches!(last, ArrayExpressionElement::Elision(_))
                    && !has_comma(&self.source[last.span().end as usize..bracket as usize])
            });
            if needs_comma {
                writer.new_text(",");
            }
            self.operations(writer, moved);
        }
        writer.source_text(bracket, span.end);
        if !self.source[..span.end as usize].ends_with(';') {
            writer.new_text(";");
        }
    }

    /// The moved operations, each on a line of its own so that no mapping of one reaches another.
    fn operations(&self, writer: &mut Writer<'_>, moved: &[&CallExpression<'_>]) {
        for (index, call) in moved.iter().enumerate() {
            writer.new_text(if index == 0 { "\n" } else { ",\n" });
            self.edits.write(writer, call.span);
        }
        if !moved.is_empty() {
            writer.new_text("\n");
        }
    }

    fn index(&self, moved: &[&CallExpression<'_>]) -> Vec<Operation> {
        let entries = moved.iter().zip(1..);
        entries
            .map(|(call, order)| {
                if self.defers.binary_search(&call.span).is_ok() {
                    return Operation {
                        name: Some("_defer".to_owned()),
                        line: -1,
                        order,
                    };
                }
                let name = match &call.callee {
                    Expression::Identifier(id) => Some(id.name.to_string()),
                    _ => None,
                };
                let (line, _) = self.lines.line_of(call.span.start);
                Operation {
                    name,
                    line: i64::from(line) + 1,
                    order,
                }
            })
            .collect()
    }
}

fn is_last(program: &Program<'_>, statement: &Statement<'_>) -> bool {
    program
        .body
        .last()
        .is_some_and(|last| last.span() == statement.span())
}

fn defer_import(writer: &mut Writer<'_>) {
    writer.new_text(&format!(
        "import {{ defer as _defer }} from {};\n",
        quoted(RUNTIME)
    ));
}

fn start_line(writer: &mut Writer<'_>) {
    if !writer.at_line_start() {
        writer.new_text("\n");
    }
}

/// A name as a JavaScript string literal.
fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

/// Whether a comma stands between the last element of an array and its closing bracket.
fn has_comma(text: &str) -> bool {
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        rest = if let Some(comment) = rest.strip_prefix("//") {
            comment
                .find(['\n', '\u{2028}', '\u{2029}'])
                .map_or("", |end| &comment[end..])
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.find("*/").map_or("", |end| &comment[end + 2..])
        } else if character == ',' {
            return true;
        } else {
            &rest[character.len_utf8()..]
        };
    }
    false
}

/// Whether a statement may end without a semicolon of its own, relying on the end of its line.
fn needs_semicolon(statement: &Statement<'_>) -> bool {
    match statement {
        Statement::BlockStatement(_)
        | Statement::EmptyStatement(_)
        | Statement::SwitchStatement(_)
        | Statement::TryStatement(_)
        | Statement::FunctionDeclaration(_)
        | Statement::ClassDeclaration(_) => false,
        Statement::IfStatement(branch) => {
            needs_semicolon(branch.alternate.as_ref().unwrap_or(&branch.consequent))
        }
        Statement::ForStatement(body) => needs_semicolon(&body.body),
        Statement::ForInStatement(body) => needs_semicolon(&body.body),
        Statement::ForOfStatement(body) => needs_semicolon(&body.body),
        Statement::WhileStatement(body) => needs_semicolon(&body.body),
        Statement::WithStatement(body) => needs_semicolon(&body.body),
        Statement::LabeledStatement(body) => needs_semicolon(&body.body),
        Statement::ExportDeclaration(export) => !matches!(
            export.declaration,
            Declaration::FunctionDeclaration(_) | Declaration::ClassDeclaration(_)
        ),
        Statement::ExportDefaultDeclaration(export) => !matches!(
            export.declaration,
            ExportDefaultDeclarationKind::FunctionDeclaration(_)
                | ExportDefaultDeclarationKind::ClassDeclaration(_)
        ),
        _ => true,
    }
}
