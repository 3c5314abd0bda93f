//! `ws-worker config`: what counts, setting by setting.

use std::fmt::Write as _;

use crate::settings::layers::Source;
use crate::settings::setting::Setting;
use crate::settings::{Effective, Settings, table};

/// The effective configuration as TOML, one setting a line, with where each value came from. Secrets are `***`; a
/// setting that is unset is a comment.
pub fn render(settings: &Settings) -> String {
    let lines: Vec<(String, String)> = table::ALL
        .iter()
        .filter(|setting| !setting.hidden)
        .filter_map(|setting| {
            settings
                .effective
                .iter()
                .find(|effective| effective.key == setting.key)
        })
        .map(|effective| (assignment(effective), origin(effective)))
        .collect();
    let width = lines
        .iter()
        .map(|(assignment, _)| assignment.chars().count())
        .max()
        .unwrap_or(0)
        .min(60);
    let mut text = String::new();
    for (assignment, origin) in lines {
        writeln!(text, "{assignment:width$}  # {origin}")
            .expect("writing to a String does not fail");
    }
    text
}

fn assignment(effective: &Effective) -> String {
    match &effective.value {
        Some(value) => format!("{} = {value}", effective.key),
        None => format!("#{} =", effective.key),
    }
}

fn origin(effective: &Effective) -> String {
    match (effective.source, &effective.value) {
        (Source::Flag, _) => format!("flag --{}", effective.key),
        (Source::Env(variable), _) => format!("env {variable}"),
        (Source::File, _) => "file".to_owned(),
        (Source::Default, Some(_)) => "default".to_owned(),
        (Source::Default, None) => match table::ALL
            .iter()
            .find(|setting| setting.key == effective.key)
        {
            Some(Setting { secret: true, .. }) | None => "unset".to_owned(),
            Some(_) => "default: unset".to_owned(),
        },
    }
}
