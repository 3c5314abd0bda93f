//! States: what a job gets, what it returns, and what becomes of it.

use serde_json::json;

use crate::support::rows::chain;
use crate::{Case, compare};

/// Values that a job may return.
const VALUES: &[&str] = &[
    "undefined",
    "null",
    "0",
    "''",
    "false",
    "NaN",
    "7",
    "-0",
    "'text'",
    "true",
    "[]",
    "[1, [2]]",
    "[undefined, () => 1]",
    "{}",
    "{ data: {} }",
    "{ data: null }",
    "{ data: undefined }",
    "{ data: [1] }",
    "{ data: 'x' }",
    "{ data: 0 }",
    "{ data: false }",
    "{ a: undefined, b: () => 1, c: Symbol('c'), d: NaN, e: Infinity }",
    "{ d: new Date(0), r: /x/g, m: new Map([[1, 2]]), s: new Set([1]) }",
    "new Date(0)",
    "new Map([[1, 2]])",
    "() => 1",
    "Symbol('s')",
    "10n",
    "{ n: 10n }",
    "{ deep: { n: [10n] } }",
    "(() => { const o = { a: 1 }; o.self = o; o.list = [o]; return o; })()",
    "(() => { const a = []; a.push(a); return a; })()",
    "(() => { const o = { x: 1 }; return { one: o, two: o }; })()",
    "{ toJSON: () => ({ made: 1 }) }",
    "{ toJSON: () => undefined }",
    "{ toJSON() { throw new Error('no'); } }",
    "{ get x() { return 1; } }",
    "{ get x() { throw new Error('no'); } }",
    "Object.create(null)",
    "Object.create({ inherited: 1 })",
    "new (class Mine { constructor() { this.a = 1; } })()",
    "Object.freeze({ data: Object.freeze({ x: 1 }) })",
    "{ configuration: { k: 1 }, response: { body: 'b' }, data: 1 }",
    "{ references: [1], errors: null }",
    "JSON.parse('{\"__proto__\": 1, \"constructor\": 2}')",
    "new Uint8Array([1, 2])",
    "{ bytes: new Uint8Array([1, 2]) }",
    "new Error('boo')",
    "{ e: new Error('boo') }",
    "new String('x')",
    "{ n: new Number(1) }",
    "{ '': 1, ' ': 2, '10': 3, '9': 4, 'ä€😀': 5 }",
    "{ text: '\\u0000\\ud800\\u2028\\\\\"' }",
    "{ n: 1e21, m: 1e-7, i: 9007199254740993, z: -0 }",
    "Promise.resolve({ data: 1 })",
    "[, 1]",
    "{ a: [1, , 2] }",
    "new Proxy({ a: 1 }, {})",
    "{ hasOwnProperty: 1, data: 2 }",
    "arguments",
    "globalThis.nothing",
    "{ then: 1 }",
    "Object.assign([1], { x: 2 })",
    "{ length: 3 }",
];

const SHOWS: &str =
    "fn(s => ({ seen: typeof s, is: JSON.stringify(s), keys: Object.keys(Object(s)) }))";

/// The next operation of one job gets each value, and so does the next step.
#[test]
fn what_a_job_returns_is_passed_on_the_same() {
    let cases = VALUES.iter().map(|value| {
        let operations = format!("export default [fn(() => ({value})), {SHOWS}];");
        let returns = format!("fn(() => ({value}))");
        let mut plan = chain(
            &[("c", &operations), ("a", &returns), ("b", SHOWS)],
            &[("a", "b", "always")],
        );
        let to_a = json!({"source_trigger_id": "t", "target_job_id": "a"});
        plan["edges"].as_array_mut().unwrap().push(to_a);
        let case = Case::new(value, plan).in_own_words();
        if value.contains("get x() { throw") {
            return case.differs(
                "/",
                "the runtime meets such a property in a stream, outside of the step's own promise",
            );
        }
        case
    });
    compare(cases);
}

#[test]
fn what_a_last_step_returns_is_the_final_state_all_the_same() {
    let values = [
        "undefined",
        "null",
        "0",
        "''",
        "'text'",
        "7",
        "[1]",
        "{}",
        "{ data: {} }",
        "new Date(0)",
        "10n",
        "{ toJSON: () => null }",
        "{ toJSON: () => 0 }",
        "{ toJSON: () => 'x' }",
    ];
    compare(
        values
            .iter()
            .map(|value| Case::job(value, &format!("fn(() => ({value}))"))),
    );
}

#[test]
fn a_first_step_gets_the_same() {
    let inputs = [
        json!({}),
        json!({"data": {}}),
        json!({"data": {"x": 1}, "more": [1]}),
        json!({"data": [1]}),
        json!({"data": "x"}),
        json!({"data": 0}),
        json!({"data": null}),
        json!({"data": false}),
        json!([]),
        json!([1, 2]),
        json!("text"),
        json!(""),
        json!(7),
        json!(0),
        json!(true),
        json!(false),
        json!({"references": [1]}),
        json!({"references": 0, "errors": 0}),
        json!({"errors": {"z": {"message": "m"}}}),
        json!({"configuration": {"k": "v"}}),
        json!({"configuration": "text"}),
        json!({"configuration": [1]}),
        json!({"response": {"x": 1}}),
        json!({"webhookResponse": {"status": 201}}),
        json!({"__proto__": {"x": 1}}),
        json!({"n": 1.0, "big": 12_345_678_901_234_567_890_u64}),
    ];
    let cases = inputs.into_iter().map(|input| {
        let jobs = [
            ("shows", SHOWS),
            ("hands_on", "fn(s => s)"),
            ("over_a_state", SHOWS),
            ("with_a_credential", SHOWS),
        ];
        let mut plan = chain(&jobs, &[]);
        for (job, _) in &jobs[1..] {
            let edge = json!({"source_trigger_id": "t", "target_job_id": job});
            plan["edges"].as_array_mut().unwrap().push(edge);
        }
        plan["jobs"][2]["state"] =
            json!({"data": {"d": 1}, "own": 2, "references": [3], "configuration": {"c": 1}});
        plan["jobs"][3]["credential"] = json!({"k": "own", "user": "u"});
        Case::new(&input.to_string(), plan).input(input)
    });
    compare(cases);
}

#[test]
fn final_states_are_made_the_same_way() {
    let fork = |what: &str, b: &str, c: &str| {
        let edges = [("a", "b", "always"), ("a", "c", "always")];
        Case::new(
            what,
            chain(
                &[
                    ("a", "fn(s => ({ data: { from: 'a' } }))"),
                    ("b", b),
                    ("c", c),
                ],
                &edges,
            ),
        )
    };
    let diamond = |what: &str, last: &str| {
        let edges = [
            ("a", "b", "always"),
            ("a", "c", "always"),
            ("b", "d", "always"),
            ("c", "d", "always"),
        ];
        let jobs = [
            ("a", "fn(s => s)"),
            ("b", "fn(s => ({ data: 'b' }))"),
            ("c", "fn(s => ({ data: 'c' }))"),
            ("d", last),
        ];
        Case::new(what, chain(&jobs, &edges))
    };
    let nothing = "fn(() => {})";
    compare([
        fork(
            "two leaves",
            "fn(s => ({ data: 'b' }))",
            "fn(s => ({ data: 'c' }))",
        ),
        fork(
            "two leaves, the first without a state",
            nothing,
            "fn(s => ({ data: 'c' }))",
        ),
        fork(
            "two leaves, the second without a state",
            "fn(s => ({ data: 'b' }))",
            nothing,
        ),
        fork("two leaves without a state", nothing, nothing),
        fork(
            "leaves that are empty",
            "fn(() => ({}))",
            "fn(() => ({ data: {} }))",
        ),
        fork(
            "leaves that are no objects",
            "fn(() => [1])",
            "fn(() => 'x')",
        ),
        fork(
            "a leaf that fails",
            "fn(() => { throw new Error('boo'); })",
            "fn(s => s)",
        ),
        fork(
            "leaves that fail both",
            "fn(() => { throw new Error('b'); })",
            "fn(() => { throw new Error('c'); })",
        ),
        fork("a leaf that crashes", "fn(() => { nope; })", "fn(s => s)"),
        diamond("a step that is reached twice", "fn(s => s)"),
        diamond("a step that is reached twice and returns nothing", nothing),
        diamond(
            "a step that is reached twice and returns once",
            "fn(s => s.data === 'b' ? undefined : s)",
        ),
        diamond(
            "a step that is reached twice and fails once",
            "fn(s => { if (s.data === 'b') throw new Error('boo'); return s; })",
        ),
        Case::new(
            "a trigger alone",
            json!({"triggers": [{"id": "t"}], "jobs": [], "edges": []}),
        )
        .input(json!({"data": {"x": 1}})),
    ]);
}

#[test]
fn a_step_s_world_is_its_own() {
    let two = |what: &str, first: &str, second: &str| {
        Case::new(
            what,
            chain(&[("a", first), ("b", second)], &[("a", "b", "always")]),
        )
    };
    let globals = |what: &str, globals: &str, body: &str| {
        let mut case = Case::job(what, body);
        case.plan["globals"] = json!(globals);
        case
    };
    compare([
        two("a global that is left behind", "fn(s => { globalThis.x = 1; return s; })", "fn(s => ({ x: typeof x }))"),
        two("a changed prototype", "fn(s => { Array.prototype.x = 1; return s; })", "fn(s => ({ x: typeof [].x }))"),
        Case::job("state as a global", "fn(s => ({ same: s === state, data: state.data }))").input(json!({"data": {"x": 1}})),
        Case::job("this", "fn(function (s) { return { is: typeof this }; })"),
        Case::job("what is there", "fn(() => ({ all: ['setTimeout', 'setInterval', 'clearTimeout', 'clearInterval', 'parseInt', 'parseFloat', 'JSON', 'Math', 'Date', 'Promise', 'Intl', 'WebAssembly'].map(k => typeof globalThis[k]) }))")
            .differs("/", "QuickJS has neither Intl nor WebAssembly"),
        Case::job("what is not there", "fn(() => ({ all: ['process', 'require', 'module', 'global', 'fetch', 'URL', 'URLSearchParams', 'TextEncoder', 'structuredClone', 'queueMicrotask', 'atob', 'btoa', 'setImmediate', 'AbortController', 'crypto', 'performance', 'Blob', 'std', 'os', 'print', 'scriptArgs'].filter(k => typeof globalThis[k] !== 'undefined') }))"),
        Case::job("timers", "fn(s => new Promise(r => { let n = 0; const t = setInterval((x) => { n += x; if (n >= 3) { clearInterval(t); r({ n }); } }, 1, 1); }))"),
        Case::job("operations in order", "export default [fn(async () => ({ n: 1 })), fn(s => ({ n: s.n + 1 })), fn(s => new Promise(r => setTimeout(() => r({ n: s.n * 10 }), 1)))];"),
        Case::job("no operation", "export default [];").input(json!({"data": {"x": 1}})),
        globals("globals", "export const twice = n => n * 2; export const O = { a: 1 };", "fn(() => { try { O.a = 2; } catch {} return { n: twice(4), O, frozen: Object.isFrozen(O) }; })"),
        globals("globals that throw", "throw new Error('boo'); export const x = 1;", "fn(s => s)"),
        globals("globals that name what is not there", "export const x = nope;", "fn(s => s)"),
        globals("globals that are empty", "  ", "fn(s => s)"),
        globals("globals with a default", "export default { a: 1 }; export const b = 2;", "fn(() => ({ b, d: typeof a }))"),
    ]);
}
