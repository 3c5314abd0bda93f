//! What goes into a step, and what comes out of it.

use super::conditions::Condition;
use super::control::Halt;

/// What a step starts from; every text is JSON.
#[derive(Debug, Default)]
pub(super) struct StepIn<'a> {
    /// The job's id.
    pub(super) id: &'a str,
    /// Its source; `None` hands the input on.
    pub(super) source: Option<&'a str>,
    pub(super) input: Option<&'a str>,
    pub(super) defaults: Option<&'a str>,
    pub(super) configuration: Option<&'a str>,
    pub(super) credentials: Option<&'a str>,
    /// Module source; each of its exports is a global of the step.
    pub(super) globals: Option<&'a str>,
    /// How log lines are sanitised (engine spec, section 4.4).
    pub(super) sanitize: &'a str,
    /// JSON array of the keys that are deleted from the state.
    pub(super) props_to_remove: &'a str,
    /// Largest state; `None` is no limit.
    pub(super) state_limit_bytes: Option<u64>,
    /// What may follow, in order.
    pub(super) edges: &'a [(&'a str, Condition<'a>)],
}

/// How a step went.
#[derive(Debug)]
pub(super) struct StepOut {
    /// JSON text of the state; `None` for a step that returned nothing.
    pub(super) state: Option<String>,
    /// JSON text of the error, if the step had one.
    pub(super) error: Option<String>,
    /// Which of the edges are followed, by position.
    pub(super) followed: Vec<usize>,
    /// JSON text of the state's truthy `webhookResponse`.
    pub(super) webhook_response: Option<String>,
    /// JSON text of name and message of what the state's `errors` say of this job.
    pub(super) state_error: Option<String>,
    /// Heap used at the end.
    pub(super) heap_bytes: u64,
}

/// Why a step has no result.
#[derive(Debug)]
pub(super) enum StepFault {
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
