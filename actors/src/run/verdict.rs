//! What an error reply to a report means (protocol spec, sections 10.2, 10.3 and 11).
//!
//! Lightning's words are matched by substring: the exact envelopes are not known for every version (section 12).

use super::report::{LogLines, Report};

/// What to do with a report that was answered with an error.
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

/// Judges an error reply with these words; `resent` reports were on their way before.
pub(super) fn judge(report: &Report, resent: bool, words: &str) -> Verdict {
    if words.contains("unmatched topic") {
        return Verdict::ChannelGone;
    }
    if was_there(report, resent, words) {
        return Verdict::Delivered;
    }
    match report {
        Report::Logs(lines) => match lines.split() {
            Some((first, second)) => Verdict::Split(first, second),
            None => Verdict::Drop(lines.lines.len()),
        },
        Report::RunStart(_)
            if words.contains("cannot mark run") || words.contains("not been claimed") =>
        {
            Verdict::NotOurs
        }
        Report::RunStart(_) => Verdict::EndRun,
        Report::StepStart(step)
            if words.contains("input_dataclip") && step.input_dataclip_id.is_some() =>
        {
            let mut step = step.clone();
            step.input_dataclip_id = None;
            Verdict::Repaired(Report::StepStart(step))
        }
        Report::StepStart(_) => Verdict::EndRun,
        Report::StepComplete(step) if step.last_resort => Verdict::Delivered,
        // The npm mock refuses every completion without a dataclip, and its tests expect the run to go on (section 11).
        Report::StepComplete(_) if words.contains("no output_dataclip") => Verdict::Delivered,
        Report::StepComplete(step) if is_about_the_dataclip(words) && step.has_dataclip() => {
            Verdict::Repaired(Report::StepComplete(Box::new(step.without_dataclip())))
        }
        Report::StepComplete(_) => Verdict::EndRun,
        Report::RunComplete(_) if words.contains("already in completed state") => {
            Verdict::Delivered
        }
        Report::RunComplete(end) => match end.repaired(words) {
            Some(repaired) => Verdict::Repaired(Report::RunComplete(Box::new(repaired))),
            None => Verdict::GiveUp,
        },
    }
}

/// Whether these words say that an earlier sending was stored. The ids of steps and dataclips are ours: nobody else can
/// have taken them. A run may have been started by somebody else, unless this start was on its way before.
fn was_there(report: &Report, resent: bool, words: &str) -> bool {
    if !words.contains("already") || words.contains("completed state") {
        return false;
    }
    report.is_step_event() || (matches!(report, Report::RunStart(_)) && resent)
}

/// Whether these words about `refused` say that `assumed`, taken as delivered on the evidence of a crash, is not there.
pub(super) fn denies(words: &str, refused: &Report, assumed: &Report) -> bool {
    let missing = [
        "must be associated with the run",
        "not found",
        "does not exist",
    ]
    .iter()
    .any(|text| words.contains(text));
    let about = match assumed {
        Report::StepStart(_) => "step_id",
        Report::StepComplete(_) => "dataclip",
        Report::RunStart(_) | Report::Logs(_) | Report::RunComplete(_) => return false,
    };
    missing && words.contains(about) && rests_on(refused, assumed)
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

fn is_about_the_dataclip(words: &str) -> bool {
    [
        "must be a map",
        "dataclip",
        "body",
        "too large",
        "too big",
        "crashed",
    ]
    .iter()
    .any(|text| words.contains(text))
}
