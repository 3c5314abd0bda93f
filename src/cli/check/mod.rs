//! `ws-worker check`: looks at configuration and environment, and connects to nothing unless it is told to.

mod connect;
mod engine;
mod layer;
mod port;

use std::ffi::OsString;
use std::fmt;

use actors::config::EngineConfig;
use clap::Args;

use super::Flags;
use crate::settings::layers::Source;
use crate::settings::{Settings, table};

use self::layer::Layer;

pub(super) use self::engine::version_of;

/// What `check` is given.
#[derive(Debug, Default, Args)]
#[command(after_help = layer::EXIT_CODES)]
pub struct CheckArgs {
    /// Connect to Lightning, step by step, and ask npm's registry; nothing is claimed
    #[arg(long)]
    pub connect: bool,
    /// Settings of the worker.
    #[command(flatten)]
    pub flags: Flags,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grade {
    Fine,
    /// Works, but not as well as it could.
    Poor,
    /// The worker will not start, or not execute anything.
    Bad,
    /// Nothing is known: something that it needs is not there.
    Unknown,
}

impl Grade {
    fn glyph(self) -> &'static str {
        match self {
            Self::Fine => "✔",
            Self::Poor => "⚠",
            Self::Bad => "✘",
            Self::Unknown => "–",
        }
    }
}

#[derive(Debug)]
struct Finding {
    layer: Layer,
    subject: &'static str,
    grade: Grade,
    detail: String,
}

/// All that was found. Displays as a table.
#[derive(Debug, Default)]
pub struct Report(Vec<Finding>);

impl Report {
    /// 0 where nothing that is needed is missing, else the code of what fails. One on the way to Lightning counts before
    /// the others: a check beside a running worker finds its port in use, and is asked something else.
    pub fn exit_code(&self) -> u8 {
        let failed = self.bad_ones().map(|finding| finding.layer);
        failed.min().map_or(0, Layer::exit_code)
    }

    fn bad_ones(&self) -> impl Iterator<Item = &Finding> {
        let bad = |finding: &&Finding| finding.grade == Grade::Bad;
        self.0.iter().filter(bad)
    }

    fn add(&mut self, subject: &'static str, grade: Grade, detail: impl Into<String>) {
        self.0.push(Finding {
            layer: Layer::Local,
            subject,
            grade,
            detail: detail.into(),
        });
    }

    /// What was found at a layer beyond this machine.
    fn add_at(&mut self, layer: Layer, grade: Grade, detail: impl Into<String>) {
        self.0.push(Finding {
            layer,
            subject: layer.subject(),
            grade,
            detail: detail.into(),
        });
    }

    fn fine(&mut self, subject: &'static str, detail: impl Into<String>) {
        self.add(subject, Grade::Fine, detail);
    }

    fn bad(&mut self, subject: &'static str, detail: impl Into<String>) {
        self.add(subject, Grade::Bad, detail);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .0
            .iter()
            .map(|finding| finding.subject.len())
            .max()
            .unwrap_or(0);
        for Finding {
            subject,
            grade,
            detail,
            ..
        } in &self.0
        {
            let detail = detail.replace('\n', &format!("\n{:indent$}", "", indent = width + 4));
            writeln!(f, "{} {subject:width$}  {detail}", grade.glyph())?;
        }
        match self.bad_ones().count() {
            0 => writeln!(f, "\nThe worker can start."),
            1 => writeln!(f, "\nThe worker cannot work: 1 thing is missing."),
            count => writeln!(f, "\nThe worker cannot work: {count} things are missing."),
        }
    }
}

/// Checks the worker that these flags and variables describe.
pub async fn run(
    args: CheckArgs,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Report {
    let mut report = Report::default();
    let (settings, problems) = args.flags.inspect(variables);
    for problem in &problems {
        report.bad("configuration", problem.to_string());
    }
    if problems.is_empty() {
        configuration(&settings, args.connect, &mut report);
    }
    for warning in &settings.warnings {
        report.add("configuration", Grade::Poor, warning);
    }
    port::check(&settings.http, &mut report).await;
    traces(&settings, &mut report);
    match &settings.worker.engine {
        EngineConfig::Mock => {
            report.fine("engine", "the mock engine, which needs no Node.js (--mock)");
        }
        // No setting asks for it.
        EngineConfig::Recorded(_) => {}
        EngineConfig::Node(config) => engine::check(config, &mut report),
    }
    if args.connect {
        // What takes the place of a setting that is wrong is not what the operator wants to reach.
        let config = problems.is_empty().then_some(&settings.worker);
        connect::check(config, &mut report).await;
    }
    report
}

fn configuration(settings: &Settings, connects: bool, report: &mut Report) {
    let endpoint = &settings.worker.lightning.endpoint;
    let contacted = if connects { "" } else { " (not contacted)" };
    report.fine("lightning", format!("{endpoint}{contacted}"));
    let secret = settings
        .effective
        .iter()
        .find(|effective| effective.key == table::SECRET.key);
    match secret.map(|secret| (&secret.value, secret.source)) {
        Some((Some(_), Source::Env(variable))) => {
            report.fine("secret", format!("set by {variable}"));
        }
        Some((Some(_), Source::Flag)) => {
            report.add("secret", Grade::Poor, "set by --secret, which every user of this machine can read: WORKER_SECRET is safer");
        }
        Some((Some(_), Source::File | Source::Default)) => report.fine("secret", "set by the file"),
        Some((None, _)) | None => report.fine("secret", "not needed"),
    }
    match settings.worker.lightning.run_token_key {
        Some(_) => report.fine(
            "public key",
            "valid: run tokens are verified; whether it is this Lightning's shows with the first run",
        ),
        None => report.fine("public key", "not set: run tokens are not verified"),
    }
    let groups: Vec<&str> = settings
        .worker
        .workloops
        .iter()
        .map(|workloop| workloop.id.as_str())
        .collect();
    report.fine(
        "workloops",
        format!(
            "{} ({} slots)",
            groups.join(" "),
            settings.worker.capacity()
        ),
    );
}

/// Only where somebody wants them.
fn traces(settings: &Settings, report: &mut Report) {
    if let Some(traces) = &settings.traces {
        let collector = &traces.collector;
        report.fine("traces", format!("go to {collector} (not contacted)"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn find<'a>(report: &'a Report, subject: &str) -> &'a Finding {
        report
            .0
            .iter()
            .find(|finding| finding.subject == subject)
            .unwrap()
    }

    fn check(pairs: &[(&str, &str)]) -> Report {
        let quiet = [("WORKER_HOST", "127.0.0.1"), ("WORKER_PORT", "0")];
        let variables = quiet
            .iter()
            .chain(pairs)
            .map(|(name, value)| (name.into(), value.into()));
        local(Flags::default(), variables)
    }

    fn local(flags: Flags, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Report {
        let args = CheckArgs {
            connect: false,
            flags,
        };
        actix_rt::System::new().block_on(run(args, variables))
    }

    #[test]
    fn every_configuration_problem_is_a_line_and_the_environment_is_looked_at_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let node = dir.path().join("missing").to_str().unwrap().to_owned();
        let repo = dir.path().join("repo").to_str().unwrap().to_owned();
        let report = check(&[
            ("WORKER_BACKOFF", "9/1"),
            ("WORKER_NODE", &node),
            ("WORKER_REPO_DIR", &repo),
        ]);
        assert_eq!(report.exit_code(), 1);
        let table = report.to_string();
        for part in [
            "WORKER_SECRET is not set",
            "WORKER_BACKOFF",
            "missing cannot be started",
            "is writable",
            "things are missing",
        ] {
            assert!(table.contains(part), "{part} is not in\n{table}");
        }
    }

    #[test]
    fn a_repository_that_is_a_file_is_not_writable() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let report = check(&[
            ("WORKER_SECRET", "s3cret"),
            ("WORKER_REPO_DIR", file.path().to_str().unwrap()),
        ]);
        assert_eq!(find(&report, "repo dir").grade, Grade::Bad);
    }

    #[test]
    fn white_space_around_the_secret_is_warned_of_and_around_the_endpoint_it_is_left_out() {
        let report = check(&[
            ("WORKER_SECRET", "s3cret\n"),
            (
                "WORKER_LIGHTNING_SERVICE_URL",
                " ws://localhost:4000/worker\n",
            ),
        ]);
        let warning = find(&report, "configuration");
        assert_eq!(warning.grade, Grade::Poor);
        assert!(warning.detail.contains("white space"), "{report}");
        assert!(!report.to_string().contains("s3cret"));
        let endpoint = &find(&report, "lightning").detail;
        assert_eq!(endpoint, "ws://localhost:4000/worker (not contacted)");
    }

    #[test]
    fn whether_there_are_traces_is_said_where_somebody_wants_them() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:p@localhost:4318");
        let report = check(&[endpoint]);
        let detail = &find(&report, "traces").detail;
        assert_eq!(detail, "go to http://localhost:4318 (not contacted)");
        let report = check(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        assert!(report.0.iter().all(|finding| finding.subject != "traces"));
        assert!(report.to_string().contains("http/protobuf"), "{report}");
        assert!(
            check(&[])
                .0
                .iter()
                .all(|finding| finding.subject != "traces")
        );
    }

    #[test]
    fn the_mock_engine_needs_nothing_and_no_secret_is_shown() {
        let flags = Flags::default().with([
            (&table::MOCK, "true".to_owned()),
            (&table::PORT, "0".to_owned()),
        ]);
        let report = local(flags, [("WORKER_SECRET".into(), "s3cret-text".into())]);
        assert_eq!(report.exit_code(), 0, "{report}");
        assert!(!report.to_string().contains("s3cret-text"));
        assert!(find(&report, "secret").detail.contains("WORKER_SECRET"));
    }
}
