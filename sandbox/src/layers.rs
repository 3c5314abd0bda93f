//! What confines programs on this machine, for the operator.

/// One means by which programs are confined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// As operators know it: `Landlock`, `seccomp`.
    pub name: &'static str,
    /// Whether it confines programs here.
    pub is_on: bool,
    /// What it does, or why it does not.
    pub detail: String,
}

impl Layer {
    /// One that does this.
    pub fn on(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name,
            is_on: true,
            detail: detail.into(),
        }
    }

    /// One that does nothing, for this reason.
    pub fn off(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name,
            is_on: false,
            detail: detail.into(),
        }
    }
}
