//! Where a program may connect to: everywhere but where the operator does not want it.
//!
//! The program stops in each call that names a destination, by seccomp's user notification, and the worker makes the call in
//! its place when the destination is allowed. What goes through a connection is not looked at, and costs nothing.
#![cfg_attr(
    any(not(target_os = "linux"), feature = "portable"),
    allow(dead_code, reason = "used by the side that is not compiled")
)]

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod linux;
#[cfg(any(not(target_os = "linux"), feature = "portable"))]
mod none;
mod rules;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

#[cfg(all(target_os = "linux", not(feature = "portable")))]
use self::linux as system;
#[cfg(any(not(target_os = "linux"), feature = "portable"))]
use self::none as system;

pub use self::rules::{BadEntry, DENIED, Rule, Rules};
#[cfg(all(test, target_os = "linux", not(feature = "portable")))]
pub(crate) use self::system::Forced;
pub use self::system::missing;
pub(crate) use self::system::{Broker, Entrance, prepare};

/// What a program is denied, and who hears of it.
#[derive(Debug, Clone)]
pub struct Egress {
    /// What is denied.
    pub rules: Arc<Rules>,
    /// Who hears of a refusal.
    pub refused: OnRefusal,
}

/// Hears of the first refusal by each rule, on a thread of the sandbox's: it has to be quick. The program waits meanwhile.
#[derive(Clone)]
pub struct OnRefusal(Arc<dyn Fn(Refusal) + Send + Sync>);

impl OnRefusal {
    /// One that calls this.
    pub fn new(hear: impl Fn(Refusal) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    pub(crate) fn tell(&self, refusal: Refusal) {
        (self.0)(refusal);
    }
}

impl fmt::Debug for OnRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OnRefusal")
    }
}

/// A call that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Where to.
    pub destination: SocketAddr,
    /// Why.
    pub rule: Rule,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { destination, rule } = self;
        write!(
            formatter,
            "a connection to {destination} was refused: --deny-egress {rule}"
        )
    }
}
