//! The configuration file: TOML, one key a setting, named as the flag.

use std::collections::BTreeMap;
use std::path::Path;

use super::nearest::nearest;
use super::problem::SettingProblem;
use super::setting::{Setting, ValueKind};
use super::table::ALL;

/// What a configuration file says, by setting.
#[derive(Debug, Default)]
pub struct FileSettings(BTreeMap<&'static str, Vec<String>>);

impl FileSettings {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it: unreadable, no TOML, unknown keys with the nearest known one, values of a wrong type.
    pub fn read(path: &Path) -> Result<Self, Vec<SettingProblem>> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            vec![SettingProblem::new(format!(
                "--config / WORKER_CONFIG: cannot read {}: {error}",
                path.display()
            ))]
        })?;
        Self::parse(&text).map_err(|problems| {
            problems
                .into_iter()
                .map(|problem| SettingProblem::new(format!("{}: {problem}", path.display())))
                .collect()
        })
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// As [`FileSettings::read`], without the file's name.
    pub fn parse(text: &str) -> Result<Self, Vec<SettingProblem>> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            vec![SettingProblem::new(error.to_string().trim().to_owned())]
        })?;
        let mut settings = BTreeMap::new();
        let mut problems = Vec::new();
        for (key, value) in table {
            match known(&key).and_then(|setting| Ok((setting.key, texts(setting, value)?))) {
                Ok((key, texts)) => {
                    settings.insert(key, texts);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            Ok(Self(settings))
        } else {
            Err(problems)
        }
    }

    /// The texts given for a setting. An empty text counts as not given, as in the environment.
    pub(crate) fn get(&self, setting: &Setting) -> Option<&[String]> {
        self.0
            .get(setting.key)
            .map(Vec::as_slice)
            .filter(|texts| !matches!(texts, [text] if text.is_empty()))
    }
}

/// The setting with this key, or a problem that names the nearest one.
pub(crate) fn known(key: &str) -> Result<&'static Setting, SettingProblem> {
    let visible = || ALL.iter().copied().filter(|setting| !setting.hidden);
    visible().find(|setting| setting.key == key).ok_or_else(|| {
        let hint = match nearest(key, visible().map(|setting| setting.key)) {
            Some(name) => format!("did you mean `{name}`?"),
            None => {
                "keys are the long flags without their dashes, see config/worker.toml".to_owned()
            }
        };
        SettingProblem::new(format!("unknown key `{key}`: {hint}"))
    })
}

fn texts(setting: &Setting, value: toml::Value) -> Result<Vec<String>, SettingProblem> {
    match (setting.kind, value) {
        (ValueKind::List, toml::Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                toml::Value::String(text) => Ok(text),
                other => Err(wrong_type(setting, &other)),
            })
            .collect(),
        (ValueKind::Text | ValueKind::List, toml::Value::String(text)) => Ok(vec![text]),
        (ValueKind::Switch, toml::Value::Boolean(on)) => Ok(vec![on.to_string()]),
        (ValueKind::Text, toml::Value::Integer(number)) => Ok(vec![number.to_string()]),
        (ValueKind::Text, toml::Value::Float(number)) => Ok(vec![number.to_string()]),
        (_, other) => Err(wrong_type(setting, &other)),
    }
}

fn wrong_type(setting: &Setting, value: &toml::Value) -> SettingProblem {
    let wanted = match setting.kind {
        ValueKind::Text => "a text or a number",
        ValueKind::Switch => "true or false",
        ValueKind::List => "an array of texts",
    };
    SettingProblem::new(format!(
        "`{}` must be {wanted}, not of type {}",
        setting.key,
        value.type_str()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::table;

    fn problems(text: &str) -> Vec<String> {
        FileSettings::parse(text)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn numbers_texts_switches_and_arrays_are_read() {
        let file = FileSettings::parse(
            "port = 80\nbackoff = \"1/2\"\nrun-memory = 0.5\nbatch-logs = true\nstate-props-to-remove = [\"a\", \"b\"]",
        )
        .unwrap();
        assert_eq!(file.get(&table::PORT).unwrap(), ["80"]);
        assert_eq!(file.get(&table::BACKOFF).unwrap(), ["1/2"]);
        assert_eq!(file.get(&table::RUN_MEMORY).unwrap(), ["0.5"]);
        assert_eq!(file.get(&table::BATCH_LOGS).unwrap(), ["true"]);
        assert_eq!(file.get(&table::STATE_PROPS_TO_REMOVE).unwrap(), ["a", "b"]);
        assert_eq!(file.get(&table::SECRET), None);
    }

    #[test]
    fn an_empty_text_is_not_given_but_an_empty_array_is() {
        let file = FileSettings::parse("secret = \"\"\nstate-props-to-remove = []").unwrap();
        assert_eq!(file.get(&table::SECRET), None);
        assert!(file.get(&table::STATE_PROPS_TO_REMOVE).unwrap().is_empty());
    }

    #[test]
    fn every_unknown_key_is_named_with_the_nearest_known_one() {
        let problems = problems("capactiy = 3\nclaim_timeout = 4\ncertificate = 1");
        assert_eq!(problems.len(), 3);
        assert!(
            problems
                .iter()
                .any(|p| p == "unknown key `capactiy`: did you mean `capacity`?"),
            "{problems:?}"
        );
        assert!(
            problems
                .iter()
                .any(|p| p.contains("did you mean `claim-timeout`?")),
            "{problems:?}"
        );
        assert!(
            problems
                .iter()
                .any(|p| p.contains("certificate") && p.contains("config/worker.toml")),
            "{problems:?}"
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused() {
        assert_eq!(
            problems("batch-logs = \"yes\""),
            ["`batch-logs` must be true or false, not of type string"]
        );
        assert_eq!(
            problems("port = [1]"),
            ["`port` must be a text or a number, not of type array"]
        );
        assert_eq!(
            problems("preload-adaptors = [1]"),
            ["`preload-adaptors` must be an array of texts, not of type integer"]
        );
    }

    #[test]
    fn text_that_is_no_toml_is_refused_with_its_line() {
        assert!(problems("port = 1\nhost = ")[0].contains("line 2"));
    }
}
