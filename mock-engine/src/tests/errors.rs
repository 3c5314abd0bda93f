//! What becomes of errors (engine spec, section 7.4).

use super::*;

/// Type, finer type, severity and text of the error of the only step.
async fn thrown(job: &str) -> (String, String, String, String) {
    let error = Scenario::of(job).run().await.error("a");
    let text = Option::unwrap_or_default;
    (
        text(error.error_type),
        text(error.subtype),
        text(error.severity),
        text(error.message),
    )
}

fn words(all: [&str; 4]) -> (String, String, String, String) {
    let [error_type, subtype, severity, message] = all.map(str::to_owned);
    (error_type, subtype, severity, message)
}

#[tokio::test]
async fn errors_of_the_job_fail_the_step() {
    for (job, expected) in [
        (
            "fn(() => { throw new Error('boo') })",
            ["JobError", "", "fail", "boo"],
        ),
        (
            "fn(() => { throw 'text' })",
            ["JobError", "", "fail", "text"],
        ),
        (
            "fn(() => Promise.reject(new Error('later')))",
            ["JobError", "", "fail", "later"],
        ),
        ("err()", ["JobError", "", "fail", "test_err"]),
        (
            "fn(s => s.x.y)",
            [
                "RuntimeError",
                "TypeError",
                "fail",
                "TypeError: Cannot read properties of undefined (reading 'y')",
            ],
        ),
        (
            "fn(() => { throw new RangeError('r') })",
            ["RuntimeError", "RangeError", "fail", "RangeError: r"],
        ),
        (
            // The runtime takes a function with a name for an adaptor's.
            "fn(() => { const f = () => f() + 1; return f(); })",
            [
                "AdaptorError",
                "",
                "fail",
                "Maximum call stack size exceeded",
            ],
        ),
        (
            "fn(() => { throw {message: 'm', name: {}} })",
            ["JobError", "", "fail", "m"],
        ),
        (
            "fn(() => { throw null })",
            [
                "RuntimeError",
                "TypeError",
                "fail",
                "TypeError: Cannot read properties of null (reading 'stack')",
            ],
        ),
    ] {
        assert_eq!(thrown(job).await, words(expected), "{job}");
    }
}

#[tokio::test]
async fn mistakes_of_the_author_crash_the_run() {
    for (job, expected) in [
        (
            "fn(() => nope)",
            [
                "RuntimeCrash",
                "ReferenceError",
                "crash",
                "ReferenceError: nope is not defined",
            ],
        ),
        (
            "fn(@)",
            [
                "RuntimeCrash",
                "SyntaxError",
                "crash",
                "SyntaxError: Invalid or unexpected token",
            ],
        ),
        (
            "1",
            [
                "RuntimeCrash",
                "InvalidOperationError",
                "crash",
                "InvalidOperationError: Invalid operation at statement 0",
            ],
        ),
        (
            "const x = 1; export default 7; // export default [",
            [
                "RuntimeCrash",
                "InvalidExportsError",
                "crash",
                "InvalidExportsError: Invalid exports in job expression: exports must be an array",
            ],
        ),
        (
            "fn(() => eval('1'))",
            [
                "SecurityError",
                "",
                "kill",
                "Illegal eval statement detected",
            ],
        ),
        (
            "fn(() => new Function('1'))",
            [
                "SecurityError",
                "",
                "kill",
                "Illegal eval statement detected",
            ],
        ),
        (
            "import {x} from '@openfn/language-http';\nexport default [x];",
            [
                "ImportError",
                "",
                "crash",
                "Failed to import module \"@openfn/language-http\"",
            ],
        ),
    ] {
        assert_eq!(thrown(job).await, words(expected), "{job}");
        let told = Scenario::of(job).run().await;
        assert_eq!(
            told.workflow_error(),
            (expected[0].into(), expected[3].into(), expected[2].into()),
            "{job}"
        );
    }
}

#[tokio::test]
async fn a_fail_is_written_to_the_state() {
    let job = "fn(s => { s.data = 1; throw Object.assign(new Error('boo'), {code: 7}) })";
    let told = Scenario::of(job).run().await;
    assert_eq!(
        told.final_state(),
        json!({"data": 1, "errors": {"a":
            {"source": "runtime", "name": "JobError", "severity": "fail", "message": "boo"}}})
    );
    let written = told.0.iter().find_map(|body| match body {
        RunProgress::JobError { step, .. } => step.state_error.clone(),
        _ => None,
    });
    assert_eq!(written.unwrap().message.as_deref(), Some("boo"));
}

#[tokio::test]
async fn a_crash_is_not_written_and_nothing_follows_it() {
    let jobs = ["fn(s => { s.data = 1; return nope; })", "fn(s => s)"];
    let told = Scenario::flow(&jobs, &[("a", "b", json!(null))])
        .run()
        .await;
    assert_eq!(told.names(), ["started", "start a", "error a", "failed"]);
    assert_eq!(told.state("a"), json!({"data": 1}));
    assert_eq!(told.next("a"), [JobId::new("b")]);
}

#[tokio::test]
async fn an_error_that_calls_itself_an_adaptor_error_lets_the_workflow_go_on() {
    let jobs = [
        "fn(() => { throw Object.assign(new Error('m'), {name: 'AdaptorError'}) })",
        "fn(s => s)",
    ];
    let told = Scenario::flow(&jobs, &[("a", "b", json!(null))])
        .run()
        .await;
    assert_eq!(told.error("a").severity.as_deref(), Some("crash"));
    assert_eq!(
        told.names(),
        [
            "started",
            "start a",
            "error a",
            "start b",
            "complete b",
            "done"
        ]
    );
}

#[tokio::test]
async fn console_has_nothing_but_log() {
    let (error_type, subtype, ..) = thrown("fn(() => console.error('x'))").await;
    assert_eq!(
        (error_type.as_str(), subtype.as_str()),
        ("RuntimeError", "TypeError")
    );
}

#[tokio::test]
async fn conditions_that_do_not_compile_end_the_run_before_its_first_step() {
    let told = Scenario::flow(
        &["fn(s => s)", "fn(s => s)"],
        &[("a", "b", json!("state.("))],
    )
    .run()
    .await;
    assert_eq!(told.names(), ["started", "failed"]);
    let (error_type, message, severity) = told.workflow_error();
    assert_eq!((error_type.as_str(), severity.as_str()), ("Error", "crash"));
    assert!(
        message.starts_with("Failed to compile edge condition a->b ("),
        "{message}"
    );
}

#[tokio::test]
async fn a_condition_that_throws_replaces_the_end_of_its_step() {
    let told = Scenario::flow(
        &["fn(s => s)", "fn(s => s)"],
        &[("a", "b", json!("wibble"))],
    )
    .run()
    .await;
    assert_eq!(told.names(), ["started", "start a", "failed"]);
    assert_eq!(told.workflow_error().0, "EdgeConditionError");
    assert_eq!(told.workflow_error().1, "wibble is not defined");
}

#[tokio::test]
async fn globals_that_are_broken_say_so() {
    let plan = json!({"id": "w", "globals": "export const x = nope;", "jobs": [{"id": "a", "body": "fn(s => s)"}]});
    let error = Scenario::new(plan).run().await.error("a");
    assert_eq!(
        error.message.as_deref(),
        Some("ReferenceError: [globals] nope is not defined")
    );
}

#[tokio::test]
async fn an_invalid_plan_ends_the_run() {
    let plan =
        json!({"id": "w", "starting_node_id": "z", "jobs": [{"id": "a", "body": "fn(s => s)"}]});
    let told = Scenario::new(plan).run().await;
    assert_eq!(
        told.workflow_error(),
        (
            "ValidationError".into(),
            "Could not find start job: z".into(),
            "crash".into()
        )
    );
}
