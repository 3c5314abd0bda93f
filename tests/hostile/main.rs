//! Jobs that do their worst: each run ends with the right reason, the worker stays small, and the next run in the same slot
//! works.

#![expect(
    clippy::print_stdout,
    reason = "figures for whoever runs it with --nocapture"
)]

#[path = "../support/mod.rs"]
mod support;

mod jobs;
mod reach;
mod siege;
mod states;

use support::rows::{Row, check};
use support::{MONOREPO, Worker, lightning};

/// No worker may grow beyond this, whatever its jobs do.
const MOST_RESIDENT_KB: u64 = 100 * 1024;

/// Executes the run in the one slot of a worker, and a good run after it.
fn survives(row: Row) {
    survives_with(&[], row);
}

fn survives_with(arguments: &[&str], row: Row) {
    let lightning = lightning();
    let mut all = vec!["--monorepo-dir", MONOREPO, "--capacity", "1"];
    all.extend(arguments);
    let worker = Worker::with_engine(&lightning, &all);
    check(&lightning, vec![row]);
    check(&lightning, vec![jobs::good()]);
    let most = worker.peak_resident_kb();
    println!("the worker's resident size was {most} kB at most");
    assert!(most < MOST_RESIDENT_KB, "the worker grew to {most} kB");
}

#[test]
fn a_busy_loop_is_killed_when_its_time_is_over() {
    survives(jobs::busy_loop());
}

#[test]
fn a_loop_of_requests_is_killed() {
    survives(jobs::loop_of_requests());
}

#[test]
fn a_heap_bomb_is_killed() {
    survives(jobs::heap_bomb());
}

#[test]
fn a_growing_map_which_takes_its_process_with_it_is_out_of_memory() {
    survives(jobs::growing_map());
}

#[test]
fn buffers_outside_the_heap_are_limited_too() {
    survives(jobs::bomb_of_buffers());
}

#[test]
fn one_huge_buffer_is_limited_too() {
    survives(jobs::huge_buffer());
}

#[test]
fn deep_recursion_fails_its_step() {
    survives(jobs::deep_recursion());
}

#[test]
fn a_text_of_a_gigabyte_fails_its_step() {
    survives(jobs::text_of_a_gigabyte());
}

#[test]
fn a_state_as_long_as_a_text_can_be_is_killed() {
    survives(jobs::state_of_half_a_gigabyte());
}

#[test]
fn a_huge_log_line_is_withheld() {
    survives(jobs::huge_line());
}

#[test]
fn a_flood_of_lines_waits_for_lightning_and_not_in_the_worker_s_memory() {
    survives(jobs::flood_of_lines());
}

#[test]
fn prototypes_of_node_itself_that_a_job_pollutes_are_gone_with_its_run() {
    survives(jobs::polluted_host());
}

#[test]
fn a_job_that_breaks_the_json_of_its_thread_only_hurts_itself() {
    survives(jobs::broken_json());
}

#[test]
fn an_exit_of_the_thread_crashes_the_run() {
    survives(jobs::exit());
}

#[test]
fn an_abort_is_refused_by_the_thread() {
    survives(jobs::abort());
}

#[test]
fn the_worker_cannot_be_killed_by_a_job() {
    survives(jobs::signal_to_the_worker());
}

#[test]
fn a_job_that_kills_its_own_process_crashes_its_run() {
    survives(jobs::own_death());
}

#[test]
fn a_closed_descriptor_of_commands_ends_the_run_and_the_child() {
    survives(jobs::closed_commands());
}

#[test]
fn a_closed_descriptor_of_events_ends_the_run_and_the_child() {
    survives(jobs::closed_events());
}

#[test]
fn garbage_on_the_descriptor_of_commands_ends_the_run_and_the_child() {
    survives(jobs::garbage_in_commands());
}

#[test]
fn garbage_on_the_descriptor_of_events_ends_the_run_and_the_child() {
    survives(jobs::garbage_in_events());
}

#[test]
fn an_event_larger_than_the_run_s_limits_is_not_collected() {
    survives(jobs::event_of_900_mb());
}

#[test]
fn an_event_of_another_run_is_not_believed() {
    survives(jobs::event_of_another_run());
}

/// Takes minutes: `cargo test --test hostile -- --ignored --nocapture a_million_lines`.
#[test]
#[ignore = "takes minutes"]
fn a_million_lines_all_arrive() {
    survives_with(&["--batch-logs"], jobs::million_lines());
}
