//! The state that all sockets and the HTTP API share, behind one lock, and the ways to wait for a change of it.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix::Addr;
use serde_json::Value;
use tokio::sync::watch;

use crate::chaos::Chaos;
use crate::claims::RollBack;
use crate::collections::Collections;
use crate::deflate::Inflated;
use crate::keys::RunKey;
use crate::recorder::Recorder;
use crate::socket::{Socket, ToSocket};
use crate::store::Store;

/// When `work-available` is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announce {
    /// Only when asked for: `POST /run?wakeup`, or `work_available()` of the handle.
    OnRequest,
    /// With each new run.
    Immediately,
    /// After a new run, but at most once per 500 ms and socket, as the real server does.
    Debounced,
}

/// Something that goes wrong with the next push of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The push is handled, the reply is lost.
    LoseReply,
    /// The push is neither handled nor answered.
    Ignore,
    /// The push is not handled; the reply has status `error` and this response.
    Refuse(Value),
    /// The push is not handled; the reply has status `ok` and this response.
    Answer(Value),
    /// The push is not handled; the channel crashes.
    Crash,
    /// The push is handled; the connection is cut instead of a reply.
    CutAfter,
    /// The connection is cut before the push is handled.
    CutBefore,
    /// The push is not handled; the channel is closed in order (`phx_close`).
    Close,
    /// The push is handled; the answer comes this much later.
    Delay(Duration),
    /// The push is handled; the answer comes twice.
    Duplicate,
    /// The push is handled; something that is no frame comes before the answer.
    Garbage,
    /// The push is not handled; all connections are cut, and new ones refused with 503 for this long.
    Away(Duration),
    /// From this push on and for this long the database is away: whatever is pushed on a run's channel crashes it.
    DatabaseAway(Duration),
    /// Neither the push nor anything after it is handled for this long; connections stay, and pings are answered.
    Hang(Duration),
}

/// What does not change while the server runs.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) secret: Option<String>,
    pub(crate) quirks: bool,
    pub(crate) announce: Announce,
    pub(crate) grace_seconds: u64,
    pub(crate) channel_limit: usize,
    pub(crate) max_frame_bytes: usize,
    pub(crate) roll_back: RollBack,
    pub(crate) compression: bool,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) rules: Rules,
    pub(crate) key: RunKey,
    pub(crate) store: Store,
    pub(crate) recorder: Recorder,
    pub(crate) collections: Collections,
    pub(crate) sockets: HashMap<u64, Addr<Socket>>,
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

    /// Reads the world.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock())
    }

    /// Sends a message to every open socket.
    pub(crate) fn tell(&self, message: &impl ToSocket) {
        let sockets: Vec<Addr<Socket>> =
            self.read(|world| world.sockets.values().cloned().collect());
        for socket in &sockets {
            message.send_to(socket);
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
