//! Everything a run needs before a Node engine can execute it: its adaptors installed, its jobs compiled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use adaptors::{InstallError, Located};
use indexmap::IndexMap;
use protocol::plan::{ExecutionPlan, Linked};
use tokio::sync::watch;

use super::{Handshake, named};
use crate::engine_pool::compile::{CompiledPlan, compile_plan};
use crate::engine_pool::engine::versions;
use crate::engine_pool::installer::{AdaptorInstaller, Install};
use crate::engine_pool::messages::{Prepare, PrepareError, Prepared};
use crate::traces::Moment;

/// Installs and compiles, and waits until the engine has been validated.
///
/// # Errors
/// What cannot be installed, or that the engine has ended meanwhile.
pub(super) async fn prepare(
    message: Prepare,
    installer: Addr<AdaptorInstaller>,
    mut handshake: watch::Receiver<Option<Handshake>>,
) -> Result<Prepared, PrepareError> {
    let Prepare {
        run_id,
        plan,
        traces,
    } = message;
    let mut versions = versions();
    let mut plan = Arc::unwrap_or_clone(plan);
    let mut specifiers: Vec<String> = Vec::new();
    for specifier in plan
        .steps
        .values()
        .flat_map(|step| step.adaptors.iter().flatten())
    {
        if !specifiers.contains(specifier) {
            specifiers.push(specifier.clone());
        }
    }
    let began = Instant::now();
    let located = installer
        .send(Install {
            run: Some(run_id.clone()),
            specifiers,
        })
        .await
        .map_err(|_| PrepareError::EngineEnded)?;
    traces.note(&run_id, || installed(&located, began.elapsed()));
    let located = located?;
    link(&mut plan, &located);
    for Located { name, version, .. } in located.values() {
        let list: &mut Vec<String> = versions.adaptors.entry(name.clone()).or_default();
        if !list.contains(version) {
            list.push(version.clone());
        }
    }
    let began = Instant::now();
    let CompiledPlan { plan, compiled } = compile_plan(plan).await;
    traces.note(&run_id, || Moment::Compiled {
        took: began.elapsed(),
        error_type: compiled
            .as_ref()
            .err()
            .and_then(|failure| failure.outcome.error_type.clone()),
    });
    let handshake = handshake
        .wait_for(Option::is_some)
        .await
        .map_err(|_| PrepareError::EngineEnded)?
        .clone();
    if let Some(Handshake { node, runtime }) = handshake {
        versions.node = Some(node);
        versions.runtime = Some(runtime);
    }
    Ok(Prepared {
        plan,
        versions,
        compiled,
    })
}

fn installed(located: &Result<IndexMap<String, Located>, InstallError>, took: Duration) -> Moment {
    Moment::Installed {
        took,
        adaptors: located.as_ref().map(named).unwrap_or_default(),
        error_type: located.as_ref().err().map(InstallError::error_type),
    }
}

/// Tells each step where its adaptors are.
fn link(plan: &mut ExecutionPlan, located: &IndexMap<String, Located>) {
    for step in plan.steps.values_mut() {
        for specifier in step.adaptors.iter().flatten() {
            if let Some(Located {
                name,
                version,
                path: Some(path),
            }) = located.get(specifier)
            {
                let path = path.to_string_lossy().into_owned();
                step.linker.insert(
                    name.clone(),
                    Linked {
                        path,
                        version: version.clone(),
                    },
                );
            }
        }
    }
}
