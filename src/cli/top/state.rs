//! What is known of the workers, and what the user looks at.

use super::follow::{News, Trouble};
use crate::remote::{Moment, WorkerUrl};

/// One worker of the list.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) url: WorkerUrl,
    /// The last that it told, which is out of date while there is trouble.
    pub(super) moment: Option<Box<Moment>>,
    pub(super) trouble: Option<Trouble>,
}

/// All that the picture is made of.
#[derive(Debug)]
pub(super) struct State {
    /// Never empty.
    pub(super) workers: Vec<Watched>,
    /// The worker whose details are shown.
    pub(super) chosen: usize,
    /// Lines of the details that are above the picture.
    pub(super) scrolled: usize,
    /// The present, in milliseconds since the epoch.
    pub(super) now_ms: u64,
}

/// What the user may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    NextWorker,
    PreviousWorker,
    Down(usize),
    Up(usize),
    Top,
}

impl State {
    pub(super) fn new(urls: Vec<WorkerUrl>) -> Self {
        let watched = |url| Watched {
            url,
            moment: None,
            trouble: None,
        };
        Self {
            workers: urls.into_iter().map(watched).collect(),
            chosen: 0,
            scrolled: 0,
            now_ms: 0,
        }
    }

    pub(super) fn hear(&mut self, news: News) {
        let Some(worker) = self.workers.get_mut(news.worker) else {
            return;
        };
        match news.what {
            Ok(moment) => {
                worker.moment = Some(moment);
                worker.trouble = None;
            }
            Err(trouble) => worker.trouble = Some(trouble),
        }
    }

    pub(super) fn fulfil(&mut self, wish: Wish) {
        let count = self.workers.len();
        match wish {
            Wish::NextWorker => self.choose((self.chosen + 1) % count),
            Wish::PreviousWorker => self.choose((self.chosen + count - 1) % count),
            // How far one can scroll depends on the size of the picture: `view` has the last word.
            Wish::Down(lines) => self.scrolled = self.scrolled.saturating_add(lines),
            Wish::Up(lines) => self.scrolled = self.scrolled.saturating_sub(lines),
            Wish::Top => self.scrolled = 0,
        }
    }

    fn choose(&mut self, worker: usize) {
        if worker != self.chosen {
            self.scrolled = 0;
        }
        self.chosen = worker;
    }

    /// Whether every worker has been heard of, for good or ill.
    pub(super) fn is_complete(&self) -> bool {
        let heard_of = |worker: &Watched| worker.moment.is_some() || worker.trouble.is_some();
        self.workers.iter().all(heard_of)
    }

    /// Whether nothing is wrong with any of them.
    pub(super) fn all_answer(&self) -> bool {
        let answers = |worker: &Watched| worker.moment.is_some() && worker.trouble.is_none();
        self.workers.iter().all(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State::new(["a:1", "b:2"].map(|url| url.parse().unwrap()).to_vec())
    }

    #[test]
    fn a_worker_that_goes_away_keeps_what_it_told_last() {
        let mut state = state();
        for what in [Ok(Box::new(Moment::default())), Err(Trouble::Ended)] {
            state.hear(News { worker: 0, what });
        }
        assert!(state.workers[0].moment.is_some() && state.workers[0].trouble.is_some());
        assert!(!state.is_complete());
        state.hear(News {
            worker: 1,
            what: Ok(Box::default()),
        });
        assert!(state.is_complete() && !state.all_answer());
        state.hear(News {
            worker: 0,
            what: Ok(Box::default()),
        });
        assert!(state.all_answer());
    }

    #[test]
    fn another_worker_is_shown_from_its_beginning() {
        let mut state = state();
        state.fulfil(Wish::Down(5));
        state.fulfil(Wish::NextWorker);
        assert_eq!((state.chosen, state.scrolled), (1, 0));
        state.fulfil(Wish::NextWorker);
        state.fulfil(Wish::Up(1));
        assert_eq!((state.chosen, state.scrolled), (0, 0));
        state.fulfil(Wish::PreviousWorker);
        assert_eq!(state.chosen, 1);
    }
}
