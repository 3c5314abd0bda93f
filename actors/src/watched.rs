//! Actors that are watched by their parent: how one ended.
//!
//! actix's own `Supervisor` does not restart after a panic, and keeps the dead instance's fields otherwise. Here a child's
//! context is a task whose end is awaited: it tells a stop, a panic (with its text) and a kill apart.

use std::any::Any;

use actix::dev::ContextFutureSpawner as _;
use actix::prelude::*;

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ActorEnd {
    /// By `ctx.stop()`.
    Stopped,
    Panicked(String),
    Killed,
}

/// Starts `actor` on this arbiter; `on_end` runs in the parent when it has ended, however it did.
pub(crate) fn start_watched<P, A>(
    actor: A,
    parent: &mut Context<P>,
    on_end: impl FnOnce(ActorEnd, &mut P, &mut Context<P>) + 'static,
) -> Addr<A>
where
    P: Actor<Context = Context<P>>,
    A: Actor<Context = Context<A>>,
{
    let context = Context::new();
    let address = context.address();
    let task = actix::spawn(context.into_future(actor));
    actix::fut::wrap_future::<_, P>(task)
        .map(move |joined, this, ctx| {
            let ended = match joined.map_err(tokio::task::JoinError::try_into_panic) {
                Ok(()) => ActorEnd::Stopped,
                Err(Ok(payload)) => ActorEnd::Panicked(panic_text(&*payload)),
                Err(Err(_)) => ActorEnd::Killed,
            };
            on_end(ended, this, ctx);
        })
        .spawn(parent);
    address
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}
