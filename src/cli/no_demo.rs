//! `ws-worker demo` in a build without it, which says so instead of not knowing the word.

use std::ffi::OsString;

use clap::Args;

/// What `demo` would be told: anything, since it only says what is missing.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Ignored.
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub ignored: Vec<OsString>,
}

/// This build has no demo.
#[derive(Debug, thiserror::Error)]
#[error(
    "this build has no demo, which needs a mock Lightning: build with the cargo feature `demo` (an image with `--build-arg FEATURES=demo`)"
)]
pub struct NoDemo;

/// Says what is missing.
///
/// # Errors
///
/// [`NoDemo`], always.
#[expect(
    clippy::unused_async,
    reason = "the demo that stands in its place is awaited"
)]
pub async fn run(
    _: DemoArgs,
    _: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<u8, NoDemo> {
    Err(NoDemo)
}
