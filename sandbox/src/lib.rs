//! Starts a program confined to what it was given, and ends it with all that it has started.
//!
//! ```text
//! Spec ──spawn──▶ Confined ─┬─ Control   kill, limit, measure
//!                           ├─ Sockets   commands and events, as descriptors 3 and 4 of the process
//!                           ├─ stdout, stderr
//!                           └─ Reaper    waits for the end, ends what is left of its group, removes the private folder
//! ```
//!
//! [`output`] does all of it for a program that is only waited for. Nothing here knows what a program does: engine children,
//! npm and the bundler are the same to it.
//!
//! `platform/` has what only one system can do, and `platform/none.rs` does nothing in its place: a port is one file beside
//! these. The only unsafe code is in `pre_exec/` and `egress/linux/sys.rs`.

pub mod egress;
mod error;
mod files;
mod layers;
mod locate;
mod output;
mod platform;
mod pre_exec;
mod private_folder;
mod reaper;
mod spawn;
mod spec;
mod usage;

#[cfg(test)]
mod tests;

pub use self::egress::Egress;
pub use self::error::{Error, Missing, NotFound};
pub use self::files::{Files, Scope};
pub use self::layers::Layer;
pub use self::locate::locate;
pub use self::output::{Output, output};
pub use self::platform::{Cgroups, layers, missing, usage};
pub use self::private_folder::{Root, Swept, sweep};
pub use self::reaper::Reaper;
pub use self::spawn::{Confined, Control, Sockets, spawn};
pub use self::spec::{
    Confinement, Limits, MemoryEnforcement, MemoryGroup, Network, Processes, SandboxMode, Spec,
};
pub use self::usage::{Survey, Usage};

/// The resident size of a process in bytes; `None` when it is gone, or hides it.
#[must_use]
pub fn resident(pid: u32) -> Option<u64> {
    usage(pid)?.resident
}
