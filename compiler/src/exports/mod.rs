//! The names that an adaptor exports, read from its type definitions (compiler spec, section 12).
//!
//! This is the only part of the crate that reads files.

mod cache;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use oxc::{
    allocator::Allocator,
    ast::ast::{
        Declaration, ExportDefaultDeclarationKind, Expression, ImportDeclarationSpecifier,
        ModuleExportName, Program, Statement, TSNamespaceDeclarationBody,
    },
    parser::Parser,
    span::SourceType,
};

pub use self::cache::ExportsCache;
use crate::stack::{StackError, with_stack_for};

/// The longest file that is read, in bytes; adaptors' own have some dozen kilobytes.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Why an adaptor's names could not be found. The reference makes each a compile error of the step
/// with the subtype `Error`; `Display` gives its message.
#[derive(Debug, thiserror::Error)]
pub enum ExportsError {
    /// The package has no `package.json`, or the file that its `types` field names is missing.
    #[error("ENOENT: no such file or directory, open '{}'", path.display())]
    Missing {
        /// The file that is not there.
        path: PathBuf,
    },
    /// A file is there and cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file, as it was looked for.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// `package.json` is not JSON.
    #[error("{} is not valid JSON: {source}", path.display())]
    BadPackage {
        /// The file, as it was looked for.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The types file is empty.
    #[error("Couldn't find a SourceFile for: {types}")]
    Empty {
        /// The file as `package.json` names it.
        types: String,
    },
    /// The declarations are longer or nested more deeply than any real ones.
    #[error("the type definitions in {} are too long or nested too deeply", path.display())]
    TooLarge {
        /// The file, as it was looked for.
        path: PathBuf,
    },
}

/// Finds the names that an adaptor exports: those of the file that its `types` field names and of
/// `adaptor.d.ts` (or else `Adaptor.d.ts`) beside it, without `default`.
///
/// The list is empty for a package without a `types` field, which makes the compiler import every
/// name that a job uses and does not declare.
///
/// # Errors
///
/// [`ExportsError`] names the file that is missing or wrong. Declarations that do not parse are no
/// error: what can be read of them counts.
pub fn adaptor_exports(package_dir: &Path) -> Result<Vec<String>, ExportsError> {
    Ok(discover(package_dir)?.names)
}

/// What was found, and the files it was found in.
struct Discovery {
    names: Vec<String>,
    files: Vec<PathBuf>,
}

fn discover(package_dir: &Path) -> Result<Discovery, ExportsError> {
    let package_path = package_dir.join("package.json");
    let package: serde_json::Value =
        serde_json::from_str(&read(&package_path)?).map_err(|source| ExportsError::BadPackage {
            path: package_path.clone(),
            source,
        })?;
    let mut files = vec![package_path];
    let Some(types) = package.get("types").and_then(serde_json::Value::as_str) else {
        return Ok(Discovery {
            names: Vec::new(),
            files,
        });
    };
    let types_path = package_dir.join(types);
    let text = read(&types_path)?;
    if text.trim().is_empty() {
        return Err(ExportsError::Empty {
            types: types.to_owned(),
        });
    }
    let mut names = declared_exports(&types_path, &text)?;
    files.push(types_path.clone());
    for beside in ["adaptor.d.ts", "Adaptor.d.ts"] {
        let path = types_path.with_file_name(beside);
        match read(&path) {
            Ok(text) => {
                names.extend(declared_exports(&path, &text)?);
                files.push(path);
                break;
            }
            Err(ExportsError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let mut known = HashSet::new();
    names.retain(|name| name != "default" && known.insert(name.clone()));
    Ok(Discovery { names, files })
}

fn read(path: &Path) -> Result<String, ExportsError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ExportsError::Missing {
            path: path.to_owned(),
        },
        _ => ExportsError::Unreadable {
            path: path.to_owned(),
            source,
        },
    };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > MAX_FILE_BYTES {
        return Err(ExportsError::TooLarge {
            path: path.to_owned(),
        });
    }
    let bytes = fs::read(path).map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The names that one declaration file contributes, in the order of its statements.
fn declared_exports(path: &Path, text: &str) -> Result<Vec<String>, ExportsError> {
    let names = with_stack_for(text, || {
        let allocator = Allocator::default();
        let parsed = Parser::new(&allocator, text, SourceType::d_ts()).parse();
        exported_names(&parsed.program)
    });
    names.map_err(|error| match error {
        StackError::TooDeep | StackError::BadEscape(_) => ExportsError::TooLarge {
            path: path.to_owned(),
        },
        StackError::Failed(text) => ExportsError::Unreadable {
            path: path.to_owned(),
            source: io::Error::other(text),
        },
    })
}

/// What a name stands for inside a declaration file.
enum Local {
    Function,
    Imported,
    /// A constant, a class, a type: not an operation, and not reported.
    Other,
}

fn exported_names(program: &Program<'_>) -> Vec<String> {
    let locals = local_names(program);
    let mut names = Vec::new();
    for statement in &program.body {
        match statement {
            Statement::ExportDeclaration(export) => match &export.declaration {
                Declaration::FunctionDeclaration(function) => {
                    names.extend(function.id.as_ref().map(|id| id.name.to_string()));
                }
                Declaration::TSNamespaceDeclaration(namespace) => {
                    if let TSNamespaceDeclarationBody::TSModuleBlock(block) = &namespace.body {
                        let functions = block.body.iter().filter_map(function_name);
                        names.extend(
                            functions.map(|function| format!("{}.{function}", namespace.id.name)),
                        );
                    }
                }
                _ => {}
            },
            Statement::ExportNamedDeclaration(export) => {
                for specifier in &export.specifiers {
                    let local = specifier.local.name();
                    match locals.get(local.as_str()) {
                        // The reference gives a function's own name, whatever it is exported as.
                        Some(Local::Function) => names.push(local.to_string()),
                        Some(Local::Imported) | None => {
                            names.push(specifier.exported.name().to_string());
                        }
                        Some(Local::Other) => {}
                    }
                }
            }
            Statement::ExportFromDeclaration(export) => {
                names.extend(
                    export
                        .specifiers
                        .iter()
                        .map(|specifier| specifier.exported.name().to_string()),
                );
            }
            Statement::ExportAllDeclaration(export) => {
                names.extend(
                    export
                        .exported
                        .as_ref()
                        .map(ModuleExportName::name)
                        .map(|name| name.to_string()),
                );
            }
            Statement::ExportDefaultDeclaration(export) => {
                if let ExportDefaultDeclarationKind::Identifier(id) = &export.declaration
                    && matches!(locals.get(id.name.as_str()), Some(Local::Function))
                {
                    names.push(id.name.to_string());
                }
            }
            Statement::TSExportAssignment(export) => {
                if let Expression::Identifier(id) = &export.expression
                    && !matches!(locals.get(id.name.as_str()), Some(Local::Other))
                {
                    names.push(id.name.to_string());
                }
            }
            _ => {}
        }
    }
    names
}

/// The function that a statement inside a namespace declares, exported or not: in a declaration
/// file everything inside an exported namespace is exported.
fn function_name(statement: &Statement<'_>) -> Option<String> {
    let declaration = match statement {
        Statement::ExportDeclaration(export) => &export.declaration,
        other => other.as_declaration()?,
    };
    match declaration {
        Declaration::FunctionDeclaration(function) => {
            function.id.as_ref().map(|id| id.name.to_string())
        }
        _ => None,
    }
}

fn local_names<'a>(program: &Program<'a>) -> HashMap<&'a str, Local> {
    let mut locals = HashMap::new();
    for statement in &program.body {
        let declaration = match statement {
            Statement::ImportDeclaration(import) => {
                for specifier in import.specifiers.iter().flatten() {
                    let local = match specifier {
                        ImportDeclarationSpecifier::ImportSpecifier(one) => &one.local,
                        ImportDeclarationSpecifier::ImportDefaultSpecifier(one) => &one.local,
                        ImportDeclarationSpecifier::ImportNamespaceSpecifier(one) => &one.local,
                    };
                    locals.insert(local.name.as_str(), Local::Imported);
                }
                continue;
            }
            Statement::ExportDeclaration(export) => &export.declaration,
            other => match other.as_declaration() {
                Some(declaration) => declaration,
                None => continue,
            },
        };
        match declaration {
            Declaration::FunctionDeclaration(function) => {
                if let Some(id) = &function.id {
                    locals.insert(id.name.as_str(), Local::Function);
                }
            }
            Declaration::VariableDeclaration(variables) => {
                for declarator in &variables.declarations {
                    for id in declarator.id.get_binding_identifiers() {
                        locals.insert(id.name.as_str(), Local::Other);
                    }
                }
            }
            Declaration::ClassDeclaration(class) => {
                if let Some(id) = &class.id {
                    locals.insert(id.name.as_str(), Local::Other);
                }
            }
            other => {
                if let Some(id) = other.id() {
                    // A function of the same name keeps its meaning beside a namespace or type.
                    locals.entry(id.name.as_str()).or_insert(Local::Other);
                }
            }
        }
    }
    locals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        declared_exports(Path::new("x.d.ts"), text).unwrap()
    }

    #[test]
    fn each_kind_of_declaration_gives_the_names_that_the_reference_finds() {
        for (text, expected) in [
            ("export function a(): void;", vec!["a"]),
            ("export declare function a(): void;", vec!["a"]),
            (
                "/** @private */ export function a(x: 1): void; export function a(x: 2): void;",
                vec!["a", "a"],
            ),
            (
                "export const a: () => void; export let b: 1; export var c: 2;",
                vec![],
            ),
            (
                "export class A {} export type T = 1; export interface I {} export enum E {}",
                vec![],
            ),
            ("export * from './x';", vec![]),
            ("export * as ns from './x';", vec!["ns"]),
            ("import * as m from './x'; export { m };", vec!["m"]),
            ("import * as m from './x'; export { m as n };", vec!["n"]),
            ("export { a, b as c } from 'other';", vec!["a", "c"]),
            ("import { z } from 'q'; export { z as y };", vec!["y"]),
            ("export type { Q } from 'p';", vec!["Q"]),
            ("declare function f(): void; export { f as g };", vec!["f"]),
            ("declare const k: 1; export { k };", vec![]),
            ("declare class K {} export { K };", vec![]),
            ("export namespace ns { function q(): void; }", vec!["ns.q"]),
            ("export default function f(): void;", vec![]),
            ("declare const k: 1; export default k;", vec![]),
            ("import * as A from './a'; export default A;", vec![]),
            ("declare function d(): void; export default d;", vec!["d"]),
            ("export { default as dd } from './x';", vec!["dd"]),
            ("declare function f(): void; export = f;", vec!["f"]),
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
    }

    #[test]
    fn declarations_that_nest_too_deeply_are_refused() {
        let text = format!(
            "export type T = {}1{};",
            "(".repeat(100_000),
            ")".repeat(100_000)
        );
        assert!(matches!(
            declared_exports(Path::new("x.d.ts"), &text),
            Err(ExportsError::TooLarge { .. })
        ));
    }
}
