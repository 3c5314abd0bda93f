//! Whether spans arrive, and when the log says that they do not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use log_events::{event, table};

/// A collector that is away is said once in this time.
const QUIET: Duration = Duration::from_secs(60);

/// Spans that did not arrive are counted here; clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    collector: Arc<str>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Spans that were lost and of which the log has not said so.
    lost: usize,
    said: Option<Instant>,
    /// Whether the last thing that the log said is that spans are lost.
    bad: bool,
}

/// What the log is to say.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Lost(usize),
    Arrives,
}

impl State {
    fn lose(&mut self, spans: usize, now: Instant) -> Option<Word> {
        self.lost += spans;
        let quiet = self
            .said
            .is_some_and(|said| now.duration_since(said) < QUIET);
        if quiet {
            return None;
        }
        self.said = Some(now);
        self.bad = true;
        Some(Word::Lost(std::mem::take(&mut self.lost)))
    }

    fn arrive(&mut self) -> Option<Word> {
        std::mem::take(&mut self.bad).then_some(Word::Arrives)
    }
}

impl Health {
    pub(crate) fn of(collector: &str) -> Self {
        Self {
            collector: collector.into(),
            state: Arc::default(),
        }
    }

    /// Spans are lost, for this reason.
    pub(crate) fn lost(&self, spans: usize, why: &str) {
        let word = self.with(|state| state.lose(spans, Instant::now()));
        if let Some(Word::Lost(spans)) = word {
            let collector = &*self.collector;
            event!(
                table::TRACES_LOST, address = collector, spans = spans, error = why;
                "{spans} spans did not reach the collector at {collector}: {why}; runs go on, and this is said once a minute at most"
            );
        }
    }

    /// Spans have arrived.
    pub(crate) fn arrived(&self) {
        if self.with(State::arrive).is_some() {
            let collector = &*self.collector;
            event!(table::TRACES_ARRIVE, address = collector; "spans reach the collector at {collector} again");
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_is_away_is_said_once_a_minute_with_all_that_was_lost() {
        let mut state = State::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(state.lose(5, start), Some(Word::Lost(5)));
        assert_eq!(state.lose(7, after(1)), None);
        assert_eq!(state.lose(1, after(59)), None);
        assert_eq!(state.lose(2, after(60)), Some(Word::Lost(10)));
        assert_eq!(state.lose(2, after(61)), None);
    }

    #[test]
    fn that_spans_arrive_again_is_said_once_and_only_after_the_opposite() {
        let mut state = State::default();
        assert_eq!(state.arrive(), None);
        state.lose(1, Instant::now());
        assert_eq!(state.arrive(), Some(Word::Arrives));
        assert_eq!(state.arrive(), None);
    }
}
