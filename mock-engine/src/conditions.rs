//! Edge conditions (engine spec, section 1.5): compiled once for a run, in a context that has nothing of its jobs.

use std::collections::HashMap;

use rquickjs::context::EvalOptions;
use rquickjs::{CatchResultExt as _, Ctx, Error, Function, Persistent, Value};

use crate::realm::{REALM, message_of};

/// The mock engine sends no lines but those of jobs.
const CONSOLE: &str = "globalThis.console = Object.freeze({ log() {} });";

/// When an edge is followed (engine spec, section 1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition<'a> {
    Always,
    Never,
    OnSuccess,
    OnFailure,
    Expression(&'a str),
}

impl<'a> Condition<'a> {
    /// Reads a written condition.
    pub(crate) fn written(text: &'a str) -> Self {
        match text {
            "" => Self::Never,
            "always" => Self::Always,
            "on_job_success" | "on_upstream_success" => Self::OnSuccess,
            "on_job_failure" | "on_upstream_fail" => Self::OnFailure,
            expression => Self::Expression(expression),
        }
    }

    /// Whether the state has no say in it.
    pub(crate) fn is_fixed(self) -> bool {
        matches!(self, Self::Always | Self::Never)
    }
}

/// Compiled conditions by their text.
#[derive(Default)]
pub(crate) struct Conditions(HashMap<String, Persistent<Function<'static>>>);

impl Conditions {
    /// Compiles conditions in this context. Gives the messages of those that do not compile, each with its position.
    ///
    /// # Errors
    /// When the context cannot be prepared.
    pub(crate) fn compile(
        &mut self,
        ctx: &Ctx<'_>,
        texts: &[&str],
    ) -> rquickjs::Result<Vec<(usize, String)>> {
        ctx.eval::<(), _>(REALM)?;
        ctx.eval::<(), _>(CONSOLE)?;
        let mut bad = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match compiled(ctx, text).catch(ctx) {
                Ok(condition) => {
                    let condition = Persistent::save(ctx, condition);
                    self.0.insert((*text).to_owned(), condition);
                }
                Err(error) => bad.push((index, message_of(&error))),
            }
        }
        Ok(bad)
    }

    /// What a compiled condition says of a state.
    ///
    /// # Errors
    /// What it throws.
    pub(crate) fn call<'js>(
        &self,
        ctx: &Ctx<'js>,
        text: &str,
        state: Value<'js>,
        upstream: &str,
    ) -> rquickjs::Result<Value<'js>> {
        let condition = self.0.get(text).ok_or(Error::Unknown)?;
        condition.clone().restore(ctx)?.call((state, upstream))
    }
}

/// The runtime puts the text behind `return`, so that it may end with a semicolon and must not begin on a line of its own.
fn compiled<'js>(ctx: &Ctx<'js>, text: &str) -> rquickjs::Result<Function<'js>> {
    let mut options = EvalOptions::default();
    options.strict = false;
    let source = format!("(function (state, upstreamStepId) {{ return {text}\n}})");
    ctx.eval_with_options(source, options)
}
