//! `worker:queue`: its join, and the claims on it.

use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use log_events::{event, millis, table};
use protocol::backoff::{Backoff, jittered};
use protocol::ids::{Topic, WorkloopId};
use protocol::lightning::{ClaimReply, ClaimedRun, Refusal};
use protocol::phoenix::{Payload, ReplyStatus};

use super::channels::Claimant;
use super::connection::{Connected, LightningConnection, QueueState, State};
use super::messages::{Claim, ClaimError, QueueEvent, SubscribeQueue};
use crate::tell::Tell as _;

/// The waits before the queue is joined again after a refusal, about those of the reference (protocol spec, section 1.5).
/// Each is jittered: what refuses one worker refuses many.
const REJOIN_WAITS: Backoff = Backoff::new(Duration::from_secs(1), 2.2, Duration::from_secs(10));

/// A join that was not answered for so long is sent again; it replaces the first one, and nothing is lost with that.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);

impl LightningConnection {
    pub(super) fn is_queue_joined(&self) -> bool {
        matches!(
            &self.state,
            State::Connected(Connected {
                queue: QueueState::Joined,
                ..
            })
        )
    }

    pub(super) fn join_queue(&mut self, ctx: &mut Context<Self>) {
        let (State::Connected(connected), Some(join)) = (&mut self.state, &self.queue_join) else {
            return;
        };
        connected.queue = QueueState::Joining;
        let payload = match serde_json::to_vec(join) {
            Ok(payload) => payload,
            Err(error) => {
                event!(
                    table::LIGHTNING_QUEUE_REFUSED, error:% = error;
                    "the join of {} cannot be written as JSON: {error}",
                    Topic::queue()
                );
                return;
            }
        };
        let join_ref = self.channels.joining_queue();
        self.send_text(
            Some(join_ref),
            join_ref,
            &Topic::queue(),
            "phx_join",
            &payload,
        );
        ctx.run_later(JOIN_PATIENCE, move |this, ctx| {
            let joining = matches!(
                &this.state,
                State::Connected(Connected {
                    queue: QueueState::Joining,
                    ..
                })
            );
            if joining && this.channels.queue_join_ref() == Some(join_ref) {
                event!(
                    table::LIGHTNING_QUEUE_LOST, error = "no answer", duration_ms = millis(JOIN_PATIENCE);
                    "Lightning has not answered the join of {} for {} s; joining again",
                    Topic::queue(),
                    JOIN_PATIENCE.as_secs()
                );
                this.join_queue(ctx);
            }
        });
    }

    pub(super) fn rejoin_queue_later(&mut self, ctx: &mut Context<Self>) {
        let State::Connected(connected) = &mut self.state else {
            return;
        };
        connected.queue = QueueState::Waiting;
        let delay = jittered(
            REJOIN_WAITS.after(self.queue_refusals),
            rand::random::<f64>(),
        );
        self.queue_refusals = self.queue_refusals.saturating_add(1);
        let generation = self.generation;
        ctx.run_later(delay, move |this, ctx| {
            let waiting = matches!(
                &this.state,
                State::Connected(Connected {
                    queue: QueueState::Waiting,
                    ..
                })
            );
            if generation == this.generation && waiting {
                this.join_queue(ctx);
            }
        });
    }

    pub(super) fn queue_lost(&mut self) {
        for (workloop, ticket) in self.channels.queue_ended() {
            if let Some(subscriber) = self.channels.workloop(&workloop) {
                subscriber.tell(QueueEvent::ClaimAnswered {
                    ticket,
                    outcome: Err(ClaimError::ConnectionLost),
                });
            }
        }
        for workloop in self.channels.workloops() {
            workloop.tell(QueueEvent::Lost);
        }
    }

    pub(super) fn queue_answered(
        &mut self,
        status: &ReplyStatus,
        response: &Payload,
        ctx: &mut Context<Self>,
    ) {
        if *status == ReplyStatus::Ok {
            if let State::Connected(connected) = &mut self.state {
                connected.queue = QueueState::Joined;
            }
            // Only now: a server that accepts sockets and refuses the queue must not be asked every second.
            self.backoff.reset();
            self.queue_refusals = 0;
            self.last_error = None;
            log::debug!("joined {}", Topic::queue());
            for workloop in self.channels.workloops() {
                workloop.tell(QueueEvent::Joined);
            }
        } else {
            let why = protocol::phoenix::error_detail("phx_join", response);
            event!(table::LIGHTNING_QUEUE_REFUSED, error = why; "Lightning refused the join of {}: {why}", Topic::queue());
            self.last_error = Some(why);
            self.queue_lost();
            self.rejoin_queue_later(ctx);
        }
    }
}

impl LightningConnection {
    /// Hands the outcome of a claim to the workloop. The runs are this worker's from here on: where the workloop dies
    /// before it has taken them, they are kept for the next one.
    pub(super) fn claim_answered(
        &mut self,
        workloop: WorkloopId,
        claimant: Claimant,
        outcome: Result<Vec<ClaimedRun>, ClaimError>,
        ctx: &mut Context<Self>,
    ) {
        let Some(subscriber) = self.channels.workloop(&workloop) else {
            return;
        };
        let kept = match &outcome {
            Ok(runs) => runs.clone(),
            Err(_) => Vec::new(),
        };
        let message = match (claimant, outcome) {
            (Claimant::Present(ticket), outcome) => QueueEvent::ClaimAnswered { ticket, outcome },
            (Claimant::Earlier, Ok(runs)) => QueueEvent::Inherited(runs),
            (Claimant::Earlier, Err(_)) => return,
        };
        if kept.is_empty() {
            subscriber.tell(message);
            return;
        }
        let taken = subscriber.send(message).into_actor(self);
        ctx.spawn(taken.map(move |taken, this, ctx| {
            if taken.is_ok() {
                return;
            }
            let alive = this.channels.workloop(&workloop);
            if alive.is_some_and(Recipient::connected) {
                this.claim_answered(workloop, Claimant::Earlier, Ok(kept), ctx);
            } else {
                this.inheritance.push((workloop, kept));
            }
        }));
    }

    /// A new workloop takes over what its predecessor has claimed.
    fn inherits(&mut self, heir: &WorkloopId, ctx: &mut Context<Self>) {
        let (due, others) = std::mem::take(&mut self.inheritance)
            .into_iter()
            .partition(|(workloop, _)| workloop == heir);
        self.inheritance = others;
        for (workloop, runs) in due {
            self.claim_answered(workloop, Claimant::Earlier, Ok(runs), ctx);
        }
    }
}

pub(super) fn claim_outcome(
    status: &ReplyStatus,
    response: &Payload,
) -> Result<Vec<ClaimedRun>, ClaimError> {
    if *status != ReplyStatus::Ok {
        return Err(ClaimError::Refused(Refusal::from_payload(response)));
    }
    let reply = ClaimReply::from_payload(response)
        .map_err(|error| ClaimError::Malformed(error.to_string()))?;
    for why in &reply.unreadable {
        event!(
            table::CLAIM_UNREADABLE, error = why;
            "Lightning handed out a run that cannot be executed, for its entry is no run: {why}"
        );
    }
    Ok(reply.runs)
}

impl Handler<SubscribeQueue> for LightningConnection {
    type Result = ();

    fn handle(&mut self, message: SubscribeQueue, ctx: &mut Self::Context) {
        let SubscribeQueue {
            workloop,
            subscriber,
        } = message;
        let joined = self.is_queue_joined();
        self.channels
            .subscribe_workloop(workloop.clone(), subscriber.clone());
        self.inherits(&workloop, ctx);
        if joined {
            subscriber.tell(QueueEvent::Joined);
        }
    }
}

impl Handler<Claim> for LightningConnection {
    type Result = ();

    fn handle(&mut self, message: Claim, _: &mut Self::Context) {
        let Claim {
            workloop,
            ticket,
            request,
        } = message;
        let joined = self.is_queue_joined();
        let payload = serde_json::to_vec(&request).map(Bytes::from);
        let refused = match payload {
            Err(error) => Some(ClaimError::Unwritable(error.to_string())),
            Ok(payload) if joined => match self.channels.claiming(workloop.clone(), ticket) {
                Some((join_ref, reference)) => {
                    self.send_text(
                        Some(join_ref),
                        reference,
                        &Topic::queue(),
                        protocol::lightning::QueueEvent::Claim.name(),
                        &payload,
                    );
                    None
                }
                None => Some(ClaimError::NotConnected),
            },
            Ok(_) => Some(ClaimError::NotConnected),
        };
        if let Some(error) = refused
            && let Some(subscriber) = self.channels.workloop(&workloop)
        {
            subscriber.tell(QueueEvent::ClaimAnswered {
                ticket,
                outcome: Err(error),
            });
        }
    }
}
