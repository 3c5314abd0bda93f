//! The command line against the table of options that operators know, and the rules on several of them.

mod wrong;

use std::collections::BTreeMap;

use clap::{CommandFactory as _, Parser as _};
use serde::Deserialize;

use super::*;
use crate::settings::file::FileSettings;
use crate::settings::layers::Source;
use crate::settings::{Effective, Settings, table};

/// The base64 of an RSA public key in PEM, made for this test.
const PUBLIC_KEY: &str = include_str!("../fixtures/public_key.txt");

#[derive(Deserialize)]
struct Fixture {
    option: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    key: String,
    flags: Vec<String>,
    variables: Vec<String>,
    default: Option<String>,
    sample: Option<String>,
    shown: String,
}

fn rows() -> Vec<Row> {
    let mut rows = toml::from_str::<Fixture>(include_str!("../fixtures/options.toml"))
        .unwrap()
        .option;
    for row in &mut rows {
        // The fixture stays readable: the key is a page of base64.
        if row.sample.as_deref() == Some("KEY") {
            row.sample = Some(PUBLIC_KEY.trim().to_owned());
            row.shown = format!("{:?}", PUBLIC_KEY.trim());
        }
    }
    rows
}

fn settings(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let cli = Cli::try_parse_from(std::iter::once(&"ws-worker").chain(arguments))
        .unwrap_or_else(|e| panic!("{e}"));
    let Command::Start(flags) = cli.into_command() else {
        panic!("another command than start")
    };
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    flags
        .settings(variables)
        .map_err(|bad| bad.0.iter().map(ToString::to_string).collect())
}

/// Settings of a worker whose secret is of no interest to the test.
fn fine(arguments: &[&str], variables: &[(&str, &str)]) -> Settings {
    let secret = [("WORKER_SECRET", "a-long-secret")];
    settings(arguments, &[&secret, variables].concat())
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn effective(settings: &Settings, key: &str) -> Effective {
    settings
        .effective
        .iter()
        .find(|effective| effective.key == key)
        .unwrap_or_else(|| panic!("no {key}"))
        .clone()
}

#[test]
fn clap_finds_no_fault_with_the_definitions() {
    Cli::command().debug_assert();
}

#[test]
fn every_flag_of_the_table_sets_its_setting() {
    for row in rows() {
        for flag in &row.flags {
            let arguments: Vec<&str> = [flag.as_str()]
                .into_iter()
                .chain(row.sample.as_deref())
                .collect();
            let found = effective(&fine(&arguments, &[]), &row.key);
            assert_eq!(
                (found.value.as_deref(), found.source),
                (Some(row.shown.as_str()), Source::Flag),
                "{flag}"
            );
        }
    }
}

#[test]
fn every_variable_of_the_table_sets_its_setting() {
    for row in rows() {
        for variable in &row.variables {
            let value = row.sample.as_deref().unwrap_or("true");
            let found = effective(&fine(&[], &[(variable, value)]), &row.key);
            assert_eq!(
                found.value.as_deref(),
                Some(row.shown.as_str()),
                "{variable}"
            );
            assert!(
                matches!(found.source, Source::Env(name) if name == variable),
                "{variable}"
            );
        }
    }
}

#[test]
fn every_setting_has_the_default_of_the_table() {
    let settings = settings(&["--debug"], &[]).unwrap();
    for row in rows() {
        let found = effective(&settings, &row.key);
        assert_eq!(
            (found.value, found.source),
            (row.default, Source::Default),
            "{}",
            row.key
        );
    }
}

#[test]
fn help_names_flag_variable_and_default_of_each_option_under_a_heading() {
    let command = Cli::command();
    // What is on by default shows how it is switched off.
    let hidden = [["--loop"], ["--compression"]];
    for row in rows()
        .iter()
        .filter(|row| !hidden.iter().any(|flags| row.flags == *flags))
    {
        let flag = row
            .flags
            .first()
            .map_or("name", |flag| flag.trim_start_matches('-'));
        let arg = command
            .get_arguments()
            .find(|arg| arg.get_long() == Some(flag))
            .unwrap_or_else(|| panic!("no {flag}"));
        let help = arg.get_help().unwrap().to_string();
        assert!(
            !arg.is_hide_set() && arg.get_help_heading().is_some(),
            "{flag}"
        );
        if let Some(variable) = row.variables.first() {
            assert!(
                help.contains(&format!("[env: {variable}]")),
                "{flag}: {help}"
            );
        }
        let setting = table::ALL
            .iter()
            .find(|setting| setting.key == row.key)
            .unwrap();
        if let Some(default) = setting.default {
            assert!(
                help.ends_with(&format!("[default: {default}]")),
                "{flag}: {help}"
            );
        }
    }
}

#[test]
fn help_is_grouped_and_fits_eighty_columns() {
    let help = Cli::command().term_width(80).render_help().to_string();
    for heading in [
        "Lightning:",
        "Workloops:",
        "Engine:",
        "Limits:",
        "Logging:",
        "HTTP:",
        "Collections:",
        "Sentry:",
    ] {
        assert!(help.lines().any(|line| line == heading), "{heading}");
    }
    for line in help.lines().filter(|line| !line.contains("WORKER_")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(!help.contains("--debug"));
}

#[test]
fn the_worker_runs_without_a_command_and_by_its_two_names() {
    for arguments in [
        vec!["ws-worker", "-p", "1"],
        vec!["ws-worker", "start", "-p", "1"],
        vec!["ws-worker", "server", "-p", "1"],
    ] {
        let command = Cli::try_parse_from(&arguments).unwrap().into_command();
        assert!(
            matches!(command, Command::Start(flags) if flags.has(&table::PORT)),
            "{arguments:?}"
        );
    }
}

#[test]
fn spellings_of_the_reference_are_understood() {
    assert_eq!(
        effective(&fine(&["--repoDir", "/x"], &[]), "repo-dir")
            .value
            .as_deref(),
        Some("\"/x\"")
    );
    assert_eq!(
        effective(&fine(&["--batch-logs=true"], &[]), "batch-logs")
            .value
            .as_deref(),
        Some("true")
    );
    assert_eq!(
        effective(
            &fine(&["--no-batch-logs"], &[("WORKER_BATCH_LOGS", "1")]),
            "batch-logs"
        )
        .value
        .as_deref(),
        Some("false")
    );
    assert_eq!(
        effective(&fine(&["--no-loop", "--loop"], &[]), "loop")
            .value
            .as_deref(),
        Some("true")
    );
    assert_eq!(
        effective(&fine(&["--port", "1", "--port=2"], &[]), "port")
            .value
            .as_deref(),
        Some("2")
    );
    let lists = [
        "--state-props-to-remove",
        "a",
        "b",
        "--state-props-to-remove",
        "c",
    ];
    assert_eq!(fine_engine(&lists).state_props_to_remove, ["a", "b", "c"]);
}

fn fine_engine(arguments: &[&str]) -> actors::config::NodeConfig {
    match fine(arguments, &[]).worker.engine {
        actors::config::EngineConfig::Node(config) => config,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_capacity_is_short_for_a_workloop_and_a_nearer_one_replaces_the_workloops_of_the_file() {
    let settings = fine(&["--capacity", "3"], &[]);
    assert_eq!(settings.worker.capacity(), 3);
    assert_eq!(
        effective(&settings, "workloops").value.as_deref(),
        Some("\"manual>*:3\"")
    );
    let settings = fine(&["--workloops", "a:2 *:4"], &[]);
    assert_eq!(effective(&settings, "capacity").value.as_deref(), Some("6"));

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("worker.toml");
    std::fs::write(&file, "workloops = \"a:1\"\nport = 99").unwrap();
    let settings = fine(
        &["--capacity", "3"],
        &[("WORKER_CONFIG", file.to_str().unwrap())],
    );
    assert_eq!((settings.worker.capacity(), settings.http.port), (3, 99));
    assert_eq!(
        fine(&["--config", file.to_str().unwrap()], &[])
            .worker
            .capacity(),
        1
    );
}

#[test]
fn doubtful_workloops_are_warned_of() {
    assert!(fine(&["--workloops", "a>a:1"], &[]).warnings[0].contains("duplicate queue name"));
}

#[test]
fn mock_names_an_endpoint_and_brings_its_secret() {
    let settings = settings(&["-l", "mock"], &[]).unwrap();
    assert_eq!(
        settings.worker.lightning.endpoint,
        "ws://localhost:8888/worker"
    );
    assert_eq!(settings.worker.lightning.secret.expose(), "abdefg");
    assert_eq!(
        fine(&["-l", "mock"], &[]).worker.lightning.secret.expose(),
        "a-long-secret"
    );
}

#[test]
fn a_missing_secret_is_allowed_for_debugging_only() {
    let settings = settings(&["--debug"], &[]).unwrap();
    assert_eq!(settings.worker.lightning.secret.expose(), "<secret>");
    assert!(settings.warnings[0].contains("WORKER_SECRET"));
}

#[test]
fn the_deprecated_socket_timeout_sets_the_message_timeout_unless_that_is_given() {
    let settings = fine(&[], &[("WORKER_SOCKET_TIMEOUT_SECONDS", "7")]);
    assert_eq!(settings.worker.lightning.message_timeout.as_secs(), 7);
    assert_eq!(settings.warnings.len(), 1);
    let settings = fine(
        &["--message-timeout", "9"],
        &[("WORKER_SOCKET_TIMEOUT_SECONDS", "7")],
    );
    assert_eq!(settings.worker.lightning.message_timeout.as_secs(), 9);
}

#[test]
fn no_secret_shows_in_debug_output_or_in_the_effective_configuration() {
    let settings = fine(
        &[
            "--http-token",
            "http-token-text",
            "--dsn",
            "https://dsn-key@sentry.example/1",
        ],
        &[("WORKER_SECRET", "worker-secret-text")],
    );
    for shown in [format!("{settings:?}"), show_config::render(&settings)] {
        for secret in ["worker-secret-text", "http-token-text", "dsn-key"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
    let problems = settings_error(&[("WORKER_SENTRY_DSN", "dsn-key-without-scheme")]);
    assert!(
        !problems.iter().any(|problem| problem.contains("dsn-key")),
        "{problems:?}"
    );
}

fn settings_error(variables: &[(&str, &str)]) -> Vec<String> {
    settings(
        &[],
        &[&[("WORKER_SECRET", "a-long-secret")], variables].concat(),
    )
    .unwrap_err()
}

#[test]
fn the_effective_configuration_is_toml_with_the_origin_of_each_value() {
    let settings = fine(&["-p", "80"], &[("WORKER_LOG_LEVEL", "info")]);
    let text = show_config::render(&settings);
    let line = |key: &str| {
        text.lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_else(|| panic!("no {key} in\n{text}"))
    };
    assert!(line("port = 80 ").ends_with("# flag --port"));
    assert!(line("log = \"info\" ").ends_with("# env WORKER_LOG_LEVEL"));
    assert!(line("backoff = ").ends_with("# default"));
    assert!(line("#monorepo-dir = ").ends_with("# default: unset"));
    text.parse::<toml::Table>().unwrap();
}

#[test]
fn the_example_file_has_every_setting_with_its_default() {
    let example = include_str!("../../../config/worker.toml");
    // Settings are commented out; explanations begin with a blank.
    let text: String = example
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| !rest.starts_with([' ', '#']))
                .unwrap_or("")
        })
        .collect::<Vec<_>>()
        .join("\n");
    let table: toml::Table = text.parse().unwrap();
    FileSettings::parse(&text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let defaults: BTreeMap<_, _> = settings(&["--debug"], &[])
        .unwrap()
        .effective
        .into_iter()
        .map(|effective| (effective.key, effective.value))
        .collect();
    for setting in table::ALL.iter().filter(|setting| !setting.hidden) {
        let value = table
            .get(setting.key)
            .unwrap_or_else(|| panic!("{} is missing", setting.key));
        match &defaults[setting.key] {
            Some(default) => assert_eq!(&value.to_string(), default, "{}", setting.key),
            None => assert!(
                value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty),
                "{} has no default",
                setting.key
            ),
        }
    }
    assert_eq!(
        table.len(),
        table::ALL.iter().filter(|setting| !setting.hidden).count()
    );
}
