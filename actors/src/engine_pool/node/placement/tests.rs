//! Runs placed on children, event by event.

use super::*;

fn run(name: &str) -> RunId {
    RunId::new(name)
}

fn project(name: &str) -> Option<ProjectId> {
    Some(ProjectId::new(name))
}

const HEAP: Mebibytes = Mebibytes::new(500.0);

fn of_slots(capacity: usize) -> Placement {
    Placement::new(capacity, Spares::Exactly(1), 2)
}

fn needs(adaptors: &[&str]) -> Needs {
    Needs {
        heap: HEAP,
        adaptors: adaptors.iter().map(|&folder| folder.to_owned()).collect(),
    }
}

fn start_spare(placement: &mut Placement) -> Option<ChildId> {
    let lacks = placement.lacks_spare(HEAP, Instant::now());
    lacks.then(|| placement.spare(needs(&[])))
}

/// Places a run whose child is there, or is started, and has answered.
fn place(placement: &mut Placement, name: &str, adaptors: &[&str]) -> ChildId {
    let placed = placement.place(&run(name), project("p"), &needs(adaptors), Instant::now());
    placement.ready(placed.child, 1);
    placed.child
}

#[test]
fn one_child_is_kept_ready_and_no_second() {
    let mut placement = of_slots(2);
    let spare = start_spare(&mut placement).unwrap();
    assert_eq!(start_spare(&mut placement), None);
    assert_eq!(place(&mut placement, "r", &[]), spare);
    assert!(start_spare(&mut placement).is_some());
}

#[test]
fn there_are_never_more_children_than_the_capacity_and_the_spares() {
    let mut placement = of_slots(1);
    place(&mut placement, "r1", &[]);
    let spare = start_spare(&mut placement).unwrap();
    assert_eq!(start_spare(&mut placement), None);
    // Of another heap, for which the one that waits is no good.
    let more = Needs {
        heap: Mebibytes::new(100.0),
        ..needs(&[])
    };
    let placed = placement.place(&run("r2"), None, &more, Instant::now());
    assert_eq!(placed.start, Start::ChildInPlaceOf(spare));
    assert_ne!(placed.child, spare);
    assert_eq!(start_spare(&mut placement), None);
}

#[test]
fn a_child_takes_one_run() {
    let mut placement = of_slots(2);
    let first = place(&mut placement, "r1", &[]);
    placement.ended(first, &run("r1"));
    assert_eq!(placement.status()[0].state, ChildState::Dying);
    assert_ne!(place(&mut placement, "r2", &[]), first);
}

#[test]
fn no_more_children_are_started_at_a_time_than_there_are_cores_for() {
    let mut placement = Placement::new(5, Spares::Exactly(4), 2);
    let first = start_spare(&mut placement).unwrap();
    assert!(start_spare(&mut placement).is_some());
    assert_eq!(start_spare(&mut placement), None);
    placement.preloaded(first);
    assert!(start_spare(&mut placement).is_some());
}

#[test]
fn spares_that_are_no_longer_needed_are_retired() {
    let mut placement = Placement::new(3, Spares::UpTo(2), 2);
    let now = Instant::now();
    for name in ["r1", "r2"] {
        placement.place(&run(name), None, &needs(&[]), now);
    }
    let spares = [(); 3].map(|()| start_spare(&mut placement));
    assert!(spares[1].is_some() && spares[2].is_none());
    assert_eq!(placement.surplus(HEAP, now), None);
    let later = now + REMEMBERED + REMEMBERED;
    assert_eq!(placement.surplus(HEAP, later), spares[0]);
    assert_eq!(placement.surplus(HEAP, later), None);
}

#[test]
fn a_child_of_another_heap_than_the_next_run_s_gives_way_to_one_that_has_it() {
    let mut placement = of_slots(2);
    let now = Instant::now();
    let stale = start_spare(&mut placement).unwrap();
    placement.preloaded(stale);
    let heap = Mebibytes::new(512.0);
    assert!(placement.lacks_spare(heap, now));
    let fresh = placement.spare(Needs { heap, ..needs(&[]) });
    assert_eq!(placement.surplus(heap, now), Some(stale));
    assert_eq!(placement.surplus(heap, now), None);
    assert!(!placement.lacks_spare(heap, now));
    let run_with_it = Needs { heap, ..needs(&[]) };
    assert_eq!(
        placement.place(&run("r"), None, &run_with_it, now).child,
        fresh
    );
}

#[test]
fn a_run_goes_to_the_child_that_can_begin_first() {
    let mut placement = Placement::new(5, Spares::Exactly(5), 5);
    let [other, loading, loaded] = [&["/b"][..], &["/a", "/b"], &["/a"]].map(|adaptors| {
        let child = placement.spare(needs(adaptors));
        placement.ready(child, 1);
        child
    });
    placement.preloaded(other);
    placement.preloaded(loaded);
    for expected in [loaded, loading, other] {
        let name = format!("r{}", expected.0);
        assert_eq!(place(&mut placement, &name, &["/a"]), expected);
    }
}

#[test]
fn a_child_that_is_told_to_load_more_is_not_loaded_until_it_says_so() {
    let mut placement = of_slots(2);
    let child = start_spare(&mut placement).unwrap();
    placement.ready(child, 1);
    placement.preloaded(child);
    assert!(placement.status()[0].warm);
    placement.loads(child, vec!["/a".to_owned()]);
    assert!(!placement.status()[0].warm);
    assert_eq!(placement.waiting().next(), Some(&needs(&["/a"])));
}

#[test]
fn a_run_that_comes_back_goes_to_another_child_and_is_told_what_it_was_told() {
    let mut placement = of_slots(2);
    let first = place(&mut placement, "r", &[]);
    assert_eq!(placement.proceed(&run("r")), Some(first));
    let again = GivenBack::Again(Begin::AtOnce);
    assert_eq!(placement.declined(first, &run("r")), again);
    assert_ne!(place(&mut placement, "r", &[]), first);
}

#[test]
fn a_run_whose_loading_kills_three_children_fails_and_one_that_was_stopped_ends() {
    let mut placement = of_slots(5);
    for death in 1..=3 {
        let child = place(&mut placement, "r", &[]);
        let back = placement.declined(child, &run("r"));
        if death < 3 {
            assert_eq!(back, GivenBack::Again(Begin::Later));
        } else {
            let failure = Some(EngineFailure::LoadingKills);
            assert_eq!(back, GivenBack::Ends(failure));
        }
    }
    let child = place(&mut placement, "s", &[]);
    placement.stop(&run("s"));
    let back = placement.declined(child, &run("s"));
    assert_eq!(back, GivenBack::Ends(None));
    let back = placement.declined(child, &run("s"));
    assert_eq!(back, GivenBack::Unknown);
}

#[test]
fn runs_that_are_lost_with_their_child_are_named() {
    let mut placement = of_slots(2);
    let child = place(&mut placement, "r", &[]);
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
fn after_the_close_no_child_is_kept_ready() {
    let mut placement = of_slots(2);
    let child = place(&mut placement, "r", &[]);
    placement.close();
    placement.ended(child, &run("r"));
    assert_eq!(start_spare(&mut placement), None);
    assert_eq!(placement.free().count(), 0);
}
