//! What may interrupt a run: a stop, its time limit. A run has a thread of its own, which waits here.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Why a run may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    Stopped,
    TimedOut,
}

/// The handle of a run, for its thread and for those who stop it.
#[derive(Debug, Clone)]
pub(crate) struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    timeout: Option<Duration>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// A future that the run waits for may have got on.
    woken: bool,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Loaded,
    Running { deadline: Option<Instant> },
    Stopped,
}

impl Control {
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        let state = Mutex::new(State {
            phase: Phase::Loaded,
            woken: false,
        });
        Self(Arc::new(Inner {
            timeout,
            state,
            changed: Condvar::new(),
        }))
    }

    /// Lets the first step start; the time limit counts from here.
    pub(crate) fn proceed(&self) {
        let mut state = self.0.lock();
        if matches!(state.phase, Phase::Loaded) {
            let deadline = self
                .0
                .timeout
                .and_then(|timeout| Instant::now().checked_add(timeout));
            state.phase = Phase::Running { deadline };
            self.0.changed.notify_all();
        }
    }

    pub(crate) fn stop(&self) {
        self.0.lock().phase = Phase::Stopped;
        self.0.changed.notify_all();
    }

    pub(crate) fn halted(&self) -> Option<Halt> {
        self.0.lock().halted()
    }

    /// Waits until the run may start.
    pub(crate) fn wait_to_proceed(&self) -> Result<(), Halt> {
        let state = self.0.lock();
        let state = self
            .0
            .changed
            .wait_while(state, |state| matches!(state.phase, Phase::Loaded));
        state
            .unwrap_or_else(PoisonError::into_inner)
            .halted()
            .map_or(Ok(()), Err)
    }

    /// Waits this long, or for ever.
    pub(crate) fn pause(&self, wait: Option<Duration>) -> Result<(), Halt> {
        let until = wait.and_then(|wait| Instant::now().checked_add(wait));
        let mut state = self.0.lock();
        loop {
            if let Some(halt) = state.halted() {
                return Err(halt);
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return Ok(());
            }
            state = self.0.sleep(state, until);
        }
    }

    /// Waits for a future.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Halt> {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::clone(&self.0));
        let mut context = Context::from_waker(&waker);
        loop {
            self.0.lock().woken = false;
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Ok(output);
            }
            let mut state = self.0.lock();
            while !state.woken {
                if let Some(halt) = state.halted() {
                    return Err(halt);
                }
                state = self.0.sleep(state, None);
            }
        }
    }
}

impl Inner {
    // Nothing that holds the lock can panic, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until something changes, the deadline or `until`.
    fn sleep<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, State> {
        let deadline = match state.phase {
            Phase::Running { deadline } => deadline,
            Phase::Loaded | Phase::Stopped => None,
        };
        match [deadline, until].into_iter().flatten().min() {
            None => self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
            Some(at) => {
                let wait = at.saturating_duration_since(Instant::now());
                self.changed
                    .wait_timeout(state, wait)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        }
    }
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.lock().woken = true;
        self.changed.notify_all();
    }
}

impl State {
    fn halted(&self) -> Option<Halt> {
        match self.phase {
            Phase::Stopped => Some(Halt::Stopped),
            Phase::Running {
                deadline: Some(deadline),
            } if deadline <= Instant::now() => Some(Halt::TimedOut),
            Phase::Loaded | Phase::Running { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_waits_until_it_may_proceed_and_its_time_counts_from_there() {
        let control = Control::new(Some(Duration::ZERO));
        assert_eq!(control.halted(), None);
        control.proceed();
        assert_eq!(control.wait_to_proceed(), Err(Halt::TimedOut));
    }

    #[test]
    fn a_stop_ends_every_wait() {
        let control = Control::new(None);
        let other = control.clone();
        let waiting = std::thread::spawn(move || {
            (
                other.wait_to_proceed(),
                other.pause(None),
                other.block_on(std::future::pending::<()>()),
            )
        });
        control.stop();
        assert_eq!(
            waiting.join().unwrap(),
            (Err(Halt::Stopped), Err(Halt::Stopped), Err(Halt::Stopped))
        );
    }

    #[test]
    fn a_stop_is_not_undone_by_a_late_proceed() {
        let control = Control::new(None);
        control.stop();
        control.proceed();
        assert_eq!(control.halted(), Some(Halt::Stopped));
    }

    #[test]
    fn a_pause_is_over_after_its_time_and_a_future_when_it_is_ready() {
        let control = Control::new(None);
        control.proceed();
        assert_eq!(control.pause(Some(Duration::ZERO)), Ok(()));
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let sending = std::thread::spawn(move || sender.send(7));
        assert_eq!(control.block_on(receiver), Ok(Ok(7)));
        sending.join().unwrap().unwrap();
    }
}
