//! Turns given texts into values, one setting after the other, and remembers what was wrong and what counts in the end.

use super::layers::{Given, Layers, Source};
use super::problem::SettingProblem;
use super::setting::{Setting, ValueKind};
use super::values::{self, ValueError};

/// What counts for a setting, as `ws-worker config` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Key of the setting.
    pub key: &'static str,
    /// The value as TOML, `"***"` for a secret; `None` when the setting is unset.
    pub value: Option<String>,
    /// Where it came from.
    pub source: Source,
}

/// Reads settings out of the layers.
pub(crate) struct Resolver {
    layers: Layers,
    problems: Vec<SettingProblem>,
    effective: Vec<Effective>,
}

impl Resolver {
    pub(crate) fn new(layers: Layers) -> Self {
        Self {
            layers,
            problems: Vec::new(),
            effective: Vec::new(),
        }
    }

    /// What was given for a setting, for rules that look at several settings.
    pub(crate) fn given(&self, setting: &Setting) -> Option<Given> {
        self.layers.get(setting)
    }

    /// A setting that always has a value. When the one given is wrong, that is noted and the default stands in, so that
    /// the settings after it are looked at as well.
    pub(crate) fn required<T>(
        &mut self,
        setting: &Setting,
        read: impl Fn(&str) -> Result<T, ValueError>,
    ) -> T {
        if let Some(value) = self.optional(setting, &read) {
            return value;
        }
        let default = setting.default.expect("a required setting has a default");
        read(default).expect("the default of a setting can be read")
    }

    /// A setting that may be unset; `None` also when the value given is wrong, which is noted.
    pub(crate) fn optional<T>(
        &mut self,
        setting: &Setting,
        read: impl Fn(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        let Some(given) = self.layers.get(setting) else {
            self.unset(setting);
            return None;
        };
        match read(given.text()) {
            Ok(value) => {
                self.counts(setting, &given);
                Some(value)
            }
            Err(why) => {
                self.problems
                    .push(SettingProblem::bad_value(setting, &given, &why.to_string()));
                None
            }
        }
    }

    /// A setting that is on or off.
    pub(crate) fn switch(&mut self, setting: &Setting) -> bool {
        self.required(setting, values::switch)
    }

    /// A setting of any number of texts.
    pub(crate) fn list(&mut self, setting: &Setting) -> Vec<String> {
        let Some(given) = self.layers.get(setting) else {
            self.unset(setting);
            return Vec::new();
        };
        self.counts(setting, &given);
        given.texts
    }

    /// Notes a problem.
    pub(crate) fn problem(&mut self, problem: SettingProblem) {
        self.problems.push(problem);
    }

    /// Notes what counts for a setting, for rules that decide it from several.
    pub(crate) fn counts(&mut self, setting: &Setting, given: &Given) {
        let value = Some(if setting.secret {
            toml_text("***")
        } else {
            shown(setting, &given.texts)
        });
        self.effective.push(Effective {
            key: setting.key,
            value,
            source: given.source,
        });
    }

    fn unset(&mut self, setting: &Setting) {
        self.effective.push(Effective {
            key: setting.key,
            value: None,
            source: Source::Default,
        });
    }

    /// What was found out: everything that counts, and everything that is wrong.
    pub(crate) fn finish(self) -> (Vec<Effective>, Vec<SettingProblem>) {
        (self.effective, self.problems)
    }
}

/// Texts as they would stand in the file.
fn shown(setting: &Setting, texts: &[String]) -> String {
    let text = texts.last().map_or("", String::as_str);
    match setting.kind {
        ValueKind::List => {
            let texts: Vec<String> = texts.iter().map(|text| toml_text(text)).collect();
            format!("[{}]", texts.join(", "))
        }
        ValueKind::Switch => {
            values::switch(text).map_or_else(|_| toml_text(text), |on| on.to_string())
        }
        ValueKind::Text if is_number(text) => text.to_owned(),
        ValueKind::Text => toml_text(text),
    }
}

/// Whether it is a number as TOML writes it, so that it can stand in the file without quotes.
fn is_number(text: &str) -> bool {
    let whole = text.parse::<u64>().map(|number| number.to_string());
    let fraction = text.parse::<f64>().map(|number| number.to_string());
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain && (whole.is_ok_and(|again| again == text) || fraction.is_ok_and(|again| again == text))
}

fn toml_text(text: &str) -> String {
    toml::Value::from(text).to_string()
}
