//! The names that a job uses and does not declare (compiler spec, section 9.1).

use std::collections::{HashMap, HashSet};

use oxc::{
    ast::{
        AstKind,
        ast::{
            ArrowFunctionExpression, AssignmentTargetMaybeDefault,
            AssignmentTargetPropertyIdentifier, AssignmentTargetPropertyProperty, BindingPattern,
            BindingProperty, CallExpression, CatchClause, ComputedMemberExpression, Expression,
            Function, ImportDeclaration, MethodDefinition, NewExpression, ObjectProperty,
            PrivateFieldExpression, Program, PropertyDefinition, PropertyKey,
            StaticMemberExpression, VariableDeclarator, WithClause,
        },
    },
    ast_visit::{VisitJs, walk_js},
    span::{GetSpan, Span},
    syntax::scope::ScopeFlags,
};

use crate::{
    edits::{Change, Defer, Edit, Rest, Wraps},
    scope::Scope,
    top_level::skipped_tables,
};

/// The names a job uses and does not declare, in the order of their first use.
#[derive(Default)]
pub(crate) struct Dangling {
    pub(super) names: Vec<String>,
    known: HashSet<String>,
}

impl Dangling {
    pub(super) fn contains(&self, name: &str) -> bool {
        self.known.contains(name)
    }

    fn add(&mut self, name: &str) {
        if self.known.insert(name.to_owned()) {
            self.names.push(name.to_owned());
        }
    }
}

/// What the search for names must know of the earlier transforms.
pub(crate) struct Context<'c> {
    pub(crate) wraps: &'c Wraps,
    pub(crate) edits: &'c [Edit],
    /// Whether the module gets `import { defer as _defer }`.
    pub(crate) imports_defer: bool,
}

/// Finds the dangling names of a job as it is after lazy state and promise chains.
pub(crate) fn find_dangling(program: &Program<'_>, context: &Context<'_>) -> Dangling {
    let defers: HashMap<Span, Defer> = context
        .edits
        .iter()
        .filter_map(|edit| match edit.change {
            Change::Defer(defer) => Some((edit.span, defer)),
            Change::Rename | Change::Wrap { .. } => None,
        })
        .collect();
    let has_defers = !defers.is_empty();
    let renamed = context
        .edits
        .iter()
        .filter(|edit| matches!(edit.change, Change::Rename))
        .map(|edit| edit.span.start)
        .collect();
    let mut finder = Finder {
        wraps: context.wraps,
        defers,
        renamed,
        tables: skipped_tables(program),
        replaced: Vec::new(),
        declared: HashMap::new(),
        scopes: Vec::new(),
        found: Dangling::default(),
    };
    finder.enter(Scope::Program(program));
    // Without an import of ours `_defer` is a name like any other.
    if has_defers && !context.imports_defer {
        finder.name("_defer");
    }
    finder.visit_program(program);
    finder.found
}

struct Finder<'c, 'a> {
    wraps: &'c Wraps,
    defers: HashMap<Span, Defer>,
    /// Where a `$` has become `state`, which the added or the job's own function declares.
    renamed: HashSet<u32>,
    tables: Vec<Span>,
    /// Parts of promise chains that `p` stands for, which are looked at outside of `p =>`.
    replaced: Vec<Span>,
    /// How many scopes around declare a name.
    declared: HashMap<&'a str, u32>,
    /// The names that each scope around declares.
    scopes: Vec<Vec<&'a str>>,
    found: Dangling,
}

impl<'a> Finder<'_, 'a> {
    fn name(&mut self, name: &str) {
        if matches!(name, "undefined" | "NaN") || self.declared.contains_key(name) {
            return;
        }
        self.found.add(name);
    }

    fn enter(&mut self, scope: Scope<'a, '_>) {
        let mut names = Vec::new();
        scope.declared(&mut |name| names.push(name));
        self.enter_names(names);
    }

    fn enter_names(&mut self, names: Vec<&'a str>) {
        for name in &names {
            *self.declared.entry(name).or_insert(0) += 1;
        }
        self.scopes.push(names);
    }

    fn leave(&mut self) {
        for name in self.scopes.pop().unwrap_or_default() {
            if let Some(count) = self.declared.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.declared.remove(name);
                }
            }
        }
    }

    /// Visits a node, inside a `state =>` if lazy state put one around it.
    fn within_wrap(&mut self, span: Span, visit: impl FnOnce(&mut Self)) {
        let is_wrapped = self.wraps.contains(span);
        if is_wrapped {
            self.enter_names(vec!["state"]);
        }
        visit(self);
        if is_wrapped {
            self.leave();
        }
    }

    /// A computed key: the root of a plain member chain does not count.
    fn computed_key(&mut self, key: &Expression<'a>) {
        match key {
            Expression::Identifier(_) => {}
            Expression::StaticMemberExpression(member) => self.computed_key(&member.object),
            Expression::PrivateFieldExpression(member) => self.computed_key(&member.object),
            Expression::ComputedMemberExpression(member) => {
                self.computed_key(&member.object);
                self.computed_key(&member.expression);
            }
            other => self.visit_expression(other),
        }
    }

    /// The key of an object property: its name, if it is a plain identifier.
    fn object_key(&mut self, key: &PropertyKey<'a>) -> Option<&'a str> {
        match key {
            PropertyKey::StaticIdentifier(id) => Some(id.name.as_str()),
            PropertyKey::Identifier(id) => Some(id.name.as_str()),
            other => {
                self.visit_property_key(other);
                None
            }
        }
    }

    /// A member of a class: a computed key is searched, a plain one counts only for methods.
    fn class_key(&mut self, key: &PropertyKey<'a>, plain_counts: bool) {
        match key {
            PropertyKey::StaticIdentifier(id) if plain_counts => self.name(id.name.as_str()),
            PropertyKey::StaticIdentifier(_) => {}
            other => self.visit_property_key(other),
        }
    }

    fn chain(&mut self, call: &CallExpression<'a>, defer: Defer) {
        // `p` hides the job's own name in the chain, but not in the operation and the handler.
        let replaced = match defer.rest {
            Rest::Chain { replaced } => replaced,
            Rest::Whole => Span::empty(0),
            Rest::Nothing | Rest::Identity => call.span,
        };
        self.part_of_chain(call, defer.operation);
        if replaced != call.span {
            self.enter_names(vec!["p"]);
            self.replaced.push(replaced);
            walk_js::walk_call_expression(self, call);
            self.replaced.pop();
            self.leave();
        }
        if let Some(handler) = defer.handler {
            self.part_of_chain(call, handler.span);
        }
    }

    /// Visits the part of a chain that has the given span.
    fn part_of_chain(&mut self, call: &CallExpression<'a>, part: Span) {
        let mut at = call;
        loop {
            if let Some(argument) = at.arguments.iter().find(|argument| argument.span() == part) {
                self.visit_argument(argument);
                return;
            }
            let next = match &at.callee {
                Expression::CallExpression(callee) => Some(&**callee),
                callee => match callee.as_member_expression().map(|member| member.object()) {
                    Some(Expression::CallExpression(object)) => Some(&**object),
                    Some(Expression::NewExpression(new)) if new.span == part => {
                        walk_js::walk_new_expression(self, new);
                        return;
                    }
                    _ => None,
                },
            };
            let Some(next) = next else { return };
            if next.span == part {
                walk_js::walk_call_expression(self, next);
                return;
            }
            at = next;
        }
    }
}

impl<'a> VisitJs<'a> for Finder<'_, 'a> {
    fn enter_node(&mut self, kind: AstKind<'a>) {
        match kind {
            AstKind::IdentifierReference(id)
                if id.name == "$" && self.renamed.contains(&id.span.start) => {}
            AstKind::IdentifierReference(id) => self.name(id.name.as_str()),
            AstKind::IdentifierName(id) => self.name(id.name.as_str()),
            AstKind::BindingIdentifier(id) => self.name(id.name.as_str()),
            AstKind::LabelIdentifier(id) => self.name(id.name.as_str()),
            AstKind::ImportMeta(_) => {
                self.name("import");
                self.name("meta");
            }
            AstKind::NewTarget(_) => {
                self.name("new");
                self.name("target");
            }
            _ => {}
        }
    }

    fn visit_expression(&mut self, expression: &Expression<'a>) {
        self.within_wrap(expression.span(), |finder| {
            walk_js::walk_expression(finder, expression);
        });
    }

    fn visit_call_expression(&mut self, call: &CallExpression<'a>) {
        if self.replaced.last() == Some(&call.span) {
            return;
        }
        match self.defers.get(&call.span) {
            Some(&defer) => self.chain(call, defer),
            None => walk_js::walk_call_expression(self, call),
        }
    }

    fn visit_new_expression(&mut self, new: &NewExpression<'a>) {
        if self.replaced.last() != Some(&new.span) {
            walk_js::walk_new_expression(self, new);
        }
    }

    fn visit_static_member_expression(&mut self, member: &StaticMemberExpression<'a>) {
        self.visit_expression(&member.object);
    }

    fn visit_private_field_expression(&mut self, member: &PrivateFieldExpression<'a>) {
        self.visit_expression(&member.object);
    }

    fn visit_computed_member_expression(&mut self, member: &ComputedMemberExpression<'a>) {
        self.visit_expression(&member.object);
        self.computed_key(&member.expression);
    }

    fn visit_object_property(&mut self, property: &ObjectProperty<'a>) {
        let key = self.object_key(&property.key);
        match &property.value {
            Expression::Identifier(id) if key == Some(id.name.as_str()) => {}
            value => self.visit_expression(value),
        }
    }

    fn visit_binding_property(&mut self, property: &BindingProperty<'a>) {
        let key = self.object_key(&property.key);
        match &property.value {
            BindingPattern::BindingIdentifier(id) if key == Some(id.name.as_str()) => {}
            value => self.visit_binding_pattern(value),
        }
    }

    fn visit_assignment_target_property_identifier(
        &mut self,
        property: &AssignmentTargetPropertyIdentifier<'a>,
    ) {
        // `{ name }` is a key of the same name; in `{ name = 1 }` the name is below the default.
        if let Some(init) = &property.init {
            self.visit_identifier_reference(&property.binding);
            self.visit_expression(init);
        }
    }

    fn visit_assignment_target_property_property(
        &mut self,
        property: &AssignmentTargetPropertyProperty<'a>,
    ) {
        let key = self.object_key(&property.name);
        match &property.binding {
            AssignmentTargetMaybeDefault::AssignmentTargetIdentifier(id)
                if key == Some(id.name.as_str()) => {}
            binding => self.visit_assignment_target_maybe_default(binding),
        }
    }

    fn visit_method_definition(&mut self, method: &MethodDefinition<'a>) {
        self.class_key(&method.key, true);
        self.visit_function(&method.value, ScopeFlags::Function);
    }

    fn visit_property_definition(&mut self, property: &PropertyDefinition<'a>) {
        self.class_key(&property.key, false);
        if let Some(value) = &property.value {
            self.visit_expression(value);
        }
    }

    fn visit_variable_declarator(&mut self, declarator: &VariableDeclarator<'a>) {
        self.visit_binding_pattern(&declarator.id);
        if let Some(init) = &declarator.init
            && self.tables.binary_search(&init.span()).is_err()
        {
            self.visit_expression(init);
        }
    }

    fn visit_function(&mut self, function: &Function<'a>, flags: ScopeFlags) {
        self.enter(Scope::Function(self.alloc(function)));
        walk_js::walk_function(self, function, flags);
        self.leave();
    }

    fn visit_arrow_function_expression(&mut self, arrow: &ArrowFunctionExpression<'a>) {
        self.enter(Scope::Arrow(self.alloc(arrow)));
        walk_js::walk_arrow_function_expression(self, arrow);
        self.leave();
    }

    fn visit_catch_clause(&mut self, clause: &CatchClause<'a>) {
        self.enter(Scope::Catch(self.alloc(clause)));
        walk_js::walk_catch_clause(self, clause);
        self.leave();
    }

    fn visit_import_declaration(&mut self, _: &ImportDeclaration<'a>) {}

    fn visit_with_clause(&mut self, _: &WithClause<'a>) {}
}
