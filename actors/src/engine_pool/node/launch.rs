//! What a Node process of the engine is started with.

use std::path::PathBuf;
use std::sync::Arc;

use protocol::size::Mebibytes;
use sandbox::egress::{self, OnRefusal};
use sandbox::{
    Cgroups, Confinement, Egress, Limits, MemoryGroup, Network, Processes, Root, SandboxMode, Spec,
};

use super::error::LaunchError;
use super::memory;
use crate::config::{EgressRules, NodeConfig};

/// The C library's settings in a child: an arena for each of V8's threads, and free memory that is kept, are memory that nobody
/// uses.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
];

/// What a child is started with.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    /// The Node.js executable, found on `PATH` when it is a bare name.
    pub(super) node: PathBuf,
    /// The engine program.
    pub(super) engine_dir: PathBuf,
    /// What the child may read besides: the adaptors.
    pub(super) readable: Vec<PathBuf>,
    /// Where its private folder goes.
    pub(super) root: Arc<Root>,
    /// Heap of the process.
    pub(super) memory: Mebibytes,
    pub(super) sandbox: SandboxMode,
    /// Where its jobs may not connect to.
    pub(super) egress: Arc<EgressRules>,
    /// Where its cgroup goes, if it gets one.
    pub(super) cgroups: Option<Cgroups>,
}

impl Launch {
    /// One that is never executed, by which it is found out what the machine lets the worker do with a child.
    fn of_a_probe(config: &NodeConfig, root: Arc<Root>) -> Self {
        Self {
            node: config.node.clone(),
            engine_dir: std::env::temp_dir(),
            readable: Vec::new(),
            root,
            memory: Mebibytes::default(),
            // The other layers are asked about elsewhere.
            sandbox: SandboxMode::Auto,
            egress: Arc::new(config.egress.clone()),
            cgroups: None,
        }
    }

    /// `node engine_dir/main.cjs`, confined.
    ///
    /// # Errors
    /// Where Node is not.
    pub(super) fn spec(&self, refused: OnRefusal) -> Result<Spec, LaunchError> {
        let node =
            sandbox::locate(&self.node, std::env::var_os("PATH").as_deref()).map_err(|error| {
                LaunchError::NoNode {
                    node: self.node.clone(),
                    error,
                }
            })?;
        let mut readable = self.readable.clone();
        readable.push(self.engine_dir.clone());
        let bytes = memory::most_bytes(self.memory);
        // V8 counts whole MiB.
        let heap = self.memory.get().ceil().max(1.0);
        let args = vec![
            "--experimental-vm-modules".into(),
            "--no-warnings".into(),
            format!("--max-old-space-size={heap}").into(),
            // As large as it becomes: loading adaptors fills it several times, and to grow it step by step takes a tenth of a
            // child's CPU. And no larger: Node 24 would let it grow to 64, three times. `engine/start.cjs` takes the flags back.
            "--min-semi-space-size=16".into(),
            "--max-semi-space-size=16".into(),
            self.engine_dir.join("main.cjs").into(),
        ];
        let group = self.cgroups.clone();
        Ok(Spec {
            program: node,
            args,
            env: ALLOCATOR
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            current_dir: self.engine_dir.clone(),
            sockets: true,
            root: Arc::clone(&self.root),
            egress: Some(Egress {
                rules: Arc::clone(&self.egress),
                refused,
            }),
            confinement: Confinement {
                mode: self.sandbox,
                readable,
                writable: Vec::new(),
                executable: Vec::new(),
                processes: Processes::Forbidden,
                network: Network::Internet,
                limits: Limits::default(),
                memory: group.map(|cgroups| MemoryGroup {
                    cgroups,
                    bytes,
                    threads: memory::MOST_THREADS,
                }),
            },
        })
    }
}

/// Why the machine cannot judge where jobs connect to; `None` where it can, or has nothing to judge.
#[must_use]
pub fn missing_egress(config: &NodeConfig) -> Option<String> {
    let root = match Root::create() {
        Ok(root) => root,
        Err(error) => return Some(error.to_string()),
    };
    let spec = Launch::of_a_probe(config, root).spec(OnRefusal::new(|_| {}));
    // Where there is no Node, that is said elsewhere.
    let missing = egress::missing(&spec.ok()?);
    missing.map(|missing| missing.to_string())
}
