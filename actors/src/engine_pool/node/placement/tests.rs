//! Runs placed on children, event by event.

use super::*;

fn run(name: &str) -> RunId {
    RunId::new(name)
}

fn project(name: &str) -> Option<ProjectId> {
    Some(ProjectId::new(name))
}

fn of_slots(capacity: usize, reuse: Reuse) -> Placement {
    Placement::new(capacity, reuse, Spares::Exactly(1))
}

fn start_spare(placement: &mut Placement) -> Option<ChildId> {
    placement.spare(Instant::now()).map(|placed| placed.child)
}

/// Places a run whose child is there, or is started, and has answered.
fn place(placement: &mut Placement, name: &str, of: &str) -> ChildId {
    let placed = placement.place(&run(name), project(of), Instant::now());
    placement.ready(placed.child, 1);
    placed.child
}

#[test]
fn one_child_is_kept_ready_and_no_second() {
    let mut placement = of_slots(2, Reuse::Project);
    let spare = start_spare(&mut placement).unwrap();
    assert_eq!(start_spare(&mut placement), None);
    assert_eq!(place(&mut placement, "r", "p"), spare);
    assert!(start_spare(&mut placement).is_some());
}

#[test]
fn there_are_never_more_children_than_the_capacity_and_the_spares() {
    let mut placement = of_slots(1, Reuse::Project);
    let first = place(&mut placement, "r1", "p");
    placement.idle(first, &run("r1"), true);
    assert!(start_spare(&mut placement).is_some());
    assert_eq!(start_spare(&mut placement), None);
    let second = place(&mut placement, "r2", "q");
    let in_place_of_the_first = placement.spare(Instant::now()).unwrap();
    assert_eq!(in_place_of_the_first.start, Start::ChildInPlaceOf(first));
    assert_eq!(start_spare(&mut placement), None);
    placement.idle(second, &run("r2"), true);
    let third = placement.place(&run("r3"), project("z"), Instant::now());
    assert_eq!(third.child, in_place_of_the_first.child);
}

#[test]
fn the_child_of_a_project_with_several_runs_of_late_makes_no_room_for_a_spare() {
    let mut placement = of_slots(1, Reuse::Project);
    let first = place(&mut placement, "r1", "p");
    placement.idle(first, &run("r1"), true);
    let second = start_spare(&mut placement).unwrap();
    placement.ready(second, 2);
    placement.warmed(second);
    assert_eq!(place(&mut placement, "r2", "p"), second);
    assert_eq!(start_spare(&mut placement), None);
}

#[test]
fn a_child_gets_a_thread_for_a_further_run_when_its_project_has_had_two_of_late() {
    let mut placement = of_slots(2, Reuse::Project);
    let now = Instant::now();
    let first = placement.place(&run("r1"), project("p"), now);
    assert_eq!(first.prospect, Prospect::Once);
    let child = first.child;
    assert_eq!(placement.idle(child, &run("r1"), true), Afterwards::Nothing);
    let second = placement.place(&run("r2"), project("p"), now);
    assert_eq!((second.child, second.prospect), (child, Prospect::Again));
    assert_eq!(placement.idle(child, &run("r2"), true), Afterwards::Warm);
}

#[test]
fn a_project_that_uses_several_children_needs_no_more_spares() {
    let mut placement = Placement::new(5, Reuse::Project, Spares::UpTo(3));
    for name in ["r1", "r2", "r3"] {
        place(&mut placement, name, "p");
    }
    assert!(start_spare(&mut placement).is_some());
    assert_eq!(start_spare(&mut placement), None);
}

#[test]
fn spares_that_are_no_longer_needed_are_retired() {
    let mut placement = Placement::new(3, Reuse::Project, Spares::UpTo(2));
    let now = Instant::now();
    for name in ["r1", "r2"] {
        placement.place(&run(name), project(name), now);
    }
    let spares = [(); 3].map(|()| placement.spare(now).map(|placed| placed.child));
    assert!(spares[1].is_some() && spares[2].is_none());
    assert_eq!(placement.surplus(now), None);
    let later = now + REMEMBERED + REMEMBERED;
    assert_eq!(placement.surplus(later), spares[0]);
    assert_eq!(placement.surplus(later), None);
}

#[test]
fn a_child_serves_one_project_unless_it_may_serve_any() {
    for (reuse, same) in [(Reuse::Project, false), (Reuse::Always, true)] {
        let mut placement = of_slots(2, reuse);
        let first = place(&mut placement, "r1", "p");
        placement.idle(first, &run("r1"), true);
        assert_eq!(place(&mut placement, "r2", "q") == first, same);
    }
}

#[test]
fn a_run_goes_to_a_warm_child_else_to_the_one_that_has_been_idle_longest() {
    let mut placement = of_slots(3, Reuse::Project);
    let [a, b] = ["r1", "r2"].map(|name| place(&mut placement, name, "p"));
    placement.idle(b, &run("r2"), true);
    placement.idle(a, &run("r1"), true);
    assert_eq!(place(&mut placement, "r3", "p"), b);
    placement.idle(b, &run("r3"), true);
    placement.warmed(b);
    assert_eq!(place(&mut placement, "r4", "p"), b);
}

#[test]
fn a_child_that_cannot_be_reused_is_retired() {
    let mut placement = of_slots(2, Reuse::Project);
    let child = place(&mut placement, "r1", "p");
    assert_eq!(placement.idle(child, &run("r1"), false), Afterwards::Retire);
    assert_ne!(place(&mut placement, "r2", "p"), child);
    let mut placement = of_slots(2, Reuse::Never);
    let child = place(&mut placement, "r1", "p");
    assert_eq!(placement.idle(child, &run("r1"), true), Afterwards::Retire);
}

#[test]
fn a_run_that_comes_back_goes_to_another_child_and_is_told_what_it_was_told() {
    let mut placement = of_slots(2, Reuse::Project);
    let first = place(&mut placement, "r", "p");
    assert_eq!(placement.proceed(&run("r")), Some(first));
    let again = GivenBack::Again(Begin::AtOnce);
    assert_eq!(placement.declined(first, &run("r")), again);
    assert_ne!(place(&mut placement, "r", "p"), first);
}

#[test]
fn a_run_whose_loading_kills_three_children_fails_and_one_that_was_stopped_ends() {
    let mut placement = of_slots(5, Reuse::Project);
    for death in 1..=3 {
        let child = place(&mut placement, "r", "p");
        let back = placement.declined(child, &run("r"));
        if death < 3 {
            assert_eq!(back, GivenBack::Again(Begin::Later));
        } else {
            let failure = Some(EngineFailure::LoadingKills);
            assert_eq!(back, GivenBack::Ends(failure));
        }
    }
    let child = place(&mut placement, "s", "p");
    placement.stop(&run("s"));
    let back = placement.declined(child, &run("s"));
    assert_eq!(back, GivenBack::Ends(None));
    let back = placement.declined(child, &run("s"));
    assert_eq!(back, GivenBack::Unknown);
}

#[test]
fn runs_that_are_lost_with_their_child_are_named() {
    let mut placement = of_slots(2, Reuse::Project);
    let child = place(&mut placement, "r", "p");
    placement.dead(child, "it was killed".to_owned());
    let gone = placement.gone(child);
    assert_eq!(
        gone,
        Gone {
            was_ready: true,
            why: Some("it was killed".to_owned()),
            runs: vec![(run("r"), Lost::Failed)],
        }
    );
    assert!(placement.is_empty());
}

#[test]
fn after_the_close_no_child_is_reused_or_kept_ready() {
    let mut placement = of_slots(2, Reuse::Project);
    let child = place(&mut placement, "r", "p");
    placement.close();
    assert_eq!(placement.idle(child, &run("r"), true), Afterwards::Nothing);
    assert_eq!(start_spare(&mut placement), None);
    assert_eq!(placement.free().count(), 0);
}
