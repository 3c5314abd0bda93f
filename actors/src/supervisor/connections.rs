//! Which connection carries a run, and the further ones that many runs need.

use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use log_events::{event, table};
use protocol::lightning::QueueJoin;
use protocol::workloop::queues_by_group;

use super::Supervisor;
use super::child::{ActorEnd, Intensity, start_watched};
use super::messages::Exit;
use crate::causes::with_causes;
use crate::config::Config;
use crate::events::ConnectionReplaced;
use crate::lightning::{AnswersHeartbeats, LightningConnection, TlsError};
use crate::metrics::WatchedActor;
use crate::tell::Tell as _;

/// The server takes 100 channels a socket, and the queue is one of them (protocol spec, section 2.1).
const RUNS_PER_CONNECTION: usize = 99;

/// Which of the connections; the first one has the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionIndex(usize);

pub(super) const WITH_QUEUE: ConnectionIndex = ConnectionIndex(0);

pub(super) struct Connection {
    pub(super) address: Addr<LightningConnection>,
    intensity: Intensity,
}

/// The connections, the first one with the queue. There is always that one.
pub(super) struct Connections {
    list: Vec<Connection>,
    /// What all of them learn of the endpoint.
    heartbeats: AnswersHeartbeats,
}

impl Connections {
    /// Starts the connection with the queue.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub(super) fn start(config: &Config, ctx: &mut Context<Supervisor>) -> Result<Self, TlsError> {
        let heartbeats = AnswersHeartbeats::default();
        let first = start(config, WITH_QUEUE, &heartbeats, ctx)?;
        Ok(Self {
            list: vec![Connection::new(first)],
            heartbeats,
        })
    }

    pub(super) fn with_queue(&self) -> &Addr<LightningConnection> {
        self.get(WITH_QUEUE)
    }

    pub(super) fn get(&self, index: ConnectionIndex) -> &Addr<LightningConnection> {
        &self.list[index.0].address
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Addr<LightningConnection>> {
        self.list.iter().map(|connection| &connection.address)
    }
}

impl Connection {
    fn new(address: Addr<LightningConnection>) -> Self {
        Self {
            address,
            intensity: Intensity::default(),
        }
    }
}

impl Supervisor {
    /// A connection with room for one more run, a new one if need be.
    pub(super) fn connection_with_room(&mut self, ctx: &mut Context<Self>) -> ConnectionIndex {
        let mut runs = vec![0; self.connections.list.len()];
        for run in self.runs.values() {
            runs[run.connection.0] += 1;
        }
        if let Some(index) = runs.iter().position(|runs| *runs < RUNS_PER_CONNECTION) {
            return ConnectionIndex(index);
        }
        let index = ConnectionIndex(self.connections.list.len());
        let heartbeats = self.connections.heartbeats.clone();
        match start(&Arc::clone(&self.config), index, &heartbeats, ctx) {
            Ok(address) => {
                event!(
                    table::LIGHTNING_CONNECTION_ADDED, connection = index.0 + 1;
                    "connection {} to Lightning is opened for further runs",
                    index.0 + 1
                );
                self.connections.list.push(Connection::new(address));
                index
            }
            Err(error) => {
                // The server will refuse the run's join until another run has left, and it is tried again.
                let error = with_causes(&error);
                event!(table::LIGHTNING_CONNECTION_FAILED, error = error; "a further connection cannot be opened: {error}");
                WITH_QUEUE
            }
        }
    }

    fn connection_ended(
        &mut self,
        index: ConnectionIndex,
        ended: &ActorEnd,
        ctx: &mut Context<Self>,
    ) {
        let wait = self.connections.list[index.0]
            .intensity
            .died(Instant::now());
        let Some(wait) = self.death(
            WatchedActor::Connection,
            "the Lightning connection",
            None,
            ended,
            wait,
            ctx,
        ) else {
            return;
        };
        ctx.run_later(wait, move |this, ctx| {
            let heartbeats = this.connections.heartbeats.clone();
            match start(&Arc::clone(&this.config), index, &heartbeats, ctx) {
                Ok(address) => this.connection_replaced(index, address),
                Err(error) => this.finish(Exit::GaveUp(with_causes(&error))),
            }
        });
    }

    fn connection_replaced(&mut self, index: ConnectionIndex, address: Addr<LightningConnection>) {
        let message = ConnectionReplaced {
            connection: address.clone(),
        };
        self.connections.list[index.0].address = address;
        if index == WITH_QUEUE {
            for group in self.groups.values() {
                group.address.tell(message.clone());
            }
        }
        for run in self.runs.values().filter(|run| run.connection == index) {
            run.address.tell(message.clone());
        }
    }
}

fn start(
    config: &Config,
    index: ConnectionIndex,
    heartbeats: &AnswersHeartbeats,
    ctx: &mut Context<Supervisor>,
) -> Result<Addr<LightningConnection>, TlsError> {
    let join = (index == WITH_QUEUE).then(|| QueueJoin {
        capacity: config.capacity(),
        queues: queues_by_group(&config.workloops),
    });
    let (lightning, identity) = (config.lightning.clone(), config.identity.clone());
    let connection = LightningConnection::new(
        lightning,
        identity,
        join,
        config.metrics.clone(),
        heartbeats.clone(),
    )?;
    Ok(start_watched(
        connection,
        ctx,
        move |ended, this: &mut Supervisor, ctx| this.connection_ended(index, &ended, ctx),
    ))
}
