//! The outbox, case by case.

mod trouble;

use std::time::Duration;

use indexmap::IndexMap;
use protocol::ids::{JobId, RunId, StepId};
use protocol::lightning::{
    LogLine, OutputDataclip, Refusal, RunComplete, RunStart, StepComplete, StepStart, Timestamp,
};
use protocol::reasons::Outcome;

use super::super::report::{CompletedStep, Repairs, RunEnd};
use super::crashes::CRASHES_BEFORE_REFUSAL;
use super::*;

pub(super) fn run_start() -> Report {
    Report::RunStart(RunStart {
        versions: IndexMap::new(),
        timestamp: None,
    })
}

pub(super) fn step_start(id: &str, input: Option<&str>) -> Report {
    Report::StepStart(StepStart {
        step_id: StepId::new(id),
        job_id: JobId::new("a"),
        timestamp: None,
        input_dataclip_id: input.map(DataclipId::new),
    })
}

pub(super) fn step_complete(id: &str, dataclip: &str) -> Report {
    let mut event = StepComplete::new(StepId::new(id), JobId::new("a"), Outcome::success());
    event.output_dataclip_id = Some(DataclipId::new(dataclip));
    event.output_dataclip = Some(OutputDataclip::empty());
    Report::StepComplete(Box::new(CompletedStep {
        event,
        last_resort: false,
    }))
}

fn step() -> Report {
    step_start("s", Some("d"))
}

fn end() -> Report {
    let event = RunComplete::new(&Outcome::success());
    Report::RunComplete(Box::new(RunEnd {
        event,
        repairs: Repairs::None,
    }))
}

/// An end that names its dataclip.
pub(super) fn run_end(dataclip: &str) -> Report {
    let mut event = RunComplete::new(&Outcome::success());
    event.final_dataclip_id = Some(DataclipId::new(dataclip));
    Report::RunComplete(Box::new(RunEnd {
        event,
        repairs: Repairs::None,
    }))
}

pub(super) fn line_of(step: Option<&str>, text: &str) -> LogLines {
    let time = Timestamp::from_micros(1_767_225_600_000_000);
    let mut line = LogLine::text("JOB", "info", text, time);
    line.step_id = step.map(StepId::new);
    LogLines {
        run_id: RunId::new("r"),
        batched: false,
        lines: vec![line],
    }
}

fn lines(count: usize) -> LogLines {
    let line = LogLine::text(
        "JOB",
        "info",
        "x",
        Timestamp::from_micros(1_767_225_600_000_000),
    );
    LogLines {
        run_id: RunId::new("r"),
        batched: false,
        lines: vec![line; count],
    }
}

/// A line of the step of [`step`].
fn step_line() -> LogLines {
    let mut lines = lines(1);
    lines.lines[0].step_id = Some(StepId::new("s"));
    lines
}

fn outbox(reports: Vec<Report>) -> Outbox {
    let mut outbox = Outbox::new(32, None);
    for report in reports {
        outbox.push(report, Vec::new());
    }
    outbox
}

/// Sends whatever may be sent now, with tickets from `from` on; the events.
fn send(outbox: &mut Outbox, from: u64) -> Vec<&'static str> {
    let mut sent = Vec::new();
    while let Some(report) = outbox.next(Ticket(from + sent.len() as u64), Instant::now()) {
        sent.push(report.event());
    }
    sent
}

#[test]
fn nothing_overtakes_the_start_and_the_end_comes_last() {
    let mut outbox = outbox(vec![run_start(), step(), Report::Logs(lines(1)), end()]);
    assert_eq!(send(&mut outbox, 1), ["run:start"]);
    assert_eq!(
        outbox.answered(Ticket(1), None, Instant::now()),
        FollowUp::Delivered(Milestone::RunStart)
    );
    assert_eq!(send(&mut outbox, 2), ["step:start", "run:log"]);
    outbox.answered(Ticket(2), None, Instant::now());
    assert!(send(&mut outbox, 4).is_empty());
    outbox.answered(Ticket(3), None, Instant::now());
    assert_eq!(send(&mut outbox, 4), ["run:complete"]);
    assert_eq!(
        outbox.answered(Ticket(4), None, Instant::now()),
        FollowUp::Delivered(Milestone::RunComplete)
    );
}

#[test]
fn large_states_are_on_their_way_one_at_a_time() {
    let large = || {
        let state = format!("{{\"a\":\"{}\"}}", "x".repeat(5 << 20));
        let mut report = step_complete("s", "d");
        if let Report::StepComplete(step) = &mut report {
            step.event.output_dataclip = OutputDataclip::from_json(state.into());
        }
        report
    };
    let mut outbox = outbox(vec![large(), step(), large(), step()]);
    assert_eq!(send(&mut outbox, 1), ["step:complete", "step:start"]);
    outbox.answered(Ticket(1), None, Instant::now());
    assert_eq!(send(&mut outbox, 3), ["step:complete", "step:start"]);
}

#[test]
fn what_was_in_flight_is_sent_again_one_at_a_time() {
    let mut outbox = outbox(vec![step(), Report::Logs(lines(1)), Report::Logs(lines(1))]);
    assert_eq!(send(&mut outbox, 1).len(), 3);
    outbox.link_lost();
    assert_eq!(send(&mut outbox, 10), ["step:start"]);
    outbox.answered(Ticket(10), None, Instant::now());
    assert_eq!(send(&mut outbox, 11), ["run:log"]);
}

#[test]
fn an_answer_from_before_the_loss_is_to_nothing() {
    let mut outbox = outbox(vec![step()]);
    send(&mut outbox, 1);
    outbox.link_lost();
    assert_eq!(
        outbox.answered(Ticket(1), None, Instant::now()),
        FollowUp::Unknown
    );
}

#[test]
fn a_repeated_step_event_that_crashes_the_channel_was_there() {
    let mut outbox = outbox(vec![step(), Report::Logs(lines(1))]);
    send(&mut outbox, 1);
    outbox.link_lost();
    assert_eq!(send(&mut outbox, 10), ["step:start"]);
    assert_eq!(outbox.channel_crashed(&[Ticket(10)]), FollowUp::Rejoin);
    assert_eq!(send(&mut outbox, 20), ["run:log"]);
}

#[test]
fn a_repeated_start_that_is_refused_for_being_there_already_was_there_and_a_first_one_was_not() {
    let words = r#"{"errors":{"state":["already started"]}}"#;
    let mut again = outbox(vec![run_start()]);
    send(&mut again, 1);
    again.link_lost();
    send(&mut again, 10);
    assert_eq!(
        again.answered(Ticket(10), Some(Refusal::from_words(words)), Instant::now()),
        FollowUp::Delivered(Milestone::RunStart)
    );
    let mut first = outbox(vec![run_start()]);
    send(&mut first, 1);
    assert!(matches!(
        first.answered(Ticket(1), Some(Refusal::from_words(words)), Instant::now()),
        FollowUp::Refused { .. }
    ));
}

#[test]
fn a_step_that_was_not_there_after_all_is_said_again() {
    let mut outbox = outbox(vec![step(), Report::Logs(step_line())]);
    send(&mut outbox, 1);
    outbox.link_lost();
    send(&mut outbox, 10);
    outbox.channel_crashed(&[Ticket(10)]);
    send(&mut outbox, 20);
    let words = r#"{"errors":{"step_id":["must be associated with the run"]}}"#;
    assert_eq!(
        outbox.answered(Ticket(20), Some(Refusal::from_words(words)), Instant::now()),
        FollowUp::Resend
    );
    assert_eq!(send(&mut outbox, 30), ["step:start"]);
}

#[test]
fn a_step_that_was_not_there_is_said_before_a_line_that_the_server_passed_over() {
    let mut outbox = outbox(vec![step()]);
    send(&mut outbox, 1);
    outbox.link_lost();
    send(&mut outbox, 10);
    outbox.channel_crashed(&[Ticket(10)]);
    outbox.push(Report::Logs(step_line()), Vec::new());
    outbox.push(Report::Logs(step_line()), Vec::new());
    assert_eq!(send(&mut outbox, 20).len(), 2);
    let words = r#"{"errors":{"step_id":["must be associated with the run"]}}"#;
    assert_eq!(
        outbox.answered(Ticket(21), Some(Refusal::from_words(words)), Instant::now()),
        FollowUp::Resend
    );
    outbox.link_lost();
    assert_eq!(send(&mut outbox, 30), ["step:start"]);
}

#[test]
fn a_step_that_the_server_passed_over_is_said_again_and_so_is_what_was_refused_for_it() {
    let mut outbox = outbox(vec![
        step(),
        Report::Logs(step_line()),
        Report::Logs(lines(1)),
    ]);
    assert_eq!(send(&mut outbox, 1).len(), 3);
    let words = r#"{"errors":{"step_id":["must be associated with the run"]}}"#;
    assert_eq!(
        outbox.answered(Ticket(2), Some(Refusal::from_words(words)), Instant::now()),
        FollowUp::Resend
    );
    assert!(send(&mut outbox, 10).is_empty(), "one line is in flight");
    outbox.answered(Ticket(3), None, Instant::now());
    assert_eq!(send(&mut outbox, 10), ["step:start"]);
    outbox.answered(Ticket(10), None, Instant::now());
    assert_eq!(send(&mut outbox, 11), ["run:log"]);
}

#[test]
fn an_input_that_lightning_does_not_know_is_left_out() {
    let mut outbox = outbox(vec![step()]);
    send(&mut outbox, 1);
    let words = r#"{"errors":{"input_dataclip_id":["is not known"]}}"#;
    assert_eq!(
        outbox.answered(Ticket(1), Some(Refusal::from_words(words)), Instant::now()),
        FollowUp::Resend
    );
    let Some(Report::StepStart(step)) = outbox.next(Ticket(2), Instant::now()) else {
        panic!()
    };
    assert_eq!(step.input_dataclip_id, None);
}

#[test]
fn only_the_bad_line_of_a_batch_is_lost() {
    let batch = LogLines {
        batched: true,
        ..lines(2)
    };
    let mut outbox = outbox(vec![Report::Logs(batch)]);
    send(&mut outbox, 1);
    assert_eq!(
        outbox.answered(
            Ticket(1),
            Some(Refusal::from_words("is invalid")),
            Instant::now()
        ),
        FollowUp::Split
    );
    assert_eq!(send(&mut outbox, 2).len(), 2);
    assert!(matches!(
        outbox.answered(
            Ticket(2),
            Some(Refusal::from_words("is invalid")),
            Instant::now()
        ),
        FollowUp::LinesDropped(1, _)
    ));
    assert_eq!(
        outbox.answered(Ticket(3), None, Instant::now()),
        FollowUp::Delivered(Milestone::Other)
    );
}

#[test]
fn a_run_that_is_somebody_elses_is_abandoned_and_other_refusals_end_it() {
    let mut taken = outbox(vec![run_start()]);
    send(&mut taken, 1);
    let words = "cannot mark run started that has not been claimed by a worker";
    assert!(matches!(
        taken.answered(Ticket(1), Some(Refusal::from_words(words)), Instant::now()),
        FollowUp::Abandoned(_)
    ));
    let mut refused = outbox(vec![run_start()]);
    send(&mut refused, 1);
    assert!(matches!(
        refused.answered(
            Ticket(1),
            Some(Refusal::from_words("is invalid")),
            Instant::now()
        ),
        FollowUp::Refused {
            event: "run:start",
            ..
        }
    ));
}

#[test]
fn an_end_that_is_there_already_is_done_and_a_refused_one_is_tried_in_other_forms() {
    let mut there = outbox(vec![end()]);
    send(&mut there, 1);
    let words = r#"{"errors":{"state":["already in completed state"]}}"#;
    assert_eq!(
        there.answered(Ticket(1), Some(Refusal::from_words(words)), Instant::now()),
        FollowUp::Delivered(Milestone::RunComplete)
    );
    let mut refused = outbox(vec![end()]);
    send(&mut refused, 1);
    assert_eq!(
        refused.answered(
            Ticket(1),
            Some(Refusal::from_words("is invalid")),
            Instant::now()
        ),
        FollowUp::Resend
    );
    let Some(Report::RunComplete(end)) = refused.next(Ticket(2), Instant::now()) else {
        panic!()
    };
    assert_eq!(end.repairs, Repairs::AsException);
    assert!(matches!(
        refused.answered(
            Ticket(2),
            Some(Refusal::from_words("is invalid")),
            Instant::now()
        ),
        FollowUp::GaveUp(_)
    ));
}

#[test]
fn lines_gather_in_a_batch_until_it_is_full_or_something_else_follows() {
    let mut outbox = Outbox::new(32, Some(3));
    assert!(outbox.push_log(lines(1), None));
    assert!(!outbox.push_log(lines(1), None));
    assert!(
        send(&mut outbox, 1).is_empty(),
        "an open batch waits for its interval"
    );
    outbox.push_log(lines(1), None);
    assert_eq!(send(&mut outbox, 1), ["run:batch_logs"]);
    assert!(outbox.push_log(lines(1), None));
    outbox.push(step(), Vec::new());
    assert_eq!(send(&mut outbox, 5), ["run:batch_logs", "step:start"]);
}

#[test]
fn a_line_of_the_worker_is_a_batch_of_one() {
    let mut outbox = Outbox::new(32, Some(3));
    let own = LogLines {
        batched: true,
        ..lines(1)
    };
    outbox.push(Report::Logs(own), Vec::new());
    assert!(outbox.push_log(lines(1), None), "another batch is opened");
    outbox.push(step(), Vec::new());
    let sent = send(&mut outbox, 5);
    assert_eq!(sent, ["run:batch_logs", "run:batch_logs", "step:start"]);
}

#[test]
fn a_report_over_which_every_socket_is_closed_is_given_up_and_others_are_not() {
    let mut outbox = outbox(vec![step_complete("s", "d"), Report::Logs(lines(1))]);
    send(&mut outbox, 1);
    // Two were on their way: it says nothing about either.
    assert_eq!(outbox.socket_crashed(), FollowUp::Resend);
    for socket in 1..u64::from(CRASHES_BEFORE_REFUSAL) {
        assert_eq!(send(&mut outbox, 10 * socket), ["step:complete"]);
        assert_eq!(outbox.socket_crashed(), FollowUp::Resend);
    }
    assert!(outbox.is_suspected());
    assert_eq!(send(&mut outbox, 1000), ["step:complete"]);
    assert_eq!(
        outbox.socket_crashed(),
        FollowUp::Withheld {
            dataclip: DataclipId::new("d"),
            too_large: false
        }
    );
    assert_eq!(send(&mut outbox, 1010), ["step:complete"]);
    outbox.answered(Ticket(1010), None, Instant::now());
    assert!(!outbox.is_suspected());
}

#[test]
fn silence_is_first_told_and_later_ends_in_a_rejoin() {
    let mut outbox = outbox(vec![step()]);
    let sent = Instant::now();
    outbox.next(Ticket(1), sent);
    let (late, too_long) = (Duration::from_secs(30), Duration::from_secs(60));
    assert_eq!(
        outbox.silence(sent + Duration::from_secs(29), late, too_long),
        Silence::None
    );
    let event = "step:start";
    assert_eq!(
        outbox.silence(sent + Duration::from_secs(31), late, too_long),
        Silence::Late { event }
    );
    assert_eq!(
        outbox.silence(sent + Duration::from_secs(32), late, too_long),
        Silence::None
    );
    assert_eq!(
        outbox.silence(sent + Duration::from_secs(61), late, too_long),
        Silence::TooLong { event }
    );
}
