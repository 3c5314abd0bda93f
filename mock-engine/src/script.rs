//! One step in QuickJS: a fresh context, the job as a module, promises and timers. Knows nothing of runs or events.

use std::time::Duration;

use rquickjs::promise::PromiseState;
use rquickjs::{
    CatchResultExt as _, CaughtError, Context, Ctx, Function, Module, Object, Runtime, Value,
};

use crate::conditions::{Condition, Conditions};
use crate::control::Control;
use crate::realm::{REALM, message_of};
use crate::step::{StepFault, StepIn, StepOut};

/// Evaluates to a function that sets up a context and returns what the engine does with it.
const PRELUDE: &str = include_str!("prelude.js");

/// Evaluates to functions that say what a thrown value means.
const ERRORS: &str = include_str!("errors.js");

/// Stack of a job; well below the two mebibytes of a thread, so that deep recursion is an error of the job.
const STACK_BYTES: usize = 512 * 1024;

/// A QuickJS runtime: the steps of one run, each in a context of its own. A run that was interrupted leaves work in its
/// runtime's queue, so no other run may have it.
pub(crate) struct Scripts {
    // Before the runtime, which must outlive its functions.
    conditions: Conditions,
    runtime: Runtime,
}

impl Scripts {
    /// # Errors
    /// When QuickJS cannot allocate a runtime.
    pub(crate) fn new() -> rquickjs::Result<Self> {
        let runtime = Runtime::new()?;
        runtime.set_max_stack_size(STACK_BYTES);
        Ok(Self {
            conditions: Conditions::default(),
            runtime,
        })
    }

    /// Prepares for a run: its heap limit, and what interrupts it.
    pub(crate) fn begin(&self, memory_bytes: usize, control: &Control) {
        self.runtime.set_memory_limit(memory_bytes);
        let control = control.clone();
        self.runtime
            .set_interrupt_handler(Some(Box::new(move || control.halted().is_some())));
    }

    /// Compiles the conditions of a plan. Gives the messages of those that do not compile, each with its position.
    pub(crate) fn compile_conditions(
        &mut self,
        conditions: &[&str],
    ) -> Result<Vec<(usize, String)>, StepFault> {
        let context = Context::full(&self.runtime).map_err(|error| engine(&error))?;
        context
            .with(|ctx| self.conditions.compile(&ctx, conditions))
            .map_err(|error| engine(&error))
    }

    /// Carries out one step; `log` gets each line as a JSON array.
    ///
    /// # Errors
    /// [`StepFault`] when the run cannot go on for a reason that is not the job's own error.
    pub(crate) fn step(
        &self,
        step: &StepIn<'_>,
        control: &Control,
        log: impl Fn(String) + 'static,
    ) -> Result<StepOut, StepFault> {
        let context = Context::full(&self.runtime).map_err(|error| engine(&error))?;
        let out = context
            .with(|ctx| {
                Step {
                    ctx: &ctx,
                    conditions: &self.conditions,
                    step,
                    control,
                }
                .run(log)
            })
            .map(|out| {
                let heap_bytes =
                    u64::try_from(self.runtime.memory_usage().malloc_size).unwrap_or(0);
                StepOut { heap_bytes, ..out }
            });
        match control.halted() {
            Some(halt) => Err(StepFault::Halted(halt)),
            None => out,
        }
    }
}

struct Step<'js, 'a> {
    ctx: &'a Ctx<'js>,
    conditions: &'a Conditions,
    step: &'a StepIn<'a>,
    control: &'a Control,
}

impl<'js> Step<'js, '_> {
    fn run(&self, log: impl Fn(String) + 'static) -> Result<StepOut, StepFault> {
        let api = self
            .set_up(log)
            .catch(self.ctx)
            .map_err(|error| self.fault(&error))?;
        match self.step.source {
            None => self.call::<()>(&api, "pass", (self.step.input,))?,
            Some(source) => {
                if let Err(thrown) = self.execute(&api, source) {
                    if is_out_of_memory(&thrown, source) {
                        return Err(StepFault::OutOfMemory);
                    }
                    self.call::<()>(&api, "failed", (self.errors()?, thrown))?;
                }
            }
        }
        if let Some(limit) = self.step.state_limit_bytes
            && let Some(text) = self.call::<Option<String>>(&api, "measured", ())?
            && text.len() as u64 > limit
        {
            return Err(StepFault::StateTooLarge);
        }
        if self.step.source.is_some() {
            self.call::<()>(&api, "finish", (self.step.props_to_remove,))?;
        }
        let error = self.call(&api, "report", (self.step.id,))?;
        let mut followed = Vec::new();
        for (index, (_, condition)) in self.step.edges.iter().enumerate() {
            if self.holds(&api, *condition)? {
                followed.push(index);
            }
        }
        Ok(StepOut {
            state: self.call(&api, "text", ())?,
            error,
            followed,
            webhook_response: self.call(&api, "webhookResponse", ())?,
            state_error: self.call(&api, "writtenError", (self.step.id,))?,
            heap_bytes: 0,
        })
    }

    fn errors(&self) -> Result<Object<'js>, StepFault> {
        let errors = self.ctx.eval(ERRORS).catch(self.ctx);
        errors.map_err(|error| self.fault(&error))
    }

    fn set_up(&self, log: impl Fn(String) + 'static) -> rquickjs::Result<Object<'js>> {
        self.ctx.eval::<(), _>(REALM)?;
        let host = Object::new(self.ctx.clone())?;
        host.set("sanitize", self.step.sanitize)?;
        host.set(
            "log",
            Function::new(self.ctx.clone(), move |line: String| log(line)),
        )?;
        let began = std::time::Instant::now();
        host.set(
            "now",
            Function::new(self.ctx.clone(), move || {
                began.elapsed().as_secs_f64() * 1000.0
            }),
        )?;
        let api: Object<'js> = self.ctx.eval::<Function<'js>, _>(PRELUDE)?.call((host,))?;
        if self.step.source.is_some() {
            let StepIn {
                input,
                defaults,
                configuration,
                credentials,
                ..
            } = *self.step;
            api.get::<_, Function<'js>>("assemble")?.call::<_, ()>((
                input,
                defaults,
                configuration,
                credentials,
            ))?;
        }
        Ok(api)
    }

    /// Evaluates the job and its operations. The error is whatever value was thrown.
    fn execute(&self, api: &Object<'js>, source: &str) -> Result<(), Value<'js>> {
        if let Some(globals) = self.step.globals
            && let Err(thrown) = self.publish(api, globals)
        {
            return Err(self.reworded("inGlobals", thrown)?);
        }
        let module = match self.caught(Module::declare(self.ctx.clone(), "job", source)) {
            Ok(module) => module,
            Err(thrown) => return Err(self.reworded("unparsed", thrown)?),
        };
        let (module, evaluated) = self.caught(module.eval())?;
        self.settle(api, &evaluated)?;
        let exported = self.caught(module.namespace())?;
        // Looked up before the call, so that a job that replaces globals cannot reach it.
        let execute: Function<'js> = self.caught(api.get("execute"))?;
        let done: rquickjs::Promise<'js> = self.caught(execute.call((exported,)))?;
        self.settle(api, &done)
    }

    fn reworded(&self, how: &str, thrown: Value<'js>) -> Result<Value<'js>, Value<'js>> {
        let errors: Object<'js> = self.caught(self.ctx.eval(ERRORS))?;
        let reword: Function<'js> = self.caught(errors.get(how))?;
        self.caught(reword.call((thrown,)))
    }

    fn publish(&self, api: &Object<'js>, globals: &str) -> Result<(), Value<'js>> {
        let module = self.caught(Module::declare(self.ctx.clone(), "globals", globals))?;
        let (module, evaluated) = self.caught(module.eval())?;
        self.settle(api, &evaluated)?;
        let exported = self.caught(module.namespace())?;
        let publish: Function<'js> = self.caught(api.get("publish"))?;
        self.caught(publish.call::<_, ()>((exported,)))
    }

    /// Runs jobs and timers until the promise is settled or the run is halted.
    fn settle(
        &self,
        api: &Object<'js>,
        promise: &rquickjs::Promise<'js>,
    ) -> Result<(), Value<'js>> {
        let until_timer: Function<'js> = self.caught(api.get("untilTimer"))?;
        let fire_timers: Function<'js> = self.caught(api.get("fireTimers"))?;
        loop {
            while self.ctx.execute_pending_job() {
                if self.control.halted().is_some() {
                    return Err(Value::new_undefined(self.ctx.clone()));
                }
            }
            if promise.state() != PromiseState::Pending {
                return match promise.result::<Value<'js>>() {
                    Some(result) => self.caught(result).map(|_| ()),
                    None => Ok(()),
                };
            }
            let wait: Option<f64> = self.caught(until_timer.call(()))?;
            // Without a timer nothing can settle it any more: a job that waits for ever is stopped by its time limit.
            let wait = wait.map(|millis| Duration::from_secs_f64(millis.clamp(0.0, 1e12) / 1000.0));
            if self.control.pause(wait).is_err() {
                return Err(Value::new_undefined(self.ctx.clone()));
            }
            self.caught(fire_timers.call::<_, ()>(()))?;
        }
    }

    fn holds(&self, api: &Object<'js>, condition: Condition<'_>) -> Result<bool, StepFault> {
        match condition {
            Condition::Always => Ok(true),
            Condition::Never => Ok(false),
            Condition::OnSuccess => Ok(!self.call::<bool>(api, "hasError", (self.step.id,))?),
            Condition::OnFailure => self.call(api, "hasError", (self.step.id,)),
            Condition::Expression(text) => {
                let evaluate = || -> rquickjs::Result<bool> {
                    let state: Value<'js> = api.get::<_, Function<'js>>("state")?.call(())?;
                    let held = self.conditions.call(self.ctx, text, state, self.step.id)?;
                    api.get::<_, Function<'js>>("isTruthy")?.call((held,))
                };
                self.caught(evaluate())
                    .map_err(|thrown| self.edge_fault(thrown))
            }
        }
    }

    /// A condition that threw. The runtime reads the message of whatever it was, and of nothing it cannot.
    fn edge_fault(&self, thrown: Value<'js>) -> StepFault {
        if let Some(halt) = self.control.halted() {
            return StepFault::Halted(halt);
        }
        let nothing = match () {
            () if thrown.is_null() => Some("null"),
            () if thrown.is_undefined() => Some("undefined"),
            () => None,
        };
        if let Some(nothing) = nothing {
            let message = format!("Cannot read properties of {nothing} (reading 'message')");
            return StepFault::Thrown("TypeError".to_owned(), message);
        }
        match self
            .errors()
            .and_then(|errors| self.call(&errors, "messageOf", (thrown,)))
        {
            Ok(message) => StepFault::Edge(message),
            Err(fault) => fault,
        }
    }

    fn call<R: rquickjs::FromJs<'js>>(
        &self,
        api: &Object<'js>,
        name: &str,
        args: impl rquickjs::function::IntoArgs<'js>,
    ) -> Result<R, StepFault> {
        let call = || -> rquickjs::Result<R> { api.get::<_, Function<'js>>(name)?.call(args) };
        call().catch(self.ctx).map_err(|error| self.fault(&error))
    }

    fn fault(&self, error: &CaughtError<'js>) -> StepFault {
        if let Some(halt) = self.control.halted() {
            return StepFault::Halted(halt);
        }
        let message = message_of(error);
        if message.contains("out of memory") {
            return StepFault::OutOfMemory;
        }
        match error {
            CaughtError::Error(_) => StepFault::Engine(message),
            CaughtError::Exception(exception) => {
                let name = exception.as_object().get("name");
                StepFault::Thrown(name.unwrap_or_else(|_| "ERROR".to_owned()), message)
            }
            CaughtError::Value(_) => StepFault::Thrown("ERROR".to_owned(), message),
        }
    }

    fn caught<T>(&self, result: rquickjs::Result<T>) -> Result<T, Value<'js>> {
        result.map_err(|error| {
            if error.is_exception() {
                return self.ctx.catch();
            }
            // Not thrown by JavaScript: an import that nobody resolves, for one.
            let message = error.to_string();
            match rquickjs::Exception::from_message(self.ctx.clone(), &message) {
                Ok(exception) => exception.into_value(),
                Err(_) => Value::new_undefined(self.ctx.clone()),
            }
        })
    }
}

/// QuickJS throws null when there is not even memory for the error. A job may throw null too, but not without a word
/// that throws.
fn is_out_of_memory(thrown: &Value<'_>, source: &str) -> bool {
    let throws = || source.contains("throw") || source.contains("reject");
    match thrown.as_exception().and_then(rquickjs::Exception::message) {
        Some(message) => message == "out of memory",
        None => thrown.is_null() && !throws(),
    }
}

fn engine(error: &rquickjs::Error) -> StepFault {
    if matches!(error, rquickjs::Error::Allocation) {
        return StepFault::OutOfMemory;
    }
    StepFault::Engine(error.to_string())
}
