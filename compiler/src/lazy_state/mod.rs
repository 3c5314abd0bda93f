//! Lazy state: `$.a.b` in an operation's argument becomes `state => state.a.b` (compiler spec,
//! section 5).
//!
//! Each reference is looked at where the walk meets it. It climbs to the nearest call, and the
//! node below that call, an argument or the callee, becomes a function of state.

mod nodes;
mod pauses;

use oxc::{
    ast::{
        AstKind,
        ast::{Class, Program, VariableDeclarator},
    },
    ast_visit::VisitJs,
    span::{GetSpan, Span},
};

use self::nodes::{
    check_open, declared, ends_climb, is_applied_to_state, is_method_of, is_object_of,
    root_of_member,
};
use crate::{
    edits::{Change, Edit, Wraps},
    scope::Scope,
    top_level::skipped_tables,
};

/// A use of `$` that cannot become a function of state, and where it is.
#[derive(Debug)]
pub(crate) struct Misuse {
    pub(crate) text: String,
    pub(crate) offset: u32,
}

/// The edits that lazy state asks for, and what later transforms must know of them.
#[derive(Default)]
pub(crate) struct LazyState {
    pub(crate) edits: Vec<Edit>,
    pub(crate) wraps: Wraps,
}

/// Finds all lazy state of a job.
///
/// # Errors
///
/// The first misuse in walking order.
pub(crate) fn find(program: &Program<'_>, source: &str) -> Result<LazyState, Misuse> {
    if !source.contains('$') && !source.contains("\\u") {
        return Ok(LazyState::default());
    }
    let mut finder = Finder {
        source,
        tables: skipped_tables(program),
        ancestors: Vec::new(),
        calls: Vec::new(),
        shadows: 0,
        states: u32::from(Scope::Program(program).declares("state")),
        found: LazyState::default(),
        misuse: None,
    };
    finder.visit_program(program);
    if let Some(misuse) = finder.misuse {
        return Err(misuse);
    }
    pauses::forbid(program, &finder.found.wraps)?;
    Ok(finder.found)
}

struct Finder<'s, 'a> {
    source: &'s str,
    tables: Vec<Span>,
    /// The nodes around the one in hand, outermost first.
    ancestors: Vec<AstKind<'a>>,
    /// For each of them the nearest call at or above it, unless a statement, a declaration or a
    /// part of a class comes first.
    calls: Vec<Option<usize>>,
    /// How many functions and catch clauses around declare `$`.
    shadows: u32,
    /// How many scopes around, the program among them, declare `state`.
    states: u32,
    found: LazyState,
    misuse: Option<Misuse>,
}

/// Where a reference's function of state goes.
enum Target {
    /// Around this node, whose index among the ancestors is given.
    Around(usize),
    /// Around the callee of a call that passes `state`, and around the argument that the call is
    /// in, where one is given.
    Applied {
        callee: usize,
        argument: Option<usize>,
    },
    /// Nowhere: the reference lies in the arguments of a `$.method(…)`, whose function it uses.
    Covered,
}

impl<'a> Finder<'_, 'a> {
    fn reference(&mut self, root: Span) {
        if self.shadows > 0 {
            return;
        }
        match self.target() {
            Ok(target) => {
                self.found.edits.push(Edit {
                    span: root,
                    change: Change::Rename,
                });
                match target {
                    Target::Around(index) => self.wrap(index),
                    Target::Applied { callee, argument } => {
                        self.wrap(callee);
                        if let Some(argument) = argument {
                            self.wrap(argument);
                        }
                    }
                    Target::Covered => {}
                }
            }
            Err(misuse) => self.misuse = Some(misuse),
        }
    }

    /// Climbs from the reference, the last ancestor, to where its function goes.
    fn target(&self) -> Result<Target, Misuse> {
        let reference = self.ancestors.len() - 1;
        let start = self.ancestors[reference].span().start;
        let (call, below) = self
            .nearest_call(reference)
            .ok_or_else(|| misuse("Must be inside an operation", start))?;
        let AstKind::CallExpression(node) = self.ancestors[call] else {
            unreachable!("nearest_call gives a call");
        };
        let is_callee = self.ancestors[below].span() == node.callee.span();
        if is_method_of(&node.callee, "$") {
            if let Some(whole) = self.longer_spine(call) {
                return Ok(Target::Around(whole));
            }
            return Ok(if is_callee && below == reference {
                Target::Around(call)
            } else {
                Target::Covered
            });
        }
        // Of a computed key in a longer callee, `$.a[$.key](…)`, the callee as a whole decides.
        let spine = match root_of_member(self.ancestors[below]) {
            Some(_) => below,
            None => reference,
        };
        if is_callee && spine == below && is_applied_to_state(node) {
            // Where nothing is called `state`, the added function around must provide it.
            let argument = match self.states {
                0 => self.longer_spine(spine),
                _ => None,
            };
            return Ok(Target::Applied {
                callee: below,
                argument,
            });
        }
        if is_callee && let Some(whole) = self.longer_spine(spine) {
            return Ok(Target::Around(whole));
        }
        if !is_callee && is_method_of(&node.callee, "state") {
            return Err(misuse(
                "Must not be an argument of a method of state",
                start,
            ));
        }
        match self.ancestors[below] {
            AstKind::SpreadElement(_) => Err(misuse("Must not be in a spread argument", start)),
            AstKind::ArrowFunctionExpression(arrow) => {
                check_open(arrow)?;
                Ok(Target::Covered)
            }
            _ => Ok(Target::Around(below)),
        }
    }

    /// The nearest call above an ancestor and the ancestor just below that call, unless a
    /// statement, a declaration, or a part of a class comes first.
    fn nearest_call(&self, from: usize) -> Option<(usize, usize)> {
        let call = self.calls[from.checked_sub(1)?]?;
        Some((call, call + 1))
    }

    /// For `$.items.map(…)` and the like: the whole argument that the expression is in or is.
    ///
    /// Wrapping only the callee, as the reference does, gives code that nearly always throws when
    /// the module is loaded. Where there is no argument that can be wrapped, the answer is `None`.
    fn longer_spine(&self, from: usize) -> Option<usize> {
        let mut top = from;
        let mut calls = usize::from(matches!(self.ancestors[top], AstKind::CallExpression(_)));
        let mut members = 0;
        while top > 0 {
            let span = self.ancestors[top].span();
            match self.ancestors[top - 1] {
                AstKind::StaticMemberExpression(member) if member.object.span() == span => {
                    members += 1;
                }
                AstKind::ComputedMemberExpression(member) if member.object.span() == span => {
                    members += 1;
                }
                AstKind::PrivateFieldExpression(member) if member.object.span() == span => {
                    members += 1;
                }
                AstKind::CallExpression(call) if call.callee.span() == span => calls += 1,
                AstKind::ChainExpression(_) => {}
                _ => break,
            }
            top -= 1;
        }
        let is_reference = !matches!(self.ancestors[from], AstKind::CallExpression(_));
        let is_longer = if is_reference {
            calls > 0
        } else {
            calls > 1 || members > 0
        };
        if !is_longer {
            return None;
        }
        let (_, argument) = self.nearest_call(top)?;
        match self.ancestors[argument] {
            AstKind::SpreadElement(_) => None,
            AstKind::ArrowFunctionExpression(arrow) => {
                check_open(arrow).is_ok().then_some(argument)
            }
            _ => Some(argument),
        }
    }

    fn wrap(&mut self, index: usize) {
        let node = self.ancestors[index];
        let span = node.span();
        if matches!(node, AstKind::ArrowFunctionExpression(_)) || !self.found.wraps.insert(span) {
            return;
        }
        let parenthesise_body = matches!(node, AstKind::SequenceExpression(_))
            || self.source[span.start as usize..].starts_with('{');
        let change = match (self.stands_alone(index), parenthesise_body) {
            (true, false) => Change::Wrap {
                before: "state => ",
                after: "",
            },
            (true, true) => Change::Wrap {
                before: "state => (",
                after: ")",
            },
            // Without a semicolon the bracket would continue the line before.
            (false, false) if self.continues_statement(index) => Change::Wrap {
                before: ";(state => ",
                after: ")",
            },
            (false, false) => Change::Wrap {
                before: "(state => ",
                after: ")",
            },
            (false, true) => Change::Wrap {
                before: "(state => (",
                after: "))",
            },
        };
        self.found.edits.push(Edit { span, change });
    }

    /// Whether an arrow function can take a node's place without parentheses.
    fn stands_alone(&self, index: usize) -> bool {
        let span = self.ancestors[index].span();
        match self.ancestors[index - 1] {
            AstKind::CallExpression(call) => call.callee.span() != span,
            AstKind::ExpressionStatement(_) => true,
            _ => false,
        }
    }

    /// Whether an opening bracket in front of a node would continue the statement before. Only
    /// nested statements are in question: at the top level all get their semicolons when the
    /// module is put together.
    fn continues_statement(&self, index: usize) -> bool {
        let start = self.ancestors[index].span().start;
        let statement = self.ancestors[..index]
            .iter()
            .rposition(|kind| matches!(kind, AstKind::ExpressionStatement(_)));
        let begins_nested = statement.is_some_and(|statement| {
            self.ancestors[statement].span().start == start
                && matches!(
                    self.ancestors[statement - 1],
                    AstKind::BlockStatement(_)
                        | AstKind::FunctionBody(_)
                        | AstKind::SwitchCase(_)
                        | AstKind::StaticBlock(_)
                )
        });
        begins_nested && !is_separated(&self.source[..start as usize])
    }
}

/// Whether the text before a statement certainly ends with a separator.
fn is_separated(before: &str) -> bool {
    let before = before.trim_end();
    let line = before.rfind('\n').map_or(before, |end| &before[end..]);
    before.ends_with([';', '{', ':']) && !line.contains("//")
}

impl<'a> VisitJs<'a> for Finder<'_, 'a> {
    fn enter_node(&mut self, kind: AstKind<'a>) {
        let parent = self.ancestors.last().copied();
        let call = match kind {
            AstKind::CallExpression(_) => Some(self.ancestors.len()),
            other if ends_climb(other) => None,
            _ => self.calls.last().copied().flatten(),
        };
        self.ancestors.push(kind);
        self.calls.push(call);
        let declared = declared(kind);
        self.shadows += u32::from(declared.root);
        self.states += u32::from(declared.state);
        if self.misuse.is_some() {
            return;
        }
        let is_member = matches!(
            kind,
            AstKind::StaticMemberExpression(_)
                | AstKind::ComputedMemberExpression(_)
                | AstKind::PrivateFieldExpression(_)
        );
        // The outermost member of a chain speaks for all of it.
        if is_member
            && !parent.is_some_and(|parent| is_object_of(parent, kind.span()))
            && let Some(root) = root_of_member(kind)
        {
            self.reference(root);
        }
    }

    fn leave_node(&mut self, kind: AstKind<'a>) {
        self.ancestors.pop();
        self.calls.pop();
        let declared = declared(kind);
        self.shadows -= u32::from(declared.root);
        self.states -= u32::from(declared.state);
    }

    fn visit_variable_declarator(&mut self, declarator: &VariableDeclarator<'a>) {
        if let Some(init) = &declarator.init
            && self.tables.binary_search(&init.span()).is_ok()
        {
            self.visit_binding_pattern(&declarator.id);
            return;
        }
        oxc::ast_visit::walk_js::walk_variable_declarator(self, declarator);
    }

    fn visit_class(&mut self, class: &Class<'a>) {
        // The reference meets a class's body before its superclass.
        self.enter_node(AstKind::Class(self.alloc(class)));
        self.visit_class_body(&class.body);
        if let Some(heritage) = &class.heritage {
            self.visit_class_heritage(heritage);
        }
        self.leave_node(AstKind::Class(self.alloc(class)));
    }
}

fn misuse(text: &str, offset: u32) -> Misuse {
    Misuse {
        text: text.to_owned(),
        offset,
    }
}
