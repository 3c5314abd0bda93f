//! Recursing over a text without overflowing the stack.

use std::{
    panic::{self, AssertUnwindSafe},
    thread,
};

use crate::{nesting, source::to_u32};

/// The most levels of nesting that are read. A level is a bracket, an operator, a member or a
/// statement inside another; real jobs have some dozens, and the reference overflows its stack at
/// about as many.
pub const MAX_DEPTH: u32 = 5_000;

/// Stack of the thread for deeply nested texts: several times what [`MAX_DEPTH`] levels were
/// measured to need (4 KiB a level optimised). Only what is used is ever touched.
const DEEP_STACK_BYTES: usize = if cfg!(debug_assertions) {
    512 << 20
} else {
    64 << 20
};

/// Levels up to which a text is read on the caller's stack, which needs about 1 MiB for it.
const SHALLOW_DEPTH: u32 = if cfg!(debug_assertions) { 24 } else { 128 };

/// How much of a text the parser may read again because an opening bracket can begin parameters:
/// some seconds' worth, and far more than any real text asks for.
const MAX_REREADING: u64 = 50_000_000;

/// Why a text was not read.
#[derive(Debug)]
pub(crate) enum StackError {
    /// It nests more deeply than [`MAX_DEPTH`], or so it must be feared.
    TooDeep,
    /// It is long and has a malformed escape, whose backslash is at this offset.
    BadEscape(u32),
    /// The host gave no thread, or the reading panicked, which it must not: a job is never a reason
    /// for more to fail than its own run.
    Failed(String),
}

/// Runs `read`, which recurses as deeply as `text` nests, on a stack that is large enough.
pub(crate) fn with_stack_for<T: Send>(
    text: &str,
    read: impl FnOnce() -> T + Send,
) -> Result<T, StackError> {
    let nesting = nesting::measure(text);
    // A text has no more levels than bytes, however it is read.
    let depth = nesting.depth.min(to_u32(text.len()));
    if let (true, Some(offset)) = (depth > MAX_DEPTH, nesting.bad_escape) {
        return Err(StackError::BadEscape(offset));
    }
    if depth > MAX_DEPTH || nesting.rereading > MAX_REREADING {
        return Err(StackError::TooDeep);
    }
    let panicked = |_| StackError::Failed("the compiler panicked".to_owned());
    if depth <= SHALLOW_DEPTH {
        // What a panic leaves behind is dropped here, so nobody sees it half done.
        return panic::catch_unwind(AssertUnwindSafe(read)).map_err(panicked);
    }
    thread::scope(|scope| {
        thread::Builder::new()
            .name("compile".to_owned())
            .stack_size(DEEP_STACK_BYTES)
            .spawn_scoped(scope, read)
            .map_err(|error| {
                StackError::Failed(format!("no thread for a deeply nested text: {error}"))
            })?
            .join()
            .map_err(panicked)
    })
}
