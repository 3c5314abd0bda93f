//! What is wrong with a configuration. All of it is reported at once.

use std::fmt;

use super::layers::{Given, Source};
use super::setting::Setting;

/// One thing that is wrong, with the option or variable and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingProblem(String);

impl SettingProblem {
    /// A problem that no single value causes.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A value that was given and cannot be used. `why` says what it should be.
    pub(crate) fn bad_value(setting: &Setting, given: &Given, why: &str) -> Self {
        let origin = given.source.of(setting);
        if setting.secret {
            return Self(format!("{origin}: {why}"));
        }
        Self(format!(
            "{origin}: {:?} {why}",
            shortened(&given.texts.join(","))
        ))
    }
}

/// The beginning of a long text: a page of base64 helps nobody, and may be a key that was meant to be kept secret.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Source {
    /// Where a value of `setting` came from, as an operator would look for it.
    fn of(self, setting: &Setting) -> String {
        match self {
            Self::Flag => format!("--{}", setting.key),
            Self::Env(variable) => variable.to_owned(),
            Self::File => format!("`{}` in the configuration file", setting.key),
            Self::Default => format!("default of --{}", setting.key),
        }
    }
}
