//! Everything a run needs before a Node engine can execute it: its adaptors installed, its jobs compiled.

use std::sync::Arc;

use actix::prelude::*;
use adaptors::Located;
use indexmap::IndexMap;
use protocol::plan::{ExecutionPlan, Linked};
use tokio::sync::watch;

use super::Handshake;
use crate::engine_pool::compile::{CompiledPlan, compile_plan};
use crate::engine_pool::engine::versions;
use crate::engine_pool::installer::{AdaptorInstaller, Install};
use crate::engine_pool::messages::{Prepare, PrepareError, Prepared};

/// Installs and compiles, and waits until the engine has been validated.
///
/// # Errors
/// What cannot be installed, or that the engine has ended meanwhile.
pub(super) async fn prepare(
    message: Prepare,
    installer: Addr<AdaptorInstaller>,
    mut handshake: watch::Receiver<Option<Handshake>>,
) -> Result<Prepared, PrepareError> {
    let mut versions = versions();
    let mut plan = Arc::unwrap_or_clone(message.plan);
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
    let located = installer
        .send(Install {
            run: Some(message.run_id.clone()),
            specifiers,
        })
        .await
        .map_err(|_| PrepareError::EngineEnded)??;
    link(&mut plan, &located);
    for Located { name, version, .. } in located.values() {
        let list: &mut Vec<String> = versions.adaptors.entry(name.clone()).or_default();
        if !list.contains(version) {
            list.push(version.clone());
        }
    }
    let CompiledPlan { plan, compiled } = compile_plan(plan).await;
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
