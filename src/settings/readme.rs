//! The options of README.md, and their types in the npm package, are made from the table of settings; these tests keep them so.
//!
//! `UPDATE_README=1 cargo test --lib options_of_the_` writes them anew.

use std::fmt::Write as _;
use std::fs;

use super::setting::{Heading, Setting, ValueKind};
use super::table;

const TYPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/npm/options.d.ts");
const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const BEGIN: &str = "<!-- options: made from src/settings/table.rs -->\n";
const END: &str = "<!-- end of options -->\n";

const HEADINGS: [Heading; 8] = [
    Heading::Lightning,
    Heading::Workloops,
    Heading::Engine,
    Heading::Limits,
    Heading::Logging,
    Heading::Http,
    Heading::Collections,
    Heading::Sentry,
];

#[test]
fn options_of_the_readme_are_those_of_the_code() {
    let text = fs::read_to_string(README).unwrap();
    let (before, rest) = text
        .split_once(BEGIN)
        .expect("README.md marks its options' begin");
    let (options, after) = rest
        .split_once(END)
        .expect("README.md marks its options' end");
    let wanted = options_as_markdown();
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(README, [before, BEGIN, &wanted, END, after].concat()).unwrap();
    } else {
        assert!(
            options == wanted,
            "README.md's options are out of date: UPDATE_README=1 cargo test --lib options_of_the_readme"
        );
    }
}

#[test]
fn options_of_the_npm_package_are_those_of_the_code() {
    let wanted = options_as_types();
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(TYPES, wanted).unwrap();
    } else {
        assert!(
            fs::read_to_string(TYPES).unwrap_or_default() == wanted,
            "npm/options.d.ts is out of date: UPDATE_README=1 cargo test --lib options_of_the_npm_package"
        );
    }
}

#[test]
fn every_shown_setting_has_its_row() {
    let rows = options_as_markdown().matches("| `--").count();
    let shown = table::ALL.iter().filter(|setting| !setting.hidden).count();
    assert_eq!(rows, shown);
}

fn options_as_markdown() -> String {
    let mut text = String::new();
    for heading in HEADINGS {
        let name = heading.name();
        write!(
            text,
            "\n**{name}**\n\n| option | variable | default | |\n| --- | --- | --- | --- |\n"
        )
        .unwrap();
        let settings = table::ALL
            .iter()
            .filter(|setting| setting.heading == heading && !setting.hidden);
        for setting in settings {
            text.push_str(&row(setting));
        }
    }
    text.push('\n');
    text
}

fn row(setting: &Setting) -> String {
    let long = if setting.on_by_default() {
        format!("--no-{}", setting.key)
    } else {
        format!("--{}", setting.key)
    };
    let mut option = if setting.kind == ValueKind::Switch {
        format!("`{long}`")
    } else {
        format!("`{long} {}`", setting.value_name)
    };
    if let Some(letter) = setting.short {
        write!(option, ", `-{letter}`").unwrap();
    }
    let code = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| format!("`{text}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let variables = code(setting.variables);
    let default = match setting.default {
        Some(default) if setting.on_by_default() => format!("{} = `{default}`", setting.key),
        Some(default) => format!("`{default}`"),
        None => String::new(),
    };
    let help = setting.help.replace('*', r"\*").replace('|', r"\|");
    format!("| {option} | {variables} | {default} | {help} |\n")
}

/// The settings as properties of a TypeScript interface, named as JavaScript names things: `repo-dir` is `repoDir`.
fn options_as_types() -> String {
    let mut text = "// Made from src/settings/table.rs by `UPDATE_README=1 cargo test --lib options_of_the_npm_package`.\n\n\
                    /** The settings of the worker. Whatever is not set here counts as for the program: variable, file, default. */\n\
                    export interface Settings {\n"
        .to_owned();
    for setting in table::ALL.iter().filter(|setting| !setting.hidden) {
        let kind = match setting.kind {
            ValueKind::Switch => "boolean",
            ValueKind::Text => "string | number",
            ValueKind::List => "string | readonly string[]",
        };
        let mut about = setting.help.replace("*/", "*\u{200b}/");
        if !about.ends_with('.') {
            about.push('.');
        }
        if let Some(variable) = setting.variables.first() {
            write!(about, " Variable: `{variable}`.").unwrap();
        }
        if let Some(default) = setting.default {
            write!(about, " Default: `{default}`.").unwrap();
        }
        let mut words = setting.key.split('-');
        let mut name = words.next().unwrap_or_default().to_owned();
        for word in words {
            let (initial, rest) = word.split_at(1);
            name.push_str(&initial.to_ascii_uppercase());
            name.push_str(rest);
        }
        write!(text, "  /** {about} */\n  {name}?: {kind};\n").unwrap();
    }
    text.push_str("}\n");
    text
}

#[test]
fn what_the_events_of_the_log_advise_to_set_can_be_set() {
    let keys: Vec<&str> = table::ALL.iter().map(|setting| setting.key).collect();
    let variables: Vec<&str> = table::ALL
        .iter()
        .flat_map(|setting| setting.variables.iter().copied())
        .collect();
    let flag = regex_lite::Regex::new(r"`(?:--(?:no-)?([a-z][a-z-]*)|(WORKER_[A-Z_]+))").unwrap();
    for event in log_events::table::ALL {
        let advice = format!("{} {}", event.meaning, event.action);
        for found in flag.captures_iter(&advice) {
            let name = found.get(1).or(found.get(2)).unwrap().as_str();
            assert!(
                keys.contains(&name) || variables.contains(&name),
                "{}: {name} is no setting",
                event.name
            );
        }
    }
}
