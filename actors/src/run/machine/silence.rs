//! What happens because time has passed.

use std::time::Duration;

use log_events::{millis, table};
use protocol::lightning::RunEvent;
use protocol::token::unverified_expiry;

use super::events::{Timer, Turn};
use super::{Deadline, Fact, RunMachine, State};
use crate::events::Unreported;
use crate::run::channel::Joining;
use crate::run::outbox::Silence;

/// How often silence is looked for: often enough for the shortest useful message timeout, rarely enough to cost nothing.
const SHORTEST_TICK: Duration = Duration::from_millis(50);
const LONGEST_TICK: Duration = Duration::from_secs(1);

impl RunMachine {
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>) {
        match self.channel.join(turn.now) {
            Joining::Overdue => {
                turn.log(
                    &table::RUN_REJOINS,
                    [("cause", "join_unanswered".into())],
                    format!(
                        "run {}: Lightning does not answer its join; joining again",
                        self.claimed.id
                    ),
                );
                self.requests_lost();
                self.rejoin_later(turn);
            }
            Joining::Over => self.look_for_silence(turn),
            Joining::Ahead => {}
        }
        if !matches!(self.state, State::Done) {
            self.schedule_tick(turn);
        }
    }

    fn look_for_silence(&mut self, turn: &mut Turn<'_>) {
        let run = &self.claimed.id;
        let (late, too_long) = (self.channel.late(), self.channel.too_long());
        let since = turn.now.checked_sub(late).unwrap_or(turn.now);
        let expired = match &mut self.state {
            // A plan can be fetched again at will.
            State::Joining(plan) if plan.is_overdue(since) => {
                plan.again();
                Some(RunEvent::FetchPlan.name())
            }
            State::Loading(loading) => loading
                .expire(since, self.settings.delivery.request_attempts)
                .then_some("a request for its dataclip or a credential"),
            _ => None,
        };
        if let Some(what) = expired {
            turn.log(
                &table::RUN_UNANSWERED,
                [
                    ("report", what.into()),
                    ("duration_ms", millis(late).into()),
                ],
                format!("run {run}: Lightning does not answer {what}"),
            );
            self.start_when_loaded(turn);
        }
        self.ask(turn);
        let run = &self.claimed.id;
        match self.outbox.silence(turn.now, late, too_long) {
            Silence::None => {}
            Silence::Late { event } => turn.log(
                &table::RUN_UNANSWERED,
                [
                    ("report", event.into()),
                    ("duration_ms", millis(late).into()),
                ],
                format!(
                    "run {run}: Lightning has not answered {event} for {} ms; waiting",
                    millis(late)
                ),
            ),
            Silence::TooLong { event } => {
                turn.log(
                    &table::RUN_REJOINS,
                    [
                        ("cause", "report_unanswered".into()),
                        ("duration_ms", millis(too_long).into()),
                    ],
                    format!(
                        "run {run}: Lightning has not answered {event} for {} ms; joining its channel anew",
                        millis(too_long)
                    ),
                );
                self.rejoin(turn);
            }
        }
    }

    pub(super) fn schedule_tick(&self, turn: &mut Turn<'_>) {
        let tick = (self.settings.message_timeout / 4).clamp(SHORTEST_TICK, LONGEST_TICK);
        turn.arm(Timer::Tick, tick);
    }

    pub(super) fn schedule_deadline(&self, turn: &mut Turn<'_>) {
        let Some(expiry) = unverified_expiry(&self.claimed.token) else {
            return;
        };
        let now = turn.time.as_micros() / 1_000_000;
        if expiry <= now {
            // Lightning has only just given it out, so it is one of the clocks that is wrong.
            turn.log(
                &table::RUN_TOKEN_EXPIRED,
                [("duration_ms", ((now - expiry) * 1000).into())],
                format!(
                    "the token of run {} had expired {} s before it was claimed: is the clock right? Its end is ignored",
                    self.claimed.id,
                    now - expiry
                ),
            );
            return;
        }
        turn.arm(Timer::Deadline, Duration::from_secs(expiry - now));
    }

    /// The token has expired: the channel cannot be joined any more.
    pub(super) fn expired(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.state, State::Settling(_)) && self.channel.is_up() {
            turn.log(
                &table::RUN_TOKEN_EXPIRED,
                [],
                format!(
                    "run {}: its token has expired; what is left goes out while its channel is open",
                    self.claimed.id
                ),
            );
            self.enter(Fact::Expired, State::Settling(Deadline::Over), turn);
            return;
        }
        self.give_up(
            Unreported::GivenUp,
            "its token has expired, Lightning counts it as lost",
            turn,
        );
    }
}
