//! What the state machines of this crate have in common: each lists its transitions in a table, keeps to it, and has a test
//! that fails when a row of the table was never taken.

use std::fmt::Debug;

/// A machine whose transitions are a table.
pub(crate) trait Machine {
    /// The name of a state, without its data.
    type State: Copy + Debug + Eq + 'static;
    /// The kind of an event, without its data.
    type Event: Copy + Debug + Eq + 'static;

    /// Each state, an event that it does not ignore, and a state that may follow.
    const TRANSITIONS: &'static [(Self::State, Self::Event, Self::State)];
}

/// Notes a transition. Events that change nothing and have no effect are ignored ones: they are not noted.
///
/// # Panics
/// In a debug build, when the table does not have it: the table is what people read.
pub(crate) fn took<M: Machine>(from: M::State, by: M::Event, to: M::State) {
    debug_assert!(
        M::TRANSITIONS.contains(&(from, by, to)),
        "{from:?} --{by:?}--> {to:?} is not in the table"
    );
    #[cfg(test)]
    coverage::note(&(from, by, to));
}

/// Which transitions tests have taken.
#[cfg(test)]
pub(crate) mod coverage {
    use std::cell::RefCell;
    use std::fmt::Debug;

    use super::Machine;

    thread_local! {
        static TAKEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(transition: &impl Debug) {
        TAKEN.with_borrow_mut(|taken| taken.push(format!("{transition:?}")));
    }

    /// The rows of the table that none of these scenarios takes.
    pub(crate) fn untaken<M: Machine>(scenarios: &[fn()]) -> Vec<String> {
        TAKEN.with_borrow_mut(Vec::clear);
        for scenario in scenarios {
            scenario();
        }
        let taken = TAKEN.with_borrow_mut(std::mem::take);
        M::TRANSITIONS
            .iter()
            .map(|transition| format!("{transition:?}"))
            .filter(|transition| !taken.contains(transition))
            .collect()
    }
}
