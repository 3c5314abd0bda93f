//! Every way a run can go wrong, through the real program: what Lightning is told of steps and runs (engine spec,
//! section 7.4).

mod support;

use lightning_mock::{Fault, MockHandle};
use serde_json::{Value, json};
use support::rows::{Row, SUCCESS, chain, check, error, one, with_options};
use support::{MONOREPO, Worker, lightning};

fn worker(lightning: &MockHandle, further: &[&str]) -> Worker {
    let mut arguments = vec!["--monorepo-dir", MONOREPO, "--capacity", "3"];
    arguments.extend(further);
    Worker::with_engine(lightning, &arguments)
}

/// A row of a job that fails: the step and the run end the same way, and the error is in the state.
fn fails(what: &'static str, body: &str, error_type: &'static str, message: &'static str) -> Row {
    fails_saying(what, body, error_type, message, &[])
}

/// The same, with these lines of the runtime about the error.
fn fails_saying(
    what: &'static str,
    body: &str,
    error_type: &'static str,
    message: &'static str,
    lines: &[&'static str],
) -> Row {
    let row = Row::new(what, one(body))
        .both("a", error("fail", error_type, message))
        .line("R/T", "error", "Job a aborted with error (*)");
    lines
        .iter()
        .fold(row, |row, text| row.line("R/T", "error", text))
        .line("R/T", "error", "Check state.errors.a for details")
        .line("R/T", "info", "Run complete with status: fail")
        .no_line("CRITICAL ERROR! Aborting execution")
}

/// A row of a job that crashes: the step names the finer type, and nothing follows it.
fn crashes(
    what: &'static str,
    body: &str,
    types: (&'static str, &'static str),
    message: &'static str,
) -> Row {
    Row::new(
        what,
        chain(
            &[("a", body), ("b", "fn(s => s)")],
            &[("a", "b", "on_job_failure")],
        ),
    )
    .step("a", error("crash", types.0, message))
    .run(error("crash", types.1, message))
    .line("R/T", "error", "Job a aborted with error (*)")
    .line("R/T", "error", "CRITICAL ERROR! Aborting execution")
    .line("R/T", "info", "Run complete with status: crash")
    .no_line("Check state.errors.a for details")
}

#[test]
fn errors_of_job_code_fail_its_step() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    let job_error = json!({"source": "runtime", "name": "JobError", "severity": "fail"});
    check(
        &lightning,
        vec![
            fails_saying(
                "a TypeError",
                "fn(s => s)\nfn(s => s.x.y)",
                "RuntimeError",
                "TypeError: Cannot read properties of undefined (reading 'y')",
                &[
                    "TypeError: Cannot read properties of undefined (reading 'y')*2:13*",
                    "Error occurred at: Job a",
                    "2: fn(s => s.x.y)",
                ],
            )
            .state_errors(
                "a",
                &json!({
                    "source": "runtime", "name": "RuntimeError", "severity": "fail", "subtype": "TypeError",
                    "step": "Job a", "pos": {"line": 2, "column": 13, "src": "fn(s => s.x.y)"},
                    "message": "TypeError: Cannot read properties of undefined (reading 'y')",
                }),
            ),
            fails(
                "a RangeError thrown by the job",
                "fn(() => { throw new RangeError('far'); })",
                "RuntimeError",
                "RangeError: far",
            ),
            fails(
                "a dynamic import",
                "fn(() => import('fs'))",
                "RuntimeError",
                "TypeError: A dynamic import callback was not specified.",
            ),
            fails(
                "a console method that is missing",
                "fn(() => console.table({}))",
                "RuntimeError",
                "TypeError: console.table is not a function",
            ),
            fails("an Error", "fn(() => { throw new Error('boo'); })", "JobError", "boo")
                .state_errors("a", &job_error),
            fails("a text", "fn(() => { throw 'boo'; })", "JobError", "boo"),
            fails("an object", "fn(() => { throw {message: 'boo', code: 1}; })", "JobError", "boo"),
            fails("an error without a message", "fn(() => { throw new Error(); })", "JobError", ""),
            fails(
                "a rejected promise",
                "fn(() => Promise.reject(new Error('boo')))",
                "JobError",
                "boo",
            ),
            fails(
                "a class of the job's own",
                "fn(() => { class Mine extends Error {} throw new Mine('boo'); })",
                "JobError",
                "boo",
            ),
            fails("a URIError", "fn(() => decodeURIComponent('%'))", "JobError", "URI malformed"),
            fails(
                "null",
                "fn(() => { throw null; })",
                "RuntimeError",
                "TypeError: Cannot read properties of null (reading 'stack')",
            )
            .state_errors("a", &json!({"pos": {"line": null, "column": null}})),
            fails(
                "undefined",
                "fn(() => { throw undefined; })",
                "RuntimeError",
                "TypeError: Cannot read properties of undefined (reading 'stack')",
            ),
            fails_saying(
                "an adaptor's error",
                "fn(s => s)\n\nbreaks('bad schema')",
                "AdaptorError",
                "bad schema",
                &[
                    "Error reported by \"breaks()\" operation line 3:",
                    "*bad schema*",
                    "Additional error details:",
                    "{\"message\":\"bad schema\",\"code\":\"E1\"}",
                ],
            )
            .state_errors(
                "a",
                &json!({
                    "source": "runtime", "name": "AdaptorError", "severity": "fail", "message": "bad schema",
                    "details": {"message": "bad schema", "code": "E1"}, "line": 3, "operationName": "breaks",
                }),
            ),
            fails(
                "an error that calls itself a kill",
                "fn(() => { throw Object.assign(new Error('boo'), {severity: 'kill'}); })",
                "JobError",
                "boo",
            ),
            Row::new(
                "an error that is named as an adaptor's",
                one("fn(() => { throw Object.assign(new Error('boo'), {name: 'AdaptorError'}); })"),
            )
            .step("a", error("crash", "AdaptorError", "boo")),
        ],
    );
}

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
fn jobs_that_cannot_run_crash_the_run() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    let crash = "RuntimeCrash";
    check(
        &lightning,
        vec![
            crashes(
                "a ReferenceError",
                "fn(() => wibble)",
                ("ReferenceError", crash),
                "ReferenceError: wibble is not defined",
            ),
            crashes(
                "a SyntaxError while running",
                "fn(() => JSON.parse('{'))",
                ("SyntaxError", crash),
                "SyntaxError: *JSON*",
            ),
            crashes(
                "an export that the adaptor does not have",
                "import { wibble } from '@openfn/language-test';\nfn(s => wibble)",
                ("SyntaxError", crash),
                "SyntaxError: *wibble*",
            ),
            crashes(
                "a default export that is no list",
                "export default 42;",
                ("InvalidExportsError", crash),
                "InvalidExportsError: Invalid exports in job expression: exports must be an array",
            ),
            crashes(
                "an operation that is no function",
                "fn(s => s)\nconsole.log('x')",
                ("InvalidOperationError", crash),
                "InvalidOperationError: Invalid operation at statement 1",
            ),
            crashes(
                "an error that calls itself a crash",
                "fn(() => { throw Object.assign(new Error('boo'), {severity: 'crash'}); })",
                ("Error", crash),
                "Error: boo",
            ),
            crashes(
                "an import that is not allowed",
                "import fs from 'fs';\nfn(s => s)",
                ("ImportError", "ImportError"),
                "module blacklisted: fs",
            ),
            crashes(
                "an import that is not installed",
                "import x from '@openfn/language-wibble';\nfn(s => s)",
                ("ImportError", "ImportError"),
                "Failed to import module \"@openfn/language-wibble\"",
            ),
            Row::new("an adaptor that fails to load", {
                let mut plan = one("fn(s => s)");
                plan["jobs"][0]["adaptor"] = json!("@openfn/language-broken@local");
                plan
            })
            .both(
                "a",
                error(
                    "crash",
                    "ImportError",
                    "Failed to import module @openfn/language-broken from */broken/dist/index.js?cache=* (no such library)",
                ),
            ),
            Row::new("eval", one("fn(() => eval('1'))"))
                .both(
                    "a",
                    error("kill", "SecurityError", "Illegal eval statement detected"),
                )
                .no_line("CRITICAL ERROR! Aborting execution"),
            Row::new("globals that do not parse", {
                let mut plan = one("fn(s => s)");
                plan["globals"] = json!("const = 1");
                plan
            })
            .step(
                "a",
                error("crash", "SyntaxError", "SyntaxError: [globals] *"),
            )
            .run(error("crash", "RuntimeCrash", "SyntaxError: [globals] *")),
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

#[test]
fn runs_over_their_limits_are_killed() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    let over = "Run exceeded maximum memory usage";
    check(
        &lightning,
        vec![
            Row::new(
                "a busy loop",
                with_options(
                    one("fn(() => { console.log('here'); while (true); })"),
                    json!({"run_timeout_ms": 1000}),
                ),
            )
            .both("a", error("kill", "TimeoutError", "Workflow failed to return within 1000ms"))
            .line("RTE", "info", "Timeout: 1s")
            .line("JOB", "info", "here")
            .line("RTE", "warn", "This run has used 90% of its time limit of 1s"),
            Row::new(
                "a promise that never settles",
                with_options(one("fn(() => new Promise(() => {}))"), json!({"run_timeout_ms": 500})),
            )
            .both("a", error("kill", "TimeoutError", "Workflow failed to return within 500ms"))
            .line("RTE", "info", "Timeout: 0.5s"),
            Row::new(
                "a heap that grows",
                with_options(
                    one("fn(() => { const all = []; while (true) all.push({}); })"),
                    json!({"run_memory_limit_mb": 64}),
                ),
            )
            .both("a", error("kill", "OOMError", over))
            .line("RTE", "info", "Memory limit: 64mb"),
            Row::new(
                "one allocation larger than the heap",
                with_options(
                    one("fn(() => { const all = new Array(1e8).fill(0).map(() => ({})); return all; })"),
                    json!({"run_memory_limit_mb": 64}),
                ),
            )
            .both("a", error("kill", "OOMError", over)),
            Row::new(
                "a state over its limit",
                with_options(
                    one("fn(s => ({...s, x: 'x'.repeat(2 * 1024 * 1024)}))"),
                    json!({"state_limit_mb": 1}),
                ),
            )
            .both("a", error("kill", "StateTooLargeError", "State exceeds the limit of 1mb"))
            .line("R/T", "info", "state object exceeds limit 1 (*mb)")
            .line("R/T", "error", "Critical error processing state:*"),
        ],
    );
}

#[test]
fn what_happens_outside_the_job_s_promise_ends_the_run() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    let uncaught = |what, body| {
        Row::new(what, one(body))
            .both("a", error("crash", "ExecutionError", "boo"))
            .line(
                "ADA",
                "error",
                "Uncaught exception in worker thread (workflow * )",
            )
    };
    check(
        &lightning,
        vec![
            uncaught("an uncaught exception", "throwsLate('boo')"),
            uncaught("an unhandled rejection", "rejectsLate('boo')"),
            Row::new(
                "an error left behind for the next step",
                chain(
                    &[("a", "throwsAfter('boo')"), ("b", "fn(() => new Promise(() => {}))")],
                    &[("a", "b", "always")],
                ),
            )
            .step("a", SUCCESS)
            .both("b", error("crash", "ExecutionError", "boo")),
            Row::new("process.exit in an adaptor", one("prints('last words')\nexits(3)"))
                .both("a", error("crash", "ExitError", "Worker thread exited with code: 3"))
                .line("ADA", "info", "last words"),
            Row::new("process.exit(0)", one("exits(0)"))
                .both("a", error("crash", "ExitError", "Worker thread exited with code: 0")),
            Row::new(
                "a child that is killed",
                one("fn(() => { const p = console.log.constructor('return process')(); p.kill(p.pid, 'SIGKILL'); })"),
            )
            .both("a", error("crash", "ExitError", "Process exited with code: null")),
        ],
    );
}

#[test]
fn what_the_platform_cannot_provide_is_an_exception() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    let with = |key: &str, value: Value| {
        let mut plan = one("fn(s => s)");
        plan["jobs"][0][key] = value;
        plan
    };
    check(
        &lightning,
        vec![
            Row::new("a credential that is not there", with("credential_id", json!("nobody")))
                .run(error(
                    "exception",
                    "CredentialLoadError",
                    "Failed to load credential nobody: [fetch:credential] {\"errors\":{\"id\":[\"Credential not found!\"]}}",
                ))
                .unstarted(),
            Row::new("an adaptor that does not exist", with("adaptor", json!("@openfn/language-common@0.0.0-no")))
                .run(error("exception", "AutoinstallError", "Error installing @openfn/language-common@0.0.0-no: *"))
                .unstarted(),
            Row::new(
                "an adaptor whose latest version is not known",
                with("adaptor", json!("@openfn/language-does-not-exist@latest")),
            )
            .run(error("exception", "ExecutionError", "Command failed: npm view *"))
            .unstarted(),
            Row::new("an unsafe adaptor", with("adaptor", json!("@openfn/language-common@1.0.0;reboot")))
                .run(error(
                    "exception",
                    "AutoinstallError",
                    "Error installing @openfn/language-common@1.0.0;reboot: Unsafe module specifier: *",
                ))
                .unstarted(),
        ],
    );
    // Apart from the others, because the fault is for whichever run asks first.
    lightning.fault(
        "fetch:dataclip",
        Fault::Refuse(json!({"errors": {"id": ["not found"]}})),
    );
    let mut plan = one("fn(s => s)");
    plan["dataclip_id"] = json!("lost");
    check(
        &lightning,
        vec![
            Row::new("a dataclip that is not there", plan)
                .run(error(
                    "exception",
                    "DataClipError",
                    "Failed to load dataclip lost: *",
                ))
                .unstarted(),
        ],
    );
}
