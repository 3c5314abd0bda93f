//! What goes into a step, and what comes out of it.

use crate::conditions::Condition;
use crate::control::Halt;

/// What a step starts from; every text is JSON.
#[derive(Debug, Default)]
pub(crate) struct StepIn<'a> {
    /// The job's id.
    pub(crate) id: &'a str,
    /// Its source; `None` hands the input on.
    pub(crate) source: Option<&'a str>,
    pub(crate) input: Option<&'a str>,
    pub(crate) defaults: Option<&'a str>,
    pub(crate) configuration: Option<&'a str>,
    pub(crate) credentials: Option<&'a str>,
    /// Module source; each of its exports is a global of the step.
    pub(crate) globals: Option<&'a str>,
    /// How log lines are sanitised (engine spec, section 4.4).
    pub(crate) sanitize: &'a str,
    /// JSON array of the keys that are deleted from the state.
    pub(crate) props_to_remove: &'a str,
    /// Largest state; `None` is no limit.
    pub(crate) state_limit_bytes: Option<u64>,
    /// What may follow, in order.
    pub(crate) edges: &'a [(&'a str, Condition<'a>)],
}

/// How a step went.
#[derive(Debug)]
pub(crate) struct StepOut {
    /// JSON text of the state; `None` for a step that returned nothing.
    pub(crate) state: Option<String>,
    /// JSON text of the error, if the step had one.
    pub(crate) error: Option<String>,
    /// Which of the edges are followed, by position.
    pub(crate) followed: Vec<usize>,
    /// JSON text of the state's truthy `webhookResponse`.
    pub(crate) webhook_response: Option<String>,
    /// JSON text of name and message of what the state's `errors` say of this job.
    pub(crate) state_error: Option<String>,
    /// Heap used at the end.
    pub(crate) heap_bytes: u64,
}

/// Why a step has no result.
#[derive(Debug)]
pub(crate) enum StepFault {
    Halted(Halt),
    OutOfMemory,
    StateTooLarge,
    /// A condition threw; its message.
    Edge(String),
    /// What the runtime does with the state failed: the run crashes with this error's name and message.
    Thrown(String, String),
    /// The engine itself could not go on.
    Engine(String),
}
