//! The state that all sockets and the HTTP API share, behind one lock, and the ways to wait for a change of it.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix::Recipient;
use serde_json::Value;
use tokio::sync::watch;

use crate::chaos::Chaos;
use crate::collections::Collections;
use crate::fault::Fault;
use crate::keys::RunKey;
use crate::messages::ToSocket;
use crate::recorder::Recorder;
use crate::rules::Rules;
use crate::store::Store;

/// What was received compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inflated {
    /// How many messages came compressed.
    pub messages: u64,
    /// Their bytes on the wire.
    pub sent_bytes: u64,
    /// Their bytes as they were meant.
    pub bytes: u64,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) rules: Rules,
    pub(crate) key: RunKey,
    pub(crate) store: Store,
    pub(crate) recorder: Recorder,
    pub(crate) collections: Collections,
    pub(crate) sockets: HashMap<u64, Recipient<ToSocket>>,
    pub(crate) last_socket: u64,
    /// Event name and what goes wrong with its next push, in order.
    pub(crate) faults: Vec<(String, Fault)>,
    pub(crate) chaos: Chaos,
    /// Until then, in microseconds since the epoch, the server lets nobody in.
    pub(crate) away_until: u64,
    /// The same of the database alone.
    pub(crate) database_away_until: u64,
    /// Until then, in microseconds since the epoch, the server takes frames and does nothing with them.
    pub(crate) hung_until: u64,
    /// Claimed runs whose channel must be joined by then, in microseconds since the epoch.
    pub(crate) unjoined: Vec<(u64, String)>,
    pub(crate) inflated: Inflated,
}

impl World {
    /// The first planned fault of this event, which is thereby used up, else what the chaos rules say.
    pub(crate) fn take_fault(&mut self, event: &str, payload: &Value) -> Option<Fault> {
        match self.faults.iter().position(|(name, _)| name == event) {
            Some(place) => Some(self.faults.remove(place).1),
            None => self.chaos.strike(event, payload),
        }
    }

    /// The database is away for this long.
    pub(crate) fn lose_database(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.database_away_until = now().saturating_add(micros);
    }

    /// Lets nobody in for this long; who is connected stays.
    pub(crate) fn go_away(&mut self, time: Duration) {
        self.away_until = after(time);
    }

    /// Handles nothing for this long: the application hangs, while what is before it answers pings.
    pub(crate) fn hang(&mut self, time: Duration) {
        self.hung_until = after(time);
    }
}

/// The world and its waiters. Sockets live on several threads and tests on others, so a lock it is; nobody awaits while
/// holding it.
#[derive(Debug)]
pub(crate) struct Shared {
    world: Mutex<World>,
    changed: Condvar,
    version: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn new(world: World) -> Arc<Self> {
        Arc::new(Self {
            world: Mutex::new(world),
            changed: Condvar::new(),
            version: watch::Sender::new(0),
        })
    }

    /// Reads or changes the world; whoever waits looks again afterwards.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let result = act(&mut self.lock());
        self.changed.notify_all();
        self.version.send_modify(|version| *version += 1);
        result
    }

    /// Reads the world; nobody who waits is woken.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock())
    }

    /// Sends a message to every open socket.
    #[expect(
        clippy::disallowed_methods,
        reason = "a socket that has just been closed hears nothing, as over a network"
    )]
    pub(crate) fn tell(&self, message: &ToSocket) {
        let sockets: Vec<Recipient<ToSocket>> =
            self.read(|world| world.sockets.values().cloned().collect());
        for socket in &sockets {
            socket.do_send(message.clone());
        }
    }

    /// Blocks until `look` finds something; `None` if the deadline comes first.
    pub(crate) fn wait_blocking<T>(
        &self,
        deadline: Instant,
        mut look: impl FnMut(&World) -> Option<T>,
    ) -> Option<T> {
        let mut world = self.lock();
        loop {
            if let Some(found) = look(&world) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            (world, _) = self
                .changed
                .wait_timeout(world, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The same without blocking the thread.
    pub(crate) async fn wait<T>(
        &self,
        deadline: Instant,
        mut look: impl FnMut(&World) -> Option<T>,
    ) -> Option<T> {
        let mut version = self.version.subscribe();
        loop {
            if let Some(found) = self.read(&mut look) {
                return Some(found);
            }
            // The sender lives as long as `self`, so only the deadline ends the wait without a change.
            tokio::time::timeout_at(deadline.into(), version.changed())
                .await
                .ok()?
                .ok()?;
        }
    }

    /// A panic of another thread in mid-change spoils a test run anyway; its message should be the one that is read.
    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Microseconds since the epoch, when this time will have passed.
fn after(time: Duration) -> u64 {
    now().saturating_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// Microseconds since the epoch.
pub(crate) fn now() -> u64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}
