//! Which names a scope declares, by the reference's rules (compiler spec, section 10).
//!
//! They are not JavaScript's: blocks, loops and `switch` are no scopes, so that what they declare
//! counts for the whole function, also `let`, `const` and `class`.

use oxc::ast::ast::{
    ArrowFunctionBody, ArrowFunctionExpression, BindingPattern, CatchClause, Declaration,
    ExportDefaultDeclarationKind, ForStatementInit, ForStatementLeft, FormalParameters, Function,
    ImportDeclarationSpecifier, Program, Statement, VariableDeclaration,
};

/// A node that makes a scope. Classes make one too, but it declares nothing.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'n, 'a> {
    Program(&'n Program<'a>),
    Function(&'n Function<'a>),
    Arrow(&'n ArrowFunctionExpression<'a>),
    Catch(&'n CatchClause<'a>),
}

impl<'n, 'a> Scope<'n, 'a> {
    /// Calls `found` with each name that the scope declares; a name may come more than once.
    pub(crate) fn declared(self, found: &mut dyn FnMut(&'n str)) {
        let mut scan = Scan {
            found,
            caught: Vec::new(),
        };
        match self {
            Scope::Program(program) => scan.statements(&program.body),
            Scope::Function(function) => {
                // A declaration's name belongs to the scope around it, which declares it as well.
                if let Some(id) = &function.id {
                    scan.name(id.name.as_str());
                }
                scan.parameters(&function.params);
                if let Some(body) = &function.body {
                    scan.statements(&body.statements);
                }
            }
            Scope::Arrow(arrow) => {
                scan.parameters(&arrow.params);
                if let ArrowFunctionBody::FunctionBody(body) = &arrow.body {
                    scan.statements(&body.statements);
                }
            }
            Scope::Catch(clause) => {
                if let Some(param) = &clause.param {
                    scan.pattern(&param.pattern);
                }
            }
        }
    }

    /// Whether the scope declares a name.
    pub(crate) fn declares(self, name: &str) -> bool {
        let mut declared = false;
        self.declared(&mut |other| declared |= other == name);
        declared
    }
}

struct Scan<'f, 'n> {
    found: &'f mut dyn FnMut(&'n str),
    /// Parameters of the catch clauses around: a declaration of the same name inside the clause
    /// means the parameter and is not passed on to the function.
    caught: Vec<&'n str>,
}

impl<'n> Scan<'_, 'n> {
    fn name(&mut self, name: &'n str) {
        if !self.caught.contains(&name) {
            (self.found)(name);
        }
    }

    fn pattern(&mut self, pattern: &'n BindingPattern<'_>) {
        match pattern {
            BindingPattern::BindingIdentifier(id) => self.name(id.name.as_str()),
            BindingPattern::ObjectPattern(object) => {
                for property in &object.properties {
                    self.pattern(&property.value);
                }
                if let Some(rest) = &object.rest {
                    self.pattern(&rest.argument);
                }
            }
            BindingPattern::ArrayPattern(array) => {
                for element in array.elements.iter().flatten() {
                    self.pattern(element);
                }
                if let Some(rest) = &array.rest {
                    self.pattern(&rest.argument);
                }
            }
            BindingPattern::AssignmentPattern(assignment) => self.pattern(&assignment.left),
        }
    }

    fn parameters(&mut self, parameters: &'n FormalParameters<'_>) {
        for parameter in &parameters.items {
            self.pattern(&parameter.pattern);
        }
        if let Some(rest) = &parameters.rest {
            self.pattern(&rest.rest.argument);
        }
    }

    fn variables(&mut self, declaration: &'n VariableDeclaration<'_>) {
        for declarator in &declaration.declarations {
            self.pattern(&declarator.id);
        }
    }

    fn declaration(&mut self, declaration: &'n Declaration<'_>) {
        match declaration {
            Declaration::VariableDeclaration(variables) => self.variables(variables),
            Declaration::FunctionDeclaration(function) => {
                if let Some(id) = &function.id {
                    self.name(id.name.as_str());
                }
            }
            Declaration::ClassDeclaration(class) => {
                if let Some(id) = &class.id {
                    self.name(id.name.as_str());
                }
            }
            _ => {}
        }
    }

    fn catch_clause(&mut self, clause: &'n CatchClause<'_>) {
        match clause.param.as_ref().map(|param| &param.pattern) {
            None => self.statements(&clause.body.body),
            Some(BindingPattern::BindingIdentifier(id)) => {
                self.caught.push(id.name.as_str());
                self.statements(&clause.body.body);
                self.caught.pop();
            }
            // The reference does not look into the body of a clause that destructures.
            Some(_) => {}
        }
    }

    fn statements(&mut self, statements: &'n [Statement<'_>]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &'n Statement<'_>) {
        match statement {
            Statement::BlockStatement(block) => self.statements(&block.body),
            Statement::IfStatement(branch) => {
                self.statement(&branch.consequent);
                if let Some(alternate) = &branch.alternate {
                    self.statement(alternate);
                }
            }
            Statement::DoWhileStatement(body) => self.statement(&body.body),
            Statement::WhileStatement(body) => self.statement(&body.body),
            Statement::WithStatement(body) => self.statement(&body.body),
            Statement::LabeledStatement(body) => self.statement(&body.body),
            Statement::ForStatement(body) => {
                if let Some(ForStatementInit::VariableDeclaration(variables)) = &body.init {
                    self.variables(variables);
                }
                self.statement(&body.body);
            }
            Statement::ForInStatement(body) => {
                self.loop_variables(&body.left);
                self.statement(&body.body);
            }
            Statement::ForOfStatement(body) => {
                self.loop_variables(&body.left);
                self.statement(&body.body);
            }
            Statement::SwitchStatement(switch) => {
                for case in &switch.cases {
                    self.statements(&case.consequent);
                }
            }
            Statement::TryStatement(attempt) => {
                self.statements(&attempt.block.body);
                if let Some(handler) = &attempt.handler {
                    self.catch_clause(handler);
                }
                if let Some(finalizer) = &attempt.finalizer {
                    self.statements(&finalizer.body);
                }
            }
            Statement::ImportDeclaration(import) => {
                for specifier in import.specifiers.iter().flatten() {
                    let local = match specifier {
                        ImportDeclarationSpecifier::ImportSpecifier(specifier) => &specifier.local,
                        ImportDeclarationSpecifier::ImportDefaultSpecifier(specifier) => {
                            &specifier.local
                        }
                        ImportDeclarationSpecifier::ImportNamespaceSpecifier(specifier) => {
                            &specifier.local
                        }
                    };
                    self.name(local.name.as_str());
                }
            }
            Statement::ExportDeclaration(export) => self.declaration(&export.declaration),
            Statement::ExportDefaultDeclaration(export) => match &export.declaration {
                ExportDefaultDeclarationKind::FunctionDeclaration(function) => {
                    if let Some(id) = &function.id {
                        self.name(id.name.as_str());
                    }
                }
                ExportDefaultDeclarationKind::ClassDeclaration(class) => {
                    if let Some(id) = &class.id {
                        self.name(id.name.as_str());
                    }
                }
                _ => {}
            },
            other => {
                if let Some(declaration) = other.as_declaration() {
                    self.declaration(declaration);
                }
            }
        }
    }

    fn loop_variables(&mut self, left: &'n ForStatementLeft<'_>) {
        if let ForStatementLeft::VariableDeclaration(variables) = left {
            self.variables(variables);
        }
    }
}
