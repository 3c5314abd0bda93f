//! `Supervisor`: the root of the tree.
//!
//! *Owns* every other actor, the list of the runs in hand (which must survive the death of the actor that handles one) and
//! the order of start and end.
//!
//! ```text
//! Running ──Drain, bad token──▶ Draining ──no run, no claim left──▶ Stopped
//!    └──engine unavailable, a child died too often──▶ Stopped
//! ```
//!
//! | who dies | what happens |
//! | --- | --- |
//! | the connection | a new one; runs and workloops subscribe again, runs resend what was not answered |
//! | a workloop | a new one, its slots counted from the runs in hand |
//! | the engine pool | a new one; runs that it executed end as `crash`, `EngineLost` |
//! | a run | its job is stopped; a successor reports `exception`, `RunActorCrashed`; the slot is freed after that |
//!
//! Restarts are one for one, with a wait and a limit (see [`child::Intensity`]). *Started* by [`Supervisor::start`]. *If it
//! dies* the handle's `wait` resolves and the process ends: the container restarts it, Lightning times its runs out.

mod child;
mod handle;
pub(crate) mod messages;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::future::join_all;
use indexmap::IndexMap;
use protocol::ids::{RunId, WorkloopId};
use protocol::lightning::{ClaimedRun, QueueJoin};
use protocol::workloop::queues_by_group;
use tokio::sync::watch;

use self::child::{Ended, Intensity, start_watched};
pub use self::handle::SupervisorHandle;
use self::messages::{
    CancelRun, ClaimEverywhere, Drain, GetStatus, StartRun, StopNow, TokenRefused, WorkloopDrained,
};
pub use self::messages::{ClaimOutcome, ConnectionReport, Exit, WorkerStatus};
use crate::config::Config;
use crate::engine_pool::{EngineFailed, EnginePool, GetEngineStatus, StopEngine, StopJob};
use crate::events::{ConnectionReplaced, EngineLost, RunEnded};
use crate::lightning::{ConnectionStatus, Disconnect, GetConnectionStatus, LightningConnection};
use crate::run::{GetRunStatus, Origin, Run, RunContext, StopRun};
use crate::workloop::{self, ClaimNow, GetWorkloopStatus, SlotFreed, Workloop, WorkloopOwner};

/// How long a run may take to report its end after it was told to stop for good.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How long a question for a status may take.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Running,
    Draining { exit: Exit },
    Stopped,
}

struct Group {
    address: Addr<Workloop>,
    intensity: Intensity,
    drained: bool,
}

struct RunEntry {
    claimed: ClaimedRun,
    workloop: WorkloopId,
    address: Addr<Run>,
    origin: Origin,
}

/// See the module's documentation.
pub struct Supervisor {
    config: Arc<Config>,
    state: State,
    started: Instant,
    connection: Addr<LightningConnection>,
    connection_intensity: Intensity,
    engine: Addr<EnginePool>,
    engine_intensity: Intensity,
    collections_version: Option<String>,
    groups: IndexMap<WorkloopId, Group>,
    runs: HashMap<RunId, RunEntry>,
    run_intensity: Intensity,
    ended: BTreeMap<&'static str, u64>,
    restarts: BTreeMap<&'static str, u64>,
    exit: watch::Sender<Option<Exit>>,
}

impl Supervisor {
    /// Starts the whole tree on the present arbiter, inside an actix system.
    ///
    /// # Errors
    /// A text that names what cannot be used: TLS, or the engine's configuration.
    pub fn start(config: Config) -> Result<SupervisorHandle, String> {
        let config = Arc::new(config);
        let (exit, exited) = watch::channel(None);
        let context = Context::new();
        let address = context.address();
        let connection = new_connection(&config)?;
        let engine = EnginePool::new(&config);
        let mut context = context;
        let this = Self {
            connection: start_connection(connection, &mut context),
            engine: start_engine(engine, &mut context),
            state: State::Running,
            started: Instant::now(),
            connection_intensity: Intensity::default(),
            engine_intensity: Intensity::default(),
            collections_version: None,
            groups: IndexMap::new(),
            runs: HashMap::new(),
            run_intensity: Intensity::default(),
            ended: BTreeMap::new(),
            restarts: BTreeMap::new(),
            exit,
            config,
        };
        // The handle sees a supervisor that dies by the end of its channel.
        actix::spawn(context.into_future(this));
        Ok(SupervisorHandle::new(address, exited))
    }

    fn owner(ctx: &Context<Self>) -> WorkloopOwner {
        let address = ctx.address();
        WorkloopOwner {
            start: address.clone().recipient(),
            refused: address.clone().recipient(),
            drained: address.recipient(),
        }
    }

    fn start_workloops(&mut self, ctx: &mut Context<Self>) {
        for group in self.config.workloops.clone() {
            let id = group.id.clone();
            let address = self.start_workloop(&id, ctx);
            if let Some(address) = address {
                self.groups.insert(
                    id,
                    Group {
                        address,
                        intensity: Intensity::default(),
                        drained: false,
                    },
                );
            }
        }
    }

    fn start_workloop(
        &mut self,
        id: &WorkloopId,
        ctx: &mut Context<Self>,
    ) -> Option<Addr<Workloop>> {
        let group = self
            .config
            .workloops
            .iter()
            .find(|group| group.id == *id)?
            .clone();
        let active: HashSet<RunId> = self
            .runs
            .iter()
            .filter(|(_, run)| run.workloop == *id)
            .map(|(id, _)| id.clone())
            .collect();
        let workloop = Workloop::new(
            &self.config,
            group,
            active,
            self.connection.clone(),
            Self::owner(ctx),
        );
        let id = id.clone();
        Some(start_watched(workloop, ctx, move |ended, this, ctx| {
            this.workloop_ended(&id, &ended, ctx);
        }))
    }

    fn start_run(
        &mut self,
        claimed: ClaimedRun,
        workloop: WorkloopId,
        origin: Origin,
        ctx: &mut Context<Self>,
    ) {
        let context = RunContext {
            config: Arc::clone(&self.config),
            collections_version: self.collections_version.clone(),
            connection: self.connection.clone(),
            engine: self.engine.clone(),
            ended: ctx.address().recipient(),
        };
        let id = claimed.id.clone();
        let run = Run::new(context, claimed.clone(), workloop.clone(), origin);
        let address = start_watched(run, ctx, {
            let id = id.clone();
            move |ended, this, ctx| this.run_actor_ended(&id, &ended, ctx)
        });
        self.runs.insert(
            id,
            RunEntry {
                claimed,
                workloop,
                address,
                origin,
            },
        );
    }

    // ---- deaths ----

    /// Whether a child that died may be started again, and after which wait; ends the worker if not.
    fn death(
        &mut self,
        name: &'static str,
        what: &str,
        ended: &Ended,
        wait: Option<Duration>,
    ) -> Option<Duration> {
        if self.state == State::Stopped {
            return None;
        }
        *self.restarts.entry(name).or_default() += 1;
        self.config.metrics.restarted(name);
        let how = match ended {
            Ended::Stopped => "stopped unexpectedly".to_owned(),
            Ended::Panicked(text) => format!("panicked: {text}"),
            Ended::Killed => "was killed".to_owned(),
        };
        if let Some(wait) = wait {
            log::error!("{what} {how}; restarting it in {} ms", wait.as_millis());
        } else {
            log::error!("{what} {how}; it died too often to be restarted");
            self.finish(Exit::GaveUp(format!("{what} died too often, last: {how}")));
        }
        wait
    }

    fn connection_ended(&mut self, ended: &Ended, ctx: &mut Context<Self>) {
        let wait = self.connection_intensity.died(Instant::now());
        let Some(wait) = self.death("connection", "the Lightning connection", ended, wait) else {
            return;
        };
        ctx.run_later(wait, |this, ctx| match new_connection(&this.config) {
            Ok(connection) => {
                this.connection = start_connection(connection, ctx);
                let message = ConnectionReplaced {
                    connection: this.connection.clone(),
                };
                for group in this.groups.values() {
                    group.address.do_send(message.clone());
                }
                for run in this.runs.values() {
                    run.address.do_send(message.clone());
                }
            }
            Err(error) => this.finish(Exit::GaveUp(error)),
        });
    }

    fn engine_ended(&mut self, ended: &Ended, ctx: &mut Context<Self>) {
        let wait = self.engine_intensity.died(Instant::now());
        let Some(wait) = self.death("engine pool", "the engine pool", ended, wait) else {
            return;
        };
        ctx.run_later(wait, |this, ctx| {
            this.engine = start_engine(EnginePool::new(&this.config), ctx);
            for run in this.runs.values() {
                run.address.do_send(EngineLost {
                    engine: this.engine.clone(),
                });
            }
        });
    }

    fn workloop_ended(&mut self, id: &WorkloopId, ended: &Ended, ctx: &mut Context<Self>) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let wait = group.intensity.died(Instant::now());
        let Some(wait) = self.death("workloop", &format!("workloop {id}"), ended, wait) else {
            return;
        };
        let id = id.clone();
        ctx.run_later(wait, move |this, ctx| {
            let Some(address) = this.start_workloop(&id, ctx) else {
                return;
            };
            if matches!(this.state, State::Draining { .. }) {
                address.do_send(workloop::Drain);
            }
            if let Some(group) = this.groups.get_mut(&id) {
                group.address = address;
            }
        });
    }

    fn run_actor_ended(&mut self, id: &RunId, ended: &Ended, ctx: &mut Context<Self>) {
        // A run that ended in order has said so before its actor stopped, and is not in the list any more.
        let Some(run) = self.runs.get(id) else { return };
        let (claimed, workloop, origin) = (run.claimed.clone(), run.workloop.clone(), run.origin);
        self.engine.do_send(StopJob { run_id: id.clone() });
        let wait = self.run_intensity.died(Instant::now());
        if self
            .death("run", &format!("the actor of run {id}"), ended, wait)
            .is_none()
        {
            return;
        }
        if origin == Origin::Claimed {
            // At once: the slot stays taken, and Lightning hears of it as soon as it can.
            self.start_run(claimed, workloop, Origin::Successor, ctx);
        } else {
            log::error!(run_id = id.as_str(); "run {id} is given up: its successor died as well");
            ctx.notify(RunEnded {
                run_id: id.clone(),
                workloop,
                reason: None,
            });
        }
    }

    // ---- end ----

    fn drain(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        if self.state != State::Running {
            return;
        }
        log::info!("draining: {} runs in hand", self.runs.len());
        self.state = State::Draining { exit };
        for group in self.groups.values() {
            group.address.do_send(workloop::Drain);
        }
        if let Some(grace) = self.config.shutdown_grace {
            ctx.run_later(grace, |this, ctx| {
                if !this.runs.is_empty() {
                    log::warn!(
                        "{} runs are still in hand after the shutdown grace; ending them",
                        this.runs.len()
                    );
                }
                this.stop_runs(ctx);
            });
        }
        self.finish_if_drained(ctx);
    }

    /// Ends the runs in hand; those that cannot be reported in time are named.
    fn stop_runs(&mut self, ctx: &mut Context<Self>) {
        for run in self.runs.values() {
            run.address.do_send(StopRun::Shutdown);
        }
        ctx.run_later(STOP_PATIENCE, |this, _| {
            let exit = match &this.state {
                State::Draining { exit } => exit.clone(),
                State::Running | State::Stopped => return,
            };
            for id in this.runs.keys() {
                log::error!(run_id = id.as_str(); "run {id} is left unreported: Lightning could not be told in time");
            }
            this.finish(exit);
        });
    }

    fn finish_if_drained(&mut self, ctx: &mut Context<Self>) {
        let State::Draining { exit } = &self.state else {
            return;
        };
        if !self.runs.is_empty() || !self.groups.values().all(|group| group.drained) {
            return;
        }
        let exit = exit.clone();
        self.state = State::Stopped;
        let (connection, engine) = (self.connection.clone(), self.engine.clone());
        let ending = async move {
            let left = connection.send(Disconnect).await;
            let stopped = engine.send(StopEngine).await;
            if left.is_err() || stopped.is_err() {
                log::debug!("the connection or the engine had ended before it was asked to");
            }
        };
        ctx.spawn(
            ending
                .into_actor(self)
                .map(move |(), this, _| this.finish(exit)),
        );
    }

    fn finish(&mut self, exit: Exit) {
        self.state = State::Stopped;
        self.exit.send_if_modified(|slot| {
            let first = slot.is_none();
            if first {
                *slot = Some(exit);
            }
            first
        });
    }

    fn load_collections_version(&mut self, ctx: &mut Context<Self>) {
        let Some(collections) = &self.config.collections else {
            return;
        };
        if collections.version != "latest" {
            self.collections_version = Some(collections.version.clone());
            return;
        }
        // The reference connects to Lightning only when npm has answered (W23): here runs that need it wait for the
        // installer, and a worker without npm still works for the others.
        let config = Arc::clone(&self.config);
        let looking = async move { crate::engine_pool::latest_collections_version(&config).await };
        ctx.spawn(looking.into_actor(self).map(|found, this, _| match found {
            Ok(version) => {
                log::info!("using collections version {version}");
                this.collections_version = Some(version);
            }
            Err(error) => log::error!(
                "collections are off: their newest version cannot be looked up: {error}"
            ),
        }));
    }
}

fn new_connection(config: &Config) -> Result<LightningConnection, String> {
    let join = QueueJoin {
        capacity: config.capacity(),
        queues: queues_by_group(&config.workloops),
    };
    let (lightning, identity) = (config.lightning.clone(), config.identity.clone());
    LightningConnection::new(lightning, identity, Some(join), config.metrics.clone())
}

fn start_connection(
    connection: LightningConnection,
    ctx: &mut Context<Supervisor>,
) -> Addr<LightningConnection> {
    start_watched(connection, ctx, |ended, this: &mut Supervisor, ctx| {
        this.connection_ended(&ended, ctx);
    })
}

fn start_engine(engine: EnginePool, ctx: &mut Context<Supervisor>) -> Addr<EnginePool> {
    let failed = ctx.address().recipient();
    start_watched(
        engine.reporting_to(failed),
        ctx,
        |ended, this: &mut Supervisor, ctx| this.engine_ended(&ended, ctx),
    )
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.load_collections_version(ctx);
        self.start_workloops(ctx);
    }
}

impl Handler<StartRun> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: StartRun, ctx: &mut Self::Context) {
        if let Some(run) = self.runs.get(&message.run.id) {
            log::warn!(run_id = message.run.id.as_str(); "Lightning handed run {} out again while it is in hand", message.run.id);
            if run.workloop != message.workloop
                && let Some(group) = self.groups.get(&message.workloop)
            {
                group.address.do_send(SlotFreed {
                    run_id: message.run.id,
                });
            }
            return;
        }
        self.start_run(message.run, message.workloop, Origin::Claimed, ctx);
    }
}

impl Handler<RunEnded> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: RunEnded, ctx: &mut Self::Context) {
        if self.runs.remove(&message.run_id).is_none() {
            return;
        }
        let reason = message
            .reason
            .map_or("unreported", |reason| reason.as_str());
        *self.ended.entry(reason).or_default() += 1;
        if let Some(group) = self.groups.get(&message.workloop) {
            group.address.do_send(SlotFreed {
                run_id: message.run_id,
            });
        }
        self.finish_if_drained(ctx);
    }
}

impl Handler<TokenRefused> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: TokenRefused, ctx: &mut Self::Context) {
        log::error!(
            run_id = message.run_id.as_str();
            "Error validating run token of run {}: {}; check WORKER_LIGHTNING_PUBLIC_KEY. The worker takes no more work",
            message.run_id,
            message.why
        );
        self.drain(Exit::BadToken, ctx);
    }
}

impl Handler<WorkloopDrained> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: WorkloopDrained, ctx: &mut Self::Context) {
        if let Some(group) = self.groups.get_mut(&message.workloop) {
            group.drained = true;
        }
        self.finish_if_drained(ctx);
    }
}

impl Handler<EngineFailed> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: EngineFailed, _: &mut Self::Context) {
        log::error!("the engine cannot be started: {}", message.why);
        self.finish(Exit::EngineUnavailable(message.why));
    }
}

impl Handler<Drain> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.drain(Exit::Drained, ctx);
    }
}

impl Handler<StopNow> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: StopNow, ctx: &mut Self::Context) {
        self.drain(Exit::Drained, ctx);
        self.stop_runs(ctx);
    }
}

impl Handler<CancelRun> for Supervisor {
    type Result = bool;

    fn handle(&mut self, message: CancelRun, _: &mut Self::Context) -> Self::Result {
        match self.runs.get(&message.run_id) {
            Some(run) => {
                run.address.do_send(StopRun::Cancel);
                true
            }
            None => false,
        }
    }
}

impl Handler<ClaimEverywhere> for Supervisor {
    type Result = ResponseFuture<ClaimOutcome>;

    fn handle(&mut self, _: ClaimEverywhere, _: &mut Self::Context) -> Self::Result {
        let claims: Vec<_> = self
            .groups
            .values()
            .map(|group| Box::pin(group.address.send(ClaimNow)))
            .collect();
        // Answered as soon as one group got a run (protocol spec, section 9.1).
        Box::pin(async move {
            let mut left = claims;
            while !left.is_empty() {
                let (claimed, _, rest) = futures_util::future::select_all(left).await;
                if claimed.unwrap_or(false) {
                    // Dropping a claim that was sent does not withdraw it: its runs are executed.
                    return ClaimOutcome::Claimed;
                }
                left = rest;
            }
            ClaimOutcome::Nothing
        })
    }
}

impl Handler<GetStatus> for Supervisor {
    type Result = ResponseFuture<WorkerStatus>;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> Self::Result {
        let connection = self
            .connection
            .send(GetConnectionStatus)
            .timeout(STATUS_PATIENCE);
        let engine = self.engine.send(GetEngineStatus).timeout(STATUS_PATIENCE);
        let workloops = join_all(self.groups.values().map(|group| {
            group
                .address
                .send(GetWorkloopStatus)
                .timeout(STATUS_PATIENCE)
        }));
        let runs = join_all(
            self.runs
                .values()
                .map(|run| run.address.send(GetRunStatus).timeout(STATUS_PATIENCE)),
        );
        let identity = self.config.identity.clone();
        let state = match self.state {
            State::Running => "running",
            State::Draining { .. } => "draining",
            State::Stopped => "stopped",
        };
        let (ended, restarts) = (self.ended.clone(), self.restarts.clone());
        let uptime_seconds = self.started.elapsed().as_secs();
        Box::pin(async move {
            // An actor that is being restarted is left out of the picture.
            WorkerStatus {
                state,
                worker_id: identity.id,
                worker_name: identity.name,
                version: identity.version,
                uptime_seconds,
                connection: connection
                    .await
                    .map_or_else(|_| connection_down(), connection_report),
                workloops: workloops.await.into_iter().flatten().collect(),
                runs: runs.await.into_iter().flatten().collect(),
                engine: engine.await.ok(),
                ended,
                restarts,
            }
        })
    }
}

/// Makes a child panic, for the tests of this module.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
struct ForcePanic(Victim);

#[cfg(test)]
enum Victim {
    Workloop(WorkloopId),
    Run(RunId),
}

#[cfg(test)]
impl Handler<ForcePanic> for Supervisor {
    type Result = ();

    fn handle(&mut self, ForcePanic(victim): ForcePanic, _: &mut Self::Context) {
        match victim {
            Victim::Workloop(id) => self.groups[&id].address.do_send(workloop::Panic),
            Victim::Run(id) => self.runs[&id].address.do_send(crate::run::Panic),
        }
    }
}

fn connection_report(status: ConnectionStatus) -> ConnectionReport {
    ConnectionReport {
        state: status.state,
        queue_joined: status.queue_joined,
        seconds: status.since.elapsed().as_secs(),
        connects: status.connects,
        last_error: status.last_error,
    }
}

fn connection_down() -> ConnectionReport {
    ConnectionReport {
        state: "down",
        queue_joined: false,
        seconds: 0,
        connects: 0,
        last_error: None,
    }
}
