//! Compiles an OpenFn job, a list of operations written as bare calls, to an ES module whose
//! default export is the array of those operations.
//!
//! [`compile`] maps text to text: it applies lazy state, promise chains, the default export,
//! top-level operations and imports, in this order, and answers with the module, a version-3 source
//! map and an index of the operations. Jobs compile as with the published compiler 1.2.5, its
//! defects left aside; the rules and the quirks kept are in `docs/spec/compiler.md`, whose
//! sections the modules here name. [`adaptor_exports`] is the only part that reads files.
//!
//! Nothing here knows of runs, of Lightning, or of actors.

pub mod batch;
mod diagnosis;
mod edits;
mod error;
mod exports;
mod imports;
mod lazy_state;
mod module;
mod nesting;
mod promises;
mod scope;
mod source;
mod source_map;
mod stack;
mod syntax;
mod top_level;

use std::time::{Duration, Instant};

use oxc::allocator::Allocator;
use serde::{Deserialize, Serialize};

pub use error::{CompileError, Position};
pub use exports::{ExportsCache, ExportsError, adaptor_exports};
pub use stack::MAX_DEPTH;

use crate::{
    edits::Edits,
    source::{Lines, normalise},
    stack::StackError,
};

/// The longest source that is compiled, in bytes. Lightning's own limit is far below; this one
/// keeps offsets in 32 bits and memory bounded.
pub const MAX_SOURCE_BYTES: usize = 64 * 1024 * 1024;

/// An adaptor whose names a job may use without importing them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adaptor {
    /// What imports name: `@openfn/language-http`, without a version.
    pub name: String,
    /// The names that the adaptor exports, see [`adaptor_exports`]. An empty list imports every
    /// name that the job uses and does not declare.
    pub exports: Vec<String>,
    /// Whether the module passes all of the adaptor's names on (`export * from`), which the
    /// runtime needs to find the adaptor's own `execute`. The engine always does.
    pub export_all: bool,
}

/// What to compile a job with.
#[derive(Debug, Clone, Copy, Default)]
pub struct CompileOptions<'a> {
    /// The step's name, for the file names in the source map; `src` is used when it is missing.
    pub name: Option<&'a str>,
    /// The step's adaptors, in order.
    pub adaptors: &'a [Adaptor],
    /// Names that are never imported, such as those that a workflow's globals define.
    pub ignore: &'a [String],
}

/// One call that was moved into the default export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The callee, if it is a plain name; `_defer` for a promise chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The job's line where the call starts, from 1; -1 for a promise chain.
    pub line: i64,
    /// Place in the list of moved calls, from 1.
    pub order: u32,
}

/// What a step is executed from: the module, its source map, its index of operations.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The ES module whose default export is the array of operations.
    pub code: String,
    /// A version-3 source map as JSON text, with the operations under `operations`.
    pub source_map: String,
    /// The calls that were moved into the default export, in order.
    pub operations: Vec<Operation>,
    /// How long compiling took, for the log lines of the compiler spec, section 14.
    pub transform_time: Duration,
}

/// The source map as the runtime reads it (compiler spec, section 11).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceMap<'m> {
    version: u8,
    sources: [String; 1],
    names: [&'m str; 0],
    mappings: &'m str,
    file: String,
    sources_content: [&'m str; 1],
    operations: &'m [Operation],
}

/// Compiles a job.
///
/// Time and memory are bounded for every source: a job longer than [`MAX_SOURCE_BYTES`] or nested
/// more deeply than [`MAX_DEPTH`] is refused, and one nested more deeply than usual is compiled on
/// a thread with a stack that is large enough. The call is CPU-bound and blocks: do not make it on
/// an event loop.
///
/// # Errors
///
/// [`CompileError`] says what is wrong with the job and where.
pub fn compile(source: &str, options: &CompileOptions<'_>) -> Result<Compiled, CompileError> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(CompileError::TooLong {
            bytes: source.len(),
            limit: MAX_SOURCE_BYTES,
        });
    }
    match stack::with_stack_for(source, || compile_here(source, options)) {
        Ok(compiled) => compiled,
        Err(StackError::TooDeep) => Err(CompileError::TooDeep { limit: MAX_DEPTH }),
        Err(StackError::BadEscape(offset)) => Err(bad_escape(source, offset)),
        Err(StackError::Failed(text)) => Err(CompileError::Internal { text }),
    }
}

/// The syntax error of a long job whose escape at an offset is malformed.
fn bad_escape(source: &str, offset: u32) -> CompileError {
    let escape = &source[offset as usize..];
    let (text, length) = if escape.starts_with("\\u") {
        ("Bad character escape sequence", 2)
    } else {
        ("Expecting Unicode escape sequence \\uXXXX", 1)
    };
    let before = normalise(&source[..offset as usize + length]);
    CompileError::Syntax {
        text: text.to_owned(),
        at: source::position(&before, source::to_u32(before.len())),
    }
}

/// Compiles a job that is given as bytes.
///
/// # Errors
///
/// [`CompileError::NotUtf8`] if they are not text, else as [`compile`].
pub fn compile_bytes(
    source: &[u8],
    options: &CompileOptions<'_>,
) -> Result<Compiled, CompileError> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(CompileError::TooLong {
            bytes: source.len(),
            limit: MAX_SOURCE_BYTES,
        });
    }
    match str::from_utf8(source) {
        Ok(source) => compile(source, options),
        Err(error) => {
            let offset = error.valid_up_to();
            let valid = String::from_utf8_lossy(&source[..offset]);
            Err(CompileError::NotUtf8 {
                offset,
                at: source::position(&valid, source::to_u32(offset)),
            })
        }
    }
}

/// Compiles on the stack of the caller.
fn compile_here(source: &str, options: &CompileOptions<'_>) -> Result<Compiled, CompileError> {
    let started = Instant::now();
    let source = normalise(source);
    let allocator = Allocator::default();
    let program = syntax::parse(&allocator, &source)?;
    let lazy = lazy_state::find(program, &source).map_err(|misuse| CompileError::LazyState {
        text: misuse.text,
        at: source::position(&source, misuse.offset),
    })?;
    let chains = promises::find(program, &lazy.wraps);
    if let Some(offset) = promises::misplaced_await(program, &chains) {
        return Err(CompileError::Syntax {
            text: "Cannot use keyword 'await' outside an async function".to_owned(),
            at: source::position(&source, offset),
        });
    }
    let defers: Vec<_> = chains.iter().map(|edit| edit.span).collect();
    let imports_defer = !defers.is_empty() && !top_level::imports_from(program, module::RUNTIME);
    let mut all = lazy.edits;
    all.extend(chains);
    let dangling = if options.adaptors.is_empty() {
        imports::Dangling::default()
    } else {
        let context = imports::Context {
            wraps: &lazy.wraps,
            edits: &all,
            imports_defer,
        };
        imports::find_dangling(program, &context)
    };
    let lines = Lines::new(&source);
    let module = module::Parts {
        source: &source,
        lines: &lines,
        program,
        edits: &Edits::new(all),
        wraps: &lazy.wraps,
        defers: &defers,
        imports_defer,
        imports: &imports::choose(&dangling, options.adaptors, options.ignore),
    }
    .write();
    let name = options.name.unwrap_or("src");
    let content = source.replace(['\u{2028}', '\u{2029}'], "\n");
    let source_map = SourceMap {
        version: 3,
        sources: [format!("{name}.js")],
        names: [],
        mappings: &module.mappings,
        file: format!("{name}.map.js"),
        sources_content: [&content],
        operations: &module.operations,
    };
    let source_map =
        serde_json::to_string(&source_map).map_err(|error| CompileError::Internal {
            text: error.to_string(),
        })?;
    Ok(Compiled {
        code: module.code,
        source_map,
        operations: module.operations,
        transform_time: started.elapsed(),
    })
}
