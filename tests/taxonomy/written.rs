//! What a finished job, or the input dataclip, says of the job in `state.errors` (protocol spec, section 4.11, rule 2).

use serde_json::{Value, json};

use crate::support::rows::{Ending, Row, SUCCESS, chain, check, error, one, with_options};
use crate::support::{MONOREPO, Worker, lightning};
use crate::worker;

/// A fail of which the state says neither type nor message.
const WORDLESS: Ending = ("fail", None, None);
const BOO: Ending = error("fail", "Mine", "boo");
const WRITES: &str =
    "fn(s => ({ ...s, errors: { a: { name: 'Mine', message: 'boo', code: 1 } } }))";

#[test]
fn a_finished_job_whose_state_has_an_error_of_its_own_has_failed() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    check(&lightning, rows());
}

#[test]
fn the_mock_engine_reads_the_errors_of_a_state_in_the_same_way() {
    let lightning = lightning();
    let _worker = Worker::with_mock_engine(&lightning, &["--monorepo-dir", MONOREPO]);
    check(&lightning, rows());
}

fn rows() -> Vec<Row> {
    let says = |what, entry: &str, ending| {
        let body = format!("fn(s => ({{ ...s, errors: {{ a: {entry} }} }}))");
        Row::new(what, one(&body)).both("a", ending)
    };
    let comes_with = |what, errors: Value, ending| {
        let mut plan = one("fn(s => s)");
        plan["input"] = json!({"data": {}, "errors": errors});
        Row::new(what, plan).both("a", ending)
    };
    let follows = |what, body, condition| {
        let plan = chain(
            &[("a", body), ("b", "fn(s => s)")],
            &[("a", "b", condition)],
        );
        Row::new(what, plan)
    };
    vec![
        says(
            "an error with a name",
            "{ name: 'Mine', message: 'boo' }",
            BOO,
        )
        .line("R/T", "info", "Run complete with status: fail")
        .line("R/T", "info", "Mine: boo"),
        says("an error that is empty", "{}", WORDLESS),
        says("a list", "[]", WORDLESS),
        says("a text", "'boo'", WORDLESS),
        says("a number", "7", WORDLESS),
        says("true", "true", WORDLESS),
        says(
            "a message alone",
            "{ message: 'boo' }",
            ("fail", None, Some("boo")),
        ),
        says(
            "a name alone",
            "{ name: 'Mine' }",
            ("fail", Some("Mine"), None),
        ),
        says(
            "texts that are empty",
            "{ name: '', message: '' }",
            error("fail", "", ""),
        ),
        // Lightning takes nothing but texts.
        says(
            "a message and a name that are no texts",
            "{ name: 7, message: { code: 1 } }",
            error("fail", "7", "{\"code\":1}"),
        ),
        says("null", "null", SUCCESS),
        says("undefined", "undefined", SUCCESS),
        says("false", "false", SUCCESS),
        says("zero", "0", SUCCESS),
        says("an empty text", "''", SUCCESS),
        Row::new("no errors at all", one("fn(s => ({ ...s, errors: null }))")).step("a", SUCCESS),
        Row::new(
            "an error of another job",
            one("fn(s => ({ ...s, errors: { b: {} } }))"),
        )
        .step("a", SUCCESS),
        comes_with(
            "an error that came in",
            json!({"a": {"name": "Mine", "message": "boo"}}),
            BOO,
        ),
        comes_with(
            "an error of another job that came in",
            json!({"b": {"message": "boo"}}),
            SUCCESS,
        ),
        Row::new("an error that came in and was taken out", {
            let mut plan = one("fn(s => ({ data: 1 }))");
            plan["input"] = json!({"errors": {"a": {"message": "boo"}}});
            plan
        })
        .step("a", SUCCESS),
        follows("a failure that is handled", WRITES, "on_job_failure")
            .step("a", BOO)
            .step("b", SUCCESS),
        follows(
            "a failure whose next job wants success",
            WRITES,
            "on_job_success",
        )
        .both("a", BOO),
        follows("a failure that nobody asks for", WRITES, "always")
            .step("a", BOO)
            .step("b", SUCCESS),
        follows(
            "a text whose next job wants failure",
            "fn(s => ({ errors: { a: 'boo' } }))",
            "on_job_failure",
        )
        .step("a", WORDLESS)
        .step("b", SUCCESS),
        follows(
            "null whose next job wants success",
            "fn(s => ({ errors: { a: null } }))",
            "on_job_success",
        )
        .step("a", SUCCESS)
        .step("b", SUCCESS),
        Row::new(
            "an error in a state that is too large to be sent",
            with_options(
                one(&WRITES.replace("...s,", "data: 'x'.repeat(4000),")),
                json!({"payload_limit_mb": 0.001}),
            ),
        )
        .both("a", BOO),
        Row::new(
            "an error in a state that is not to be kept",
            with_options(one(WRITES), json!({"output_dataclips": false})),
        )
        .both("a", BOO),
        Row::new("an error in a state that is a list", one("fn(() => [1])")).step("a", SUCCESS),
        Row::new(
            "a job that throws beside what it wrote",
            one("fn(s => { s.errors = { a: { message: 'old' } }; throw new Error('new'); })"),
        )
        .both("a", error("fail", "JobError", "new")),
    ]
}
