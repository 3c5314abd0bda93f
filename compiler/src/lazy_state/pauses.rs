//! `await` and `yield` that would end up in an added function, where neither is legal.

use oxc::{
    ast::{AstKind, ast::Program},
    ast_visit::VisitJs,
    span::GetSpan,
};

use super::{Misuse, misuse};
use crate::edits::Wraps;

/// Refuses the first one of a job.
///
/// # Errors
///
/// The misuse, if there is one.
pub(super) fn forbid(program: &Program<'_>, wraps: &Wraps) -> Result<(), Misuse> {
    if wraps.is_empty() {
        return Ok(());
    }
    let mut pauses = Pauses {
        wraps,
        added: Vec::new(),
        misuse: None,
    };
    pauses.visit_program(program);
    pauses.misuse.map_or(Ok(()), Err)
}

/// Looks for `await` and `yield` whose nearest function is an added one.
struct Pauses<'w> {
    wraps: &'w Wraps,
    /// For each function around, outermost first: whether it was added.
    added: Vec<bool>,
    misuse: Option<Misuse>,
}

impl<'a> VisitJs<'a> for Pauses<'_> {
    fn enter_node(&mut self, kind: AstKind<'a>) {
        // An added function stands around the node, so it comes before one that is the node.
        if self.wraps.contains(kind.span()) {
            self.added.push(true);
        }
        if is_function(kind) {
            self.added.push(false);
        }
        let pauses = matches!(
            kind,
            AstKind::AwaitExpression(_) | AstKind::YieldExpression(_)
        );
        if pauses && self.misuse.is_none() && self.added.last() == Some(&true) {
            self.misuse = Some(misuse(
                "Must not be used together with await or yield",
                kind.span().start,
            ));
        }
    }

    fn leave_node(&mut self, kind: AstKind<'a>) {
        if is_function(kind) {
            self.added.pop();
        }
        if self.wraps.contains(kind.span()) {
            self.added.pop();
        }
    }
}

/// Whether a node is a function, for the purposes of `await` and `yield`.
fn is_function(kind: AstKind<'_>) -> bool {
    matches!(
        kind,
        AstKind::Function(_) | AstKind::ArrowFunctionExpression(_) | AstKind::StaticBlock(_)
    )
}
