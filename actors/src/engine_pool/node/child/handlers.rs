//! What the pool tells a child, as events of its machine.

use actix::prelude::*;

use super::EngineChild;
use super::machine::Event;
use super::messages::{Abandon, Preload, Retire, RunOn};
use crate::engine_pool::messages::{Proceed, StopJob};

impl Handler<RunOn> for EngineChild {
    type Result = ();

    fn handle(&mut self, RunOn(request): RunOn, ctx: &mut Self::Context) {
        self.on(Event::Execute(Box::new(request)), ctx);
    }
}

impl Handler<Proceed> for EngineChild {
    type Result = ();

    fn handle(&mut self, message: Proceed, ctx: &mut Self::Context) {
        self.on(Event::Proceed(message.run_id), ctx);
    }
}

impl Handler<StopJob> for EngineChild {
    type Result = ();

    fn handle(&mut self, message: StopJob, ctx: &mut Self::Context) {
        self.on(Event::Stop(message.run_id), ctx);
    }
}

impl Handler<Preload> for EngineChild {
    type Result = ();

    fn handle(&mut self, preload: Preload, ctx: &mut Self::Context) {
        self.on(Event::Preload(preload), ctx);
    }
}

impl Handler<Retire> for EngineChild {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        self.on(Event::Retire, ctx);
    }
}

impl Handler<Abandon> for EngineChild {
    type Result = ();

    fn handle(&mut self, _: Abandon, ctx: &mut Self::Context) {
        // The tasks that read the process hold this actor's address, so that it would outlive its pool, and the process with it.
        self.process = None;
        ctx.stop();
    }
}
