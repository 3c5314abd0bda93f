//! Options of runs, limits and what goes along with a state.

use serde_json::{Value, json};

use crate::support::rows::chain;
use crate::{Case, compare};

#[test]
fn limits_of_size_mean_the_same() {
    let chars = |n: usize| format!("fn(s => ({{ data: {{ t: 'x'.repeat({n}) }} }}))");
    let payload = |what: &str, body: &str, limit: f64| {
        Case::job(what, body).options(json!({"payload_limit_mb": limit}))
    };
    let line = |what: &str, body: &str, limit: f64| {
        Case::job(
            what,
            &format!("fn(s => {{ console.log({body}); return s; }})"),
        )
        .options(json!({"log_payload_limit_mb": limit}))
    };
    let two = |what: &str, first: &str, second: &str| {
        let mut case = Case::new(
            what,
            chain(&[("a", first), ("b", second)], &[("a", "b", "always")]),
        );
        case.plan["options"] = json!({"payload_limit_mb": 0.001});
        case
    };
    // {"data":{"t":"…"}} is 17 bytes beside its text; 1/1024 of a MiB is 1024.
    compare([
        payload("a state below its limit", &chars(1006), 1.0 / 1024.0),
        payload("a state at its limit", &chars(1007), 1.0 / 1024.0),
        payload("a state over its limit", &chars(1008), 1.0 / 1024.0),
        payload(
            "a state of wide characters",
            "fn(() => ({ data: { t: 'é'.repeat(504) } }))",
            1.0 / 1024.0,
        ),
        payload(
            "a large state beside data",
            "fn(() => ({ data: 1, more: 'x'.repeat(2000) }))",
            1.0 / 1024.0,
        ),
        payload("a large text", "fn(() => 'x'.repeat(2000))", 1.0 / 1024.0),
        payload("a large list", "fn(() => ['x'.repeat(2000)])", 1.0 / 1024.0),
        payload("a state that is nothing", "fn(() => {})", 0.0),
        payload("an empty state and no room", "fn(() => ({}))", 0.0),
        payload(
            "a failed state over its limit",
            "fn(s => { s.data = 'x'.repeat(2000); throw new Error('boo'); })",
            1.0 / 1024.0,
        ),
        payload(
            "a webhook response of a state over its limit",
            "fn(() => ({ data: 'x'.repeat(2000), webhookResponse: { status: 201, body: { a: 1 } } }))",
            1.0 / 1024.0,
        ),
        payload("a limit below zero", &chars(10), -1.0),
        two(
            "a large state that is handed on",
            "fn(() => ({ data: 'x'.repeat(2000) }))",
            "fn(s => ({ n: s.data.length }))",
        ),
        two(
            "a large state at the end",
            "fn(() => ({ data: 1 }))",
            "fn(s => ({ data: 'x'.repeat(2000) }))",
        ),
        {
            let edges = [("a", "b", "always"), ("a", "c", "always")];
            let jobs = [
                ("a", "fn(s => s)"),
                ("b", "fn(() => ({ data: 'x'.repeat(2000), b: 1 }))"),
                ("c", "fn(() => ({ data: 'x'.repeat(2000), c: 1 }))"),
            ];
            Case::new("leaves that are large", chain(&jobs, &edges))
                .options(json!({"payload_limit_mb": 0.001}))
        },
        {
            let edges = [("a", "b", "always"), ("a", "c", "always")];
            let jobs = [
                ("a", "fn(s => s)"),
                ("b", "fn(() => ({ data: 'x'.repeat(600), b: 1 }))"),
                ("c", "fn(() => ({ data: 'x'.repeat(600), c: 1 }))"),
            ];
            Case::new("leaves that are large together", chain(&jobs, &edges))
                .options(json!({"payload_limit_mb": 0.001}))
        },
        line("a line below its limit", "'x'.repeat(100)", 0.001),
        line("a line over its limit", "'x'.repeat(2000)", 0.001),
        // 71 bytes of the entry, four of `["…"]` with its quotes escaped, and two more.
        line("a line at its limit", "'x'.repeat(947)", 1.0 / 1024.0),
        line(
            "a line one below its limit",
            "'x'.repeat(946)",
            1.0 / 1024.0,
        ),
        line("a line one over its limit", "'x'.repeat(948)", 1.0 / 1024.0),
        line("a line of wide characters", "'é'.repeat(480)", 1.0 / 1024.0),
        line("a line of quotes", "'\"'.repeat(240)", 1.0 / 1024.0),
        line("no room for lines", "'x'", 0.0),
        line("a limit of lines below zero", "'x'", -1.0),
        Case::job(
            "a payload limit for lines too",
            "fn(s => { console.log('x'.repeat(2000)); return s; })",
        )
        .options(json!({"payload_limit_mb": 0.001})),
        Case::job(
            "a state over the state's limit",
            "fn(() => ({ data: 'x'.repeat(3 << 20) }))",
        )
        .options(json!({"state_limit_mb": 1})),
        Case::job(
            "a failed state over the state's limit",
            "fn(s => { s.data = 'x'.repeat(3 << 20); throw new Error('boo'); })",
        )
        .options(json!({"state_limit_mb": 1})),
        Case::job(
            "a response that counts",
            "fn(() => ({ response: 'x'.repeat(3 << 20) }))",
        )
        .options(json!({"state_limit_mb": 1})),
        Case::job(
            "a state below the state's limit",
            "fn(() => ({ data: 'x'.repeat(1 << 19) }))",
        )
        .options(json!({"state_limit_mb": 1})),
        Case::job(
            "no limit for the state",
            "fn(() => ({ n: 'x'.repeat(3 << 20).length }))",
        )
        .options(json!({"state_limit_mb": 0})),
    ]);
}

#[test]
fn dataclips_that_are_not_kept_are_left_out_the_same() {
    let cases = [
        "fn(() => ({ data: 1, webhookResponse: { status: 200 } }))",
        "fn(() => {})",
        "fn(() => [1])",
        "fn(() => { throw new Error('boo'); })",
        "fn(() => nope)",
    ];
    compare(
        cases
            .into_iter()
            .map(|body| Case::job(body, body).options(json!({"output_dataclips": false}))),
    );
}

#[test]
fn webhook_responses_are_told_the_same() {
    let values = [
        "{ status: 201, body: { a: 1 } }",
        "{}",
        "[]",
        "[1]",
        "'text'",
        "''",
        "7",
        "0",
        "true",
        "null",
        "undefined",
        "() => 1",
        "10n",
        "{ n: 10n }",
        "new Date(0)",
        "{ body: new Map() }",
        "(() => { const o = {}; o.o = o; return o; })()",
        "{ toJSON: () => ({ status: 1 }) }",
        "NaN",
        "{ status: '201' }",
        "{ body: 'x'.repeat(100000) }",
    ];
    compare(values.into_iter().map(|value| {
        Case::job(
            value,
            &format!("fn(s => ({{ ...s, webhookResponse: {value} }}))"),
        )
    }));
}

#[test]
fn runs_that_take_too_long_are_told_the_same() {
    let bodies = [
        "fn(() => { while (true); })",
        "fn(() => new Promise(() => {}))",
        "fn(() => { console.log('here'); return new Promise(() => {}); })",
        "fn(async () => { for (;;) await 1; })",
    ];
    compare(
        bodies
            .into_iter()
            .map(|body| Case::job(body, body).options(json!({"run_timeout_ms": 4000}))),
    );
}

#[test]
fn a_heap_that_grows_is_told_the_same() {
    let grows =
        "fn(() => { const all = []; for (;;) all.push(new Array(1000).fill('x' + all.length)); })";
    compare([Case::job("a heap that grows", grows).options(json!({"run_memory_limit_mb": 64}))]);
}

#[test]
fn credentials_reach_the_same_steps() {
    let with = |what: &str, change: &dyn Fn(&mut Value)| {
        let jobs = [
            ("a", "fn(s => ({ ...s, a: s.configuration }))"),
            ("b", "fn(s => ({ ...s, b: s.configuration }))"),
        ];
        let mut plan = chain(&jobs, &[("a", "b", "always")]);
        change(&mut plan);
        Case::new(what, plan)
    };
    compare([
        with("none", &|_| {}),
        with("one for the first", &|plan| {
            plan["jobs"][0]["credential"] = json!({"user": "u"});
        }),
        with("one for the second", &|plan| {
            plan["jobs"][1]["credential"] = json!({"user": "u"});
        }),
        with("one for each", &|plan| {
            plan["jobs"][0]["credential"] = json!({"user": "u"});
            plan["jobs"][1]["credential"] = json!({"pass": "p"});
        }),
        with("one that is empty", &|plan| {
            plan["jobs"][0]["credential"] = json!({});
        }),
        with("one that is not there", &|plan| {
            plan["jobs"][0]["credential_id"] = json!("b8b780f3-98dd-4244-880b-e534d8f24547");
        }),
    ]);
}
