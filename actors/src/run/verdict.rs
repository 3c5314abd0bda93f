//! What a report that Lightning does not take means (protocol spec, sections 10.2, 10.3 and 11).

use protocol::lightning::{Named, RefusalMeaning};

use super::cause::Cause;
use super::report::{LogLines, Report};

/// What to do with a report that is not there.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is there: from an earlier sending, or as far as this server can take it.
    Delivered,
    /// The channel is not open any more.
    ChannelGone,
    /// Send this in its place.
    Repaired(Report),
    /// Send a batch of lines in two parts, so that only the bad line is lost.
    Split(LogLines, LogLines),
    /// Drop this many lines.
    Drop(usize),
    /// The run belongs to somebody else.
    NotOurs,
    /// The run cannot go on.
    EndRun,
    /// Not even the end of the run can be reported.
    GiveUp,
}

/// Judges a report; `resent` ones were on their way before.
pub(super) fn judge(report: &Report, resent: bool, cause: &Cause) -> Verdict {
    let meaning = cause.meaning();
    if meaning == Some(RefusalMeaning::ChannelGone) {
        return Verdict::ChannelGone;
    }
    if meaning == Some(RefusalMeaning::AlreadyThere) && was_there(report, resent) {
        return Verdict::Delivered;
    }
    match report {
        Report::Logs(lines) => judge_lines(lines, cause),
        Report::RunStart(_) if meaning == Some(RefusalMeaning::NotClaimed) => Verdict::NotOurs,
        Report::RunStart(_) => Verdict::EndRun,
        Report::StepStart(step) => match &step.input_dataclip_id {
            Some(_) if meaning == Some(RefusalMeaning::Missing(Named::InputDataclip)) => {
                let mut step = step.clone();
                step.input_dataclip_id = None;
                Verdict::Repaired(Report::StepStart(step))
            }
            _ => Verdict::EndRun,
        },
        Report::StepComplete(step) if step.last_resort => Verdict::Delivered,
        // The npm mock's tests expect the run to go on (protocol spec, section 11).
        Report::StepComplete(_) if meaning == Some(RefusalMeaning::DataclipWanted) => {
            Verdict::Delivered
        }
        Report::StepComplete(step) => match step.repaired(cause) {
            Some(step) => Verdict::Repaired(Report::StepComplete(Box::new(step))),
            None => Verdict::EndRun,
        },
        Report::RunComplete(_) if meaning == Some(RefusalMeaning::AlreadyEnded) => {
            Verdict::Delivered
        }
        Report::RunComplete(end) => match end.repaired(cause) {
            Some(end) => Verdict::Repaired(Report::RunComplete(Box::new(end))),
            None => Verdict::GiveUp,
        },
    }
}

fn judge_lines(lines: &LogLines, cause: &Cause) -> Verdict {
    if let Some((first, second)) = lines.split() {
        return Verdict::Split(first, second);
    }
    match lines.redacted() {
        Some(redacted) if cause.is_too_large() => Verdict::Repaired(Report::Logs(redacted)),
        _ => Verdict::Drop(lines.lines.len()),
    }
}

/// Whether "already" says that an earlier sending was stored. The ids of steps and dataclips are ours: nobody else can have
/// taken them. A run may have been started by somebody else, unless this start was on its way before.
fn was_there(report: &Report, resent: bool) -> bool {
    report.is_step_event() || (matches!(report, Report::RunStart(_)) && resent)
}

/// Whether `refused` is refused because `earlier`, which it names, is not there.
pub(super) fn denies(cause: &Cause, refused: &Report, earlier: &Report) -> bool {
    let named = match cause.meaning() {
        Some(RefusalMeaning::Missing(named)) => named,
        _ => return false,
    };
    let is_named = match earlier {
        Report::StepStart(_) => named == Named::Step,
        Report::StepComplete(_) => named != Named::Step,
        Report::RunStart(_) | Report::Logs(_) | Report::RunComplete(_) => false,
    };
    is_named && rests_on(refused, earlier)
}

/// Whether what is wrong with a report may be that `earlier`, which it names and which was not answered, is not there.
pub(super) fn may_miss(cause: &Cause, refused: &Report, earlier: &Report) -> bool {
    let unclear = matches!(
        cause.meaning(),
        Some(RefusalMeaning::Missing(_) | RefusalMeaning::Invalid | RefusalMeaning::Unknown)
    );
    unclear && rests_on(refused, earlier)
}

/// Whether `delivered` could not have been accepted without `assumed` being there.
pub(super) fn proves(delivered: &Report, assumed: &Report) -> bool {
    rests_on(delivered, assumed)
}

/// Whether `later` names the step or dataclip that `earlier` makes.
fn rests_on(later: &Report, earlier: &Report) -> bool {
    match (earlier, later) {
        (Report::StepStart(start), Report::Logs(lines)) => lines
            .lines
            .iter()
            .any(|line| line.step_id.as_ref() == Some(&start.step_id)),
        (Report::StepStart(start), Report::StepComplete(step)) => {
            step.event.step_id == start.step_id
        }
        (Report::StepComplete(step), Report::StepStart(start)) => {
            start.input_dataclip_id.is_some()
                && start.input_dataclip_id == step.event.output_dataclip_id
        }
        (Report::StepComplete(step), Report::RunComplete(end)) => {
            end.event.final_dataclip_id.is_some()
                && end.event.final_dataclip_id == step.event.output_dataclip_id
        }
        _ => false,
    }
}
