//! Compiles the jobs of a plan, off the event loop.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use compiler::{Adaptor, CompileError, CompileOptions, ExportsCache};
use log_events::{event, table};
use protocol::js;
use protocol::plan::ExecutionPlan;
use protocol::reasons::{ExitReason, Outcome};
use serde_json::value::RawValue;

use super::messages::{CompileFailure, CompileLine};
use crate::clock;

/// What adaptors export, read once a folder; more adaptors than a busy worker sees in a day.
static EXPORTS: LazyLock<ExportsCache> = LazyLock::new(|| ExportsCache::new(256));

/// A plan after compiling, with the lines 3 to 8 of the engine spec, section 3.4.
pub(super) struct CompiledPlan {
    pub(super) plan: ExecutionPlan,
    pub(super) compiled: Result<Vec<CompileLine>, CompileFailure>,
}

/// Compiles every job of `plan` on a thread that may block. A panic of the compiler ends this run only.
pub(super) async fn compile_plan(plan: ExecutionPlan) -> CompiledPlan {
    let fallback = plan.clone();
    // The compiler bounds its own use of the stack.
    match tokio::task::spawn_blocking(move || compile_here(plan)).await {
        Ok(compiled) => compiled,
        Err(error) => {
            event!(table::ENGINE_COMPILE_FAILED, run_id = fallback.id.as_str(), error:% = error; "compiling the jobs of run {} failed: {error}", fallback.id);
            let outcome = Outcome {
                reason: ExitReason::Exception,
                error_type: Some("ExecutionError".to_owned()),
                error_message: Some("the compiler failed on this workflow".to_owned()),
            };
            CompiledPlan {
                plan: fallback,
                compiled: Err(CompileFailure {
                    lines: Vec::new(),
                    outcome,
                }),
            }
        }
    }
}

fn compile_here(mut plan: ExecutionPlan) -> CompiledPlan {
    let started = Instant::now();
    let mut lines = vec![line("info", "Compiling all workflow steps...".to_owned())];
    let mut failure = None;
    for (id, step) in &mut plan.steps {
        let Some(source) = step
            .expression
            .as_deref()
            .filter(|source| !source.is_empty())
        else {
            continue;
        };
        let label = step.name.clone().unwrap_or_else(|| id.to_string());
        match compile_step(
            source,
            step.name.as_deref(),
            step.adaptors.as_deref().unwrap_or_default(),
            &step.linker,
        ) {
            Ok((code, source_map, took)) => {
                step.expression = Some(code);
                step.source_map = source_map;
                lines.push(line(
                    "debug",
                    format!("Finished in {}s", js::to_precision(took.as_secs_f64(), 1)),
                ));
                let seconds = js::to_precision(took.as_secs_f64(), 2);
                let text = match &step.name {
                    Some(name) => format!("Compiled {name} in {seconds}s"),
                    None => format!("Compilation complete in {seconds}s"),
                };
                lines.push(line("info", text));
            }
            Err(error) => {
                failure = Some(Outcome {
                    reason: ExitReason::from_severity(CompileError::SEVERITY),
                    error_type: Some(CompileError::TYPE.to_owned()),
                    error_message: Some(format!("{label}: {error}")),
                });
                break;
            }
        }
    }
    let compiled = match failure {
        Some(outcome) => Err(CompileFailure { lines, outcome }),
        None => {
            let seconds = js::to_precision(started.elapsed().as_secs_f64(), 2);
            lines.push(line(
                "success",
                format!("Workflow compilation complete in {seconds}s"),
            ));
            Ok(lines)
        }
    };
    CompiledPlan { plan, compiled }
}

fn line(level: &'static str, text: String) -> CompileLine {
    CompileLine {
        level,
        text,
        timestamp: clock::now(),
    }
}

/// Why a job does not compile.
#[derive(Debug, thiserror::Error)]
enum JobError {
    /// By its own doing.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// What its adaptor exports cannot be read.
    #[error(transparent)]
    Exports(#[from] compiler::ExportsError),
    /// The compiler's source map is no JSON.
    #[error(transparent)]
    SourceMap(#[from] serde_json::Error),
}

type Linker = indexmap::IndexMap<String, protocol::plan::Linked>;

fn compile_step(
    source: &str,
    name: Option<&str>,
    specifiers: &[String],
    linker: &Linker,
) -> Result<(String, Option<Box<RawValue>>, Duration), JobError> {
    let adaptors = specifiers
        .iter()
        .map(|specifier| adaptor(specifier, linker))
        .collect::<Result<Vec<_>, _>>()?;
    let options = CompileOptions {
        name,
        adaptors: &adaptors,
        ignore: &[],
    };
    let compiled = compiler::compile(source, &options)?;
    let source_map = RawValue::from_string(compiled.source_map)?;
    Ok((compiled.code, Some(source_map), compiled.transform_time))
}

fn adaptor(specifier: &str, linker: &Linker) -> Result<Adaptor, JobError> {
    let name = match specifier.rsplit_once('@') {
        Some((name, _)) if !name.is_empty() => name,
        _ => specifier,
    };
    let exports = match linker.get(name) {
        Some(linked) => EXPORTS.get(Path::new(&linked.path))?.to_vec(),
        // Not installed: its import fails when the job runs, with the runtime's own words.
        None => Vec::new(),
    };
    Ok(Adaptor {
        name: name.to_owned(),
        exports,
        export_all: true,
    })
}
