//! The signals that the worker heeds.

use std::fmt;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::logging::LogLevel;

/// SIGUSR1 makes the log one step louder.
pub(super) fn louder_on_signal(level: LogLevel) -> std::io::Result<()> {
    let mut usr1 = signal(SignalKind::user_defined1())?;
    actix_rt::spawn(async move {
        while usr1.recv().await.is_some() {
            level.louder("signal");
        }
    });
    Ok(())
}

/// The signals that end the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Terminating {
    Term,
    Int,
}

impl Terminating {
    /// 128 + the signal's number, as a shell reports it.
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Term => 128 + 15,
            Self::Int => 128 + 2,
        }
    }
}

impl fmt::Display for Terminating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Term => "SIGTERM",
            Self::Int => "SIGINT",
        })
    }
}

pub(super) struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn next(&mut self) -> Terminating {
        tokio::select! {
            _ = self.term.recv() => Terminating::Term,
            _ = self.int.recv() => Terminating::Int,
        }
    }
}
