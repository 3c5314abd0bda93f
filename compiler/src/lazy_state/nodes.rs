//! What the transform asks about single nodes.

use oxc::{
    ast::{
        AstKind,
        ast::{
            Argument, ArrowFunctionExpression, BindingPattern, CallExpression, ClassType,
            Expression, FunctionType,
        },
    },
    span::{GetSpan, Span},
};

use super::{Misuse, misuse};
use crate::scope::Scope;

/// What a scope declares, of the two names that lazy state asks for.
#[derive(Default)]
pub(super) struct Declared {
    /// `$`, which then is no lazy state.
    pub(super) root: bool,
    /// Whether the one parameter is called `state`.
    pub(super) state: bool,
}

/// What a function or a catch clause declares. (The program does not count: what it declares does
/// not keep `$` from being lazy state.)
pub(super) fn declared(kind: AstKind<'_>) -> Declared {
    let scope = match kind {
        AstKind::Function(function) => Scope::Function(function),
        AstKind::ArrowFunctionExpression(arrow) => Scope::Arrow(arrow),
        AstKind::CatchClause(clause) => Scope::Catch(clause),
        _ => return Declared::default(),
    };
    let mut declared = Declared::default();
    scope.declared(&mut |name| match name {
        "$" => declared.root = true,
        "state" => declared.state = true,
        _ => {}
    });
    declared
}

/// Whether a call passes `state` and nothing else.
///
/// For `$.a.b(state)` the reference applies the function that it makes of the callee to `state`,
/// which gives the value of `state.a.b`; jobs rely on it (compiler spec, section 15, B9).
pub(super) fn is_applied_to_state(call: &CallExpression<'_>) -> bool {
    matches!(&call.arguments[..], [Argument::Identifier(id)] if id.name == "state")
}

/// Whether climbing from a reference stops here with an error.
pub(super) fn ends_climb(kind: AstKind<'_>) -> bool {
    match kind {
        AstKind::Function(function) => function.r#type == FunctionType::FunctionDeclaration,
        AstKind::Class(class) => class.r#type == ClassType::ClassDeclaration,
        AstKind::FunctionBody(_)
        | AstKind::ClassBody(_)
        | AstKind::MethodDefinition(_)
        | AstKind::PropertyDefinition(_)
        | AstKind::StaticBlock(_)
        | AstKind::VariableDeclaration(_) => true,
        other => other.is_statement() || other.is_module_declaration(),
    }
}

/// Whether a span is the object of a member expression.
pub(super) fn is_object_of(parent: AstKind<'_>, span: Span) -> bool {
    let object = match parent {
        AstKind::StaticMemberExpression(member) => &member.object,
        AstKind::ComputedMemberExpression(member) => &member.object,
        AstKind::PrivateFieldExpression(member) => &member.object,
        _ => return false,
    };
    object.span() == span
}

/// The `$` that a member expression starts from, going down through members only.
pub(super) fn root_of_member(kind: AstKind<'_>) -> Option<Span> {
    let mut object = match kind {
        AstKind::StaticMemberExpression(member) => &member.object,
        AstKind::ComputedMemberExpression(member) => &member.object,
        AstKind::PrivateFieldExpression(member) => &member.object,
        _ => return None,
    };
    loop {
        object = match object {
            Expression::Identifier(id) => return (id.name == "$").then_some(id.span),
            Expression::StaticMemberExpression(member) => &member.object,
            Expression::ComputedMemberExpression(member) => &member.object,
            Expression::PrivateFieldExpression(member) => &member.object,
            _ => return None,
        };
    }
}

/// Whether a callee is `name.method` or `name[…]`: one member step from an identifier.
pub(super) fn is_method_of(callee: &Expression<'_>, name: &str) -> bool {
    callee
        .as_member_expression()
        .and_then(|member| member.object().get_identifier_reference())
        .is_some_and(|id| id.name == name)
}

/// Checks that an arrow function written by the job is a function of state.
pub(super) fn check_open(arrow: &ArrowFunctionExpression<'_>) -> Result<(), Misuse> {
    let count = arrow.params.items.len() + usize::from(arrow.params.rest.is_some());
    if count != 1 {
        return Err(misuse("parent has wrong arity", arrow.span.start));
    }
    let name = arrow
        .params
        .items
        .first()
        .and_then(|param| match &param.pattern {
            BindingPattern::BindingIdentifier(id) if param.initializer.is_none() => {
                Some(id.name.as_str())
            }
            _ => None,
        });
    match name {
        Some("state") => Ok(()),
        other => Err(Misuse {
            text: format!(
                "parameter \"{}\" should be called \"state\"",
                other.unwrap_or("undefined")
            ),
            offset: arrow.span.start,
        }),
    }
}
