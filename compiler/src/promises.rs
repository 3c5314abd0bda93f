//! Promise chains: `get('/a').then(f)` becomes `_defer(get('/a'), p => p.then(f))`, so that the
//! chain is attached when the operation runs (compiler spec, section 6).

use std::collections::HashMap;

use oxc::{
    ast::ast::{
        Argument, ArrowFunctionExpression, AwaitExpression, BlockStatement, CallExpression,
        ComputedMemberExpression, Expression, Function, NewExpression, PrivateFieldExpression,
        Program, StaticMemberExpression, VariableDeclarator,
    },
    ast_visit::{VisitJs, walk_js},
    span::{GetSpan, Span},
    syntax::scope::ScopeFlags,
};

use crate::{
    edits::{Change, Defer, Edit, Handler, Rest, Wraps},
    top_level::skipped_tables,
};

/// Finds the promise chains that run at the top level. `wraps` are the functions that lazy state
/// added: a chain inside one is left as it is, like a chain inside any other function.
pub(crate) fn find(program: &Program<'_>, wraps: &Wraps) -> Vec<Edit> {
    let mut finder = Finder {
        wraps,
        tables: skipped_tables(program),
        object: None,
        found: Vec::new(),
    };
    finder.visit_program(program);
    finder.found
}

/// The first `await` that would end up in an added `p => …`, where it is not legal.
pub(crate) fn misplaced_await(program: &Program<'_>, chains: &[Edit]) -> Option<u32> {
    let replaced = chains
        .iter()
        .filter_map(|edit| match edit.change {
            Change::Defer(Defer {
                rest: Rest::Whole, ..
            }) => Some((edit.span, Span::empty(0))),
            Change::Defer(Defer {
                rest: Rest::Chain { replaced },
                ..
            }) => Some((edit.span, replaced)),
            _ => None,
        })
        .collect();
    let mut awaits = Awaits {
        replaced,
        chain: None,
        first: None,
    };
    awaits.visit_program(program);
    awaits.first
}

/// Looks for `await` in the parts of promise chains that `p => …` takes in.
struct Awaits {
    /// The chains, and the part of each that stays outside.
    replaced: HashMap<Span, Span>,
    /// The part that stays outside of the chain in hand.
    chain: Option<Span>,
    first: Option<u32>,
}

impl<'a> VisitJs<'a> for Awaits {
    fn visit_call_expression(&mut self, call: &CallExpression<'a>) {
        if self.chain == Some(call.span) {
            return;
        }
        match self.replaced.get(&call.span) {
            Some(&outside) if self.chain.is_none() => {
                self.chain = Some(outside);
                walk_js::walk_call_expression(self, call);
                self.chain = None;
            }
            _ => walk_js::walk_call_expression(self, call),
        }
    }

    fn visit_new_expression(&mut self, new: &NewExpression<'a>) {
        if self.chain != Some(new.span) {
            walk_js::walk_new_expression(self, new);
        }
    }

    fn visit_await_expression(&mut self, it: &AwaitExpression<'a>) {
        if self.chain.is_some() {
            self.first = self.first.or(Some(it.span.start));
        }
        walk_js::walk_await_expression(self, it);
    }

    fn visit_function(&mut self, _: &Function<'a>, _: ScopeFlags) {}

    fn visit_arrow_function_expression(&mut self, _: &ArrowFunctionExpression<'a>) {}

    fn visit_block_statement(&mut self, _: &BlockStatement<'a>) {}
}

struct Finder<'w> {
    wraps: &'w Wraps,
    tables: Vec<Span>,
    /// The call that is the object of the member expression just entered.
    object: Option<Span>,
    found: Vec<Edit>,
}

impl Finder<'_> {
    /// Whether a call is a link of a chain: its callee is a member called `then` or `catch`.
    fn link<'n>(&self, call: &'n CallExpression<'_>) -> Option<Link<'n>> {
        if self.wraps.contains(call.callee.span()) {
            return None;
        }
        let (object, name) = match &call.callee {
            Expression::StaticMemberExpression(member) => {
                (&member.object, member.property.name.as_str())
            }
            Expression::ComputedMemberExpression(member) => match &member.expression {
                Expression::Identifier(id) => (&member.object, id.name.as_str()),
                _ => return None,
            },
            _ => return None,
        };
        match name {
            "then" => Some(Link {
                object,
                is_catch: false,
            }),
            "catch" => Some(Link {
                object,
                is_catch: true,
            }),
            _ => None,
        }
    }

    /// Takes a chain apart, from its outermost call down to the operation. The answer is `None`
    /// for a chain whose base is no call: the reference never ends on those, and there is no
    /// operation to defer.
    fn take_apart(
        &self,
        outermost: &CallExpression<'_>,
        first: Link<'_>,
        is_object: bool,
    ) -> Option<Defer> {
        let mut links = Descent {
            call: outermost,
            link: first,
        };
        loop {
            let object = links.link.object;
            if self.wraps.contains(object.span()) {
                return None;
            }
            match object {
                Expression::NewExpression(new) if is_operation_callee(&new.callee) => {
                    return Some(self.defer(outermost, new.span, Some(&links), is_object));
                }
                Expression::CallExpression(inner) => {
                    let mut call: &CallExpression<'_> = inner;
                    let mut direct = true;
                    // In `get('/a')(state).then(f)` the reference goes on down through the callee.
                    while let Expression::CallExpression(callee) = &call.callee {
                        if self.wraps.contains(callee.span) {
                            return None;
                        }
                        call = callee;
                        direct = false;
                    }
                    if let Some(link) = self.link(call) {
                        links = Descent { call, link };
                        continue;
                    }
                    if self.wraps.contains(call.callee.span()) || !is_operation_callee(&call.callee)
                    {
                        return None;
                    }
                    let above = direct.then_some(&links);
                    return Some(self.defer(outermost, call.span, above, is_object));
                }
                _ => return None,
            }
        }
    }

    /// Decides how an operation and its chain are written. `above` is the first link after the
    /// operation; there is none if the operation is itself called.
    fn defer(
        &self,
        outermost: &CallExpression<'_>,
        operation: Span,
        above: Option<&Descent<'_, '_>>,
        is_object: bool,
    ) -> Defer {
        let Some(above) = above else {
            return Defer {
                operation,
                rest: Rest::Whole,
                handler: None,
            };
        };
        let handler = above
            .link
            .is_catch
            .then(|| above.call.arguments.first())
            .flatten()
            .map(|argument| Handler {
                span: argument.span(),
                parenthesise: matches!(argument, Argument::SequenceExpression(_)),
            });
        let rest = match handler {
            None => Rest::Chain {
                replaced: operation,
            },
            Some(_) if above.call.span != outermost.span => Rest::Chain {
                replaced: above.call.span,
            },
            Some(_) if is_object => Rest::Identity,
            Some(_) => Rest::Nothing,
        };
        Defer {
            operation,
            rest,
            handler,
        }
    }

    fn member(&mut self, object: &Expression<'_>) {
        // A call inside an optional chain of its own is not the object itself.
        self.object = matches!(object, Expression::CallExpression(_)).then(|| object.span());
    }
}

/// A call of `then` or `catch` and what it is called on.
#[derive(Clone, Copy)]
struct Link<'n> {
    object: &'n Expression<'n>,
    is_catch: bool,
}

/// How far the way down a chain has come.
struct Descent<'n, 'a> {
    call: &'n CallExpression<'a>,
    link: Link<'n>,
}

fn is_operation_callee(callee: &Expression<'_>) -> bool {
    matches!(callee, Expression::Identifier(_)) || callee.is_member_expression()
}

impl<'a> VisitJs<'a> for Finder<'_> {
    fn visit_call_expression(&mut self, call: &CallExpression<'a>) {
        let is_object = self.object.take() == Some(call.span);
        if self.wraps.contains(call.span) {
            return;
        }
        if let Some(link) = self.link(call) {
            if let Some(defer) = self.take_apart(call, link, is_object) {
                self.found.push(Edit {
                    span: call.span,
                    change: Change::Defer(defer),
                });
            }
            return;
        }
        if !self.wraps.contains(call.callee.span()) {
            self.visit_expression(&call.callee);
        }
        for argument in &call.arguments {
            if !self.wraps.contains(argument.span()) {
                self.visit_argument(argument);
            }
        }
    }

    fn visit_static_member_expression(&mut self, member: &StaticMemberExpression<'a>) {
        self.member(&member.object);
        walk_js::walk_static_member_expression(self, member);
    }

    fn visit_computed_member_expression(&mut self, member: &ComputedMemberExpression<'a>) {
        self.member(&member.object);
        walk_js::walk_computed_member_expression(self, member);
    }

    fn visit_private_field_expression(&mut self, member: &PrivateFieldExpression<'a>) {
        self.member(&member.object);
        walk_js::walk_private_field_expression(self, member);
    }

    fn visit_variable_declarator(&mut self, declarator: &VariableDeclarator<'a>) {
        if let Some(init) = &declarator.init
            && self.tables.binary_search(&init.span()).is_ok()
        {
            self.visit_binding_pattern(&declarator.id);
            return;
        }
        walk_js::walk_variable_declarator(self, declarator);
    }

    fn visit_function(&mut self, _: &Function<'a>, _: ScopeFlags) {}

    fn visit_arrow_function_expression(&mut self, _: &ArrowFunctionExpression<'a>) {}

    fn visit_block_statement(&mut self, _: &BlockStatement<'a>) {}
}
