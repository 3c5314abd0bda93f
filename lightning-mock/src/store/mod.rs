//! What the server keeps: runs and their queue, dataclips, credentials, and counts. No I/O and no clock.

mod run;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

pub use self::run::{LogView, RunState, RunView, StepView};
use crate::posted_plan::{PlanError, PostedPlan};

/// A run whose plan sets no `run_timeout_ms` may take this long, as on the server.
const DEFAULT_RUN_TIMEOUT_MS: u64 = 300_000;

/// Counts over the server's life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// Claims that were answered with ok, empty ones too.
    pub claims: u64,
    /// When the first of them came, microseconds since the epoch.
    pub first_claim_at: Option<u64>,
    /// Claims that were answered with at least one run.
    pub fruitful_claims: u64,
    /// Runs that are claimed or started now.
    pub active: usize,
    /// The most runs that were active at once.
    pub max_active: usize,
    /// The most active runs at once, by the run's queue.
    pub max_active_by_queue: BTreeMap<String, usize>,
    /// The most active runs at once, by the claiming group's queues joined with `>`.
    pub max_active_by_group: BTreeMap<String, usize>,
    /// Runs that have ended, in whatever state.
    pub finished: usize,
    #[serde(skip)]
    active_by_queue: BTreeMap<String, usize>,
    #[serde(skip)]
    active_by_group: BTreeMap<String, usize>,
}

/// Everything that outlives a connection.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) runs: IndexMap<String, RunView>,
    waiting: VecDeque<String>,
    /// `None` for a wiped body.
    pub(crate) dataclips: HashMap<String, Option<Value>>,
    pub(crate) credentials: HashMap<String, Value>,
    /// Of all runs: a step's id is a primary key.
    pub(crate) step_ids: HashSet<String>,
    pub(crate) statistics: Statistics,
}

impl Store {
    /// Stores a run and puts it at the end of the queue.
    pub(crate) fn enqueue(&mut self, plan: Value, now: u64) -> Result<String, PlanError> {
        let intake = PostedPlan::new(plan)?;
        if self.runs.contains_key(&intake.id) {
            return Err(PlanError::DuplicateRun(intake.id));
        }
        self.credentials.extend(intake.credentials);
        self.dataclips.extend(
            intake
                .dataclips
                .into_iter()
                .map(|(id, body)| (id, Some(body))),
        );
        let id = intake.id;
        self.waiting.push_back(id.clone());
        let run = RunView {
            id: id.clone(),
            queue: intake.queue,
            state: RunState::Available,
            reason: None,
            error_type: None,
            error_message: None,
            steps: IndexMap::new(),
            logs: Vec::new(),
            final_state: None,
            final_dataclip_id: None,
            webhook_response: None,
            versions: None,
            worker_name: None,
            claimed_for: None,
            claims: 0,
            inserted_at: now,
            claimed_at: None,
            started_at: None,
            finished_at: None,
            start_heard_at: None,
            complete_heard_at: None,
            expires_at: None,
            plan: intake.plan,
        };
        self.runs.insert(id.clone(), run);
        Ok(id)
    }

    /// Takes up to `demand` waiting runs: for each listed queue in order the oldest first, `*` standing for all others
    /// (protocol spec, section 3.2). Gives the id and the expiry of each.
    pub(crate) fn claim(
        &mut self,
        demand: usize,
        queues: &[String],
        worker_name: Option<&str>,
        now: u64,
        grace_seconds: u64,
    ) -> Vec<(String, u64)> {
        let mut taken = Vec::new();
        for queue in queues {
            while taken.len() < demand {
                let wanted = |id: &String| {
                    queue == "*" || self.runs.get(id).is_some_and(|run| run.queue == *queue)
                };
                let Some(place) = self.waiting.iter().position(wanted) else {
                    break;
                };
                taken.extend(self.waiting.remove(place));
            }
        }
        let group = queues.join(">");
        self.statistics.claims += 1;
        self.statistics.first_claim_at.get_or_insert(now);
        self.statistics.fruitful_claims += u64::from(!taken.is_empty());
        let mut claimed = Vec::new();
        for id in taken {
            let Some(run) = self.runs.get_mut(&id) else {
                continue;
            };
            let timeout = run
                .plan
                .pointer("/options/run_timeout_ms")
                .and_then(Value::as_u64);
            let expires = now / 1_000_000
                + timeout.unwrap_or(DEFAULT_RUN_TIMEOUT_MS).div_ceil(1000)
                + grace_seconds;
            run.state = RunState::Claimed;
            run.worker_name = worker_name
                .filter(|name| !name.is_empty())
                .map(str::to_owned);
            run.claimed_for = Some(queues.to_vec());
            run.claims += 1;
            run.claimed_at = Some(now);
            run.expires_at = Some(expires);
            let queue = run.queue.clone();
            self.statistics.began(&queue, &group);
            claimed.push((id, expires));
        }
        claimed
    }

    /// Ends an active run, and notes the time.
    pub(crate) fn finish(&mut self, id: &str, state: RunState) {
        let Some(run) = self.runs.get_mut(id) else {
            return;
        };
        let was_active = run.state.is_active();
        run.state = state;
        if was_active {
            let group = run.claimed_for.as_deref().unwrap_or_default().join(">");
            self.statistics.ended(&run.queue, &group);
            self.statistics.finished += 1;
        }
    }

    /// Puts a claimed run back at the front of the queue, as the server does when its claim was never taken up.
    pub(crate) fn roll_back(&mut self, id: &str) -> bool {
        let Some(run) = self
            .runs
            .get_mut(id)
            .filter(|run| run.state == RunState::Claimed)
        else {
            return false;
        };
        run.state = RunState::Available;
        let group = run.claimed_for.take().unwrap_or_default().join(">");
        self.statistics.ended(&run.queue, &group);
        self.waiting.push_front(id.to_owned());
        true
    }

    /// Ends every active run whose token has expired as lost, and names them.
    pub(crate) fn lose_expired(&mut self, now: u64) -> Vec<String> {
        let expired = |run: &&RunView| {
            run.state.is_active() && run.expires_at.is_some_and(|at| at < now / 1_000_000)
        };
        let lost: Vec<String> = self
            .runs
            .values()
            .filter(expired)
            .map(|run| run.id.clone())
            .collect();
        for id in &lost {
            self.lose(id);
        }
        lost
    }

    /// Ends one active run as lost (protocol spec, section 3.5).
    pub(crate) fn lose(&mut self, id: &str) -> bool {
        let Some(run) = self.runs.get_mut(id).filter(|run| run.state.is_active()) else {
            return false;
        };
        let error_type = if run.state == RunState::Claimed {
            "LostAfterClaim"
        } else {
            "LostAfterStart"
        };
        run.reason = Some("lost".to_owned());
        run.error_type = Some(error_type.to_owned());
        for step in run.steps.values_mut().filter(|step| step.reason.is_none()) {
            step.reason = Some("lost".to_owned());
        }
        self.finish(id, RunState::Lost);
        true
    }
}

impl Statistics {
    fn began(&mut self, queue: &str, group: &str) {
        self.active += 1;
        self.max_active = self.max_active.max(self.active);
        for (active, max, key) in [
            (
                &mut self.active_by_queue,
                &mut self.max_active_by_queue,
                queue,
            ),
            (
                &mut self.active_by_group,
                &mut self.max_active_by_group,
                group,
            ),
        ] {
            let count = active.entry(key.to_owned()).or_default();
            *count += 1;
            let most = max.entry(key.to_owned()).or_default();
            *most = (*most).max(*count);
        }
    }

    fn ended(&mut self, queue: &str, group: &str) {
        self.active = self.active.saturating_sub(1);
        for (active, key) in [
            (&mut self.active_by_queue, queue),
            (&mut self.active_by_group, group),
        ] {
            if let Some(count) = active.get_mut(key) {
                *count = count.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn store(runs: &[(&str, &str)]) -> Store {
        let mut store = Store::default();
        for (id, queue) in runs {
            store
                .enqueue(json!({ "id": id, "queue": queue }), 0)
                .unwrap();
        }
        store
    }

    fn claim(store: &mut Store, demand: usize, queues: &[&str]) -> Vec<String> {
        let queues: Vec<String> = queues.iter().map(|&queue| queue.to_owned()).collect();
        store
            .claim(demand, &queues, None, 0, 0)
            .into_iter()
            .map(|(id, _)| id)
            .collect()
    }

    #[test]
    fn a_strict_list_takes_only_its_queues() {
        let mut store = store(&[("a", "manual"), ("b", "fast_lane"), ("c", "manual")]);
        assert_eq!(claim(&mut store, 5, &["fast_lane"]), ["b"]);
        assert!(claim(&mut store, 5, &["fast_lane"]).is_empty());
    }

    #[test]
    fn a_star_takes_the_listed_queues_first_and_the_oldest_of_each() {
        let mut store = store(&[("a", "other"), ("b", "manual"), ("c", "manual")]);
        assert_eq!(claim(&mut store, 2, &["manual", "*"]), ["b", "c"]);
        assert_eq!(claim(&mut store, 2, &["manual", "*"]), ["a"]);
    }

    #[test]
    fn the_most_active_runs_are_counted() {
        let mut store = store(&[("a", "x"), ("b", "x"), ("c", "x")]);
        claim(&mut store, 2, &["*"]);
        store.finish("a", RunState::Success);
        claim(&mut store, 1, &["*"]);
        assert_eq!(
            (
                store.statistics.active,
                store.statistics.max_active,
                store.statistics.finished
            ),
            (2, 2, 1)
        );
        assert_eq!(store.statistics.max_active_by_queue["x"], 2);
        assert_eq!(store.statistics.max_active_by_group["*"], 2);
    }

    #[test]
    fn an_expired_run_is_lost_and_a_rolled_back_one_is_claimed_again() {
        let mut store = store(&[("a", "x"), ("b", "x")]);
        claim(&mut store, 2, &["*"]);
        assert!(store.roll_back("b"));
        assert_eq!(store.lose_expired(301_000_000), ["a"]);
        assert_eq!(
            store.runs["a"].error_type.as_deref(),
            Some("LostAfterClaim")
        );
        assert_eq!(claim(&mut store, 2, &["*"]), ["b"]);
    }
}
