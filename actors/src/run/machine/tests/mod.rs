//! The machine, transition by transition, without a runtime.

mod bench;
mod channel;

use protocol::reasons::ExitReason;

use self::bench::{Bench, DENIED, EXPIRED, INVALID, NOT_CLAIMED};
use super::{Event, Origin, RunMachine, Timer};
use crate::engine_pool::PrepareError;
use crate::events::{End, Unreported};
use crate::run::StopRun;
use crate::run::messages::RunPhase;
use crate::transitions::coverage::untaken;

/// All of them together take each row of the table.
const SCENARIOS: &[fn()] = &[
    a_run_is_executed_and_its_end_reported,
    the_end_may_be_accepted_before_the_thread_is_gone,
    a_successor_reports_only_that_its_predecessor_died,
    a_plan_that_cannot_be_had_or_used_ends_the_run,
    a_run_that_may_not_be_joined_is_given_up_in_silence,
    a_run_whose_token_expires_while_it_loads_is_given_up,
    a_run_that_is_cancelled_before_its_job_begins_says_so,
    what_cannot_be_loaded_ends_the_run_before_its_start,
    jobs_that_do_not_compile_end_the_run_after_its_start,
    a_job_that_goes_without_a_word_is_a_lost_engine,
    an_engine_that_dies_ends_what_it_executes,
    a_job_is_stopped_before_its_end_is_reported,
    a_run_that_is_not_ours_is_stopped_and_not_reported,
    a_run_whose_token_expires_under_its_job_is_not_reported,
    a_run_that_is_stopped_may_lose_its_end_yet,
    a_refused_report_of_a_run_that_is_over_gives_it_another_end,
    what_is_left_at_the_deadline_goes_out_while_the_channel_is_open,
];

#[test]
fn every_transition_of_the_table_is_taken() {
    assert_eq!(untaken::<RunMachine>(SCENARIOS), Vec::<String>::new());
}

#[test]
fn a_run_is_executed_and_its_end_reported() {
    let mut run = Bench::new();
    assert_eq!(run.deeds(), ["join"]);
    run.join_sent();
    assert_eq!(run.deeds(), ["fetch:plan"]);
    run.accept("phx_join");
    run.plan();
    assert_eq!(run.phase(), RunPhase::Loading);
    assert_eq!(run.deeds(), ["prepare"]);
    run.prepared();
    assert_eq!(run.phase(), RunPhase::Starting);
    assert_eq!(run.deeds(), ["execute"]);
    run.loaded();
    // Memory limit and timeout go ahead of the start, which is a barrier.
    assert_eq!(run.deeds(), ["run:log", "run:log", "run:start"]);
    run.accept("run:start");
    assert_eq!(run.phase(), RunPhase::Executing);
    assert_eq!(run.deeds(), ["proceed", "run:log", "run:log"]);
    run.step();
    assert_eq!(run.deeds(), ["step:start", "step:complete"]);
    run.workflow_complete();
    run.ended();
    assert_eq!(run.phase(), RunPhase::Settling);
    run.accept_all();
    assert_eq!(run.phase(), RunPhase::Done);
    assert_eq!(run.end(), Some(End::Reported(ExitReason::Success)));
    assert_eq!(run.deeds(), ["run:log", "run:complete", "leave", "ended"]);
}

#[test]
fn the_end_may_be_accepted_before_the_thread_is_gone() {
    let mut run = Bench::executing();
    run.workflow_complete();
    run.accept_all();
    assert_eq!(run.phase(), RunPhase::Done);
    // Nothing is done for it any more.
    run.deeds();
    run.ended();
    run.on(Event::Fired(Timer::Tick));
    assert!(run.deeds().is_empty());
}

#[test]
fn a_successor_reports_only_that_its_predecessor_died() {
    let mut run = Bench::of(Origin::Successor);
    assert_eq!(run.phase(), RunPhase::Settling);
    run.join_sent();
    run.accept_all();
    assert_eq!(run.end(), Some(End::Reported(ExitReason::Exception)));
    assert_eq!(
        run.deeds(),
        [
            "join",
            "run:log",
            "run:log",
            "run:complete",
            "leave",
            "ended"
        ]
    );
}

#[test]
fn a_plan_that_cannot_be_had_or_used_ends_the_run() {
    let mut refused = Bench::joined();
    refused.refuse("fetch:plan", INVALID);
    assert_eq!(refused.phase(), RunPhase::Settling);
    let mut unusable = Bench::joined();
    unusable.reply("fetch:plan", r#"{"jobs":1}"#);
    assert_eq!(unusable.phase(), RunPhase::Settling);
    for mut run in [refused, unusable] {
        run.accept_all();
        assert_eq!(run.end(), Some(End::Reported(ExitReason::Exception)));
    }
}

#[test]
fn a_run_that_may_not_be_joined_is_given_up_in_silence() {
    let mut run = Bench::new();
    run.join_sent();
    run.deeds();
    run.refuse("phx_join", DENIED);
    assert_eq!(run.deeds(), ["leave", "ended"]);
    assert_eq!(run.end(), Some(End::Unreported(Unreported::GivenUp)));
}

#[test]
fn a_run_whose_token_expires_while_it_loads_is_given_up() {
    let mut run = Bench::loading();
    run.on(EXPIRED());
    assert_eq!(run.end(), Some(End::Unreported(Unreported::GivenUp)));
}

#[test]
fn a_run_that_is_cancelled_before_its_job_begins_says_so() {
    for mut run in [Bench::joined(), Bench::loading()] {
        run.on(Event::Stop(StopRun::Cancel));
        assert_eq!(run.phase(), RunPhase::Settling);
        run.accept_all();
        assert_eq!(run.end(), Some(End::Reported(ExitReason::Cancel)));
        assert!(!run.deeds().contains(&"stop"));
    }
}

#[test]
fn what_cannot_be_loaded_ends_the_run_before_its_start() {
    let mut run = Bench::loading();
    let error = PrepareError::EngineEnded;
    run.on(Event::Prepared(Err(error)));
    assert_eq!(run.phase(), RunPhase::Settling);
    run.accept_all();
    assert!(!run.deeds().contains(&"run:start"));
    assert_eq!(run.end(), Some(End::Reported(ExitReason::Exception)));
}

#[test]
fn jobs_that_do_not_compile_end_the_run_after_its_start() {
    let mut run = Bench::loading();
    run.not_compiled();
    assert_eq!(run.phase(), RunPhase::Settling);
    run.accept_all();
    let deeds = run.deeds();
    assert!(deeds.contains(&"run:start") && !deeds.contains(&"execute"));
    assert_eq!(run.end(), Some(End::Reported(ExitReason::Crash)));
}

#[test]
fn a_job_that_goes_without_a_word_is_a_lost_engine() {
    for mut run in [Bench::starting(), Bench::executing()] {
        run.ended();
        assert_eq!(run.phase(), RunPhase::Settling);
        run.accept_all();
        assert_eq!(run.end(), Some(End::Reported(ExitReason::Crash)));
    }
}

#[test]
fn an_engine_that_dies_ends_what_it_executes() {
    let mut loading = Bench::loading();
    loading.deeds();
    loading.on(Event::EngineLost);
    assert_eq!(loading.deeds(), ["prepare"], "its successor is asked");
    for mut run in [Bench::starting(), Bench::executing()] {
        run.on(Event::EngineLost);
        assert_eq!(run.phase(), RunPhase::Settling);
        // What the old one says yet changes nothing.
        run.ended();
        run.accept_all();
        assert_eq!(run.end(), Some(End::Reported(ExitReason::Crash)));
    }
}

#[test]
fn a_job_is_stopped_before_its_end_is_reported() {
    for mut run in [Bench::starting(), Bench::executing()] {
        run.deeds();
        run.on(Event::Stop(StopRun::Cancel));
        // The first reason stands.
        run.on(Event::Stop(StopRun::Shutdown));
        assert_eq!(run.deeds(), ["stop"]);
        assert_eq!(run.phase(), RunPhase::Stopping);
        run.step();
        assert!(run.deeds().is_empty(), "what it says meanwhile is nothing");
        run.ended();
        run.accept_all();
        assert_eq!(run.end(), Some(End::Reported(ExitReason::Cancel)));
    }
    let mut lost = Bench::executing();
    lost.on(Event::Stop(StopRun::Shutdown));
    lost.on(Event::EngineLost);
    lost.accept_all();
    assert_eq!(lost.end(), Some(End::Reported(ExitReason::Exception)));
}

#[test]
fn a_run_that_is_not_ours_is_stopped_and_not_reported() {
    for over in [Bench::ended, |run: &mut Bench| run.on(Event::EngineLost)] {
        let mut run = Bench::starting();
        run.deeds();
        run.refuse("run:start", NOT_CLAIMED);
        assert_eq!(run.deeds(), ["stop"]);
        // The deadline says nothing new.
        run.on(EXPIRED());
        over(&mut run);
        assert_eq!(run.deeds(), ["leave", "ended"]);
        assert_eq!(run.end(), Some(End::Unreported(Unreported::TakenAway)));
    }
}

#[test]
fn a_run_whose_token_expires_under_its_job_is_not_reported() {
    let mut run = Bench::executing();
    run.deeds();
    run.on(EXPIRED());
    assert_eq!(run.phase(), RunPhase::Stopping);
    run.ended();
    assert_eq!(run.deeds(), ["stop", "leave", "ended"]);
    assert_eq!(run.end(), Some(End::Unreported(Unreported::GivenUp)));
}

#[test]
fn a_run_that_is_stopped_may_lose_its_end_yet() {
    let mut run = Bench::executing();
    run.on(Event::Stop(StopRun::Cancel));
    run.deeds();
    run.on(EXPIRED());
    run.ended();
    assert_eq!(run.deeds(), ["leave", "ended"], "it is stopped once");
    assert_eq!(run.end(), Some(End::Unreported(Unreported::GivenUp)));
}

#[test]
fn a_refused_report_of_a_run_that_is_over_gives_it_another_end() {
    let mut run = Bench::executing();
    run.accept_all();
    run.step();
    run.workflow_complete();
    run.ended();
    assert_eq!(run.phase(), RunPhase::Settling);
    run.refuse("step:start", INVALID);
    assert_eq!(run.phase(), RunPhase::Settling);
    run.accept_all();
    assert_eq!(run.end(), Some(End::Reported(ExitReason::Exception)));
}

#[test]
fn what_is_left_at_the_deadline_goes_out_while_the_channel_is_open() {
    let over = || {
        let mut run = Bench::executing();
        run.accept_all();
        run.workflow_complete();
        run.ended();
        run.on(EXPIRED());
        assert_eq!(run.phase(), RunPhase::Settling);
        run
    };
    let mut open = over();
    open.accept_all();
    assert_eq!(open.end(), Some(End::Reported(ExitReason::Success)));
    let mut crashes = over();
    crashes.crash();
    assert_eq!(crashes.end(), Some(End::Unreported(Unreported::GivenUp)));
}
