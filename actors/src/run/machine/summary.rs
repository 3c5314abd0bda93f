//! The one line that says all about a run at its end.

use std::fmt::Write as _;

use indexmap::IndexMap;
use log_events::{Detail, millis, table};
use protocol::ids::ProjectId;
use protocol::reasons::ExitReason;

use super::{RunMachine, Turn};
use crate::traces::Moment;

/// What is known of a run besides its end.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) project_id: Option<ProjectId>,
    /// Adaptor name → versions.
    pub(super) adaptors: IndexMap<String, Vec<String>>,
}

impl Summary {
    /// `@openfn/language-http@7.2.10`, separated by commas; none where the run came to none.
    fn adaptors(&self) -> Option<String> {
        let named = self.adaptors.iter().flat_map(|(name, versions)| {
            versions
                .iter()
                .map(move |version| format!("{name}@{version}"))
        });
        let named: Vec<String> = named.collect();
        (!named.is_empty()).then(|| named.join(","))
    }
}

impl RunMachine {
    pub(super) fn log_end(&self, reason: ExitReason, turn: &mut Turn<'_>) {
        let lasted = turn.now.saturating_duration_since(self.born);
        let (steps, error_type) = (self.reporter.steps(), self.reporter.error_type());
        let adaptors = self.summary.adaptors();
        self.trace(turn, || Moment::Reported {
            reason,
            error_type: error_type.map(str::to_owned),
            steps,
            adaptors: adaptors.clone(),
        });
        let project = self.summary.project_id.as_ref().map(ProjectId::as_str);
        let mut text = format!("run {} ended: {}", self.claimed.id, reason.as_str());
        if let Some(error_type) = error_type {
            put(&mut text, format_args!(" ({error_type})"));
        }
        put(
            &mut text,
            format_args!(" in {:.1} s, {steps} steps", lasted.as_secs_f64()),
        );
        if let Some(adaptors) = &adaptors {
            // In a line for people the scope that almost all adaptors have in common says nothing.
            let short = adaptors.replace("@openfn/language-", "");
            put(&mut text, format_args!(", {}", short.replace(',', ", ")));
        }
        if let Some(project) = project {
            put(&mut text, format_args!(", project {project}"));
        }
        turn.log(
            &table::RUN_ENDED,
            [
                ("workloop", self.workloop.as_str().into()),
                ("project_id", project.into()),
                ("reason", reason.as_str().into()),
                ("error_type", error_type.into()),
                ("duration_ms", millis(lasted).into()),
                ("steps", steps.into()),
                ("adaptors", Detail::from(adaptors)),
            ],
            text,
        );
    }
}

fn put(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more)
        .expect("writing to a String does not fail");
}
