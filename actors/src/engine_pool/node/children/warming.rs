//! What the children's spare threads load.

use super::Children;
use crate::engine_pool::messages::Execute;
use crate::engine_pool::node::ahead;
use crate::engine_pool::node::child::{ChildId, Warm};
use crate::engine_pool::node::placement::Prospect;
use crate::tell::Tell as _;

/// Adaptor folders that the spare threads of a project's child load; those of its latest runs.
const WARM_ADAPTORS: usize = 4;

impl Children {
    /// Has a child keep threads for what its next run is likely to be.
    pub(super) fn warm(&self, id: ChildId, prospect: Prospect) {
        let Some(child) = self.children.get(&id) else {
            return;
        };
        if self.config.warm == 0 {
            return;
        }
        let adaptors = if child.adaptors.is_empty() {
            self.ahead.folders()
        } else {
            child.adaptors.clone()
        };
        child.address.tell(Warm {
            threads: match prospect {
                Prospect::Again => self.config.warm,
                Prospect::Once => 0,
            },
            adaptors,
        });
    }

    pub(super) fn remember_adaptors(&mut self, id: ChildId, request: &Execute) {
        let links = request.plan.steps.values().map(|step| step.linker.values());
        let folders: Vec<String> = links.flatten().map(|link| link.path.clone()).collect();
        self.ahead.used(&folders);
        if let Some(child) = self.children.get_mut(&id) {
            let is_older = |path: &String| !folders.iter().any(|used| ahead::is_same(used, path));
            child.adaptors.retain(is_older);
            child.adaptors.splice(0..0, folders);
            child.adaptors.truncate(WARM_ADAPTORS);
        }
    }

    /// Has these folders loaded by the spare threads of every child that no project has used from now on.
    pub(in crate::engine_pool::node) fn preload(&mut self, folders: Vec<String>) {
        self.ahead.want(folders);
        for id in self.placement.free() {
            self.warm(id, Prospect::Again);
        }
    }
}
