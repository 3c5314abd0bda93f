//! The four places a value may come from, the first that has one counts: flag, environment, file, default.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::file::FileSettings;
use super::problem::SettingProblem;
use super::setting::{Setting, ValueKind};
use super::table::ALL;

/// The variable that names the configuration file.
pub const CONFIG_VARIABLE: &str = "WORKER_CONFIG";

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag,
    /// This environment variable.
    Env(&'static str),
    /// The configuration file.
    File,
    /// Nobody gave one.
    Default,
}

impl Source {
    /// How near to the operator's hand: a smaller rank goes before a larger one.
    pub(crate) fn rank(self) -> u8 {
        match self {
            Self::Flag => 0,
            Self::Env(_) => 1,
            Self::File => 2,
            Self::Default => 3,
        }
    }
}

/// A value as it was given, before anyone tried to understand it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    /// One text, or any number of a list.
    pub(crate) texts: Vec<String>,
    pub(crate) source: Source,
}

impl Given {
    /// The text of a setting that takes one.
    pub(crate) fn text(&self) -> &str {
        self.texts.last().map_or("", String::as_str)
    }
}

/// The environment variables that settings know of.
#[derive(Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Takes the known variables out of `variables`, such as [`std::env::vars_os`]. Empty ones count as unset.
    ///
    /// # Errors
    ///
    /// Names each known variable that is not UTF-8.
    pub fn new(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Vec<SettingProblem>> {
        let mut known = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| is_known(name)) else {
                continue;
            };
            match value.into_string() {
                Ok(value) if value.is_empty() => {}
                Ok(value) => {
                    known.insert(name.to_owned(), value);
                }
                Err(_) => problems.push(SettingProblem::new(format!("{name}: is not valid UTF-8"))),
            }
        }
        if problems.is_empty() {
            Ok(Self(known))
        } else {
            Err(problems)
        }
    }

    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn is_known(name: &str) -> bool {
    name == CONFIG_VARIABLE
        || ALL.iter().any(|setting| setting.variables.contains(&name))
        || traces::settings::VARIABLES.contains(&name)
}

/// Values given on the command line, by the key of their setting.
pub(crate) type FlagValues = BTreeMap<&'static str, Vec<String>>;

/// All that was given, in the order in which it counts.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    pub(crate) flags: FlagValues,
    pub(crate) environment: Environment,
    pub(crate) file: FileSettings,
}

impl Layers {
    /// The value that counts for a setting, or `None` when nobody gave one and there is no default.
    pub(crate) fn get(&self, setting: &Setting) -> Option<Given> {
        self.flag(setting)
            .or_else(|| self.variable(setting))
            .or_else(|| self.key(setting))
            .or_else(|| default(setting))
    }

    fn flag(&self, setting: &Setting) -> Option<Given> {
        let texts = self.flags.get(setting.key)?;
        Some(given(setting, texts, Source::Flag))
    }

    fn variable(&self, setting: &Setting) -> Option<Given> {
        setting.variables.iter().find_map(|&variable| {
            let text = self.environment.get(variable)?;
            Some(given(setting, &[text.to_owned()], Source::Env(variable)))
        })
    }

    fn key(&self, setting: &Setting) -> Option<Given> {
        Some(given(setting, self.file.get(setting)?, Source::File))
    }
}

fn default(setting: &Setting) -> Option<Given> {
    Some(given(
        setting,
        &[setting.default?.to_owned()],
        Source::Default,
    ))
}

fn given(setting: &Setting, texts: &[String], source: Source) -> Given {
    let texts = match setting.kind {
        ValueKind::Text if setting.verbatim => texts.to_vec(),
        // As a file that holds a value, or `-l ws://host` as one argument, brings it along.
        ValueKind::Text | ValueKind::Switch => {
            texts.iter().map(|text| text.trim().to_owned()).collect()
        }
        ValueKind::List => texts
            .iter()
            .flat_map(|text| text.split(','))
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect(),
    };
    Given { texts, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::table;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::new(
            pairs
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        )
        .unwrap()
    }

    #[test]
    fn a_flag_goes_before_the_environment_before_the_file_before_the_default() {
        let mut layers = Layers::default();
        let look = |layers: &Layers| {
            let given = layers.get(&table::PORT).unwrap();
            (given.text().to_owned(), given.source)
        };
        assert_eq!(look(&layers), ("2222".to_owned(), Source::Default));
        layers.file = FileSettings::parse("port = 1").unwrap();
        assert_eq!(look(&layers), ("1".to_owned(), Source::File));
        layers.environment = environment(&[("WORKER_PORT", "2")]);
        assert_eq!(look(&layers), ("2".to_owned(), Source::Env("WORKER_PORT")));
        layers.flags = BTreeMap::from([("port", vec!["3".to_owned()])]);
        assert_eq!(look(&layers), ("3".to_owned(), Source::Flag));
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let layers = Layers {
            environment: environment(&[("WORKER_PORT", ""), ("WORKER_SECRET", "")]),
            ..Layers::default()
        };
        assert_eq!(layers.get(&table::PORT).unwrap().source, Source::Default);
        assert_eq!(layers.get(&table::SECRET), None);
    }

    #[test]
    fn the_pod_name_stands_in_for_a_missing_worker_name() {
        let name = |pairs: &[(&str, &str)]| {
            let layers = Layers {
                environment: environment(pairs),
                ..Layers::default()
            };
            layers
                .get(&table::NAME)
                .map(|given| given.text().to_owned())
        };
        assert_eq!(
            name(&[("DEPLOYED_POD_NAME", "pod-1")]).as_deref(),
            Some("pod-1")
        );
        assert_eq!(
            name(&[("DEPLOYED_POD_NAME", "pod-1"), ("WORKER_NAME", "w")]).as_deref(),
            Some("w")
        );
        assert_eq!(name(&[]), None);
    }

    #[test]
    fn a_list_is_split_at_commas_wherever_it_comes_from() {
        let expected = ["a", "b", "c"];
        let environment = environment(&[("WORKER_STATE_PROPS_TO_REMOVE", "a, b,,c")]);
        let mut layers = Layers {
            environment,
            ..Layers::default()
        };
        assert_eq!(
            layers.get(&table::STATE_PROPS_TO_REMOVE).unwrap().texts,
            expected
        );
        layers.flags = BTreeMap::from([(
            "state-props-to-remove",
            vec!["a,b".to_owned(), "c".to_owned()],
        )]);
        assert_eq!(
            layers.get(&table::STATE_PROPS_TO_REMOVE).unwrap().texts,
            expected
        );
    }

    #[test]
    fn white_space_around_a_value_is_left_out_unless_it_means_something() {
        let layers = Layers {
            flags: BTreeMap::from([("lightning", vec![" ws://x/worker".to_owned()])]),
            environment: environment(&[
                ("WORKER_CAPACITY", "3\n"),
                ("WORKER_BATCH_LOGS", " true "),
                ("WORKER_SECRET", " s \n"),
            ]),
            ..Layers::default()
        };
        let text = |setting| layers.get(setting).unwrap().text().to_owned();
        assert_eq!(text(&table::LIGHTNING), "ws://x/worker");
        assert_eq!(text(&table::CAPACITY), "3");
        assert_eq!(text(&table::BATCH_LOGS), "true");
        assert_eq!(text(&table::SECRET), " s \n");
    }

    #[cfg(unix)]
    #[test]
    fn a_known_variable_that_is_no_text_is_named() {
        use std::os::unix::ffi::OsStringExt as _;
        let garbage = || OsString::from_vec(vec![0xff]);
        let problems = Environment::new([
            ("WORKER_LOG_LEVEL".into(), garbage()),
            ("LANG".into(), garbage()),
        ])
        .unwrap_err();
        assert_eq!(
            problems,
            [SettingProblem::new("WORKER_LOG_LEVEL: is not valid UTF-8")]
        );
    }
}
