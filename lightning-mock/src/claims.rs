//! Claims, and what becomes of those that nobody takes up (protocol spec, section 3.5).

use serde_json::{Value, json};

use crate::channel::{Outcome, claim_request};
use crate::rules::RollBack;
use crate::world::{World, now};

impl World {
    /// Puts back what was claimed too long ago for its channel not to be joined. The server has a timer for each; here it
    /// shows when the next frame arrives.
    pub(crate) fn roll_back_overdue(&mut self) {
        let now = now();
        let (overdue, left) = std::mem::take(&mut self.unjoined)
            .into_iter()
            .partition(|(due, _)| *due <= now);
        self.unjoined = left;
        for (_, id) in overdue as Vec<(u64, String)> {
            self.store.roll_back(&id);
        }
    }

    /// The channel of a run was joined.
    pub(crate) fn joined(&mut self, run: &str) {
        self.unjoined.retain(|(_, id)| id != run);
    }

    /// A socket has died before the replies that held these runs were sent.
    pub(crate) fn undelivered(&mut self, runs: &[String]) {
        if self.rules.roll_back == RollBack::Never {
            return;
        }
        for run in runs {
            self.joined(run);
            self.store.roll_back(run);
        }
    }
}

/// Answers a claim, and gives the runs that it took.
pub(crate) fn claim(world: &mut World, payload: &Value) -> (Outcome, Vec<String>) {
    let Some(request) = payload.as_object().and_then(claim_request) else {
        return (Outcome::Crash, Vec::new());
    };
    let demand = if world.rules.quirks {
        1
    } else {
        request.demand
    };
    let now = now();
    let grace = world.rules.grace_seconds;
    let taken = world.store.claim(
        demand,
        &request.queues,
        request.worker_name.as_deref(),
        now,
        grace,
    );
    let ids: Vec<String> = taken.iter().map(|(id, _)| id.clone()).collect();
    if let RollBack::Unjoined(limit) = world.rules.roll_back {
        let due = now.saturating_add(u64::try_from(limit.as_micros()).unwrap_or(u64::MAX));
        for id in &ids {
            world.joined(id);
            world.unjoined.push((due, id.clone()));
        }
    }
    let mut runs = Vec::with_capacity(taken.len());
    for (id, expires) in taken {
        match world.key.sign_run(&id, now / 1_000_000, expires) {
            Ok(token) => runs.push(json!({ "id": id, "token": token })),
            Err(_) => return (Outcome::Crash, ids),
        }
    }
    (Outcome::Ok(json!({ "runs": runs })), ids)
}
