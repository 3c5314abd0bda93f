//! The settings as flags: clap's definitions are made from the table of settings.
//!
//! clap reads neither the environment nor the defaults: both would count before the file, an empty variable would count as
//! a value, and a wrong one would end the program before the other problems are known.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PathBufValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use crate::settings::layers::{CONFIG_VARIABLE, Environment, FlagValues, Layers};
use crate::settings::setting::{Setting, ValueKind};
use crate::settings::{BadSettings, SettingProblem, Settings, file::FileSettings, resolve, table};

/// What was given on the command line.
#[derive(Debug, Default, Clone)]
pub struct Flags {
    config: Option<PathBuf>,
    values: FlagValues,
}

impl Flags {
    /// Works out the worker's settings from these flags, the environment and the file that they name.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, not only the first.
    pub fn settings(
        self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Settings, BadSettings> {
        match self.inspect(variables) {
            (settings, problems) if problems.is_empty() => Ok(settings),
            (_, problems) => Err(BadSettings(problems)),
        }
    }

    /// As [`Flags::settings`], with defaults in the place of what is wrong.
    pub fn inspect(
        self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> (Settings, Vec<SettingProblem>) {
        let mut problems: Vec<SettingProblem> = Vec::new();
        let environment = Environment::new(variables).unwrap_or_else(|bad| {
            problems.extend(bad);
            Environment::default()
        });
        let file = self.config.or_else(|| {
            environment
                .get(CONFIG_VARIABLE)
                .map(|path| PathBuf::from(path.trim()))
        });
        let file = file.map_or_else(
            || Ok(FileSettings::default()),
            |path| FileSettings::read(&path),
        );
        let file = file.unwrap_or_else(|bad| {
            problems.extend(bad);
            FileSettings::default()
        });
        let layers = Layers {
            flags: self.values,
            environment,
            file,
        };
        let (settings, bad) = resolve(layers, std::env::home_dir().as_deref(), new_worker_id());
        problems.extend(bad);
        (settings, problems)
    }

    /// These flags with others set as well, for a command that decides some itself.
    pub(crate) fn with(
        mut self,
        settings: impl IntoIterator<Item = (&'static Setting, String)>,
    ) -> Self {
        self.values.extend(
            settings
                .into_iter()
                .map(|(setting, text)| (setting.key, vec![text])),
        );
        self
    }

    /// Whether a setting was given on the command line.
    pub(crate) fn has(&self, setting: &Setting) -> bool {
        self.values.contains_key(setting.key)
    }
}

/// Three words with hyphens, as the reference names its workers.
fn new_worker_id() -> String {
    petname::petname(3, "-").unwrap_or_else(|| format!("worker-{}", std::process::id()))
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(PathBufValueParser::new())
            .help(format!(
                "TOML file with settings, see config/worker.toml [env: {CONFIG_VARIABLE}]"
            ));
        table::ALL
            .iter()
            .flat_map(|setting| args(setting))
            .fold(command.arg(config), Command::arg)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one::<PathBuf>("config").cloned();
        for setting in table::ALL {
            if let Some(texts) = texts(setting, matches) {
                self.values.insert(setting.key, texts);
            }
        }
        Ok(())
    }
}

fn texts(setting: &Setting, matches: &ArgMatches) -> Option<Vec<String>> {
    let given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    if setting.kind == ValueKind::Switch && given(&negated(setting)) {
        return Some(vec!["false".to_owned()]);
    }
    given(setting.key).then(|| {
        matches
            .get_many(setting.key)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    })
}

fn negated(setting: &Setting) -> String {
    format!("no-{}", setting.key)
}

/// The flag of a setting, and for a switch the flag that turns it off. `--help` shows the one that changes something.
fn args(setting: &'static Setting) -> Vec<Arg> {
    let arg = Arg::new(setting.key)
        .long(setting.key)
        .aliases(setting.aliases)
        .aliases(
            [setting.key]
                .iter()
                .chain(setting.aliases)
                .filter_map(|flag| camel_case(flag)),
        )
        .value_name(setting.value_name)
        .value_parser(value_parser!(String))
        .help_heading(setting.heading.name())
        .help(help(setting))
        .hide(setting.hidden);
    let arg = match setting.short {
        Some(letter) => arg.short(letter),
        None => arg,
    };
    match setting.kind {
        ValueKind::Text => vec![arg.action(ArgAction::Set).allow_hyphen_values(true)],
        ValueKind::List => vec![arg.action(ArgAction::Append).num_args(1..)],
        ValueKind::Switch => {
            let on_by_default = setting.on_by_default();
            let off = Arg::new(negated(setting))
                .long(negated(setting))
                .action(ArgAction::SetTrue)
                .overrides_with(setting.key)
                .help_heading(setting.heading.name())
                .help(help(setting))
                .hide(setting.hidden || !on_by_default);
            let on = arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .overrides_with(negated(setting))
                .hide(setting.hidden || on_by_default);
            vec![on, off]
        }
    }
}

fn help(setting: &Setting) -> String {
    let mut help = setting.help.to_owned();
    if let Some(variable) = setting.variables.first() {
        help.push_str(&format!(" [env: {variable}]"));
    }
    if let Some(default) = setting.default {
        help.push_str(&format!(" [default: {default}]"));
    }
    help
}

/// The other spelling that the reference's option parser takes: `--repoDir`.
fn camel_case(flag: &str) -> Option<String> {
    let (first, rest) = flag.split_once('-')?;
    let rest = rest.split('-').map(|word| {
        let (initial, tail) = word.split_at(1);
        initial.to_ascii_uppercase() + tail
    });
    Some(first.to_owned() + &rest.collect::<String>())
}
