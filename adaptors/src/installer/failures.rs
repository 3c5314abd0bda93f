//! Failures that are remembered for a short time: where every run wants an adaptor that the registry does not have, npm is not
//! asked for each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::error::WhyNotInstalled;

/// How long a failure is good: a version that was just published is had within this.
const LIFE: Duration = Duration::from_secs(30);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Failures {
    known: HashMap<String, Failure>,
}

#[derive(Debug)]
struct Failure {
    at: Instant,
    /// npm's configuration then: with another registry or token the answer may be another.
    configuration: u64,
    why: Arc<WhyNotInstalled>,
}

impl Failures {
    /// Why this adaptor could not be installed, if that is known and still good.
    pub(super) fn get(
        &self,
        alias: &str,
        configuration: u64,
        now: Instant,
    ) -> Option<Arc<WhyNotInstalled>> {
        let known = self.known.get(alias)?;
        let is_good = known.configuration == configuration && now < known.at + LIFE;
        is_good.then(|| Arc::clone(&known.why))
    }

    /// Remembers a failure, if it would repeat.
    pub(super) fn note(
        &mut self,
        alias: String,
        configuration: u64,
        why: &Arc<WhyNotInstalled>,
        now: Instant,
    ) {
        // Names come from plans: without this the table would grow with every name that somebody makes up.
        self.known.retain(|_, known| now < known.at + LIFE);
        if why.is_lasting() {
            let failure = Failure {
                at: now,
                configuration,
                why: Arc::clone(why),
            };
            self.known.insert(alias, failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_failure_is_good_for_a_time_and_for_its_configuration() {
        let mut failures = Failures::default();
        let now = Instant::now();
        let lasting = Arc::new(WhyNotInstalled::Unsafe("x".to_owned()));
        failures.note("a".to_owned(), 1, &lasting, now);
        failures.note("b".to_owned(), 1, &Arc::new(WhyNotInstalled::NotThere), now);
        assert!(failures.get("a", 1, now).is_some());
        assert!(failures.get("a", 2, now).is_none(), "another registry");
        assert!(failures.get("b", 1, now).is_none(), "it may pass");
        assert!(failures.get("a", 1, now + LIFE).is_none(), "too old");
        failures.note("c".to_owned(), 1, &lasting, now + LIFE);
        assert_eq!(failures.known.len(), 1);
    }
}
