//! What a run needs of the worker's configuration.

use std::time::Duration;

use protocol::engine::ExecuteOptions;
use protocol::plan::RunOptions;
use protocol::size::Mebibytes;

use crate::config::{CollectionsConfig, Config, DeliveryConfig, EngineConfig, RunLimits};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) delivery: DeliveryConfig,
    pub(super) message_timeout: Duration,
    pub(super) limits: RunLimits,
    pub(super) worker_version: String,
    /// With the version that is used.
    pub(super) collections: Option<CollectionsConfig>,
    /// Where `@local` adaptors are.
    pub(super) monorepo_dir: Option<String>,
    /// Whether somebody makes traces.
    pub(super) traced: bool,
}

impl Settings {
    /// `collections_version` is what the configured one has become.
    pub(super) fn new(config: &Config, collections_version: Option<&str>) -> Self {
        let node = match &config.engine {
            EngineConfig::Node(node) => node.monorepo_dir.as_deref(),
            EngineConfig::Mock | EngineConfig::Recorded(_) => None,
        };
        let collections = config.collections.as_ref().zip(collections_version);
        Self {
            delivery: config.delivery.clone(),
            message_timeout: config.lightning.message_timeout,
            limits: config.limits,
            worker_version: config.identity.version.clone(),
            collections: collections.map(|(collections, version)| CollectionsConfig {
                url: collections.url.clone(),
                version: version.to_owned(),
            }),
            monorepo_dir: node.map(|dir| dir.to_string_lossy().into_owned()),
            traced: config.traces.are_made(),
        }
    }

    /// A run's limits and switches: its own, else the worker's.
    pub(super) fn effective(&self, options: &RunOptions) -> ExecuteOptions {
        let limits = &self.limits;
        let timeout = options
            .run_timeout_ms
            .map_or(limits.timeout, Duration::from_millis);
        let memory_mb = options.memory_limit_mb.unwrap_or(limits.memory.get());
        ExecuteOptions {
            timeout: (!timeout.is_zero()).then_some(timeout),
            memory_limit_mb: memory_mb,
            state_limit_mb: options
                .state_limit_mb
                .or(limits.state.map(Mebibytes::get))
                .unwrap_or(memory_mb),
            payload_limit_mb: options.payload_limit_mb.unwrap_or(limits.payload.get()),
            log_payload_limit_mb: options
                .log_payload_limit_mb
                .unwrap_or(limits.log_payload.get()),
            job_log_level: options.job_log_level.clone(),
            sanitize: options.sanitize.clone(),
            output_dataclips: options.output_dataclips,
        }
    }
}
