//! `Workloop`: claims runs for one queue group.
//!
//! *Owns* the slots of its group, its claims and its backoff; the states and transitions are in [`slots`]. *Accepts*
//! [`QueueEvent`]s, [`SlotFreed`], [`ClaimNow`], [`ConnectionReplaced`], [`Drain`], [`GetWorkloopStatus`]. *Emits* claims to
//! the connection and [`WorkloopEvent`]s to the supervisor. *Started and stopped* by the
//! supervisor. *If it dies* the supervisor starts another one with the runs that are still active; the connection hands it the
//! runs of a claim that was outstanding.

mod claim_throttle;
mod messages;
mod slots;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use actix::prelude::*;
use log_events::{event, millis, table};
use protocol::ids::RunId;
use protocol::lightning::{ClaimRequest, ClaimedRun};
use protocol::size::Mebibytes;
use protocol::token::RunTokenKey;
use protocol::words::Word as _;
use protocol::workloop::Workloop as Group;
use strum::VariantArray as _;
use tokio::sync::oneshot;

pub(crate) use self::messages::{ClaimNow, Drain, GetWorkloopStatus, SlotFreed, WorkloopEvent};
pub use self::messages::{HoldCause, WorkloopState, WorkloopStatus};
use self::slots::{Effect, Event, Slots};
use crate::clock;
use crate::config::{ClaimConfig, Config};
use crate::events::ConnectionReplaced;
use crate::headroom::MemoryHeadroom;
use crate::lightning::{Claim, LightningConnection, QueueEvent, SubscribeQueue, Ticket};
use crate::metrics::{ClaimResult, Metrics};
use crate::tell::Tell as _;
use crate::traces::{Moment, Traces};

/// See the module's documentation.
pub(crate) struct Workloop {
    group: Group,
    claims: ClaimConfig,
    worker_name: Option<String>,
    claim_patience: Duration,
    drain_patience: Duration,
    run_token_key: Option<RunTokenKey>,
    owner: Recipient<WorkloopEvent>,
    connection: Addr<LightningConnection>,
    slots: Slots,
    since: Instant,
    manual: HashMap<Ticket, oneshot::Sender<bool>>,
    metrics: Metrics,
    /// When each claim that has no answer yet was sent.
    sent: HashMap<Ticket, Instant>,
    headroom: MemoryHeadroom,
    traces: Traces,
}

impl Workloop {
    /// A workloop of `group` whose slots are used by `active` already.
    pub(crate) fn new(
        config: &Config,
        group: Group,
        active: HashSet<RunId>,
        connection: Addr<LightningConnection>,
        owner: Recipient<WorkloopEvent>,
        headroom: MemoryHeadroom,
    ) -> Self {
        let slots = Slots::new(group.slots, &config.claims, active);
        Self {
            group,
            claims: config.claims.clone(),
            worker_name: config.identity.name.clone(),
            claim_patience: claim_patience(config),
            drain_patience: config.lightning.message_timeout,
            run_token_key: config.lightning.run_token_key.clone(),
            owner,
            connection,
            slots,
            since: Instant::now(),
            manual: HashMap::new(),
            metrics: config.metrics.clone(),
            sent: HashMap::new(),
            headroom,
            traces: config.traces.clone(),
        }
    }

    fn subscribe(&self, ctx: &Context<Self>) {
        self.connection.tell(SubscribeQueue {
            workloop: self.group.id.clone(),
            subscriber: ctx.address().recipient(),
        });
    }

    fn on(&mut self, event: Event, ctx: &mut Context<Self>) {
        let before = self.slots.phase().shown();
        let effects = self.decide(event);
        let after = self.slots.phase().shown();
        if before != after {
            self.since = Instant::now();
            log::debug!(workloop = self.group.id.as_str(); "workloop {}: {before} -> {after}", self.group.id);
        }
        for effect in effects {
            self.perform(effect, ctx);
        }
    }

    /// What an event leads to, with the memory that there is at this moment.
    fn decide(&mut self, event: Event) -> Vec<Effect> {
        let lacked = self.slots.lacks_memory();
        self.slots.allow(self.headroom.allows(&self.group.id));
        let effects = self.slots.on(event);
        self.headroom.uses(&self.group.id, self.slots.used());
        let lacks = self.slots.lacks_memory();
        if lacks && !lacked {
            let ceiling = self.headroom.ceiling().unwrap_or_default();
            let ceiling = Mebibytes::from_bytes(ceiling).whole();
            event!(table::WORKLOOP_HELD, workloop = self.group.id.as_str(), cause = HoldCause::Memory.word(), ceiling_mib = ceiling; "workloop {} claims no more for now: one more run with its memory limit does not fit below the ceiling of {ceiling} MiB (give the worker more memory, or lower --run-memory or the slots)", self.group.id);
        } else if lacked && !lacks {
            event!(table::WORKLOOP_RELEASED, workloop = self.group.id.as_str(), cause = HoldCause::Memory.word(); "workloop {} has memory for a further run again", self.group.id);
        }
        effects
    }

    fn answered_in(&mut self, round_trip: Duration) {
        let was_slowed = self.slots.is_slowed();
        self.slots.answered_in(round_trip);
        match (was_slowed, self.slots.is_slowed()) {
            (false, true) => {
                event!(table::WORKLOOP_HELD, workloop = self.group.id.as_str(), cause = HoldCause::Latency.word(), round_trip_ms = millis(round_trip); "workloop {} claims at half its rate: Lightning takes {} ms to answer", self.group.id, round_trip.as_millis());
            }
            (true, false) => {
                event!(table::WORKLOOP_RELEASED, workloop = self.group.id.as_str(), cause = HoldCause::Latency.word(); "workloop {} claims at its whole rate again", self.group.id);
            }
            (true, true) | (false, false) => {}
        }
    }

    fn held_by(&self) -> Vec<HoldCause> {
        let holds = |cause: &HoldCause| match cause {
            HoldCause::Memory => self.slots.lacks_memory(),
            HoldCause::Latency => self.slots.is_slowed(),
        };
        HoldCause::VARIANTS.iter().copied().filter(holds).collect()
    }

    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Claim { ticket, demand } => {
                self.sent.insert(ticket, Instant::now());
                self.connection.tell(Claim {
                    workloop: self.group.id.clone(),
                    ticket,
                    request: ClaimRequest {
                        demand: u32::try_from(demand).unwrap_or(u32::MAX),
                        worker_name: self.worker_name.clone(),
                        queues: self.group.queues.clone(),
                    },
                });
                let patience = self.claim_patience;
                ctx.run_later(patience, move |this, ctx| {
                    if this.slots.is_outstanding(ticket) {
                        event!(table::CLAIM_UNANSWERED, workloop = this.group.id.as_str(), duration_ms = millis(patience); "Lightning has not answered a claim of workloop {} for {} ms; its slot is claimed for again", this.group.id, patience.as_millis());
                    }
                    this.count_claim(ticket, ClaimResult::Late);
                    this.on(Event::ClaimLate { ticket }, ctx);
                });
            }
            Effect::Arm { timer, wait } => {
                ctx.run_later(wait, move |this, ctx| {
                    this.on(Event::TimerFired { timer }, ctx);
                });
            }
            Effect::Start(run) => {
                self.owner.tell(WorkloopEvent::Claimed {
                    run,
                    workloop: self.group.id.clone(),
                });
            }
            Effect::Manual { ticket, claimed } => {
                // Without a ticket the answer was given by `ClaimNow` itself.
                if let Some(sender) = ticket.and_then(|ticket| self.manual.remove(&ticket))
                    && sender.send(claimed).is_err()
                {
                    log::debug!("nobody waits for the outcome of a manual claim any more");
                }
            }
            Effect::Drained => {
                self.owner.tell(WorkloopEvent::Drained {
                    workloop: self.group.id.clone(),
                });
            }
        }
    }

    /// Counts the end of a claim, once.
    fn count_claim(&mut self, ticket: Ticket, result: ClaimResult) {
        if let Some(sent) = self.sent.remove(&ticket) {
            self.metrics.claimed(&self.group.id, result, sent.elapsed());
        }
    }

    /// The runs whose token is right; of the others the supervisor hears (protocol spec, sections 7.2 and 10.4).
    fn verified(&self, runs: Vec<ClaimedRun>) -> Vec<ClaimedRun> {
        let Some(key) = &self.run_token_key else {
            return runs;
        };
        runs.into_iter()
            .filter(|run| {
                let why = match key.verify(&run.token, clock::now_seconds()) {
                    Err(error) => error.to_string(),
                    Ok(claims) => match claims.run {
                        Some(other) if other != run.id => {
                            format!("its claim id names another run, {other}")
                        }
                        _ => return true,
                    },
                };
                self.owner.tell(WorkloopEvent::TokenRefused {
                    run_id: run.id.clone(),
                    why,
                });
                false
            })
            .collect()
    }
}

/// How long a claim may keep its slots on a living connection. The claim timeout is an hour by default, as the reference's:
/// there a late answer is lost. Here it is honoured whenever it comes, so that the slots need not wait for it; the timeout
/// counts where it is shorter.
fn claim_patience(config: &Config) -> Duration {
    const SHORTEST: Duration = Duration::from_secs(3);
    let patience = config.lightning.message_timeout.saturating_mul(2);
    patience.max(SHORTEST).min(config.lightning.claim_timeout)
}

impl Actor for Workloop {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if !self.claims.looping {
            event!(table::WORKLOOP_OPENED, workloop = self.group.id.as_str(), slots = self.group.slots; "workloop {} claims only when asked to (--no-loop)", self.group.id);
        }
        self.subscribe(ctx);
    }
}

impl Handler<QueueEvent> for Workloop {
    type Result = ();

    fn handle(&mut self, event: QueueEvent, ctx: &mut Self::Context) {
        let event = match event {
            QueueEvent::Joined => Event::Joined,
            QueueEvent::Lost => Event::Lost,
            QueueEvent::WorkAvailable => Event::WorkAvailable,
            QueueEvent::RoundTrip(smoothed) => {
                self.answered_in(smoothed);
                return;
            }
            QueueEvent::Inherited(runs) => Event::Inherited {
                runs: self.verified(runs),
            },
            QueueEvent::ClaimAnswered {
                ticket,
                outcome: Ok(runs),
            } => {
                let result = if runs.is_empty() {
                    ClaimResult::Empty
                } else {
                    ClaimResult::Runs
                };
                let took = self.sent.get(&ticket).map(Instant::elapsed);
                self.count_claim(ticket, result);
                let runs = self.verified(runs);
                for run in &runs {
                    self.traces.note(&run.id, || Moment::Claimed {
                        workloop: self.group.id.clone(),
                        took: took.unwrap_or_default(),
                    });
                }
                Event::Answered {
                    ticket,
                    runs: Some(runs),
                }
            }
            QueueEvent::ClaimAnswered {
                ticket,
                outcome: Err(error),
            } => {
                self.count_claim(ticket, ClaimResult::Failed);
                event!(table::CLAIM_FAILED, workloop = self.group.id.as_str(), error:% = error; "claim of workloop {} failed: {error}", self.group.id);
                Event::Answered { ticket, runs: None }
            }
        };
        self.on(event, ctx);
    }
}

impl Handler<SlotFreed> for Workloop {
    type Result = ();

    fn handle(&mut self, message: SlotFreed, ctx: &mut Self::Context) {
        self.on(
            Event::SlotFreed {
                run: message.run_id,
                taken_away: message.taken_away,
            },
            ctx,
        );
    }
}

impl Handler<ClaimNow> for Workloop {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, _: ClaimNow, ctx: &mut Self::Context) -> Self::Result {
        let effects = self.decide(Event::ClaimNow);
        let Some(ticket) = effects.iter().find_map(|effect| match effect {
            Effect::Claim { ticket, .. } => Some(*ticket),
            _ => None,
        }) else {
            return Box::pin(std::future::ready(false));
        };
        let (sender, answer) = oneshot::channel();
        self.manual.insert(ticket, sender);
        for effect in effects {
            self.perform(effect, ctx);
        }
        // A workloop that dies drops the sender, and with it the claim.
        Box::pin(async move { answer.await.unwrap_or(false) })
    }
}

impl Handler<ConnectionReplaced> for Workloop {
    type Result = ();

    fn handle(&mut self, message: ConnectionReplaced, ctx: &mut Self::Context) {
        let lost: Vec<_> = self.slots.outstanding();
        self.connection = message.connection;
        for ticket in lost {
            self.count_claim(ticket, ClaimResult::Failed);
            self.on(Event::Answered { ticket, runs: None }, ctx);
        }
        self.on(Event::Lost, ctx);
        self.subscribe(ctx);
    }
}

impl Handler<Drain> for Workloop {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.on(Event::Drain, ctx);
        ctx.run_later(self.drain_patience, |this, ctx| {
            this.on(Event::DrainLate, ctx);
        });
    }
}

impl Handler<GetWorkloopStatus> for Workloop {
    type Result = MessageResult<GetWorkloopStatus>;

    fn handle(&mut self, _: GetWorkloopStatus, _: &mut Self::Context) -> Self::Result {
        MessageResult(WorkloopStatus {
            id: self.group.id.clone(),
            state: self.slots.phase().shown(),
            seconds: self.since.elapsed().as_secs(),
            slots: self.group.slots,
            active: self.slots.active(),
            pending: self.slots.pending(),
            held_by: self.held_by(),
        })
    }
}

#[cfg(test)]
impl Handler<crate::events::Panic> for Workloop {
    type Result = ();

    fn handle(&mut self, _: crate::events::Panic, _: &mut Self::Context) {
        panic!("workloop {} was asked to panic by a test", self.group.id);
    }
}
