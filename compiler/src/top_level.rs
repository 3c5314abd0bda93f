//! What the transforms ask about a job's top level.

use oxc::{
    ast::ast::{
        ArrayExpression, ExportDefaultDeclarationKind, Expression, ModuleExportName, Program,
        Statement, VariableDeclarationKind,
    },
    span::{GetSpan, Span},
};

/// The object literals that lazy state, promise chains and the search for names skip with all
/// their content, in order: those that are the initial value of a top-level `const`, `let` or
/// `var` (compiler spec, section 4).
pub(crate) fn skipped_tables(program: &Program<'_>) -> Vec<Span> {
    let mut tables = Vec::new();
    for statement in &program.body {
        let Statement::VariableDeclaration(declaration) = statement else {
            continue;
        };
        let is_plain = matches!(
            declaration.kind,
            VariableDeclarationKind::Var
                | VariableDeclarationKind::Let
                | VariableDeclarationKind::Const
        );
        for declarator in &declaration.declarations {
            if is_plain && let Some(init @ Expression::ObjectExpression(_)) = &declarator.init {
                tables.push(init.span());
            }
        }
    }
    tables
}

/// What a job's own default export means for its operations (compiler spec, sections 7 and 8).
pub(crate) enum DefaultExport<'n, 'a> {
    /// The job has none: an array is added at the end and takes the operations.
    Missing,
    /// An array literal in the last statement: it takes the operations.
    Array(&'n ArrayExpression<'a>),
    /// Anything else: the operations stay where they are.
    Other,
}

pub(crate) fn default_export<'n, 'a>(program: &'n Program<'a>) -> DefaultExport<'n, 'a> {
    if let Some(Statement::ExportDefaultDeclaration(export)) = program.body.last()
        && let ExportDefaultDeclarationKind::ArrayExpression(array) = &export.declaration
    {
        return DefaultExport::Array(array);
    }
    if program.body.iter().any(exports_default) {
        DefaultExport::Other
    } else {
        DefaultExport::Missing
    }
}

fn exports_default(statement: &Statement<'_>) -> bool {
    let is_default = |name: &ModuleExportName<'_>| name.name() == "default";
    match statement {
        Statement::ExportDefaultDeclaration(_) => true,
        Statement::ExportNamedDeclaration(export) => export
            .specifiers
            .iter()
            .any(|one| is_default(&one.exported)),
        Statement::ExportFromDeclaration(export) => export
            .specifiers
            .iter()
            .any(|one| is_default(&one.exported)),
        Statement::ExportAllDeclaration(export) => export.exported.as_ref().is_some_and(is_default),
        _ => false,
    }
}

/// Whether the job imports anything from a module.
pub(crate) fn imports_from(program: &Program<'_>, module: &str) -> bool {
    program.body.iter().any(|statement| match statement {
        Statement::ImportDeclaration(import) => import.source.value == module,
        _ => false,
    })
}
