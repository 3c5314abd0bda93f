//! The decisions, one by one.

use super::*;

pub(super) fn claims() -> ClaimConfig {
    ClaimConfig {
        looping: true,
        backoff: ClaimBackoff::try_new(Duration::from_secs(1), Duration::from_secs(10)).unwrap(),
        demand: 1,
    }
}

fn slots(count: u32) -> Slots {
    Slots::new(count, &claims(), HashSet::new())
}

/// Slots whose claims may ask for so many runs.
pub(super) fn asking_for(demand: usize, count: u32) -> Slots {
    let claims = ClaimConfig { demand, ..claims() };
    Slots::new(count, &claims, HashSet::new())
}

fn run(id: &str) -> ClaimedRun {
    ClaimedRun {
        id: RunId::new(id),
        token: "t".to_owned(),
    }
}

pub(super) fn claimed(effects: &[Effect]) -> Ticket {
    match effects
        .iter()
        .find(|effect| matches!(effect, Effect::Claim { .. }))
    {
        Some(Effect::Claim { ticket, .. }) => *ticket,
        _ => panic!("no claim in {effects:?}"),
    }
}

/// A claim on demand is not sent.
fn refused(slots: &mut Slots) {
    let answer = Effect::Manual {
        ticket: None,
        claimed: false,
    };
    assert_eq!(slots.on(Event::ClaimNow), vec![answer]);
}

pub(super) fn answer(slots: &mut Slots, ticket: Ticket, ids: &[&str]) -> Vec<Effect> {
    slots.on(Event::Answered {
        ticket,
        runs: Some(ids.iter().map(|id| run(id)).collect()),
    })
}

#[test]
fn a_joined_queue_is_asked_at_once() {
    let mut slots = slots(1);
    let effects = slots.on(Event::Joined);
    assert_eq!(
        effects,
        vec![Effect::Claim {
            ticket: Ticket(1),
            demand: 1
        }]
    );
    assert_eq!(slots.phase(), Phase::Claiming);
}

#[test]
fn an_empty_answer_waits_longer_each_time_and_a_freed_slot_starts_over() {
    let mut slots = slots(2);
    let first = claimed(&slots.on(Event::Joined));
    let Effect::Start(_) = &answer(&mut slots, first, &["a"])[0] else {
        panic!("not started")
    };
    let effects = answer(&mut slots, Ticket(2), &[]);
    let [Effect::Arm { timer, wait }] = effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(wait, Duration::from_secs(1));
    let ticket = claimed(&slots.on(Event::TimerFired { timer }));
    let effects = answer(&mut slots, ticket, &[]);
    let [Effect::Arm { wait, .. }] = effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(wait, Duration::from_millis(1150));
    let ticket = claimed(&slots.on(Event::SlotFreed {
        run: RunId::new("a"),
        taken_away: false,
    }));
    let effects = answer(&mut slots, ticket, &[]);
    let [Effect::Arm { wait, .. }] = effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(wait, Duration::from_secs(1));
}

#[test]
fn a_full_group_sends_no_claim_until_a_run_ends() {
    let mut slots = slots(1);
    let ticket = claimed(&slots.on(Event::Joined));
    answer(&mut slots, ticket, &["a"]);
    assert_eq!(slots.phase(), Phase::Full);
    assert!(slots.on(Event::WorkAvailable).is_empty());
    refused(&mut slots);
    claimed(&slots.on(Event::SlotFreed {
        run: RunId::new("a"),
        taken_away: false,
    }));
}

#[test]
fn pending_claims_count_as_used_slots() {
    let mut slots = slots(2);
    slots.on(Event::Joined);
    claimed(&slots.on(Event::WorkAvailable));
    assert!(slots.on(Event::WorkAvailable).is_empty());
    assert_eq!(slots.pending(), 2);
}

#[test]
fn a_hint_asks_for_all_free_slots_up_to_the_demand() {
    let asked = |slots: &mut Slots| match slots.on(Event::WorkAvailable)[..] {
        [Effect::Claim { demand, ticket }] => (demand, ticket),
        ref effects => panic!("{effects:?}"),
    };
    let mut slots = asking_for(3, 5);
    let looped = claimed(&slots.on(Event::Joined));
    let (demand, hinted) = asked(&mut slots);
    assert_eq!((demand, slots.pending()), (3, 4));
    assert_eq!(asked(&mut slots).0, 1, "one slot is left");
    assert!(slots.on(Event::WorkAvailable).is_empty());

    let effects = answer(&mut slots, hinted, &["a"]);
    let [
        Effect::Start(_),
        Effect::Claim {
            ticket: again,
            demand: 2,
        },
    ] = effects[..]
    else {
        panic!("{effects:?}")
    };
    answer(&mut slots, again, &[]);
    answer(&mut slots, looped, &[]);
    slots.allow(3);
    assert_eq!(asked(&mut slots).0, 1, "memory for one more");
}

#[test]
fn a_full_group_whose_other_claim_came_back_empty_goes_on() {
    let mut slots = slots(1);
    let looped = claimed(&slots.on(Event::Joined));
    let [Effect::Arm { timer, .. }] = answer(&mut slots, looped, &[])[..] else {
        panic!()
    };
    let extra = claimed(&slots.on(Event::WorkAvailable));
    assert!(slots.on(Event::TimerFired { timer }).is_empty());
    assert_eq!(slots.phase(), Phase::Full);
    assert!(matches!(
        answer(&mut slots, extra, &[])[..],
        [Effect::Arm { .. }]
    ));
}

#[test]
fn a_late_answer_is_executed_and_more_runs_than_slots_wait_for_one() {
    let mut slots = slots(1);
    let ticket = claimed(&slots.on(Event::Joined));
    assert!(matches!(
        slots.on(Event::ClaimLate { ticket })[..],
        [Effect::Arm { .. }]
    ));
    assert_eq!(
        answer(&mut slots, ticket, &["a", "b"]),
        vec![Effect::Start(run("a"))]
    );
    assert_eq!(
        slots.on(Event::SlotFreed {
            run: RunId::new("a"),
            taken_away: false,
        }),
        vec![Effect::Start(run("b"))]
    );
}

#[test]
fn a_run_that_an_answer_names_twice_is_executed_once() {
    let mut slots = slots(1);
    let ticket = claimed(&slots.on(Event::Joined));
    let effects = answer(&mut slots, ticket, &["a", "a"]);
    assert_eq!(effects, vec![Effect::Start(run("a"))]);
    let effects = slots.on(Event::SlotFreed {
        run: RunId::new("a"),
        taken_away: false,
    });
    let again = |effect: &Effect| matches!(effect, Effect::Start(_));
    assert!(!effects.iter().any(again), "{effects:?}");
}

#[test]
fn a_run_that_was_taken_away_and_handed_out_again_is_started_by_its_second_claim() {
    for taken_away in [true, false] {
        let mut slots = slots(2);
        let first = claimed(&slots.on(Event::Joined));
        let second = claimed(&answer(&mut slots, first, &["a"]));
        let mut again = run("a");
        again.token = "second".to_owned();
        slots.on(Event::Answered {
            ticket: second,
            runs: Some(vec![again.clone()]),
        });
        let effects = slots.on(Event::SlotFreed {
            run: RunId::new("a"),
            taken_away,
        });
        let started = effects.contains(&Effect::Start(again));
        assert_eq!(
            (started, slots.active()),
            (taken_away, usize::from(taken_away))
        );
    }
}

#[test]
fn an_answer_to_an_unknown_claim_is_ignored() {
    let mut slots = slots(1);
    assert!(answer(&mut slots, Ticket(77), &["a"]).is_empty());
}

#[test]
fn without_the_loop_only_hints_and_manual_claims_claim() {
    let looping = false;
    let claims = ClaimConfig {
        looping,
        ..claims()
    };
    let mut slots = Slots::new(2, &claims, HashSet::new());
    assert!(slots.on(Event::Joined).is_empty());
    let ticket = claimed(&slots.on(Event::ClaimNow));
    assert_eq!(
        answer(&mut slots, ticket, &[]),
        vec![Effect::Manual {
            ticket: Some(ticket),
            claimed: false
        }]
    );
    assert_eq!(slots.phase(), Phase::Paused);
    claimed(&slots.on(Event::WorkAvailable));
}

#[test]
fn draining_waits_for_claims_and_runs_and_claims_no_more() {
    let mut slots = slots(2);
    let ticket = claimed(&slots.on(Event::Joined));
    assert!(slots.on(Event::Drain).is_empty());
    assert_eq!(
        answer(&mut slots, ticket, &["a"]),
        vec![Effect::Start(run("a"))]
    );
    assert!(slots.on(Event::WorkAvailable).is_empty());
    assert_eq!(
        slots.on(Event::SlotFreed {
            run: RunId::new("a"),
            taken_away: false,
        }),
        vec![Effect::Drained]
    );
}

#[test]
fn a_drain_gives_up_on_claims_that_nobody_answers() {
    let mut slots = slots(1);
    slots.on(Event::Joined);
    slots.on(Event::Drain);
    assert_eq!(slots.on(Event::DrainLate), vec![Effect::Drained]);
}

#[test]
fn runs_of_a_claim_that_a_drain_has_given_up_on_are_executed_all_the_same() {
    let mut slots = slots(1);
    let ticket = claimed(&slots.on(Event::Joined));
    slots.on(Event::Drain);
    slots.on(Event::DrainLate);
    assert_eq!(
        answer(&mut slots, ticket, &["a"]),
        vec![Effect::Start(run("a"))]
    );
}

#[test]
fn a_drain_that_gives_up_on_a_claim_on_demand_answers_who_asked_for_it() {
    let mut slots = slots(2);
    slots.on(Event::Joined);
    let ticket = claimed(&slots.on(Event::ClaimNow));
    slots.on(Event::Drain);
    let answer = Effect::Manual {
        ticket: Some(ticket),
        claimed: false,
    };
    assert_eq!(slots.on(Event::DrainLate), vec![answer, Effect::Drained]);
}

#[test]
fn a_lost_queue_stops_the_loop_until_it_is_joined_again() {
    let mut slots = slots(1);
    let ticket = claimed(&slots.on(Event::Joined));
    slots.on(Event::Answered { ticket, runs: None });
    assert!(slots.on(Event::Lost).is_empty());
    assert_eq!(slots.phase(), Phase::Offline);
    assert!(slots.on(Event::WorkAvailable).is_empty());
    claimed(&slots.on(Event::Joined));
}

#[test]
fn without_room_for_a_second_run_none_is_claimed_until_there_is() {
    let mut slots = slots(3);
    slots.allow(0);
    let ticket = claimed(&slots.on(Event::Joined));
    let effects = answer(&mut slots, ticket, &["a"]);
    let [Effect::Start(_), Effect::Arm { timer, .. }] = effects[..] else {
        panic!("{effects:?}")
    };
    assert!(slots.lacks_memory());
    assert!(slots.on(Event::WorkAvailable).is_empty());
    refused(&mut slots);
    slots.allow(2);
    claimed(&slots.on(Event::TimerFired { timer }));
}

#[test]
fn a_slow_lightning_is_not_asked_again_at_once() {
    let mut slots = slots(3);
    let ticket = claimed(&slots.on(Event::Joined));
    slots.answered_in(Duration::from_secs(4));
    let effects = answer(&mut slots, ticket, &["a"]);
    let [Effect::Start(_), Effect::Arm { timer, wait }] = effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(wait, Duration::from_secs(4));
    assert!(slots.on(Event::WorkAvailable).is_empty());
    let freed = slots.on(Event::SlotFreed {
        run: RunId::new("a"),
        taken_away: false,
    });
    assert!(freed.is_empty());
    claimed(&slots.on(Event::TimerFired { timer }));
}
