//! Which log lines of a recording are said for the first time, and which again. No I/O.

use protocol::lightning::LogLine;

use super::timeline::Said;

/// What tells one line from another.
pub(super) fn key(line: &LogLine) -> String {
    format!("{} {} {}", line.timestamp, line.source, line.message.get())
}

/// The lines that may be said again: those that were not taken when the channel was joined anew, or were refused.
#[derive(Default)]
pub(super) struct Lines {
    /// By the item that said them, with the place of the answer.
    unanswered: Vec<(usize, Option<usize>, Vec<String>)>,
    again: Vec<String>,
}

impl Lines {
    /// Notes lines that are said; tells of each whether it is said for the first time.
    pub(super) fn said(&mut self, index: usize, said: &Said, keys: Vec<String>) -> Vec<bool> {
        let fresh = keys.iter().map(|key| {
            let known = self.again.iter().position(|line| line == key);
            if let Some(known) = known {
                self.again.swap_remove(known);
            }
            known.is_none()
        });
        let fresh = fresh.collect();
        let answer = said.answers.first().map(|(place, _)| *place);
        self.unanswered.push((index, answer, keys));
        fresh
    }

    pub(super) fn joined(&mut self, place: usize) {
        for (_, answer, keys) in self.unanswered.drain(..) {
            if answer.is_none_or(|answer| answer > place) {
                self.again.extend(keys);
            }
        }
    }

    pub(super) fn refused(&mut self, about: usize) {
        if let Some(at) = self
            .unanswered
            .iter()
            .position(|(index, ..)| *index == about)
        {
            let (_, _, keys) = self.unanswered.remove(at);
            self.again.extend(keys);
        }
    }
}
