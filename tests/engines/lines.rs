//! What a job logs.

use serde_json::json;

use crate::{Case, compare};

/// Arguments of `console.log`.
const LOGGED: &[&str] = &[
    "",
    "undefined",
    "null",
    "null, null",
    "undefined, undefined",
    "''",
    "'text'",
    "' '",
    "7",
    "0",
    "-0",
    "NaN",
    "Infinity",
    "true",
    "false",
    "10n",
    "[10n]",
    "'a', 10n",
    "{ n: 10n }",
    "Symbol('s')",
    "() => 1",
    "class A {}",
    "{}",
    "[]",
    "{ a: 1, b: [1, { c: 2 }] }",
    "[1, 'x', null, undefined, () => 1]",
    "{ a: undefined, b: () => 1, c: NaN }",
    "'a', 1, { b: 2 }, [3]",
    "'%s and %d', 'x', 1",
    "'%o', {}",
    "new Date(0)",
    "/x/g",
    "new Map([[1, 2]])",
    "new Set([1])",
    "new WeakMap()",
    "Promise.resolve(1)",
    "new Uint8Array([1, 2])",
    "new ArrayBuffer(2)",
    "new String('x')",
    "new Number(1)",
    "Object(1n)",
    "new Error('boo')",
    "new Error()",
    "new Error('')",
    "Object.assign(new Error('boo'), { code: 1, name: 'Mine' })",
    "new TypeError('t')",
    "Object.assign(new TypeError('t'), { code: 1 })",
    "new (class Mine extends Error {})('m')",
    "new AggregateError([], 'm')",
    "'failed', new Error('boo')",
    "{ e: new Error('boo') }",
    "[new Error('boo')]",
    "{ constructor: { name: 'Error' }, message: 'm', name: 'n' }",
    "{ configuration: { k: 'secret' }, data: 1 }",
    "{ configuration: {} }",
    "{ configuration: null }",
    "{ configuration: 'text' }",
    "{ configuration: ['a', 'b'] }",
    "{ configuration: { deep: { k: 's' } } }",
    "{ s: { configuration: { k: 's' } } }",
    "[{ configuration: { k: 's' } }]",
    "Object.assign([1], { configuration: { k: 's' } })",
    "Object.create({ configuration: { k: 's' } })",
    "{ configuration: 7 }",
    "{ configuration: true }",
    "(() => { const o = { a: 1 }; o.o = o; return o; })()",
    "(() => { const a = []; a.push(a); return a; })()",
    "(() => { const o = { x: 1 }; return [o, o]; })()",
    "(() => { const o = { n: 10n }; o.o = o; return o; })()",
    "{ toJSON: () => 'made' }",
    "{ toJSON: () => undefined }",
    "{ toJSON() { throw new Error('no'); } }",
    "{ get x() { throw new Error('no'); } }",
    "new Proxy({ a: 1 }, {})",
    "Object.create(null)",
    "Object.create({ a: 1 })",
    "new (class A { constructor() { this.x = 1; } })()",
    "'\\u0000'",
    "'\\ud800'",
    "'\\u2028\\u2029'",
    "'\\n\\t\\\"\\\\'",
    "'ä€😀'",
    "'\\u001b[31mred'",
    "'x'.repeat(5000)",
    "[, 1]",
    "arguments",
    "globalThis.nothing",
    "state",
    "console.log",
    "JSON",
    "Math.PI",
    "1e21, 1e-7",
    "{ '10': 1, '9': 2, a: 3 }",
    "{ '__proto__': 1 }",
    "JSON.parse('{\"__proto__\":1}')",
];

const CONSOLE_HAS_LOG_ALONE: &str =
    "the console of the mock engine has `log` alone (engine spec, section 9)";

/// A job that logs each of these, and goes on when that throws.
fn logs(values: &[&str]) -> String {
    let calls = values.iter().map(|value| {
        format!("try {{ console.log({value}); }} catch (e) {{ console.log('threw', e.name); }}\n")
    });
    format!("fn(s => {{\n{}return s; }})", calls.collect::<String>())
}

#[test]
fn a_line_says_the_same() {
    compare([Case::job("lines", &logs(LOGGED))]);
}

#[test]
fn a_line_is_sanitised_the_same() {
    let policies = ["none", "remove", "obfuscate", "summarize"];
    let cases = policies
        .map(|policy| Case::job(policy, &logs(LOGGED)).options(json!({"sanitize": policy})));
    compare(cases);
}

#[test]
fn a_level_lets_the_same_lines_of_console_log_pass() {
    let levels = [
        "debug", "info", "log", "default", "success", "always", "warn", "error", "none",
    ];
    let cases = levels.into_iter().map(|level| {
        Case::job(level, "fn(s => { console.log('x'); return s; })")
            .options(json!({"job_log_level": level}))
    });
    compare(cases);
}

#[test]
fn only_log_is_on_the_mock_engine_s_console() {
    let methods = [
        "info", "debug", "warn", "error", "success", "always", "print",
    ];
    let cases = methods.into_iter().map(|method| {
        Case::job(
            method,
            &format!("fn(s => {{ console.{method}('x'); return s; }})"),
        )
        .differs("/", CONSOLE_HAS_LOG_ALONE)
    });
    compare(cases);
}

#[test]
fn lines_belong_to_the_same_steps() {
    let plan = crate::support::rows::chain(
        &[
            (
                "a",
                "fn(s => { console.log('in a'); setTimeout(() => console.log('late'), 0); return s; })",
            ),
            (
                "b",
                "fn(s => new Promise(r => setTimeout(() => { console.log('in b'); r(s); }, 20)))",
            ),
        ],
        &[("a", "b", "always")],
    );
    compare([
        Case::new("a line of a timer that was left behind", plan)
            .differs("/lines", "in the mock engine a step's timers end with it"),
        Case::job(
            "a line outside of operations",
            "console.log('outside');\nexport default [fn(s => s)];",
        )
        .differs(
            "/",
            "the mock engine does not compile jobs, which makes an operation of it",
        ),
        Case::job(
            "a line before an error",
            "fn(s => { console.log('before'); throw new Error('boo'); })",
        ),
        Case::job(
            "a line before a crash",
            "fn(s => { console.log('before'); nope; })",
        ),
        Case::job(
            "a replaced console",
            "fn(s => { try { console.log = () => {}; } catch {} console.log('x'); return s; })",
        ),
    ]);
}
