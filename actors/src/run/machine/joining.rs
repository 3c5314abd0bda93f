//! The run's channel: joins, rejoins, its answers, and what has to be said again after a rejoin.

use log_events::table;
use protocol::backoff::jittered;
use protocol::ids::CredentialId;
use protocol::lightning::{FetchCredential, Refusal, RefusalMeaning, RunEvent, RunJoin, RunPush};
use protocol::phoenix::{Payload, ReplyStatus, error_detail};

use super::events::{Count, Effect, Timer, Turn};
use super::lifecycle::cancelled;
use super::{Deadline, Fact, RunMachine, State, request};
use crate::events::Unreported;
use crate::lightning::{Blame, ChannelEvent, JoinTurn, Ticket};
use crate::run::channel::Joined;
use crate::run::channel_memory::Restoring;
use crate::run::fetch::Fetch;
use crate::run::loading::exception;
use crate::run::outbox::FollowUp;

impl RunMachine {
    pub(super) fn channel_told(&mut self, event: ChannelEvent, turn: &mut Turn<'_>) {
        match event {
            ChannelEvent::JoinSent { ticket } => {
                if self.channel.sent(ticket, turn.now) {
                    // In the same flight: the server handles the frames of a socket in order.
                    self.ask_for_plan(turn);
                }
            }
            ChannelEvent::SocketDown(blame) => self.socket_down(blame, turn),
            ChannelEvent::Crashed { unanswered } => self.crashed(&unanswered, turn),
            ChannelEvent::Closed => {
                turn.log(
                    &table::RUN_REJOINS,
                    [("cause", "channel_closed".into())],
                    format!(
                        "Lightning closed the channel of run {}; joining it again",
                        self.claimed.id
                    ),
                );
                self.rejoin(turn);
            }
            ChannelEvent::Pushed(RunPush::Cancel) => {
                turn.log(
                    &table::RUN_CANCELLED,
                    [],
                    format!("Lightning cancels run {}", self.claimed.id),
                );
                self.stop_job(cancelled(), turn);
            }
            ChannelEvent::Reply {
                ticket,
                status,
                response,
            } => self.replied(ticket, &status, &response, turn),
        }
    }

    pub(super) fn connection_replaced(&mut self, turn: &mut Turn<'_>) {
        self.channel.lost();
        self.outbox.link_lost();
        self.requests_lost();
        self.channel_gone(turn);
        self.join_on_next_socket(turn);
    }

    pub(super) fn join(&mut self, when: JoinTurn, turn: &mut Turn<'_>) {
        let ticket = self.ticket();
        let Ok(payload) = serde_json::to_vec(&RunJoin {
            token: self.claimed.token.clone(),
        }) else {
            turn.log(
                &table::EVENT_UNWRITABLE,
                [("report", "phx_join".into())],
                format!(
                    "the token of run {} cannot be written as JSON",
                    self.claimed.id
                ),
            );
            return;
        };
        self.channel.asked(ticket);
        turn.perform(Effect::Join {
            ticket,
            payload: payload.into(),
            turn: when,
        });
    }

    pub(super) fn rejoin(&mut self, turn: &mut Turn<'_>) {
        self.outbox.link_lost();
        self.requests_lost();
        self.rejoin_later(turn);
    }

    /// Joins when there is another socket. Which of several runs has the report over which Lightning closes every socket
    /// shows when each is the first to send: the others have theirs answered before.
    fn join_on_next_socket(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.state, State::Done) {
            return;
        }
        let when = if self.outbox.is_suspected() {
            JoinTurn::Late
        } else {
            JoinTurn::Among
        };
        self.join(when, turn);
    }

    pub(super) fn rejoin_later(&mut self, turn: &mut Turn<'_>) {
        self.channel_gone(turn);
        if matches!(self.state, State::Done) {
            return;
        }
        let delay = self.channel.rejoin_delay();
        if delay.is_zero() {
            self.join(JoinTurn::Among, turn);
            return;
        }
        let delay = jittered(delay, turn.random());
        let number = self.number();
        self.channel.waits_for(number);
        turn.arm(Timer::Join(number), delay);
    }

    /// Beyond the deadline the channel cannot be joined again.
    fn channel_gone(&mut self, turn: &mut Turn<'_>) {
        self.memory.lost();
        if matches!(self.state, State::Settling(Deadline::Over)) {
            self.give_up(
                Unreported::GivenUp,
                "its token has expired, and its channel is gone",
                turn,
            );
        }
    }

    fn socket_down(&mut self, blame: Blame, turn: &mut Turn<'_>) {
        self.channel.lost();
        self.requests_lost();
        let outcome = match blame {
            Blame::Nobody => {
                self.outbox.link_lost();
                FollowUp::Resend
            }
            Blame::Frame => self.outbox.socket_crashed(),
            Blame::TooLarge(ticket) => {
                turn.log(
                    &table::EVENT_TOO_LARGE,
                    [],
                    format!(
                        "run {}: Lightning closed the connection over its largest report on the way, as too large",
                        self.claimed.id
                    ),
                );
                self.outbox.frame_too_large(ticket)
            }
        };
        self.report_settled(outcome, turn);
        self.channel_gone(turn);
        self.join_on_next_socket(turn);
    }

    fn crashed(&mut self, unanswered: &[Ticket], turn: &mut Turn<'_>) {
        turn.log(
            &table::RUN_REJOINS,
            [("cause", "channel_crashed".into())],
            format!(
                "the channel of run {} crashed; joining it again",
                self.claimed.id
            ),
        );
        if let Some(suspect) = unanswered.first() {
            self.request_crashed(*suspect);
        }
        self.requests_lost();
        let outcome = self.outbox.channel_crashed(unanswered);
        let rejoins = outcome == FollowUp::Rejoin;
        // Nothing can be sent until it is joined again; a culprit that is found makes that join an early one.
        self.channel.lost();
        self.report_settled(outcome, turn);
        if !rejoins {
            self.rejoin_later(turn);
        }
        self.end_when_denied(turn);
    }

    /// What was asked for before the start is not answered any more.
    pub(super) fn requests_lost(&mut self) {
        match &mut self.state {
            State::Joining(plan) => plan.link_lost(),
            State::Loading(loading) => loading.link_lost(),
            State::Starting
            | State::Executing
            | State::Stopping(_)
            | State::Settling(_)
            | State::Done => {}
        }
    }

    /// The channel crashed with this as the first push that was unanswered: which request it was, if any, counts it.
    fn request_crashed(&mut self, suspect: Ticket) {
        self.memory.crashed(suspect);
        match &mut self.state {
            State::Joining(plan) => plan.crashed(suspect, RunEvent::FetchPlan.name()),
            State::Loading(loading) => loading.crashed(suspect),
            State::Starting
            | State::Executing
            | State::Stopping(_)
            | State::Settling(_)
            | State::Done => {}
        }
    }

    /// Ends the run when what it needs cannot be had.
    fn end_when_denied(&mut self, turn: &mut Turn<'_>) {
        if let State::Joining(Fetch::Failed(why)) = &self.state {
            let outcome = exception("LightningError", why.clone());
            self.end_unstarted(Fact::PlanDenied, &outcome, turn);
        } else {
            self.start_when_loaded(turn);
        }
    }

    fn replied(
        &mut self,
        ticket: Ticket,
        status: &ReplyStatus,
        response: &Payload,
        turn: &mut Turn<'_>,
    ) {
        if self.channel.is_joined_by(ticket) {
            self.join_answered(status, response, turn);
        } else if let Some(id) = self.memory.answered(ticket) {
            self.restored(&id, status, response, turn);
        } else if !self.request_answered(ticket, status, response, turn) {
            self.report_answered(ticket, status, response, turn);
        }
    }

    fn join_answered(&mut self, status: &ReplyStatus, response: &Payload, turn: &mut Turn<'_>) {
        if *status == ReplyStatus::Ok {
            if self.channel.joined() == Joined::Again {
                self.back_on_channel(turn);
            }
            self.ask(turn);
            self.send(turn);
            return;
        }
        let words = error_detail("phx_join", response);
        if Refusal::from_payload(response).meaning() == RefusalMeaning::RunDenied {
            let why = format!("Lightning does not let it join: {words}");
            self.give_up(Unreported::GivenUp, &why, turn);
        } else {
            turn.log(
                &table::RUN_JOIN_REFUSED,
                [("error", words.as_str().into())],
                format!(
                    "run {} could not join its channel: {words}",
                    self.claimed.id
                ),
            );
            self.requests_lost();
            self.rejoin_later(turn);
        }
    }

    fn back_on_channel(&mut self, turn: &mut Turn<'_>) {
        let run = &self.claimed.id;
        let again = self.outbox.unsettled();
        turn.log(
            &table::RUN_RESENDS,
            [("resent", again.into())],
            format!("run {run} is back on its channel; reports to send again: {again}"),
        );
        if self.memory.had_webhook_response() {
            turn.log(
                &table::RUN_WEBHOOK_FORGOTTEN,
                [],
                format!(
                    "run {run}: Lightning may have forgotten the webhook response that it was sent before the connection was lost"
                ),
            );
        }
        match self.memory.restoring() {
            Restoring::GivenUp => turn.log(
                &table::RUN_SECRETS_SHOWN,
                [("error", "channel crashed".into())],
                format!(
                    "run {run}: its channel crashes when credentials are read again; its log may show them"
                ),
            ),
            Restoring::All(credentials) => {
                for id in credentials {
                    self.restore(id, turn);
                }
            }
        }
    }

    /// Has Lightning read a credential again.
    fn restore(&mut self, id: CredentialId, turn: &mut Turn<'_>) {
        // What the run has yet to get is read with that.
        if matches!(&self.state, State::Loading(loading) if loading.lacks_credential(&id)) {
            return;
        }
        let ticket = self.ticket();
        if let Ok(payload) = serde_json::to_vec(&FetchCredential { id: id.clone() }) {
            self.memory.restore(ticket, id);
            turn.perform(request(ticket, RunEvent::FetchCredential, payload));
        }
    }

    /// Lightning has read a credential for its scrubber again, or not (protocol spec, W16).
    fn restored(
        &self,
        id: &CredentialId,
        status: &ReplyStatus,
        response: &Payload,
        turn: &mut Turn<'_>,
    ) {
        if *status != ReplyStatus::Ok {
            let words = error_detail(RunEvent::FetchCredential.name(), response);
            turn.log(
                &table::RUN_SECRETS_SHOWN,
                [("error", words.as_str().into())],
                format!(
                    "run {}: Lightning did not read credential {id} again, its log may show it: {words}",
                    self.claimed.id
                ),
            );
        }
    }

    fn report_answered(
        &mut self,
        ticket: Ticket,
        status: &ReplyStatus,
        response: &Payload,
        turn: &mut Turn<'_>,
    ) {
        let refusal = match status {
            ReplyStatus::Ok => None,
            ReplyStatus::Error | ReplyStatus::Other(_) => Some(Refusal::from_payload(response)),
        };
        let event = self.outbox.event_of(ticket);
        let outcome = self.outbox.answered(ticket, refusal.clone(), turn.now);
        if let (Some(refusal), Some(event)) = (refusal, event) {
            turn.count(Count::Refused(event));
            let next = match &outcome {
                FollowUp::Resend => Some("what it objects to is mended and sent again"),
                FollowUp::Retry(_) => Some("it is sent again in a moment"),
                FollowUp::Split => Some("its lines are sent in halves"),
                FollowUp::Delivered(_) => Some("it counts as delivered"),
                // Every other outcome has a line of its own.
                _ => None,
            };
            if let Some(next) = next {
                turn.log(
                    &table::EVENT_RETRIED,
                    [
                        ("report", event.into()),
                        ("error", refusal.to_string().into()),
                    ],
                    format!(
                        "Lightning refused {event} of run {}, {next}: {refusal}",
                        self.claimed.id
                    ),
                );
            }
        }
        self.report_settled(outcome, turn);
    }
}
