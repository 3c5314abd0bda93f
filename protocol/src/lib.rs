//! What the worker and Lightning, and the worker and its engine children, say to each other.
//!
//! Types and rules only: no I/O, no actors, no clock, no environment. "Protocol spec" in the comments is
//! `docs/spec/lightning-protocol.md`, "engine spec" is `docs/spec/engine.md`.

#![forbid(unsafe_code)]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod backoff;
pub mod engine;
pub mod ids;
pub mod js;
pub mod lightning;
pub mod logs;
pub mod phoenix;
pub mod plan;
pub mod reasons;
pub mod recording;
pub mod size;
pub mod token;
pub mod versions;
pub mod words;
pub mod workloop;
