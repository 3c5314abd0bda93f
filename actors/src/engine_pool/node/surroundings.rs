//! What engine children need of the machine, looked for once.

use std::sync::Arc;

use log_events::{event, table};
use sandbox::{Cgroups, MemoryEnforcement, Root, SandboxMode};

use super::error::NodeEngineError;
use super::launch::missing_egress;
use crate::config::NodeConfig;
use crate::engine_pool::messages::EgressState;

/// What was found.
pub(super) struct Surroundings {
    pub(super) cgroups: Option<Cgroups>,
    pub(super) root: Arc<Root>,
    pub(super) egress: EgressState,
}

impl Surroundings {
    /// Looks for what this configuration needs, and sweeps what killed workers have left.
    ///
    /// # Errors
    /// What is missing and cannot be done without.
    pub(super) fn find(config: &NodeConfig) -> Result<Self, NodeEngineError> {
        let egress = check_sandbox(config)?;
        let cgroups = find_cgroups(config)?;
        let root = make_root()?;
        sweep_behind();
        Ok(Self {
            cgroups,
            root,
            egress,
        })
    }
}

/// Where children get cgroups. The whole sandbox has them, unless the operator says that something else limits memory.
fn find_cgroups(config: &NodeConfig) -> Result<Option<Cgroups>, NodeEngineError> {
    let (wanted, failed): (_, fn(sandbox::Missing) -> _) =
        match (config.memory_enforcement, config.sandbox) {
            (MemoryEnforcement::Auto, SandboxMode::Strict) => {
                (MemoryEnforcement::Cgroup, NodeEngineError::StrictCgroup)
            }
            (wanted, _) => (wanted, NodeEngineError::Cgroup),
        };
    let found = Cgroups::find(wanted).map_err(failed)?;
    if found.is_some() {
        event!(
                table::ENGINE_MEMORY, cause = "kernel";
                "memory and threads of engine children are limited by the kernel, by a cgroup for each"
        );
    }
    Ok(found)
}

fn make_root() -> Result<Arc<Root>, NodeEngineError> {
    Root::create().map_err(|error| NodeEngineError::TemporaryFolder {
        folder: std::env::temp_dir(),
        error,
    })
}

/// Removes what killed workers have left, beside everything else: it may be a lot.
fn sweep_behind() {
    actix_rt::task::spawn_blocking(|| {
        let swept = sandbox::sweep();
        if swept.roots > 0 {
            event!(
                table::SANDBOX_SWEPT, workers = swept.roots, processes = swept.processes;
                "removed the temporary files of {} workers that were killed, and ended {} processes that they left",
                swept.roots,
                swept.processes
            );
        }
    });
}

/// Says once what the operator has to know of the sandbox.
///
/// # Errors
/// What is missing of it, where it must be whole.
fn check_sandbox(config: &NodeConfig) -> Result<EgressState, NodeEngineError> {
    let mode = config.sandbox;
    let mut egress = if config.egress.is_empty() {
        EgressState::Open
    } else {
        EgressState::Controlled
    };
    let missing = match mode {
        SandboxMode::Off => {
            event!(
                table::SANDBOX_OFF;
                "engine children are not sandboxed: jobs can read what the worker can, and connect to whatever it can"
            );
            return Ok(EgressState::Open);
        }
        SandboxMode::Auto | SandboxMode::Strict => {
            let missing = sandbox::missing();
            let mut texts: Vec<_> = missing.iter().map(ToString::to_string).collect();
            if let Some(why) = missing_egress(config) {
                egress = EgressState::Unavailable;
                texts.push(why);
            }
            texts.join("; ")
        }
    };
    if missing.is_empty() {
        event!(table::SANDBOX_COMPLETE; "engine children are sandboxed by Landlock and seccomp");
        Ok(egress)
    } else if mode == SandboxMode::Strict {
        Err(NodeEngineError::Sandbox(missing))
    } else {
        event!(table::SANDBOX_DEGRADED, missing = missing; "engine children are sandboxed in part only; missing: {missing}");
        Ok(egress)
    }
}
