//! What job code does wrong.

use serde_json::json;

use crate::support::lightning;
use crate::support::rows::{Row, SUCCESS, chain, check, error, one};
use crate::{crashes, fails, fails_saying, worker};

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
            Row::new(
                "an error that is named as an import's, and a step after it",
                chain(
                    &[
                        ("a", "fn(() => { throw Object.assign(new Error('boo'), {name: 'ImportError'}); })"),
                        ("b", "fn(s => s)"),
                    ],
                    &[("a", "b", "always")],
                ),
            )
            .step("a", error("crash", "ImportError", "boo"))
            .step("b", SUCCESS),
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
            crashes(
                "a part of an adaptor",
                "import x from '@openfn/language-test/util';\nfn(s => x)",
                ("ImportError", "ImportError"),
                "Failed to import module \"@openfn/language-test/util\"",
            ),
            // The runtime takes the credential out of each state. Were it not as strict as its sources, it would not notice.
            Row::new("a state that does not let its credential be taken out", {
                let mut plan = one("fn(s => Object.freeze(s))");
                plan["jobs"][0]["credential"] = json!({"user": "u"});
                plan
            })
            .both("a", error("crash", "TypeError", "Cannot delete property 'configuration' of *")),
            Row::new("a function made from text", one("fn(() => new Function('return 1')())")).both(
                "a",
                error("kill", "SecurityError", "Illegal eval statement detected"),
            ),
            Row::new("an EvalError thrown", one("fn(() => { throw new EvalError('boo'); })")).both(
                "a",
                error("kill", "SecurityError", "Illegal eval statement detected"),
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
            Row::new("an error left behind for after the end", one("throwsAfter('boo')"))
                .step("a", SUCCESS),
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
