//! The operator's log on stdout: text in the manner of the reference, or JSON lines. Set up once by `main`.

mod filter;
mod line;
mod problems;
mod reports;
mod scrub;

use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::Arc;

use actors::config::Secret;

pub use filter::{BadFilter, LogFilter};
pub use line::LogFormat;
pub use problems::{Problem, Problems};
use reports::Reports;
pub use reports::{BadReports, ReportSettings};
use scrub::Scrubber;

/// Says that a line reports a success or must be seen at almost every level: the reference's levels `success` and
/// `always`, which the `log` crate does not have. `log::info!(mark = "success"; "…")`.
pub(crate) const MARK: &str = "mark";

/// How the operator's log looks.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// What is logged.
    pub filter: LogFilter,
    /// How a line looks.
    pub format: LogFormat,
    /// Texts that `***` stands for in every line.
    pub secrets: Vec<Secret>,
    /// Where errors are reported besides.
    pub reports: Option<ReportSettings>,
}

/// Why there can be no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The process has a logger already.
    #[error("the log cannot be set up")]
    Taken(#[from] log::SetLoggerError),
    /// Errors cannot be reported.
    #[error(transparent)]
    Reports(#[from] BadReports),
}

/// Prints what the settings ask for, and notes problems whatever they ask for.
struct Logger {
    printed: env_logger::Logger,
    problems: Problems,
    reports: Option<Reports>,
    scrubber: Arc<Scrubber>,
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.printed.enabled(metadata)
            || Problems::takes(metadata.level())
            || (self.reports.is_some() && Reports::takes(metadata.level()))
    }

    fn log(&self, record: &log::Record<'_>) {
        self.printed.log(record);
        if Problems::takes(record.level()) {
            self.problems.note(record, &self.scrubber);
        }
        if let Some(reports) = &self.reports
            && Reports::takes(record.level())
        {
            reports.note(record, &self.scrubber);
        }
    }

    fn flush(&self) {
        self.printed.flush();
        if let Some(reports) = &self.reports {
            reports.flush();
        }
    }
}

/// Sets the process's logger, and a panic hook that logs; gives the list that problems are noted in.
///
/// # Errors
///
/// The process has a logger already, or errors cannot be reported.
pub fn init(settings: &LogSettings) -> Result<Problems, LogError> {
    let scrubber = Arc::new(Scrubber::new(&settings.secrets));
    let problems = Problems::default();
    let noting = Logger {
        printed: printer(settings, Arc::clone(&scrubber)),
        problems: problems.clone(),
        reports: settings.reports.as_ref().map(Reports::start).transpose()?,
        scrubber,
    };
    let least = if noting.reports.is_some() {
        log::LevelFilter::Info
    } else {
        log::LevelFilter::Warn
    };
    let level = noting.printed.filter().max(least);
    log::set_boxed_logger(Box::new(noting))?;
    log::set_max_level(level);
    std::panic::set_hook(Box::new(log_panic));
    Ok(problems)
}

fn printer(settings: &LogSettings, scrubber: Arc<Scrubber>) -> env_logger::Logger {
    let filter = settings.filter.clone();
    let format = settings.format;
    let mut builder = env_logger::Builder::new();
    settings.filter.install(&mut builder);
    builder.target(env_logger::Target::Stdout);
    builder.format(move |out, record| {
        if !filter.shows(record) {
            return Ok(());
        }
        match format {
            LogFormat::Text => {
                let style = out.default_level_style(record.level());
                let line = line::text(record, &scrubber);
                writeln!(
                    out,
                    "[{}] {style}{}{style:#} {}",
                    line.component, line.glyph, line.message
                )
            }
            LogFormat::Json => {
                let ts = out.timestamp_micros();
                writeln!(out, "{}", line::json(record, &ts, &scrubber))
            }
        }
    });
    builder.build()
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let what = panic.payload_as_str().unwrap_or("a value that is no text");
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let place = panic
        .location()
        .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let trace = std::backtrace::Backtrace::capture();
    if trace.status() == std::backtrace::BacktraceStatus::Captured {
        log::error!(target: "ws_worker::panic", "panic in thread {thread} at {place}: {what}\n{trace}");
    } else {
        log::error!(target: "ws_worker::panic", "panic in thread {thread} at {place}: {what}");
    }
}
