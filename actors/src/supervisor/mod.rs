//! `Supervisor`: the root of the tree.
//!
//! *Owns* every other actor, the list of the runs in hand (which must survive the death of the actor that handles one) and
//! the order of start and end.
//!
//! ```text
//! Running ──Drain, bad token, a child died too often──▶ Draining ──no run, no claim left, or out of patience──▶ Stopped
//!    └──engine unavailable──▶ Stopped
//! ```
//!
//! What out of patience means is in [`patience`].
//!
//! | who dies | what happens |
//! | --- | --- |
//! | a connection | a new one; runs and workloops subscribe again, runs resend what was not answered |
//! | a workloop | a new one, its slots counted from the runs in hand |
//! | the engine pool | a new one; runs that it executed end as `crash`, `EngineLost` |
//! | a run | its job is stopped; a successor reports `exception`, `RunActorCrashed`; the slot is freed after that |
//!
//! Restarts are one for one, with a wait and a limit (see [`child::Intensity`]); beyond it the runs in hand are ended and the
//! worker with them. Beyond 99 runs there are further connections, for runs only. *Started* by [`Supervisor::start`]. *If it
//! dies* the handle's `wait` resolves and the process ends: the container restarts it, Lightning times its runs out.

mod child;
mod connections;
mod deaths;
mod ending;
mod handle;
mod handlers;
mod messages;
mod patience;
mod status;
#[cfg(test)]
#[cfg(feature = "mock-engine")]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use indexmap::IndexMap;
use log_events::{event, table};
use protocol::ids::{RunId, WorkloopId};
use protocol::lightning::ClaimedRun;
use tokio::sync::watch;

use self::child::{Intensity, start_watched};
use self::connections::{ConnectionIndex, Connections};
pub use self::handle::SupervisorHandle;
pub use self::messages::{ClaimOutcome, ConnectionReport, Exit, WorkerState, WorkerStatus};
use crate::config::{Config, EngineConfig};
use crate::engine_pool::EnginePool;
use crate::headroom::MemoryHeadroom;
use crate::lightning::TlsError;
use crate::run::{Origin, Run, RunContext, StopRun};
use crate::tell::Tell as _;
use crate::traces::Moment;
use crate::workloop::Workloop;

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Running,
    Draining {
        exit: Exit,
        /// Whether runs are ended instead of waited for.
        stopping: bool,
    },
    Stopped,
}

impl State {
    fn shown(&self) -> WorkerState {
        match self {
            Self::Running => WorkerState::Running,
            Self::Draining { .. } => WorkerState::Draining,
            Self::Stopped => WorkerState::Stopped,
        }
    }
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
    /// When it was claimed, whoever handles it now.
    since: Instant,
    connection: ConnectionIndex,
}

/// See the module's documentation.
pub struct Supervisor {
    config: Arc<Config>,
    state: State,
    started: Instant,
    connections: Connections,
    engine: Addr<EnginePool>,
    engine_intensity: Intensity,
    collections_version: Option<String>,
    headroom: MemoryHeadroom,
    groups: IndexMap<WorkloopId, Group>,
    runs: HashMap<RunId, RunEntry>,
    /// Runs in hand that another group has claimed as well: where the first claim comes to nothing, that one counts.
    again: HashMap<RunId, (ClaimedRun, WorkloopId)>,
    run_intensity: Intensity,
    exit: watch::Sender<Option<Exit>>,
}

impl Supervisor {
    /// Starts the whole tree on the present arbiter, inside an actix system.
    ///
    /// # Errors
    /// TLS cannot be set up. That the engine cannot be started shows later, as [`Exit::EngineUnavailable`].
    pub fn start(config: Config) -> Result<SupervisorHandle, TlsError> {
        let config = Arc::new(config);
        let (exit, exited) = watch::channel(None);
        let context = Context::new();
        let address = context.address();
        let mut context = context;
        let connections = Connections::start(&config, &mut context)?;
        let engine = EnginePool::new(&config);
        let this = Self {
            connections,
            engine: start_engine(engine, &mut context),
            state: State::Running,
            started: Instant::now(),
            engine_intensity: Intensity::default(),
            collections_version: None,
            headroom: match &config.engine {
                EngineConfig::Node(_) => MemoryHeadroom::find(config.limits.memory),
                // Their runs have no memory of their own.
                EngineConfig::Mock | EngineConfig::Recorded(_) => MemoryHeadroom::default(),
            },
            groups: IndexMap::new(),
            runs: HashMap::new(),
            again: HashMap::new(),
            run_intensity: Intensity::default(),
            exit,
            config,
        };
        // The handle sees a supervisor that dies by the end of its channel.
        actix::spawn(context.into_future(this));
        Ok(SupervisorHandle::new(address, exited))
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
            self.connections.with_queue().clone(),
            ctx.address().recipient(),
            self.headroom.clone(),
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
        let connection = self.connection_with_room(ctx);
        let context = RunContext {
            config: Arc::clone(&self.config),
            collections_version: self.collections_version.clone(),
            connection: self.connections.get(connection).clone(),
            engine: self.engine.clone(),
            ended: ctx.address().recipient(),
        };
        self.config.traces.note(&claimed.id, || Moment::Taken {
            workloop: workloop.clone(),
        });
        let id = claimed.id.clone();
        let since = self
            .runs
            .get(&id)
            .map_or_else(Instant::now, |run| run.since);
        let run = Run::new(context, claimed.clone(), workloop.clone(), origin);
        let address = start_watched(run, ctx, {
            let id = id.clone();
            move |ended, this, ctx| this.run_actor_ended(&id, &ended, ctx)
        });
        // Claimed just before the end: Lightning hears that it will not be executed.
        if matches!(self.state, State::Draining { stopping: true, .. }) {
            address.tell(StopRun::Shutdown);
        }
        self.runs.insert(
            id,
            RunEntry {
                claimed,
                workloop,
                address,
                origin,
                since,
                connection,
            },
        );
    }

    fn load_collections_version(&mut self, ctx: &mut Context<Self>) {
        let Some(collections) = &self.config.collections else {
            return;
        };
        self.collections_version = Some(collections.version.clone());
        if collections.version != "latest" {
            return;
        }
        // The reference connects to Lightning only when npm has answered (protocol spec, W23): here a run that needs it
        // before waits for the installer, which asks too, and a worker without npm still works for the others.
        let config = Arc::clone(&self.config);
        let looking = async move { crate::engine_pool::latest_collections_version(&config).await };
        ctx.spawn(looking.into_actor(self).map(|found, this, _| match found {
            Ok(version) => {
                event!(table::COLLECTIONS_FOUND, version = version; "using collections version {version}");
                this.collections_version = Some(version);
            }
            Err(error) => event!(
                table::COLLECTIONS_UNKNOWN, error:% = error;
                "the newest version of collections cannot be looked up: runs that use them ask again, and fail without: {error}"
            ),
        }));
    }
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
