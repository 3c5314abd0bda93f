//! How long a draining worker waits for its runs, and what it says meanwhile. No actor, no clock.

use std::time::{Duration, Instant};

use crate::config::ShutdownGrace;
use crate::lightning::{ConnectionState, ConnectionStatus};
use crate::run::RunStatus;

/// How often it is told who is waited for: twice in the minute that an operator gives a deployment which seems to hang.
const TELL: Duration = Duration::from_secs(30);

/// Runs that one line names.
const NAMED: usize = 10;

/// What a draining worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DrainStep {
    Wait,
    /// Say who is waited for.
    Tell,
    /// Lightning has been away for too long: end the runs.
    GiveUp,
}

/// The patience of one drain.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    grace: ShutdownGrace,
    began: Instant,
    told: Instant,
    /// Since when Lightning could not be reached.
    away: Option<Instant>,
}

impl Patience {
    pub(super) fn new(grace: ShutdownGrace, now: Instant) -> Self {
        Self {
            grace,
            began: now,
            told: now,
            away: None,
        }
    }

    /// Whether Lightning can be reached now.
    pub(super) fn look(&mut self, now: Instant, reachable: bool) -> DrainStep {
        self.away = (!reachable).then(|| self.away.unwrap_or(now));
        if let (ShutdownGrace::Auto { away: limit }, Some(since)) = (self.grace, self.away)
            && now.duration_since(since) >= limit
        {
            return DrainStep::GiveUp;
        }
        if now.duration_since(self.told) < TELL {
            return DrainStep::Wait;
        }
        self.told = now;
        DrainStep::Tell
    }

    /// Who is waited for, as an operator wants to read it.
    pub(super) fn waiting_for(
        &self,
        now: Instant,
        runs: &[RunStatus],
        claiming: usize,
        connection: Option<&ConnectionStatus>,
    ) -> String {
        let seconds = |since| now.duration_since(since).as_secs();
        let mut waited: Vec<String> = runs
            .iter()
            .take(NAMED)
            .map(|run| format!("run {} ({} for {} s)", run.id, run.phase, run.phase_seconds))
            .collect();
        if runs.len() > NAMED {
            waited.push(format!("{} further runs", runs.len() - NAMED));
        }
        if claiming > 0 {
            waited.push(format!("claims of {claiming} workloops"));
        }
        let state = connection.map_or(ConnectionState::Down, |connection| connection.state);
        let connection = match (self.away, self.grace) {
            (None, _) => format!("{state} to Lightning"),
            (Some(since), ShutdownGrace::Auto { away }) => format!(
                "Lightning is out of reach ({state}); without it the runs are ended in {} s",
                away.saturating_sub(now.duration_since(since)).as_secs()
            ),
            (Some(_), ShutdownGrace::Never | ShutdownGrace::After(_)) => {
                format!("Lightning is out of reach ({state})")
            }
        };
        format!(
            "draining for {} s, waiting for {}; {connection}",
            seconds(self.began),
            waited.join(", ")
        )
    }

    /// Whether Lightning was out of reach when it was last looked for.
    pub(super) fn is_away(&self) -> bool {
        self.away.is_some()
    }
}

#[cfg(test)]
mod tests {
    use protocol::ids::{RunId, WorkloopId};

    use super::*;
    use crate::run::RunPhase;

    const AUTO: ShutdownGrace = ShutdownGrace::Auto {
        away: Duration::from_mins(2),
    };

    fn patience(grace: ShutdownGrace) -> (Patience, impl Fn(u64) -> Instant) {
        let began = Instant::now();
        (Patience::new(grace, began), move |seconds| {
            began + Duration::from_secs(seconds)
        })
    }

    fn run(id: &str) -> RunStatus {
        RunStatus {
            id: RunId::new(id),
            workloop: WorkloopId::new("*"),
            phase: RunPhase::Settling,
            phase_seconds: 7,
            age_seconds: 9,
            job: None,
        }
    }

    fn connection(state: ConnectionState) -> ConnectionStatus {
        ConnectionStatus {
            state,
            queue_joined: state == ConnectionState::Connected,
            since: Instant::now(),
            connects: 1,
            last_error: None,
        }
    }

    #[test]
    fn a_worker_that_reaches_lightning_waits_and_says_for_whom_every_half_minute() {
        let (mut patience, at) = patience(AUTO);
        let verdicts = [0, 29, 30, 31, 59, 60, 100_000].map(|now| patience.look(at(now), true));
        use DrainStep::{Tell, Wait};
        assert_eq!(verdicts, [Wait, Wait, Tell, Wait, Wait, Tell, Tell]);
        let line = patience.waiting_for(
            at(60),
            &[run("r1")],
            0,
            Some(&connection(ConnectionState::Connected)),
        );
        assert_eq!(
            line,
            "draining for 60 s, waiting for run r1 (settling for 7 s); connected to Lightning"
        );
    }

    #[test]
    fn it_gives_up_when_lightning_has_been_away_for_too_long_at_a_stretch() {
        let (mut patience, at) = patience(AUTO);
        let mut look = |now, reachable| patience.look(at(now), reachable);
        assert_eq!(look(10, false), DrainStep::Wait);
        assert_eq!(look(129, false), DrainStep::Tell);
        assert_eq!(look(130, true), DrainStep::Wait);
        assert_eq!(look(140, false), DrainStep::Wait);
        assert_eq!(look(259, false), DrainStep::Tell);
        assert_eq!(look(260, false), DrainStep::GiveUp);
    }

    #[test]
    fn it_says_how_long_it_still_waits_for_lightning_and_names_ten_runs() {
        let (mut patience, at) = patience(AUTO);
        patience.look(at(0), false);
        let runs: Vec<_> = (0..12).map(|n| run(&format!("r{n}"))).collect();
        let line = patience.waiting_for(
            at(30),
            &runs,
            2,
            Some(&connection(ConnectionState::Waiting)),
        );
        assert!(
            line.contains("run r9 (settling for 7 s), 2 further runs, claims of 2 workloops;"),
            "{line}"
        );
        assert!(!line.contains("run r10"), "{line}");
        assert!(
            line.ends_with(
                "Lightning is out of reach (waiting); without it the runs are ended in 90 s"
            ),
            "{line}"
        );
    }

    #[test]
    fn without_a_limit_it_waits_for_lightning_for_ever() {
        let (mut patience, at) = patience(ShutdownGrace::Never);
        patience.look(at(0), false);
        assert_eq!(patience.look(at(1_000_000), false), DrainStep::Tell);
        let line = patience.waiting_for(at(1_000_000), &[run("r")], 0, None);
        assert!(
            line.ends_with("; Lightning is out of reach (down)"),
            "{line}"
        );
    }
}
