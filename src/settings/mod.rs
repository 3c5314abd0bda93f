//! The worker's settings: what exists ([`setting`], `table`), where values come from ([`layers`], [`file`]), and what they
//! mean in the end ([`Settings`]).

mod build;
pub mod file;
mod http;
pub mod layers;
mod nearest;
mod problem;
#[cfg(test)]
mod readme;
mod resolver;
mod sentry;
pub mod setting;
pub(crate) mod table;
mod values;

use std::fmt::Write as _;
use std::path::PathBuf;

use actors::config::{Config, Secret};
use indexmap::IndexMap;
use traces::TraceSettings;

use crate::logging::LogSettings;
use crate::remote::WorkerUrl;

pub use problem::SettingProblem;
pub use resolver::Effective;
use values::ValueError;

pub(crate) use build::resolve;
pub(crate) use file::known;

/// Everything the program was told.
#[derive(Debug)]
pub struct Settings {
    /// What the actors are told.
    pub worker: Config,
    /// The HTTP server.
    pub http: HttpSettings,
    /// The operator's log.
    pub log: LogSettings,
    /// What goes over the wire is recorded, if a file was given.
    pub recording: Option<RecordingSettings>,
    /// Traces are made, if the variables of OpenTelemetry ask for them.
    pub traces: Option<TraceSettings>,
    /// Drain when the Node.js parent has gone.
    pub end_with_parent: bool,
    /// What is not wrong, but worth a line in the log.
    pub warnings: Vec<String>,
    /// What counts, setting by setting.
    pub effective: Vec<Effective>,
}

/// The HTTP server.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Address or host name to listen on.
    pub host: String,
    /// Port to listen on, 0 for any free one.
    pub port: u16,
    /// Asked of every request but those for health, when set.
    pub token: Option<Secret>,
    /// Other workers that the status page shows, asked with the same token.
    pub peers: Vec<WorkerUrl>,
    /// Certificates to trust besides the system's when these are asked.
    pub extra_ca_file: Option<PathBuf>,
}

/// What is recorded, and where.
#[derive(Debug, Clone)]
pub struct RecordingSettings {
    /// The file.
    pub file: PathBuf,
    /// Leave dataclips and log texts in it.
    pub data: bool,
    /// Bytes after which a new file is begun.
    pub most_bytes: u64,
}

impl Settings {
    /// The settings that decide what the worker says to Lightning, as a recording names them: key and text.
    pub(crate) fn recorded(&self) -> IndexMap<String, String> {
        let is_recorded = |key| table::RECORDED.iter().any(|setting| setting.key == key);
        let settings = self.effective.iter().filter(|it| is_recorded(it.key));
        settings
            .filter_map(|it| {
                let value: toml::Value = it.value.as_ref()?.parse().ok()?;
                let text = value.as_str().map(ToOwned::to_owned);
                Some((it.key.to_owned(), text.unwrap_or_else(|| value.to_string())))
            })
            .collect()
    }
}

/// A configuration that cannot be used. Displays every problem, one a line.
#[derive(Debug, thiserror::Error)]
#[error("{}", listed(.0))]
pub struct BadSettings(pub Vec<SettingProblem>);

/// A path as settings have it: a leading `~` is the home directory. The error is the rest of a sentence that begins with
/// the text.
pub(crate) fn path(text: &str) -> Result<std::path::PathBuf, ValueError> {
    values::path(std::env::home_dir().as_deref(), text)
}

fn listed(problems: &[SettingProblem]) -> String {
    let mut text = match problems {
        [_] => "the configuration has a problem:".to_owned(),
        _ => format!("the configuration has {} problems:", problems.len()),
    };
    for problem in problems {
        write!(text, "\n  {problem}").expect("writing to a String does not fail");
    }
    text
}
