//! Error reports to Sentry: lines of the log that the reference would report, with the lines that led there.
//!
//! A report holds what the log holds, without secrets, and never a dataclip: those are in no line of the log.

mod transport;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use actors::config::Secret;
use log::{Level, Record};
use sentry::protocol::{Breadcrumb, Event};
use sentry::{Client, ClientOptions, Transport};

use self::transport::SentryTransport;
use super::line;
use super::scrub::Scrubber;

/// Lines that are remembered for all runs together.
const REMEMBERED: usize = 500;

/// Lines that accompany a report.
const BREADCRUMBS: usize = 30;

/// Longest line, in characters.
const LONGEST: usize = 500;

/// The same place in the code is reported once in this time: a worker that is offline for a night says so each half minute.
const QUIET: Duration = Duration::from_secs(60);

/// How long the end of the process waits for reports that are on their way.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where errors are reported.
#[derive(Debug, Clone)]
pub struct ReportSettings {
    /// Sentry's DSN.
    pub dsn: Secret,
    /// The environment named in reports.
    pub environment: String,
    /// Certificates trusted besides the system's.
    pub extra_ca_file: Option<PathBuf>,
}

/// Why errors cannot be reported.
#[derive(Debug, thiserror::Error)]
pub enum BadReports {
    /// The DSN is none.
    #[error("--sentry-dsn / WORKER_SENTRY_DSN is no DSN")]
    Dsn(#[source] sentry::types::ParseDsnError),
    /// The system gives no thread.
    #[error("errors cannot be reported to Sentry")]
    Thread(#[source] std::io::Error),
}

/// Reports lines of the log.
pub(super) struct Reports {
    client: Client,
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    lines: VecDeque<(Option<String>, Breadcrumb)>,
    reported: HashMap<(String, u32), Instant>,
}

impl Reports {
    pub(super) fn start(settings: &ReportSettings) -> Result<Self, BadReports> {
        let dsn = settings.dsn.expose().parse().map_err(BadReports::Dsn)?;
        let transport = SentryTransport::start(&dsn, settings.extra_ca_file.as_deref())
            .map_err(BadReports::Thread)?;
        Ok(Self::sending_by(
            Arc::new(transport),
            dsn,
            &settings.environment,
        ))
    }

    fn sending_by(
        transport: Arc<dyn Transport>,
        dsn: sentry::types::Dsn,
        environment: &str,
    ) -> Self {
        let mut options = ClientOptions::default();
        options.dsn = Some(dsn);
        options.release = Some(format!("ws-worker@{}", crate::VERSION).into());
        options.environment = Some(environment.to_owned().into());
        options.transport = Some(Arc::new(move |_: &ClientOptions| Arc::clone(&transport)));
        let client = Client::from_config(options);
        Self {
            client,
            recent: Mutex::default(),
        }
    }

    /// Whether a line may matter to a later report.
    pub(super) fn takes(level: Level) -> bool {
        level <= Level::Info
    }

    pub(super) fn note(&self, record: &Record<'_>, scrubber: &Scrubber) {
        let run = line::run_id(record);
        let text = record.args().to_string();
        let message: String = scrubber.clean(&text).chars().take(LONGEST).collect();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if is_reported(record) && recent.is_news(record) {
            self.client
                .capture_event(event(record, &run, &message, &recent), None);
        }
        let crumb = Breadcrumb {
            timestamp: SystemTime::now(),
            category: Some(record.target().to_owned()),
            level: level(record.level()),
            message: Some(message),
            ..Breadcrumb::default()
        };
        if recent.lines.len() == REMEMBERED {
            recent.lines.pop_front();
        }
        recent.lines.push_back((run, crumb));
    }

    /// Waits until everything is sent, but not for long.
    pub(super) fn flush(&self) {
        self.client.flush(Some(PATIENCE));
    }
}

impl Recent {
    /// Whether this place has not been reported lately.
    fn is_news(&mut self, record: &Record<'_>) -> bool {
        let place = place(record);
        let now = Instant::now();
        self.reported
            .retain(|_, at| now.duration_since(*at) < QUIET);
        if self.reported.contains_key(&place) {
            return false;
        }
        self.reported.insert(place, now);
        true
    }
}

/// Errors, and what the reference reports although a worker goes on: claims that fail, events that are not answered.
fn is_reported(record: &Record<'_>) -> bool {
    match record.level() {
        Level::Error => true,
        Level::Warn => {
            record.target().starts_with("actors::workloop")
                || record.key_values().get("event".into()).is_some()
        }
        Level::Info | Level::Debug | Level::Trace => false,
    }
}

fn place(record: &Record<'_>) -> (String, u32) {
    (
        record.target().to_owned(),
        record.line().unwrap_or_default(),
    )
}

fn event(
    record: &Record<'_>,
    run: &Option<String>,
    message: &str,
    recent: &Recent,
) -> Event<'static> {
    let mut event = Event {
        message: Some(message.to_owned()),
        level: level(record.level()),
        logger: Some(record.target().to_owned()),
        timestamp: SystemTime::now(),
        // Messages name runs, so that they would make a group each.
        fingerprint: {
            let (target, line) = place(record);
            vec![target.into(), line.to_string().into()].into()
        },
        ..Event::default()
    };
    for key in ["run_id", "workloop", "event"] {
        if let Some(value) = record.key_values().get(key.into()) {
            event.tags.insert(key.to_owned(), value.to_string());
        }
    }
    // Those of the run, and those of no run; a report that is about no run gets the latter only.
    let led_here = recent
        .lines
        .iter()
        .rev()
        .filter(|(other, _)| other.is_none() || other == run)
        .take(BREADCRUMBS)
        .map(|(_, crumb)| crumb.clone());
    let mut led_here: Vec<_> = led_here.collect();
    led_here.reverse();
    event.breadcrumbs = led_here.into();
    event
}

fn level(level: Level) -> sentry::Level {
    match level {
        Level::Error => sentry::Level::Error,
        Level::Warn => sentry::Level::Warning,
        Level::Info => sentry::Level::Info,
        Level::Debug | Level::Trace => sentry::Level::Debug,
    }
}

#[cfg(test)]
mod tests;
