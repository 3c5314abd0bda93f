//! What is logged: `--log info,actors::run=debug`.

use log::{Level, LevelFilter, Metadata, Record};
use log_events::MARK;

/// Targets of this project. A level without a target is theirs; libraries are heard from `warn` on, since what they say
/// below that is about themselves.
const OURS: [&str; 11] = [
    "ws_worker",
    "actors",
    "adaptors",
    "sandbox",
    "mock_engine",
    "protocol",
    "compiler",
    "engine",
    "lightning_mock",
    "log_events",
    "traces",
];

/// The level names of the reference's logger and of the `log` crate.
const THRESHOLDS: [(&str, Threshold); 8] = [
    ("none", Threshold::Level(LevelFilter::Off)),
    ("error", Threshold::Level(LevelFilter::Error)),
    (
        "always",
        Threshold::Marked {
            level: LevelFilter::Error,
            marks: &["always"],
        },
    ),
    ("warn", Threshold::Level(LevelFilter::Warn)),
    (
        "success",
        Threshold::Marked {
            level: LevelFilter::Warn,
            marks: &["always", "success"],
        },
    ),
    ("info", Threshold::Level(LevelFilter::Info)),
    ("debug", Threshold::Level(LevelFilter::Debug)),
    ("trace", Threshold::Level(LevelFilter::Trace)),
];

/// From where on lines are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Threshold {
    /// Lines of this level and above.
    Level(LevelFilter),
    /// These, and info lines that bear one of these marks.
    Marked {
        level: LevelFilter,
        marks: &'static [&'static str],
    },
}

impl Threshold {
    /// The level at which nothing is lost that may have to be shown.
    fn coarse(self) -> LevelFilter {
        match self {
            Self::Level(level) => level,
            Self::Marked { level, .. } => level.max(LevelFilter::Info),
        }
    }

    fn for_libraries(self) -> Self {
        Self::Level(self.coarse().min(LevelFilter::Warn))
    }

    fn shows(self, record: &Record<'_>) -> bool {
        match self {
            Self::Level(level) => record.level() <= level,
            Self::Marked { level, marks } => {
                record.level() <= level
                    || (record.level() == Level::Info
                        && mark(record).is_some_and(|mark| marks.contains(&mark.as_str())))
            }
        }
    }
}

fn mark(record: &Record<'_>) -> Option<String> {
    record
        .key_values()
        .get(MARK.into())
        .map(|mark| mark.to_string())
}

/// What counts without a filter: one line a run, and what goes wrong.
pub(crate) const DEFAULT: &str = "info";

/// The levels from silent to loud, for one step louder.
const LADDER: [(&str, LevelFilter); 6] = [
    ("none", LevelFilter::Off),
    ("error", LevelFilter::Error),
    ("warn", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
    ("trace", LevelFilter::Trace),
];

/// Which lines are logged, by level and target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter {
    /// As it was given.
    text: String,
    /// The level of our own parts that have none of their own.
    overall: Threshold,
    everything: Threshold,
    /// Target prefixes; the longest that fits counts.
    targets: Vec<(String, Threshold)>,
}

/// A filter that cannot be understood, as the rest of a sentence that begins with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("has the level {level:?}, which is not known; give one of {known}")]
pub struct BadFilter {
    level: String,
    known: String,
}

impl Default for LogFilter {
    fn default() -> Self {
        let overall = Threshold::Level(LevelFilter::Info);
        Self {
            text: DEFAULT.to_owned(),
            overall,
            everything: overall.for_libraries(),
            targets: OURS
                .iter()
                .map(|target| ((*target).to_owned(), overall))
                .collect(),
        }
    }
}

impl LogFilter {
    /// Reads a level, `TARGET=LEVEL` pairs, or both, separated by commas. Without a level it is `info`, as without a filter.
    ///
    /// # Errors
    ///
    /// Names the level that is not known and those that are.
    pub fn parse(text: &str) -> Result<Self, BadFilter> {
        let mut overall = threshold(DEFAULT)?;
        let mut targets = Vec::new();
        for item in text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            match item.split_once('=') {
                Some((target, level)) => {
                    targets.push((target.trim().to_owned(), threshold(level.trim())?));
                }
                None => overall = threshold(item)?,
            }
        }
        let ours = OURS.iter().map(|target| ((*target).to_owned(), overall));
        let targets = ours.chain(targets).collect();
        Ok(Self {
            text: text.trim().to_owned(),
            overall,
            everything: overall.for_libraries(),
            targets,
        })
    }

    /// The filter as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same with the level one step louder; `None` where there is no louder one.
    pub(super) fn louder(&self) -> Option<Self> {
        let now = self.overall.coarse();
        let (level, _) = LADDER.iter().find(|(_, level)| *level > now)?;
        let targets = self
            .text
            .split(',')
            .map(str::trim)
            .filter(|item| item.contains('='));
        let text: Vec<&str> = std::iter::once(*level).chain(targets).collect();
        Self::parse(&text.join(",")).ok()
    }

    /// The level below which nothing is ever shown.
    pub(super) fn most(&self) -> LevelFilter {
        let targets = self.targets.iter().map(|(_, threshold)| threshold.coarse());
        targets.fold(self.everything.coarse(), Ord::max)
    }

    /// Whether a line of this level and target may have to be shown, before its fields are known.
    pub(super) fn may_show(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.threshold_of(metadata.target()).coarse()
    }

    /// Whether a record is to be shown.
    pub(super) fn shows(&self, record: &Record<'_>) -> bool {
        self.threshold_of(record.target()).shows(record)
    }

    fn threshold_of(&self, target: &str) -> Threshold {
        let fitting = self
            .targets
            .iter()
            .filter(|(prefix, _)| target.starts_with(prefix.as_str()));
        fitting
            .max_by_key(|(prefix, _)| prefix.len())
            .map_or(self.everything, |(_, threshold)| *threshold)
    }
}

fn threshold(name: &str) -> Result<Threshold, BadFilter> {
    let known = THRESHOLDS
        .iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known));
    known.map(|(_, threshold)| *threshold).ok_or_else(|| {
        let names: Vec<&str> = THRESHOLDS.iter().map(|(name, _)| *name).collect();
        BadFilter {
            level: name.to_owned(),
            known: names.join(", "),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(filter: &str, level: Level, target: &str) -> bool {
        LogFilter::parse(filter)
            .unwrap()
            .shows(&Record::builder().level(level).target(target).build())
    }

    fn marked(filter: &str, mark: &str) -> bool {
        let fields = [(MARK, mark)];
        let mut record = Record::builder();
        let record = record
            .level(Level::Info)
            .target("actors::run")
            .key_values(&fields)
            .build();
        LogFilter::parse(filter).unwrap().shows(&record)
    }

    #[test]
    fn a_level_is_for_our_own_parts_and_libraries_are_heard_from_warn_on() {
        assert!(shown("debug", Level::Debug, "actors::run"));
        assert!(!shown("info", Level::Debug, "actors::run"));
        assert!(!shown("trace", Level::Info, "actix_http::h1"));
        assert!(shown("trace", Level::Warn, "actix_http::h1"));
        assert!(!shown("error", Level::Warn, "actix_http::h1"));
        assert!(!shown("none", Level::Error, "actors::run"));
    }

    #[test]
    fn one_part_may_have_a_level_of_its_own() {
        let filter = "info,actors::run=debug,actix_web=trace";
        assert!(shown(filter, Level::Debug, "actors::run::outbox"));
        assert!(!shown(filter, Level::Debug, "actors::workloop"));
        assert!(shown(filter, Level::Trace, "actix_web"));
        assert!(shown("actors::run=error", Level::Info, "actors::workloop"));
        assert!(!shown(
            "actors::run=error",
            Level::Debug,
            "actors::workloop"
        ));
        assert!(!shown("actors::run=error", Level::Warn, "actors::run"));
    }

    #[test]
    fn success_and_always_show_marked_lines_beside_warnings_and_errors() {
        assert!(marked("success", "success"));
        assert!(marked("success", "always"));
        assert!(marked("always", "always"));
        assert!(!marked("always", "success"));
        assert!(!marked("warn", "success"));
        assert!(marked("info", "success"));
        assert!(!shown("success", Level::Info, "actors::run"));
        assert!(shown("success", Level::Warn, "actors::run"));
        assert!(!shown("always", Level::Warn, "actors::run"));
        assert!(shown("always", Level::Error, "actors::run"));
    }

    #[test]
    fn the_level_counts_for_every_crate_of_the_workspace() {
        let manifest = include_str!("../../Cargo.toml");
        let members = manifest
            .lines()
            .find_map(|line| line.strip_prefix("members = "));
        let members: Vec<String> = serde_json::from_str(members.unwrap()).unwrap();
        let programs = |member: &String| member.starts_with("benches/");
        for member in members.iter().filter(|member| !programs(member)) {
            let target = member.replace('-', "_");
            assert!(OURS.contains(&target.as_str()), "{target}");
        }
    }

    #[test]
    fn an_unknown_level_is_named_with_the_known_ones() {
        let why = LogFilter::parse("verbose").unwrap_err().to_string();
        assert!(
            why.contains("\"verbose\"") && why.contains("success"),
            "{why}"
        );
        assert!(
            LogFilter::parse("info,actors=loud")
                .unwrap_err()
                .to_string()
                .contains("\"loud\"")
        );
    }
}
