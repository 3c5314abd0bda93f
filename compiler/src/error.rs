//! Why a job does not compile.

/// Where in the job an error is: `line` from 1, `column` from 0 in UTF-16 code units.
///
/// Columns count a tab at the start of a line up to the next multiple of four, because that is
/// what users of the reference compiler see (compiler spec, section 13.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 0.
    pub column: u32,
}

/// Why a job does not compile. `Display` gives the message without the step's name:
/// `Unexpected token (2:11)`; [`CompileError::for_step`] puts the name in front.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The text is not an ES module.
    #[error("{text} ({}:{})", at.line, at.column)]
    Syntax {
        /// What is wrong, in the words of the reference's parser.
        text: String,
        /// Where the token or node begins that is at fault.
        at: Position,
    },
    /// `$` is used where it cannot become a function of state.
    #[error("Lazy State Error: {text} ({}:{})", at.line, at.column)]
    LazyState {
        /// What is wrong with the use of `$`.
        text: String,
        /// The arrow function or the `$` expression.
        at: Position,
    },
    /// Brackets, operators or statements are nested so deeply that parsing them could overflow
    /// the stack.
    #[error("the job is nested too deeply: more than {limit} levels (1:0)")]
    TooDeep {
        /// The most levels that are compiled.
        limit: u32,
    },
    /// The source is longer than any real job.
    #[error("the job has {bytes} bytes, more than the limit of {limit} bytes (1:0)")]
    TooLong {
        /// Length of the source in bytes.
        bytes: usize,
        /// The most bytes that are compiled.
        limit: usize,
    },
    /// The source is not text.
    #[error("the job is not valid UTF-8: bad byte at offset {offset} ({}:{})", at.line, at.column)]
    NotUtf8 {
        /// Offset of the first byte that does not belong to a character.
        offset: usize,
        /// The same place as line and column.
        at: Position,
    },
    /// The host had no thread or no stack for a deeply nested job, or the compiler failed.
    #[error("the compiler failed: {text} (1:0)")]
    Internal {
        /// What failed, for a report of a defect in the compiler.
        text: String,
    },
}

impl CompileError {
    /// The `type` that leaves the engine with every compile error (compiler spec, section 13.1).
    pub const TYPE: &'static str = "CompileError";

    /// The severity of every compile error: the run ends with the reason `crash`.
    pub const SEVERITY: &'static str = "crash";

    /// The name of the error that the reference throws for this cause; the engine reports it as
    /// `name` and as `subtype` (compiler spec, section 13.1).
    pub fn name(&self) -> &'static str {
        match self {
            Self::Syntax { .. } | Self::NotUtf8 { .. } => "SyntaxError",
            Self::LazyState { .. } => "LazyStateError",
            Self::TooDeep { .. } | Self::TooLong { .. } => "RangeError",
            Self::Internal { .. } => "Error",
        }
    }

    /// Where in the job the error is, if it is at one place.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Syntax { at, .. } | Self::LazyState { at, .. } | Self::NotUtf8 { at, .. } => {
                Some(*at)
            }
            Self::TooDeep { .. } | Self::TooLong { .. } | Self::Internal { .. } => None,
        }
    }

    /// The message as a run reports it: `<step name, or its id>: <message>`.
    pub fn for_step(&self, name_or_id: &str) -> String {
        format!("{name_or_id}: {self}")
    }
}
