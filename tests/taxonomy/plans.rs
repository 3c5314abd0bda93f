//! What is wrong with a plan or its edges.

use lightning_mock::Fault;
use serde_json::{Value, json};

use crate::support::lightning;
use crate::support::rows::{Row, SUCCESS, chain, check, error, one};
use crate::worker;

#[test]
fn what_follows_a_failed_step_depends_on_its_edges() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    let boo = error("fail", "JobError", "boo");
    let broken = "fn(() => { throw new Error('boo'); })";
    check(
        &lightning,
        vec![
            Row::new(
                "a failure that is handled",
                chain(
                    &[("a", broken), ("b", "fn(s => s)")],
                    &[("a", "b", "on_job_failure")],
                ),
            )
            .step("a", boo)
            .step("b", SUCCESS)
            .state_errors("a", &json!({"name": "JobError", "message": "boo"})),
            Row::new(
                "a failure whose next job wants success",
                chain(
                    &[("a", broken), ("b", "fn(s => s)")],
                    &[("a", "b", "on_job_success")],
                ),
            )
            .both("a", boo),
            Row::new(
                "an edge condition that throws",
                chain(
                    &[("a", "fn(s => s)"), ("b", "fn(s => s)")],
                    &[("a", "b", "wibble > 1")],
                ),
            )
            .both(
                "a",
                error("crash", "EdgeConditionError", "wibble is not defined"),
            ),
            Row::new(
                "an edge condition that throws after a failure",
                chain(
                    &[("a", broken), ("b", "fn(s => s)")],
                    &[("a", "b", "wibble > 1")],
                ),
            )
            .both(
                "a",
                error("crash", "EdgeConditionError", "wibble is not defined"),
            ),
            Row::new(
                "an edge condition that does not compile",
                chain(
                    &[("a", "fn(s => s)"), ("b", "fn(s => s)")],
                    &[("a", "b", "state. >")],
                ),
            )
            .run(error(
                "crash",
                "Error",
                "Failed to compile edge condition a->b (Unexpected token '>')",
            )),
            Row::new("a condition on the trigger's edge that throws", {
                let mut plan = one("fn(s => s)");
                plan["edges"][0]["condition"] = json!("wibble > 1");
                plan
            })
            .run(error(
                "crash",
                "EdgeConditionError",
                "wibble is not defined",
            )),
        ],
    );
}

#[test]
fn plans_that_cannot_be_executed_crash_before_any_step() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    let plan = |change: &dyn Fn(&mut Value)| {
        let mut plan = chain(
            &[("a", "fn(s => s)"), ("b", "fn(s => s)")],
            &[("a", "b", "always")],
        );
        change(&mut plan);
        plan
    };
    check(
        &lightning,
        vec![
            Row::new("a job that does not parse", one("fn(=> s)"))
                .run(error(
                    "crash",
                    "CompileError",
                    "Job a: Unexpected token (1:3)",
                ))
                .line("RTE", "info", "Error occurred during compilation"),
            Row::new(
                "an adaptor that is missing when the job is compiled",
                plan(&|plan| plan["jobs"][0]["adaptor"] = json!("@openfn/language-missing@local")),
            )
            .run(error(
                "crash",
                "CompileError",
                "Job a: ENOENT: no such file or directory, open '*/packages/missing/package.json'",
            )),
            Row::new(
                "jobs in a circle",
                json!({
                    "starting_node_id": "a",
                    "jobs": [{"id": "a", "body": "fn(s => s)"}, {"id": "b", "body": "fn(s => s)"}],
                    "edges": [
                        {"source_job_id": "a", "target_job_id": "b", "condition": "always"},
                        {"source_job_id": "b", "target_job_id": "a", "condition": "always"},
                    ],
                }),
            )
            .run(error("crash", "ValidationError", "Circular dependency: *"))
            .line("R/T", "error", "Error validating execution plan")
            .line("R/T", "error", "Aborting"),
            // The runtime's own search for circles does not end when it enters one from outside.
            Row::new(
                "a circle behind a trigger",
                plan(&|plan| {
                    let back =
                        json!({"source_job_id": "b", "target_job_id": "a", "condition": "always"});
                    plan["edges"].as_array_mut().unwrap().push(back);
                }),
            )
            .run(error(
                "crash",
                "RangeError",
                "Maximum call stack size exceeded",
            )),
        ],
    );
}

/// Lightning checks its plans, and a worker does not rely on it.
#[test]
fn plans_that_name_what_they_do_not_have_crash_before_any_step() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    let lost = |what, message, change: &dyn Fn(&mut Value)| {
        let plan = one("fn(s => s)");
        let mut answer = plan.clone();
        change(&mut answer);
        // The mock refuses such a plan from who enqueues it, so it comes as the next answer.
        lightning.fault("fetch:plan", Fault::Answer(answer));
        let row = Row::new(what, plan)
            .run(error("crash", "ValidationError", message))
            .line("R/T", "error", "Error validating execution plan")
            .line("R/T", "error", "Aborting");
        check(&lightning, vec![row]);
    };
    lost(
        "an unknown start job",
        "Could not find start job: nobody",
        &|plan| plan["starting_node_id"] = json!("nobody"),
    );
    lost(
        "an edge to an unknown job",
        "Cannot find job: nobody",
        &|plan| plan["edges"][0]["target_job_id"] = json!("nobody"),
    );
}
