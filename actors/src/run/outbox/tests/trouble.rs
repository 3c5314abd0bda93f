//! Reports that Lightning does not take at once, or not at all.

use protocol::lightning::{FinalState, Refusal};
use protocol::reasons::ExitReason;

use super::super::super::cause::RETRIES;
use super::super::super::report::TOO_LARGE;
use super::*;

const BUSY: &str = r#"{"reason":"busy"}"#;

/// Answers this ticket with these words.
fn refuse(outbox: &mut Outbox, ticket: u64, words: &str, now: Instant) -> FollowUp {
    outbox.answered(Ticket(ticket), Some(Refusal::from_words(words)), now)
}

fn accept(outbox: &mut Outbox, ticket: u64) {
    outbox.answered(Ticket(ticket), None, Instant::now());
}

/// Lines of a batch, each with its number as text.
fn batch(numbers: std::ops::Range<usize>) -> Report {
    let mut lines = line_of(None, "");
    lines.batched = true;
    lines.lines = numbers
        .flat_map(|number| line_of(None, &number.to_string()).lines)
        .collect();
    Report::Logs(lines)
}

fn single(text: &str) -> Report {
    Report::Logs(line_of(None, text))
}

#[test]
fn what_may_pass_is_tried_again_after_a_while_and_nothing_overtakes_it() {
    let mut outbox = outbox(vec![step(), Report::Logs(step_line())]);
    outbox.window = 1;
    let mut now = Instant::now();
    for (ticket, wait) in (1..).zip(RETRIES.waits()) {
        assert!(outbox.next(Ticket(ticket), now).is_some());
        assert_eq!(
            refuse(&mut outbox, ticket, BUSY, now),
            FollowUp::Retry(wait)
        );
        assert!(outbox.next(Ticket(100), now).is_none());
        now += wait;
    }
    let last = outbox.next(Ticket(50), now).map(Report::event);
    assert_eq!(last, Some("step:start"));
    assert!(matches!(
        refuse(&mut outbox, 50, BUSY, now),
        FollowUp::Refused {
            event: "step:start",
            ..
        }
    ));
}

#[test]
fn lines_that_are_refused_one_after_the_other_are_waited_for_once() {
    let mut outbox = outbox(vec![single("a"), single("b"), single("c")]);
    outbox.window = 1;
    let mut now = Instant::now();
    for (ticket, wait) in (1..).zip(RETRIES.waits()) {
        outbox.next(Ticket(ticket), now);
        assert_eq!(
            refuse(&mut outbox, ticket, BUSY, now),
            FollowUp::Retry(wait)
        );
        now += wait;
    }
    for ticket in [10, 11] {
        assert!(outbox.next(Ticket(ticket), now).is_some());
        let outcome = refuse(&mut outbox, ticket, BUSY, now);
        assert!(
            matches!(outcome, FollowUp::LinesDropped(1, _)),
            "{outcome:?}"
        );
    }
    outbox.push(single("d"), Vec::new());
    assert!(outbox.next(Ticket(20), now).is_some());
    accept(&mut outbox, 20);
    assert!(outbox.next(Ticket(21), now).is_some());
    let outcome = refuse(&mut outbox, 21, BUSY, now);
    assert_eq!(
        outcome,
        FollowUp::Retry(RETRIES.after(0).unwrap()),
        "one was accepted"
    );
}

#[test]
fn a_line_that_is_refused_before_its_step_is_settled_is_kept_and_judged_afterwards() {
    let mut outbox = outbox(vec![step(), Report::Logs(step_line())]);
    assert_eq!(send(&mut outbox, 1).len(), 2);
    let invalid = r#"{"errors":{"message":["is invalid"]}}"#;
    let now = Instant::now();
    assert_eq!(refuse(&mut outbox, 2, invalid, now), FollowUp::Resend);
    assert!(send(&mut outbox, 10).is_empty(), "the step is on its way");
    accept(&mut outbox, 1);
    assert_eq!(send(&mut outbox, 10), ["run:log"]);
    assert!(matches!(
        refuse(&mut outbox, 10, invalid, now),
        FollowUp::LinesDropped(1, _)
    ));
}

/// Sends, and lets the channel crash under what holds the bad line, until nothing is left; the crashes, and what was lost.
fn crash_under(outbox: &mut Outbox, bad: &str) -> (usize, usize) {
    let (mut crashes, mut lost) = (0, 0);
    for ticket in 1..1000 {
        let Some(report) = outbox.next(Ticket(ticket), Instant::now()) else {
            break;
        };
        let Report::Logs(lines) = report else {
            panic!("there are only lines")
        };
        let message = format!("[\"{bad}\"]");
        if !lines.lines.iter().any(|line| line.message.get() == message) {
            accept(outbox, ticket);
            continue;
        }
        crashes += 1;
        if let FollowUp::LinesDropped(lines, _) = outbox.channel_crashed(&[Ticket(ticket)]) {
            lost += lines;
        }
    }
    assert!(outbox.entries.is_empty());
    (crashes, lost)
}

#[test]
fn one_bad_line_of_fifty_is_found_by_halves_with_a_crash_for_each() {
    for bad in [0, 17, 49] {
        let mut outbox = Outbox::new(1, Some(50));
        outbox.push(batch(0..50), Vec::new());
        outbox.push(single("after"), Vec::new());
        let (crashes, lost) = crash_under(&mut outbox, &bad.to_string());
        assert_eq!(lost, 1);
        assert!(crashes <= 10, "{crashes} crashes for line {bad}");
    }
}

#[test]
fn a_line_under_which_the_channel_crashes_lets_others_show_whether_it_is_the_server() {
    let mut outbox = Outbox::new(1, None);
    for text in ["bad", "good", "better"] {
        outbox.push(single(text), Vec::new());
    }
    assert_eq!(crash_under(&mut outbox, "bad"), (4, 1));
}

/// As in a soak of hours: once in a while two outages meet the same line.
#[test]
fn a_line_is_not_given_up_because_a_database_was_away_twice() {
    let mut outbox = Outbox::new(1, None);
    for text in ["line", "witness"] {
        outbox.push(single(text), Vec::new());
    }
    for ticket in [1, 2] {
        outbox.next(Ticket(ticket), Instant::now());
        assert_eq!(outbox.channel_crashed(&[Ticket(ticket)]), FollowUp::Resend);
    }
    outbox.next(Ticket(3), Instant::now());
    accept(&mut outbox, 3);
    outbox.next(Ticket(4), Instant::now());
    assert_eq!(outbox.channel_crashed(&[Ticket(4)]), FollowUp::Resend);
    outbox.next(Ticket(5), Instant::now());
    accept(&mut outbox, 5);
    assert!(outbox.entries.is_empty());
}

#[test]
fn a_lone_line_is_given_up_later_and_a_step_event_is_not_overtaken() {
    let mut outbox = outbox(vec![single("bad"), step_complete("s", "d"), single("late")]);
    outbox.window = 1;
    for ticket in 1..7 {
        assert_eq!(
            outbox
                .next(Ticket(ticket), Instant::now())
                .map(Report::event),
            Some("run:log")
        );
        assert_eq!(outbox.channel_crashed(&[Ticket(ticket)]), FollowUp::Resend);
    }
    outbox.next(Ticket(7), Instant::now());
    assert!(matches!(
        outbox.channel_crashed(&[Ticket(7)]),
        FollowUp::LinesDropped(1, _)
    ));
    assert_eq!(send(&mut outbox, 8), ["step:complete"]);
}

#[test]
fn a_completion_that_is_too_large_loses_its_dataclip_and_says_so() {
    let mut outbox = outbox(vec![step_complete("s", "d")]);
    send(&mut outbox, 1);
    assert_eq!(
        outbox.not_sent(Ticket(1)),
        FollowUp::Withheld {
            dataclip: DataclipId::new("d"),
            too_large: true
        }
    );
    let Some(Report::StepComplete(step)) = outbox.next(Ticket(2), Instant::now()) else {
        panic!()
    };
    assert_eq!(step.event.output_dataclip_error.as_deref(), Some(TOO_LARGE));
    assert_eq!(step.event.output_dataclip, None);
    assert_eq!(step.event.output_dataclip_id, None);
}

#[test]
fn the_largest_report_of_a_socket_that_was_closed_for_its_size_is_repaired_at_once() {
    let mut outbox = outbox(vec![single("a"), step_complete("s", "d")]);
    send(&mut outbox, 1);
    assert!(matches!(
        outbox.frame_too_large(Ticket(2)),
        FollowUp::Withheld {
            too_large: true,
            ..
        }
    ));
    assert_eq!(send(&mut outbox, 10), ["run:log"], "one at a time");
}

#[test]
fn an_end_that_is_too_large_loses_its_state_and_keeps_the_name_of_its_dataclip() {
    let Report::RunComplete(mut end) = run_end("d") else {
        panic!()
    };
    end.event.final_state = FinalState::from_json("{}".into());
    let mut outbox = outbox(vec![Report::RunComplete(end)]);
    send(&mut outbox, 1);
    assert_eq!(outbox.not_sent(Ticket(1)), FollowUp::Resend);
    let Some(Report::RunComplete(end)) = outbox.next(Ticket(2), Instant::now()) else {
        panic!()
    };
    assert_eq!(end.event.final_state, None);
    assert_eq!(end.event.final_dataclip_id, Some(DataclipId::new("d")));
}

#[test]
fn a_line_that_has_to_be_there_before_the_end_goes_before_it_and_moves_its_time() {
    let time = Timestamp::from_micros;
    let Report::RunComplete(mut end) = run_end("d") else {
        panic!()
    };
    end.event.timestamp = Some(time(5));
    let mut outbox = outbox(vec![step(), Report::RunComplete(end)]);
    outbox.push_before_end(single("too large"), time(9));
    assert_eq!(send(&mut outbox, 1), ["step:start", "run:log"]);
    accept(&mut outbox, 1);
    accept(&mut outbox, 2);
    let Some(Report::RunComplete(end)) = outbox.next(Ticket(3), Instant::now()) else {
        panic!()
    };
    assert_eq!(end.event.timestamp, Some(time(9)));
}

#[test]
fn an_end_under_which_the_channel_crashes_gives_up_its_data_late_and_its_reason_never() {
    let mut outbox = outbox(vec![run_end("d")]);
    for number in 1..=20 {
        let Some(Report::RunComplete(end)) = outbox.next(Ticket(number), Instant::now()) else {
            panic!("it is sent again for as long as it takes");
        };
        assert_eq!(end.event.final_dataclip_id.is_some(), number <= 8);
        assert_eq!(end.event.reason, ExitReason::Success);
        outbox.channel_crashed(&[Ticket(number)]);
    }
}
