//! The operator's log on stdout: text in the manner of the reference, or JSON lines. Set up once by `main`.

mod filter;
mod level;
mod line;
mod problems;
mod reports;
mod scrub;
mod traced;

use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::Arc;

use actors::config::Secret;
use log_events::{event, table};

pub(crate) use filter::DEFAULT as DEFAULT_FILTER;
pub use filter::{BadFilter, LogFilter};
pub(crate) use level::DEFAULT_STAY;
pub use level::{LogLevel, Shown};
pub use line::LogFormat;
pub use problems::{Problem, Problems};
use reports::Reports;
pub use reports::{BadReports, ReportSettings};
use scrub::Scrubber;
pub use traced::TracedRuns;

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
    level: LogLevel,
    problems: Problems,
    reports: Option<Reports>,
    scrubber: Arc<Scrubber>,
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.level.may_show(metadata)
            || Problems::takes(metadata.level())
            || (self.reports.is_some() && Reports::takes(metadata.level()))
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.level.shows(record) {
            self.printed.log(record);
        }
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

/// The log of this process, for those who look at it or change it.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// The last warnings and errors.
    pub problems: Problems,
    /// What is shown.
    pub level: LogLevel,
    /// Where lines belong.
    pub traces: TracedRuns,
}

/// Sets the process's logger, and a panic hook that logs.
///
/// # Errors
///
/// The process has a logger already, or errors cannot be reported.
pub fn init(settings: &LogSettings) -> Result<Log, LogError> {
    let scrubber = Arc::new(Scrubber::new(&settings.secrets));
    let problems = Problems::default();
    let reports = settings.reports.as_ref().map(Reports::start).transpose()?;
    // What is noted for the status page or reported elsewhere must pass, whatever is shown.
    let least = if reports.is_some() {
        log::LevelFilter::Info
    } else {
        log::LevelFilter::Warn
    };
    let level = LogLevel::new(settings.filter.clone(), least);
    let traces = TracedRuns::default();
    let noting = Logger {
        printed: printer(settings.format, Arc::clone(&scrubber), traces.clone()),
        level: level.clone(),
        problems: problems.clone(),
        reports,
        scrubber,
    };
    log::set_boxed_logger(Box::new(noting))?;
    level.apply();
    std::panic::set_hook(Box::new(log_panic));
    Ok(Log {
        problems,
        level,
        traces,
    })
}

fn printer(format: LogFormat, scrubber: Arc<Scrubber>, traces: TracedRuns) -> env_logger::Logger {
    let mut builder = env_logger::Builder::new();
    // What is shown is decided before, since it can change while the program runs.
    builder.filter_level(log::LevelFilter::Trace);
    builder.target(env_logger::Target::Stdout);
    builder.format(move |out, record| {
        let scrubber = &scrubber;
        match format {
            LogFormat::Text => {
                let style = out.default_level_style(record.level());
                let line = line::text(record, scrubber);
                writeln!(
                    out,
                    "[{}] {style}{}{style:#} {}",
                    line.component, line.glyph, line.message
                )
            }
            LogFormat::Json => {
                let ts = out.timestamp_micros();
                writeln!(out, "{}", line::json(record, &ts, scrubber, &traces))
            }
            LogFormat::Gcp => {
                let ts = out.timestamp_micros();
                writeln!(out, "{}", line::gcp(record, &ts, scrubber, &traces))
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
    let trace = if trace.status() == std::backtrace::BacktraceStatus::Captured {
        format!("\n{trace}")
    } else {
        String::new()
    };
    event!(
        table::WORKER_PANICKED, thread = thread, address = place, error = what;
        "panic in thread {thread} at {place}: {what}{trace}"
    );
}
